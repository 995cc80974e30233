package plugintest

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// glances lists gbg/status.
func (m *mount) glances() (names []string, lines fields) {
	m.world.t.Helper()
	resp := m.ok(m.try(logical.ListOperation, "status/", nil))
	if resp.Data["keys"] == nil { // Vault makes it a 404
		return nil, nil
	}
	return resp.Data["keys"].([]string), resp.Data["key_info"].(fields)
}

func TestStatusListOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		names, lines := w.glances()
		assert.Empty(t, names)
		assert.Empty(t, lines)
	})
}

// A line for each connection, whatever its kind; none of them asks GBG.
func TestStatusList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config/team-b", pair)
		w.write("config", fields{"client_id": clientA, "client_secret": pair["client_secret"], "token_url": w.tokenURL(), "verify_connection": false})
		w.write("config/m2m", with(w.m2m(), fields{"verify_connection": false}))
		w.write("config/sso", w.exchangeOnly())
		require.NoError(t, w.storage.Put(t.Context(), &logical.StorageEntry{Key: "connection/later", Value: []byte(`{"version":99}`)}))
		w.pass(10 * time.Minute)
		asked := w.asked()
		names, lines := w.glances()
		assert.Equal(t, []string{"default", "later", "m2m", "sso", "team-b"}, names)
		assert.Equal(t, fields{
			"default": fields{"active": clientA, "standby": "-", "token_for": "-", "secret_age": "10m", "standby_proven": "-", "last_error": "-"},
			"later":   fields{"active": "-", "standby": "-", "token_for": "-", "secret_age": "-", "standby_proven": "-", "last_error": "unreadable"},
			"m2m":     fields{"active": idpA, "standby": idpB, "token_for": "-", "secret_age": "10m", "standby_proven": "never", "last_error": "-"},
			"sso":     fields{"active": "-", "standby": "-", "token_for": "-", "secret_age": "-", "standby_proven": "-", "last_error": "-"},
			"team-b":  fields{"active": clientA, "standby": clientB, "token_for": "50m", "secret_age": "10m", "standby_proven": "10m ago", "last_error": "-"},
		}, lines)
		assert.Equal(t, asked, w.asked())
	})
}

func TestStatusListOfTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.pair(), fields{"verify_connection": false}))
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusServiceUnavailable})
		for range 2 {
			a, _ := w.tryRetried(logical.ReadOperation, "creds", nil)
			w.coded(http.StatusServiceUnavailable, a)
			w.pass(time.Minute)
		}
		_, lines := w.glances()
		assert.Equal(t, "server error (2)", lines["default"].(fields)["last_error"])
		w.sim.ClearFaults()
		w.regenerate(clientA)
		w.regenerate(clientB)
		w.coded(http.StatusBadGateway, w.try(logical.ReadOperation, "creds", nil))
		_, lines = w.glances()
		assert.Equal(t, "client refused (3)", lines["default"].(fields)["last_error"])
	})
}

// Lengths of time are in the largest unit that leaves at least two of it.
func TestStatusListAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for passed, want := range map[time.Duration]string{
			0: "0s", 119 * time.Second: "119s", 2 * time.Minute: "2m", 119 * time.Minute: "119m", 2 * time.Hour: "2h",
			47 * time.Hour: "47h", 48 * time.Hour: "2d", 400 * 24 * time.Hour: "400d",
		} {
			w := newWorld(t, worldOptions{})
			w.write("config", w.single())
			w.pass(passed)
			_, lines := w.glances()
			assert.Equal(t, want, lines["default"].(fields)["secret_age"])
		}
	})
}
