package plugintest

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// What a person is told about keys: which is to be registered, and how one is renewed.

const (
	proveKeys = `Client "idp-client-a" is active with a key that has not been proved: register the keys of all clients at the identity provider (vault read gbg/keys), then prove them: vault write -f gbg/verify`
	proveB    = `Client "idp-client-b" stands by with a key that has not been proved: register it at the identity provider (vault read gbg/keys), then prove it: vault write -f gbg/verify. When it is time to rotate: vault write gbg/rotate client_id=idp-client-b`
)

// A key that is not registered yet is the next step, whatever else is to be said about
// the connection.
func TestKeysNextStepOfAnUnprovenStandby(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		keyMade(w)
		w.unregister(idpB)
		w.write("config", fields{"max_secret_age": "1h", "rotation_period": "2h", "standby_check": "0"})
		w.pass(time.Hour)
		status := w.read("status")
		assert.Equal(t, []any{"secret_old", proveB}, []any{status["state"], status["next_step"]})

		w.write("config", fields{"max_secret_age": "0"})
		w.pass(time.Hour + time.Minute)
		status = w.read("status")
		assert.Equal(t, []any{"rotation_due", "A rotation has been due since " + timestamp(start.Add(2*time.Hour)) + ". " + proveB}, []any{status["state"], status["next_step"]})
	})
}

// The first keys are both to be registered.
func TestKeysNextStepOfTheFirstKeys(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		both := w.withKeys()
		w.write("config", without(both, "paired_client_id"))
		w.markKeys()
		assert.Equal(t, proveKeys, w.read("status")["next_step"])
		w.write("config", both)
		w.markKeys()
		assert.Equal(t, proveKeys, w.read("status")["next_step"])
		w.register(idpA)
		w.read("creds")
		assert.Equal(t, proveB, w.read("status")["next_step"])
		w.pass(2 * time.Hour)
		w.restart()
		assert.Equal(t, proveB, w.read("status")["next_step"], "nor after a restart")
	})
}

// A new key is not stored by a person, as a new secret is.
func TestKeysRotationDueWarning(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		proven(w)
		w.write("config", fields{"rotation_period": "1h"})
		w.pass(time.Hour)
		resp := w.creds()
		require.Len(t, resp.Warnings, 1)
		assert.Equal(t, "rotation due, standby has no new secret: due since "+timestamp(start.Add(time.Hour))+
			`; make a new key for client "idp-client-b" and register it`, resp.Warnings[0])
	})
}

// Who proves a key that is not registered learns where it is.
func TestKeysRefusedChange(t *testing.T) {
	const hint = ". Nothing has changed. Check that the identity provider accepts the connection's idp_audience, and that the clients' keys are registered there: vault read gbg/keys."
	inBubble(t, worldOptions{}, func(w *world) {
		keyMade(w)
		w.unregister(idpB)
		for path, data := range map[string]fields{"rotate": {"client_id": idpB}, "config": {"idp_scope": "api"}} {
			text := w.refused(w.try(logical.UpdateOperation, path, data))
			assert.Contains(t, text, `the identity provider refused client "idp-client-b": invalid_client`)
			assert.True(t, strings.HasSuffix(text, hint), text)
		}
		// The exchange is not about keys.
		w.register(idpB)
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointIdentity, Status: 400, Error: "invalid_scope"})
		text := w.refused(w.try(logical.UpdateOperation, "rotate", fields{"client_id": idpB}))
		assert.NotContains(t, text, "keys are registered")
		assert.Contains(t, text, "Nothing has changed.")
	})
}
