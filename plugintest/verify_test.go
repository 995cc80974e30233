package plugintest

import (
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// verify verifies the connection "default" and returns what came of it, by client.
func (m *mount) verify() (results map[string]fields, warnings []string) {
	m.world.t.Helper()
	resp := m.ok(m.try(logical.UpdateOperation, "verify", nil))
	results = map[string]fields{}
	for _, client := range resp.Data["clients"].([]any) {
		client := client.(fields)
		results[client["client_id"].(string)] = client
	}
	return results, resp.Warnings
}

// Both clients get a token, which nobody else sees; nothing changes but when they were
// last seen to work.
func TestVerify(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		before, config, storedToken := w.read("creds"), w.read("config"), w.storage.content(w.t)[tokenKey]
		w.pass(10 * time.Minute)
		asked := w.asked()
		resp := w.ok(w.try(logical.UpdateOperation, "verify/default", nil))
		assert.Equal(t, fields{"connection": "default", "clients": []any{
			fields{"client_id": clientA, "active": true, "result": "ok", "scope": "gbg.token", "lifetime": int64(3600)},
			fields{"client_id": clientB, "active": false, "result": "ok", "scope": "gbg.token", "lifetime": int64(3600)},
		}}, resp.Data)
		assert.Empty(t, resp.Warnings)
		assert.Equal(t, asked+2, w.asked())
		assert.Equal(t, before["access_token"], w.read("creds")["access_token"])
		assert.Equal(t, config, w.read("config"))
		assert.Equal(t, storedToken, w.storage.content(w.t)[tokenKey])

		at := timestamp(start.Add(10 * time.Minute))
		status := w.read("status")
		assert.Equal(t, at, status["active_verified_time"])
		assert.Equal(t, at, status["standby_verified_time"])
		w.restart()
		assert.Equal(t, at, w.read("status")["standby_verified_time"], "the times outlive a restart")
	})
}

// A refused client is a part of the report. It is told in the status; nothing flips, and
// nobody waits for the pause after the failure.
func TestVerifyRefusedClients(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		token := w.read("creds")["access_token"]
		w.regenerate(clientB)
		results, _ := w.verify()
		assert.Equal(t, "ok", results[clientA]["result"])
		assert.Equal(t, "refused", results[clientB]["result"])
		assert.Contains(t, results[clientB]["error"], "invalid_client")
		status := w.read("status")
		assert.Contains(t, status["standby_error"], "invalid_client")
		assert.Equal(t, timestamp(time.Now()), status["standby_error_time"])
		assert.Equal(t, `Client "client-b" is the standby and has been refused since 2026-03-01T12:00:00Z: see standby_error. Renew it now: if nobody has its current secret, regenerate it in GBG's Account management portal, then: vault write gbg/rotate client_id=client-b client_secret=@FILE`, status["next_step"])
		assert.NotContains(t, status, "last_error")
		w.restart()
		assert.Equal(t, status["standby_error"], w.read("status")["standby_error"])

		w.regenerate(clientA)
		for range 3 {
			results, _ = w.verify()
			assert.Equal(t, "refused", results[clientA]["result"])
		}
		status = w.read("status")
		assert.Contains(t, status["last_error"], "invalid_client")
		assert.Equal(t, clientA, status["active_client_id"])
		assert.Equal(t, token, w.creds().Data["access_token"], "the current token is served")

		w.write("config", fields{"client_secret": w.regenerate(clientA), "paired_client_secret": w.regenerate(clientB)})
		results, _ = w.verify()
		assert.Equal(t, "ok", results[clientA]["result"])
		assert.NotContains(t, w.read("status"), "standby_error")
	})
}

// The active client's token ends the failures of readers.
func TestVerifyEndsFailures(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", with(w.single(), fields{"verify_connection": false}))
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusServiceUnavailable})
		a, _ := w.tryRetried(logical.ReadOperation, "creds", nil)
		w.coded(http.StatusServiceUnavailable, a)
		var results map[string]fields
		w.retries(func() { results, _ = w.verify() })
		assert.Equal(t, "unreachable", results[clientA]["result"])
		assert.EqualValues(t, 2, w.read("status")["consecutive_errors"])
		w.sim.ClearFaults()
		results, _ = w.verify()
		assert.Equal(t, "ok", results[clientA]["result"])
		assert.NotContains(t, w.read("status"), "last_error")
		w.creds()
	})
}

// The tokens of a verification are revoked.
func TestVerifyRevokesItsTokens(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", with(w.pair(), fields{"revoke_url": w.revokeURL()}))
		w.verify()
		w.pass(time.Second)
		assert.Equal(t, 2, w.sim.Stats().Revocations.TokenRequests.Issued)
	})
}

func TestVerifyErrors(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		assert.Contains(t, w.refused(w.try(logical.UpdateOperation, "verify", nil)), "is not configured")
		w.write("config", w.exchangeOnly())
		assert.Contains(t, w.refused(w.try(logical.UpdateOperation, "verify", nil)), "has no clients of its own")
		w.backend.Cleanup(w.t.Context())
		w.coded(http.StatusServiceUnavailable, w.try(logical.UpdateOperation, "verify", nil))
	})
}
