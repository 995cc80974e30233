package plugintest

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

const renewA = "vault write gbg/rotate client_id=client-a client_secret=@FILE"

// refusedByGBG is what status says of a client that refusalOf refuses.
func (w *world) refusedByGBG(client string) string {
	return `GBG refused client "` + client + `": invalid_client: Who is ` + client + `? (HTTP 401 from ` + w.tokenURL() + `)`
}

// After a failover the first status says what is wrong and the command that mends it,
// also after a restart, until the command has been followed.
func TestStatusAfterAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := coldWith(t, nil)
		w.fault(refusalOf(clientA))
		w.pass(time.Minute)
		w.creds()
		w.pass(time.Minute)
		want := fields{
			"state":              "standby_refused",
			"active_client_id":   clientB,
			"standby_client_id":  clientA,
			"standby_error":      w.refusedByGBG(clientA),
			"standby_error_time": "2026-03-01T12:01:00Z",
			"next_step": `Client "client-a" is the standby and has been refused since 2026-03-01T12:01:00Z: see standby_error. ` +
				`Renew it now: if nobody has its current secret, regenerate it in GBG's Account management portal, then: ` + renewA,
		}
		assert.Subset(t, w.read("status"), want)
		assert.NotContains(t, w.read("status"), "last_error")
		w.restart()
		assert.Subset(t, w.read("status"), want)
		_, lines := w.statusList()
		assert.Subset(t, lines["default"], fields{"state": "standby_refused", "active": clientB, "error": "client_refused"})

		// A write that is not about the client changes nothing of it.
		w.write("config", fields{"request_timeout": 20})
		assert.Subset(t, w.read("status"), want)

		w.sim.ClearFaults()
		w.rotate(fields{"client_id": clientA, "client_secret": w.regenerate(clientA)})
		got := w.read("status")
		assert.Equal(t, "ok", got["state"])
		assert.Equal(t, clientA, got["active_client_id"])
		assert.NotContains(t, got, "standby_error")
		assert.NotContains(t, got, "standby_error_time")
		w.rotateToStandby()
		assert.NotContains(t, w.read("status"), "standby_error", "the refusal was forgotten, not hidden")
	})
}

// A new secret of the standby ends its refusal; unless it is verified it is unproved.
func TestStatusOfARefusedStandbyWithANewSecret(t *testing.T) {
	for _, verified := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := coldWith(t, nil)
			w.fault(refusalOf(clientA))
			w.creds()
			w.sim.ClearFaults()
			w.write("config", fields{"client_secret": w.regenerate(clientA), "verify_connection": verified})
			got := w.read("status")
			assert.NotContains(t, got, "standby_error")
			if verified {
				assert.Equal(t, "ok", got["state"])
				return
			}
			assert.Equal(t, "standby_unproven", got["state"])
			assert.Equal(t, `Client "client-a" stands by with a secret that has not been proved. To prove it: vault write -f gbg/verify. When it is time to rotate: vault write gbg/rotate client_id=client-a`, got["next_step"])
		})
	}
}

// Both clients are refused: the error of a read, status and the list name what an
// operator can do, and no right on config.
func TestStatusOfAPairThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		w.read("creds")
		w.regenerate(clientA)
		renewed := w.regenerate(clientB)
		const step = `If nobody has the current secret of client "client-b", regenerate it. Then: vault write gbg/rotate client_id=client-b client_secret=@FILE`
		w.pass(56 * time.Minute)
		got := w.read("status")
		assert.Equal(t, "failing", got["state"])
		assert.Equal(t, "Token requests fail: see last_error. "+step, got["next_step"])
		assert.NotContains(t, got["last_error"], "connection")
		assert.Contains(t, got["last_error"], `; GBG refused client "client-b": `)
		_, lines := w.statusList()
		assert.Subset(t, lines["default"], fields{"state": "failing", "error": "client_refused", "token_ttl": int64(240)})

		w.pass(time.Hour)
		text := w.badGateway(w.tryCreds())
		assert.Contains(t, text, step)
		assert.NotContains(t, text, "config")
		assert.Equal(t, 1, strings.Count(text, `connection "default"`))
		assert.Equal(t, "down", w.read("status")["state"])

		w.rotate(fields{"client_id": clientB, "client_secret": renewed})
		assert.Equal(t, clientB, w.read("creds")["client_id"])
	})
}

