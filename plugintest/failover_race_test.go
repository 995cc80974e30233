package plugintest

import (
	"testing"
	"testing/synctest"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
)

// GBG refuses the active client while somebody rotates away from it: the rotation
// stands, and nobody fails over from its outcome.
func TestFailoverAfterARotation(t *testing.T) {
	for name, lease := range map[string]bool{"shared": false, "leased": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", with(w.pair(), fields{"verify_connection": false, "lease": lease}))
				release := w.gate.hold(clientB)
				rotating := later(func() answer { return w.send(t.Context(), logical.UpdateOperation, "rotate", nil) })
				await(t, w.gate.arrived, "the rotation's request")
				fault := freshRefusal(clientA)
				fault.Requests = 2 // a refused client is asked once more
				w.fault(fault)
				reading := later(func() answer { return w.send(t.Context(), logical.ReadOperation, "creds", nil) })
				synctest.Wait() // the failover waits for the rotation
				release()
				assert.Equal(t, clientB, w.ok(await(t, rotating, "the rotation")).Data["active_client_id"])
				assert.Equal(t, clientB, w.owner(w.ok(await(t, reading, "a token")).Data["access_token"]))
				status := w.read("status")
				assert.Equal(t, []any{clientB, "rotate"}, []any{status["active_client_id"], status["last_rotation_cause"]})
			})
		})
	}
}
