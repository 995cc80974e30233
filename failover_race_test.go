package gbg_test

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
)

// somebodyWaitsForAChange says that a goroutine stands before the lock of changes.
func somebodyWaitsForAChange() bool {
	stacks := make([]byte, 1<<20)
	return bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("/backend.(*keyedLock).lock("))
}

// GBG refuses the active client while somebody rotates away from it: the rotation
// stands, and nobody fails over from its outcome.
func TestFailoverAfterARotation(t *testing.T) {
	for name, lease := range map[string]bool{"shared": false, "leased": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			w.write("config", with(w.pair(), fields{"verify_connection": false, "lease": lease}))
			release := w.gate.hold(clientB)
			rotating := later(func() answer { return w.send(t.Context(), logical.UpdateOperation, "rotate", nil) })
			await(t, w.gate.arrived, "the rotation's request")
			fault := freshRefusal(clientA)
			fault.Requests = 2 // a refused client is asked once more
			w.fault(fault)
			reading := later(func() answer { return w.send(t.Context(), logical.ReadOperation, "creds", nil) })
			w.until("the failover to wait for the rotation", somebodyWaitsForAChange)
			release()
			assert.Equal(t, clientB, w.ok(await(t, rotating, "the rotation")).Data["active_client_id"])
			assert.Equal(t, clientB, w.owner(w.ok(await(t, reading, "a token")).Data["access_token"]))
			status := w.read("status")
			assert.Equal(t, []any{clientB, "rotate"}, []any{status["active_client_id"], status["last_rotation_cause"]})
		})
	}
}
