package plugintest

import (
	"testing"
	"testing/synctest"
	"time"

	gbg "gbg.example/vault-plugin-secrets-gbg"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A client that got no answer sends its request again, as Vault's own Go client does
// by itself. The second one must not undo the first.
func TestRotateRepeatedBareRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config", pair)
		w.write("config/team-a", pair)
		w.ok(w.try(logical.UpdateOperation, "rotate/team-a", nil))
		w.rotate(nil)
		content, asked, status := w.storage.content(t), w.asked(), w.read("status")
		const goBack = `: this may be the same request again, so nothing was rotated. To make client "client-a" active: vault write gbg/rotate`
		for _, c := range []struct {
			after time.Duration
			ago   string
		}{{0, "0s"}, {1900 * time.Millisecond, "1s"}, {58*time.Second + 99*time.Millisecond, "59s"}} {
			w.pass(c.after)
			for _, request := range []fields{nil, {}, {"client_id": nil, "client_secret": nil}} {
				assert.Equal(t, `connection "default" was rotated at 2026-03-01T12:00:00Z (rotate), `+c.ago+` ago, and client "client-b" is active`+goBack+" client_id=client-a",
					w.refused(w.try(logical.UpdateOperation, "rotate", request)))
			}
		}
		assert.Equal(t, `connection "team-a" was rotated at 2026-03-01T12:00:00Z (rotate), 59s ago, and client "client-b" is active`+goBack+"/team-a client_id=client-a",
			w.refused(w.try(logical.UpdateOperation, "rotate/team-a", nil)))
		assert.Equal(t, content, w.storage.content(t))
		assert.Equal(t, asked, w.asked())
		assert.Equal(t, status, w.read("status"))

		// The storage remembers, for a new leader.
		w.mount = w.newMount()
		w.refused(w.try(logical.UpdateOperation, "rotate", nil))

		w.pass(time.Millisecond)
		assert.Equal(t, clientA, w.rotate(nil).Data["active_client_id"], "a minute is enough")
	})
}

// What says which client, or brings a secret, is no repeated bare request.
func TestRotateAgainOnPurpose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		w.rotate(nil)
		assert.Equal(t, true, w.rotate(fields{"client_id": clientA}).Data["rotated"])
		assert.Equal(t, true, w.rotate(fields{"client_id": clientB, "client_secret": w.regenerate(clientB)}).Data["rotated"])
		assert.Equal(t, true, w.rotate(fields{"client_secret": w.regenerate(clientA)}).Data["rotated"])
		assert.Equal(t, false, w.rotate(fields{"client_id": clientA}).Data["rotated"])
		w.refused(w.try(logical.UpdateOperation, "rotate", nil))
	})
}

// A failover is a rotation too: who was about to rotate because of the refused client
// would go back to it.
func TestRotateRightAfterAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		w.regenerate(clientA)
		w.pass(time.Hour)
		w.tryRetried(logical.ReadOperation, "creds", nil)
		require.Equal(t, "failover", w.read("status")["last_rotation_cause"])
		w.pass(30 * time.Second)
		assert.Regexp(t, `^connection "default" was rotated at 2026-03-01T13:00:0\dZ \(failover\), \d+s ago, and client "client-b" is active: `, w.refused(w.try(logical.UpdateOperation, "rotate", nil)))

		// What to say is what is so now.
		w.write("config", fields{"client_id": "client-c", "client_secret": w.client("client-c")})
		assert.Contains(t, w.refused(w.try(logical.UpdateOperation, "rotate", nil)), `To make client "client-c" active: vault write gbg/rotate client_id=client-c`)
	})
}

// A clock that jumped makes nobody wait for longer than two minutes.
func TestRotateAfterTheClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for back, refused := range map[time.Duration]bool{
			59 * time.Second: true, time.Minute: false, 24 * time.Hour: false,
		} {
			w := newWorld(t, worldOptions{})
			w.write("config", w.pair())
			w.mount = w.mountWith(gbg.Options{Now: func() time.Time { return time.Now().Add(back) }})
			w.rotate(nil)
			w.mount = w.newMount()
			a := w.try(logical.UpdateOperation, "rotate", nil)
			if refused {
				assert.Contains(t, w.refused(a), " 0s ago", "nothing is in the future")
			} else {
				assert.Equal(t, true, w.ok(a).Data["rotated"], back)
			}
		}
	})
}

// Names that a shell would not take for one word are quoted in commands.
func TestRotateCommandsQuoteTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for id, want := range map[string]string{
			"6f1c0d-A_9.x@gbg:b": "client_id=6f1c0d-A_9.x@gbg:b",
			"two words":          "client_id='two words'",
			"$(id); it's":        `client_id='$(id); it'\''s'`,
			"@file":              `client_id='\@file'`,
		} {
			w := newWorld(t, worldOptions{})
			w.write("config", fields{
				"client_id": clientA, "client_secret": wrongSecret, "paired_client_id": id, "paired_client_secret": wrongSecret, "verify_connection": false,
			})
			assert.Contains(t, w.read("status")["next_step"], "vault write gbg/rotate "+want)
		}
	})
}
