package plugintest

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// statusList lists gbg/status.
func (m *mount) statusList() (names []string, lines fields) {
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
		names, lines := w.statusList()
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
		names, lines := w.statusList()
		assert.Equal(t, []string{"later", "m2m", "default", "sso", "team-b"}, names, "the worst first")
		assert.Equal(t, fields{
			"default": fields{"state": "ok", "active": clientA, "secret_age": int64(600), "token_ttl": int64(0), "error": "-"},
			"later":   fields{"state": "unreadable", "active": "-", "secret_age": int64(0), "token_ttl": int64(0), "error": "-"},
			"m2m":     fields{"state": "standby_unproven", "active": idpA, "secret_age": int64(600), "token_ttl": int64(0), "error": "-"},
			"sso":     fields{"state": "ok", "active": "-", "secret_age": int64(0), "token_ttl": int64(0), "error": "-"},
			"team-b":  fields{"state": "ok", "active": clientA, "secret_age": int64(600), "token_ttl": int64(3000), "error": "-"},
		}, lines)
		assert.Equal(t, asked, w.asked())
	})
}

func TestStatusListOfTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.pair(), fields{"verify_connection": false}))
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusServiceUnavailable})
		a, _ := w.tryRetried(logical.ReadOperation, "creds", nil)
		w.coded(http.StatusServiceUnavailable, a)
		w.pass(time.Minute)
		_, lines := w.statusList()
		assert.Subset(t, lines["default"], fields{"state": "down", "error": "server_error"})
		w.sim.ClearFaults()
		w.regenerate(clientA)
		w.regenerate(clientB)
		w.coded(http.StatusBadGateway, w.try(logical.ReadOperation, "creds", nil))
		_, lines = w.statusList()
		assert.Subset(t, lines["default"], fields{"state": "down", "error": "client_refused"})
	})
}

// With ids of 36 characters the table of "vault list -detailed", which has four spaces
// between its columns, fits 120 columns, whatever is wrong.
func TestStatusListFitsATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		const id = "0d9ad1e3-6b3c-4d0f-9b57-0c2f4b7a1e55"
		w.write("config/team-name", fields{
			"client_id": id, "client_secret": w.client(id), "paired_client_id": clientB, "paired_client_secret": wrongSecret,
			"token_url": w.tokenURL(), "verify_connection": false,
		})
		w.pass(10 * 365 * 24 * time.Hour)
		w.fault(statusFault(http.StatusForbidden))
		w.badGateway(w.try(logical.ReadOperation, "creds/team-name", nil))
		_, lines := w.statusList()
		line := lines["team-name"].(fields)
		assert.Equal(t, "not_a_token_endpoint", line["error"], "the longest word")
		line["state"] = "standby_unproven" // the longest one
		width := len("team-name")
		for column, value := range line {
			width += len("    ") + max(len(column), len(fmt.Sprint(value)))
		}
		assert.LessOrEqual(t, width, 120)
	})
}

// After a restart a list reads the storage entries side by side, not one after another.
func TestStatusListIsReadSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		single := w.single()
		const connections = 64
		for i := range connections {
			w.write(fmt.Sprintf("config/team-%d", i), single)
		}
		w.restart()
		w.storage.slow(10 * time.Millisecond)
		began := time.Now()
		names, _ := w.statusList()
		assert.Len(t, names, connections)
		assert.LessOrEqual(t, time.Since(began), 100*time.Millisecond)
		w.storage.slow(0)
	})
}
