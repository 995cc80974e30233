package plugintest

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// A rotation that GBG refuses is what a check would find: the standby does not work with
// the secret that is stored.
func TestRotateRefusedIsTheStandbysError(t *testing.T) {
	for name, data := range map[string]fields{"bare": nil, "by name": {"client_id": clientB}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, worldOptions{}, func(w *world) {
				w.write("config", w.pair())
				secret := w.regenerate(clientB)
				w.pass(time.Hour)
				asked := w.askedBy(clientB)
				assert.Contains(t, w.refused(w.try(logical.UpdateOperation, "rotate", data)), `GBG refused client "client-b"`)
				assert.Equal(t, asked+2, w.askedBy(clientB), "one stray answer is no refusal")
				status := w.read("status")
				assert.Equal(t, "standby_refused", status["state"])
				assert.Contains(t, status["standby_error"], "invalid_client")
				assert.Equal(t, timestamp(start.Add(time.Hour+refusedPause)), status["standby_error_time"])
				assert.Contains(t, status["next_step"], "vault write gbg/rotate client_id=client-b client_secret=@FILE")
				assert.Equal(t, clientA, status["active_client_id"])
				assert.Contains(t, w.metrics().of("default"), `gbg_standby_refused_timestamp_seconds{client_id="client-b"}`)
				w.restart()
				assert.Equal(t, status["standby_error"], w.read("status")["standby_error"])

				w.rotate(fields{"client_id": clientB, "client_secret": secret})
				assert.NotContains(t, w.read("status"), "standby_error")
			})
		})
	}
}

// A secret that comes with the request and is refused is not the standby's.
func TestRotateRefusedWithAGivenSecret(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		content, asked := w.storage.content(w.t), w.askedBy(clientB)
		w.refused(w.try(logical.UpdateOperation, "rotate", fields{"client_id": clientB, "client_secret": wrongSecret}))
		assert.Equal(t, asked+1, w.askedBy(clientB))
		assert.NotContains(t, w.read("status"), "standby_error")
		assert.Equal(t, content, w.storage.content(w.t))

		// The stored one, given, is the stored one.
		stored := w.secretOf(clientB)
		w.regenerate(clientB)
		w.refused(w.try(logical.UpdateOperation, "rotate", fields{"client_secret": stored}))
		assert.Contains(t, w.read("status")["standby_error"], "invalid_client")
	})
}

// A stray refusal does not keep a rotation from being made, and an outage is no refusal.
func TestRotateStrayRefusal(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusUnauthorized, Error: "invalid_client", Requests: 1})
		w.rotate(fields{"client_id": clientB})
		assert.NotContains(t, w.read("status"), "standby_error")

		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusServiceUnavailable})
		content := w.storage.content(w.t)
		a, _ := w.tryRetried(logical.UpdateOperation, "rotate", fields{"client_id": clientA})
		w.unavailable(a)
		assert.NotContains(t, w.read("status"), "standby_error")
		assert.Equal(t, content, w.storage.content(w.t))
	})
}

// The caller learns of the refusal also if it cannot be stored.
func TestRotateRefusalThatCannotBeStored(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		w.regenerate(clientB)
		w.storage.failPut(func(context.Context, *logical.StorageEntry) error { return errors.New("no space") })
		var text string
		warned := w.lines(func() { text = w.refused(w.try(logical.UpdateOperation, "rotate", fields{"client_id": clientB})) }, "WARN")
		assert.Contains(t, text, `GBG refused client "client-b"`)
		require.Len(t, warned, 2)
		assert.Contains(t, warned[1], "the outcome of a verification could not be stored")
		w.storage.heal()
	})
}

// A rotation on a schedule that is refused is told in the same way, and as often as its
// pauses say, however often the standby is checked.
func TestScheduledRotationRefused(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", with(w.pair(), fields{"rotation_schedule": "0 * * * *", "standby_check": 0}))
		w.regenerate(clientB)
		w.passUntil(marchAt(1, 13, 1))
		status := w.read("status")
		assert.Equal(t, "standby_refused", status["state"])
		assert.Contains(t, status["standby_error"], "invalid_client")
		assert.Equal(t, "2026-03-01T13:00:00Z", status["rotation_due"])

		w.write("config", fields{"standby_check": 10})
		warned := w.lines(func() { w.passUntil(marchAt(1, 13, 50)) }, "WARN")
		assert.Less(t, len(warned), 15, warned)

		// A secret that works mends it, and the rotation is made at once.
		w.write("config", fields{"paired_client_secret": w.regenerate(clientB)})
		w.pass(0)
		assert.Equal(t, 1, w.scheduledFlips())
		assert.NotContains(t, w.read("status"), "standby_error")
	})
}

// When the standby gets a token again, a rotation that is due does not wait for its next
// try.
func TestScheduledRotationAfterAProof(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", with(w.pair(), fields{"rotation_schedule": "0 3 * * *", "standby_check": 0}))
		w.passUntil(marchAt(2, 2, 59))
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusUnauthorized, Error: "invalid_client", ClientID: clientB})
		w.passUntil(marchAt(2, 14, 0)) // the pauses have grown to an hour
		require.Zero(t, w.scheduledFlips())
		w.sim.ClearFaults()
		w.verify()
		w.pass(0)
		assert.Equal(t, 1, w.scheduledFlips())
	})
}

// A pair of users: the password that is stored and refused is the standby's error, one
// that comes with the request is not.
func TestRotateRefusedUser(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.users())
		w.refused(w.try(logical.UpdateOperation, "rotate", fields{"password": "a wrong password"}))
		assert.NotContains(t, w.read("status"), "standby_error")
		w.changePassword(userB)
		assert.Contains(t, w.refused(w.try(logical.UpdateOperation, "rotate", fields{"username": userB})), "invalid_grant")
		status := w.read("status")
		assert.Equal(t, "standby_refused", status["state"])
		assert.Contains(t, status["standby_error"], "invalid_grant")
	})
}