// Whoever cannot reach GBG, or reaches something else, is told nothing about secrets.
func TestStatusOfAnOutageSaysNothingOfSecrets(t *testing.T) {
	for name, c := range map[string]struct {
		faults []gbgsim.Fault
		code   int
		step   string
	}{
		"an outage": {
			[]gbgsim.Fault{statusFault(http.StatusServiceUnavailable)}, http.StatusServiceUnavailable, "There is nothing to do in Vault: the next try is at ",
		},
		"a refusal and an outage": {
			[]gbgsim.Fault{refusalOf(clientA), {Kind: gbgsim.FaultStatus, ClientID: clientB, Status: http.StatusServiceUnavailable}},
			http.StatusServiceUnavailable, "There is nothing to do in Vault: the next try is at ",
		},
		"a page": {[]gbgsim.Fault{statusFault(http.StatusForbidden)}, http.StatusBadGateway, "What answered is no token endpoint: check token_url"},
		"a refusal and a page": {
			[]gbgsim.Fault{refusalOf(clientA), {Kind: gbgsim.FaultStatus, ClientID: clientB, Status: http.StatusForbidden}},
			http.StatusBadGateway, "What answered is no token endpoint: check token_url",
		},
		"a refused request": {
			[]gbgsim.Fault{{Kind: gbgsim.FaultStatus, Status: http.StatusBadRequest, Error: "invalid_scope"}},
			http.StatusBadGateway, "The request is refused, not the client: an administrator must check gbg/config",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := coldWith(t, nil)
				w.fault(c.faults...)
				a, _ := w.tryTimed(logical.ReadOperation, "creds", nil)
				assert.NotContains(t, w.coded(c.code, a), "secret")
				got := w.read("status")
				assert.Equal(t, "down", got["state"])
				assert.Contains(t, got["next_step"], c.step)
				assert.NotContains(t, got["next_step"], "secret")
			})
		})
	}
}

// A connection whose entry cannot be read has a status all the same.
func TestStatusOfAnUnreadableConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		require.NoError(t, w.storage.Put(t.Context(), &logical.StorageEntry{Key: "connection/later", Value: []byte(`{"version":99}`)}))
		assert.Equal(t, fields{
			"state": "unreadable", "connection": "later", "next_step": "Readers get errors: see last_error.",
			"last_error": "its storage entry has version 99, this release of the plugin reads up to version 2: run the release that wrote it, or a newer one",
		}, w.read("status/later"))
	})
}

func TestStatusOfAnOldSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.pair(), fields{"max_secret_age": "1h"}))
		w.pass(time.Hour - time.Second)
		assert.Equal(t, "ok", w.read("status")["state"], "a token that nobody reads is left to lapse")
		w.pass(time.Second)
		assert.Equal(t, "secret_old", w.read("status")["state"])
	})
}

// A clock that is set back makes no client look unproved, nor one proved that is not.
func TestStatusVerifiedTimeOfAClockThatIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		m, clock := w.newMachine(0)
		m.write("config", with(w.pair(), fields{"verify_connection": false}))
		clock.setBy(-time.Hour)
		m.read("creds")
		assert.Equal(t, "2026-03-01T11:00:00Z", m.read("status")["active_verified_time"])

		m.write("config", fields{"client_secret": w.regenerate(clientA), "verify_connection": false})
		assert.NotContains(t, m.read("status"), "active_verified_time")
	})
}

// A refused secret in quotes is most likely a piece of JSON. The error says so, and
// shows nothing of it.
func TestRefusedSecretInQuotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		const hint = "the secret begins and ends with a double quote: if it was copied from JSON, write it without the quotes"
		pair := w.pair()
		quoted := func(secret any) string { return `"` + secret.(string) + `"` }
		assert.Contains(t, w.refused(w.try(logical.UpdateOperation, "config", with(pair, fields{"client_secret": quoted(pair["client_secret"])}))), hint)
		assert.NotContains(t, w.refused(w.try(logical.UpdateOperation, "config", with(pair, fields{"client_secret": wrongSecret + `"`}))), hint)
		w.write("config", pair)
		assert.Contains(t, w.refused(w.try(logical.UpdateOperation, "rotate", fields{"client_secret": quoted(w.regenerate(clientB))})), hint)

		w.write("config", fields{"paired_client_id": "", "client_secret": `"` + wrongSecret + `"`, "verify_connection": false})
		w.pass(time.Hour)
		assert.Contains(t, w.badGateway(w.tryCreds()), hint)
		assert.Contains(t, w.read("status")["last_error"], hint)
		w.fault(statusFault(http.StatusServiceUnavailable))
		w.pass(time.Minute)
		a, _ := w.tryTimed(logical.ReadOperation, "creds", nil)
		assert.NotContains(t, w.coded(http.StatusServiceUnavailable, a), hint, "nothing was said of the client")
	})
}

// A rotation away from a client that was refused leaves a refused standby.
func TestStatusAfterARotationAwayFromARefusedClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := coldWith(t, fields{"failover": false})
		w.regenerate(clientA)
		w.badGateway(w.tryCreds())
		w.rotateToStandby()
		status := w.read("status")
		assert.Equal(t, "standby_refused", status["state"])
		assert.Contains(t, status["standby_error"], `GBG refused client "client-a"`)
		w.restart()
		assert.Equal(t, status["state"], w.read("status")["state"])
		w.rotate(fields{"client_id": clientA, "client_secret": w.regenerate(clientA)})
		assert.Equal(t, "ok", w.read("status")["state"])
	})
}
