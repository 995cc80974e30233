package gbg_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-gbg/internal/gbgsim"
)

// JSON's null is a field that is not given.
func TestRegressionNullTurnsVerificationOff(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.write("config", w.pair())
	w.try(logical.UpdateOperation, "config", fields{"client_secret": wrongSecret, "verify_connection": nil})
	w.clock.Advance(time.Hour)
	assert.Equal(t, clientA, w.read("creds")["client_id"], "an unverified secret was stored")
}

func TestRegressionNullRemovesTheStandby(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.write("config", with(w.pair(), fields{"refresh_before": 60}))
	before := w.storage.content(t)
	w.try(logical.UpdateOperation, "config", fields{"paired_client_id": nil, "scope": nil})
	assert.Equal(t, before, w.storage.content(t))
}

// The framework's own error for a value of the wrong type quotes the value.
func TestRegressionSecretOfTheWrongTypeIsQuoted(t *testing.T) {
	for _, secret := range []any{fields{"value": wrongSecret}, []any{wrongSecret, "x"}} {
		w := newWorld(t, worldOptions{})
		w.try(logical.UpdateOperation, "config", fields{"client_id": clientA, "client_secret": secret})
		w.try(logical.UpdateOperation, "rotate", fields{"client_secret": secret})
	}
}

// A refused write changes nothing: the token of before is served on.
func TestRegressionRefusedWriteForgetsTheToken(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.write("config", w.pair())
	before := w.read("creds")
	w.storage.failPut(refusePut)
	require.Error(t, w.try(logical.UpdateOperation, "rotate", nil).err)
	w.storage.heal()
	w.gbg.Close()
	assert.Equal(t, before, w.read("creds"))
}

func TestRegressionRefusedDeleteForgetsTheToken(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.write("config", w.pair())
	before := w.read("creds")
	w.storage.FailDelete(true)
	require.Error(t, w.try(logical.DeleteOperation, "config", nil).err)
	w.gbg.Close()
	assert.Equal(t, before, w.read("creds"))
}

// A token whose life ended on its way here is no answer to a reader.
func TestRegressionTokenThatEndedOnItsWay(t *testing.T) {
	w := newWorld(t, worldOptions{lifetime: 5 * time.Second})
	w.write("config", with(w.single(), fields{"verify_connection": false}))
	release := w.gate.hold(clientA)
	reading, _ := w.readLater(t.Context())
	await(t, w.gate.arrived, "the token request")
	w.clock.Advance(6 * time.Second)
	release()
	a := await(t, reading, "the reader")
	if a.err == nil {
		assert.Greater(t, a.resp.Data["expire_time"], timestamp(w.clock.Now()))
	}
}

// A connection with roots of its own has network connections of its own.
func TestRegressionCleanupLeavesConnectionsBehind(t *testing.T) {
	for name, last := range map[string]func(*mount){
		"a config write":          func(*mount) {},
		"an invalidation":         func(m *mount) { m.read("creds"); m.backend.InvalidateKey(t.Context(), "connection/default") },
		"a refused config write":  func(m *mount) { m.try(logical.UpdateOperation, "config", fields{"client_secret": wrongSecret}) },
		"ca_pem being taken back": func(m *mount) { m.try(logical.UpdateOperation, "config", fields{"ca_pem": testCA}) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			secret := w.client(clientA)
			server := httptest.NewTLSServer(w.sim)
			defer server.Close()
			before := goleak.IgnoreCurrent()
			m := w.newMount()
			m.write("config", fields{
				"client_id": clientA, "client_secret": secret,
				"token_url": server.URL + gbgsim.TokenPath, "ca_pem": pemOf("CERTIFICATE", server.Certificate().Raw),
			})
			last(m)
			m.backend.Cleanup(t.Context())
			goleak.VerifyNone(t, before)
		})
	}
}

// regenerate_after is never too early: after a restart, tokens may be out that
// live longer than the ones of the last write.
func TestRegressionRegenerateAfterIsTooEarlyAfterARestart(t *testing.T) {
	w := newWorld(t, worldOptions{lifetime: 5 * time.Minute})
	w.write("config", w.pair())
	require.NoError(t, w.sim.SetTokenLifetime(time.Hour))
	w.clock.Advance(5 * time.Minute)
	expires := w.read("creds")["expire_time"] // 13:05
	w.mount = w.newMount()
	assert.GreaterOrEqual(t, w.rotate(nil).Data["regenerate_after"], expires)
}

// client_secret=@empty-file or client_secret=$UNSET is a mistake, not "the
// stored one"; client_id=$UNSET must not be "whichever is not active".
func TestRegressionRotateTakesEmptyForNotGiven(t *testing.T) {
	for _, request := range []fields{{"client_secret": "\n"}, {"client_id": ""}} {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		w.refused(w.try(logical.UpdateOperation, "rotate", request))
	}
}

// The declared schema of a list demands keys, which an empty list has not.
func TestRegressionEmptyListDoesNotFitItsSchema(t *testing.T) {
	newWorld(t, worldOptions{}).try(logical.ListOperation, "config/", nil)
}

// Two answers with the same token are equal in every key but ttl.
func TestRegressionRotationPeriodChangesWithTheConfiguration(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.write("config", w.single())
	before := w.read("creds")
	w.write("config", fields{"refresh_before": 60})
	after := w.read("creds")
	if before["access_token"] == after["access_token"] {
		assert.Equal(t, without(before, "ttl"), without(after, "ttl"))
	}
}

// Without a standby there is nothing to rotate to.
func TestRegressionAdviceToRotateWithoutAPair(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.write("config", with(w.single(), fields{"client_secret": wrongSecret, "verify_connection": false}))
	assert.NotContains(t, w.coded(http.StatusBadGateway, w.try(logical.ReadOperation, "creds", nil)), "rotate")
	assert.NotContains(t, w.read("status")["next_step"], "rotate")
}

// Requests under way are part of what clean-up ends.
func TestRegressionRotationOutlivesCleanup(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.write("config", w.pair())
	content := w.storage.content(t)
	release := w.gate.hold(clientB)
	rotating := later(func() answer { return w.send(t.Context(), logical.UpdateOperation, "rotate", nil) })
	await(t, w.gate.arrived, "the proof")
	w.backend.Cleanup(t.Context())
	release()
	await(t, rotating, "the rotation")
	assert.Equal(t, content, w.storage.content(t), "written after clean-up")
}
