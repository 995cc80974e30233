package plugintest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConfigReadOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		for _, path := range []string{"config", "config/default", "config/team-a"} {
			assert.Equal(t, answer{}, w.try(logical.ReadOperation, path, nil), "%s: no answer is Vault's 404", path)
		}
	})
}

func TestConfigReadShowsDefaultsAndNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", fields{"client_id": clientA, "client_secret": wrongSecret, "verify_connection": false})
		assert.Equal(t, fields{
			"client_id":        clientA,
			"paired_client_id": "",
			"active_client_id": clientA,
			"grant_type":       "client_credentials",
			"token_url":        "https://api.auth.gbgplc.com/as/token.oauth2",
			"scope":            "gbg.token",
			"refresh_before":   int64(300),
			"request_timeout":  int64(10),
			"ca_pem":           "",
			"failover":         true,
			"max_secret_age":   int64(0),
			"lease":            false,
			"revoke_url":       "",
		}, w.read("config"))
	})
}

func TestConfigReadShowsWhatWasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.pair(), fields{
			"grant_type":      "client_credentials",
			"scope":           " gbg.token\n  gbg.token ",
			"refresh_before":  "2m",
			"request_timeout": 30,
			"ca_pem":          "\n" + testCA + "\n",
			"failover":        false,
			"max_secret_age":  "720h",
			"lease":           true,
			"revoke_url":      w.revokeURL(),
		}))
		assert.Equal(t, fields{
			"client_id":        clientA,
			"paired_client_id": clientB,
			"active_client_id": clientA,
			"grant_type":       "client_credentials",
			"token_url":        w.tokenURL(),
			"scope":            "gbg.token gbg.token",
			"refresh_before":   int64(120),
			"request_timeout":  int64(30),
			"ca_pem":           testCA + "\n",
			"failover":         false,
			"max_secret_age":   int64(30 * 24 * 3600),
			"lease":            true,
			"revoke_url":       w.revokeURL(),
		}, w.read("config"))
	})
}

func TestConfigWritesArePartial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config", with(pair, fields{"refresh_before": 60}))
		for name, change := range map[string]fields{
			"refresh_before":  {"refresh_before": int64(90)},
			"request_timeout": {"request_timeout": int64(20)},
			"failover":        {"failover": false},
			"max_secret_age":  {"max_secret_age": int64(3600)},
			"scope":           {"scope": ""},
			"nothing":         {},
		} {
			before := w.read("config")
			w.write("config", change)
			want := with(before, change)
			want["scope"] = connection.DefaultScope
			assert.Equal(t, want, w.read("config"), name)
		}
		w.write("config", fields{"client_secret": w.regenerate(clientA)})
		w.write("config", fields{"paired_client_secret": w.regenerate(clientB)})
		assert.Equal(t, clientA, w.read("creds")["client_id"])
	})
}

// JSON's null is a field that is not given, not an empty one.
func TestConfigNullIsNotGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := with(w.pair(), fields{"refresh_before": 60, "request_timeout": 20, "failover": false, "max_secret_age": 3600, "ca_pem": testCA})
		w.write("config", pair)
		before := w.storage.content(t)
		null := fields{"verify_connection": nil, "scope": nil, "grant_type": nil}
		for name := range pair {
			null[name] = nil
		}
		w.write("config", null)
		assert.Equal(t, before, w.storage.content(t))

		delete(null, "client_secret")
		assert.Equal(t, w.refusal("default", clientA)+" Nothing has changed.",
			w.refused(w.try(logical.UpdateOperation, "config", with(null, fields{"client_secret": wrongSecret}))),
			"verification is on")
		assert.Equal(t, before, w.storage.content(t))
	})
}

// Where the contract gives a default, an empty text asks for it again.
func TestConfigEmptyTextIsTheDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := with(w.pair(), fields{"verify_connection": false})
		w.write("config", with(pair, fields{"scope": "other", "ca_pem": testCA}))
		w.write("config", with(pair, fields{"scope": "", "ca_pem": "", "grant_type": "", "token_url": ""}))
		got := w.read("config")
		assert.Equal(t, connection.DefaultScope, got["scope"])
		assert.Equal(t, connection.DefaultTokenURL, got["token_url"])
		assert.Equal(t, "client_credentials", got["grant_type"])
		assert.Empty(t, got["ca_pem"])
	})
}

func TestConfigTrimsIDsAndSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		for _, field := range []string{"client_id", "client_secret", "paired_client_id", "paired_client_secret", "token_url"} {
			pair[field] = " \t" + pair[field].(string) + "\r\n"
		}
		w.write("config", pair)
		assert.Equal(t, 2, w.sim.Stats().TokenRequests.Issued)
		got := w.read("config")
		assert.Equal(t, clientA, got["client_id"])
		assert.Equal(t, clientB, got["paired_client_id"])
		assert.Equal(t, w.tokenURL(), got["token_url"])
	})
}

func TestConfigDeclarativeWriteCanBeRepeatedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		declared := with(w.pair(), fields{"grant_type": "client_credentials", "scope": "gbg.token", "refresh_before": "5m", "verify_connection": true})
		w.write("config", declared)
		content, asked, puts := w.storage.content(t), w.asked(), w.storage.puts.Load()

		for range 3 {
			w.pass(time.Hour)
			assert.Empty(t, w.write("config", declared))
		}
		assert.Equal(t, content, w.storage.content(t))
		assert.Equal(t, asked, w.asked(), "GBG was asked")
		assert.Equal(t, puts, w.storage.puts.Load(), "something was written")

		// Nor does it move the active side back after a rotation.
		w.rotate(nil)
		content, asked, puts = w.storage.content(t), w.asked(), w.storage.puts.Load()
		assert.Empty(t, w.write("config", declared))
		assert.Equal(t, clientB, w.read("config")["active_client_id"])
		assert.Equal(t, content, w.storage.content(t))
		assert.Equal(t, asked, w.asked(), "GBG was asked")
		assert.Equal(t, puts, w.storage.puts.Load(), "something was written")
	})
}

func TestConfigNeverMovesTheActiveSide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config", pair)
		w.rotate(nil)
		for _, c := range []struct {
			name   string
			change fields
		}{
			{"a setting", fields{"refresh_before": 60}},
			{"both secrets", fields{"client_secret": w.regenerate(clientA), "paired_client_secret": w.regenerate(clientB)}},
			{"the ids change sides", fields{"client_id": clientB, "paired_client_id": clientA}},
			{"and back", fields{"client_id": clientA, "paired_client_id": clientB}},
			{"a new standby", fields{"client_id": "client-c", "client_secret": w.client("client-c")}},
		} {
			w.write("config", c.change)
			assert.Equal(t, clientB, w.read("config")["active_client_id"], c.name)
			assert.Equal(t, clientB, w.read("creds")["client_id"], c.name)
		}
	})
}

func TestConfigSwappedIDsKeepTheirSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		w.write("config", fields{"client_id": clientB, "paired_client_id": clientA})
		got := w.read("config")
		assert.Equal(t, []any{clientB, clientA, clientA}, []any{got["client_id"], got["paired_client_id"], got["active_client_id"]})
		assert.Equal(t, clientB, w.rotate(nil).Data["active_client_id"], "the standby still proves itself")
	})
}

func TestConfigPairedClientMayComeLaterAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		assert.Empty(t, w.read("config")["paired_client_id"])

		w.write("config", fields{"paired_client_id": clientB, "paired_client_secret": w.client(clientB)})
		assert.Equal(t, clientB, w.read("config")["paired_client_id"])
		assert.Equal(t, 1, w.askedBy(clientA), "only the client that was set proves itself")
		assert.Equal(t, 1, w.askedBy(clientB))

		w.write("config", fields{"paired_client_id": ""})
		assert.Empty(t, w.read("config")["paired_client_id"])
		assert.NotContains(t, w.read("status"), "standby_client_id")

		// Its secret is gone with it.
		assert.Equal(t, "paired_client_secret is missing",
			w.refused(w.try(logical.UpdateOperation, "config", fields{"paired_client_id": clientB})))
	})
}

func TestConfigActivePairedClientStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		w.rotate(nil)
		before := w.storage.content(t)
		assert.Equal(t, "paired_client_id cannot be removed: it is the active client. Rotate first, then remove it",
			w.refused(w.try(logical.UpdateOperation, "config", fields{"paired_client_id": ""})))
		assert.Equal(t, before, w.storage.content(t))

		w.rotate(fields{"client_id": clientA})
		w.write("config", fields{"paired_client_id": ""})
		assert.Equal(t, clientA, w.read("config")["active_client_id"])
	})
}

func TestConfigDefaultIsConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config/default", w.single())
		assert.Equal(t, w.read("config"), w.read("config/default"))
		w.write("config", fields{"refresh_before": 60})
		assert.EqualValues(t, 60, w.read("config/default")["refresh_before"])
		assert.Equal(t, w.read("creds"), w.read("creds/default"))
		assert.Equal(t, w.read("status"), w.read("status/default"))
		assert.Equal(t, []string{"default"}, w.list())
		assert.Equal(t, []string{"connection/default", "token/default"}, w.storage.keys(t), "one storage entry is one connection, and one its token")
	})
}

func TestConfigListAndDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		assert.Empty(t, w.ok(w.send(t.Context(), logical.ListOperation, "config/", nil)).Data, "an empty list is Vault's 404")
		single := w.single()
		for _, path := range []string{"config", "config/team-a", "config/team_b.1"} {
			w.write(path, single)
		}
		assert.ElementsMatch(t, []string{"default", "team-a", "team_b.1"}, w.list())

		assert.Equal(t, answer{}, w.try(logical.DeleteOperation, "config/team-a", nil))
		assert.ElementsMatch(t, []string{"default", "team_b.1"}, w.list())
		assert.Equal(t, answer{}, w.try(logical.ReadOperation, "config/team-a", nil))
		assert.Contains(t, w.refused(w.try(logical.ReadOperation, "creds/team-a", nil)), "not configured")
		assert.Equal(t, clientA, w.read("creds/team_b.1")["client_id"], "the others stay")

		assert.Equal(t, answer{}, w.try(logical.DeleteOperation, "config/team-a", nil), "deleting nothing is no error")
		assert.Equal(t, answer{}, w.try(logical.DeleteOperation, "config", nil))
		assert.Equal(t, []string{"team_b.1"}, w.list())
		assert.Equal(t, []string{"connection/team_b.1", "token/team_b.1"}, w.storage.keys(t))
	})
}

// list gives the names of the connections, which must not be none.
func (m *mount) list() []string {
	m.world.t.Helper()
	names, ok := m.ok(m.try(logical.ListOperation, "config/", nil)).Data["keys"].([]string)
	require.True(m.world.t, ok)
	return names
}

// Vault needs the existence check to tell the policy capability "create" from
// "update".
func TestConfigExistenceCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		single := w.single()
		exists := func(path string) bool {
			t.Helper()
			checked, exists, err := w.backend.HandleExistenceCheck(t.Context(), &logical.Request{
				Operation: logical.CreateOperation, Path: path, Storage: w.storage, Data: single,
			})
			require.NoError(t, err)
			require.True(t, checked)
			return exists
		}
		assert.False(t, exists("config"))
		assert.False(t, exists("config/team-a"))
		w.write("config/team-a", single)
		assert.False(t, exists("config"))
		assert.True(t, exists("config/team-a"))
		w.ok(w.try(logical.DeleteOperation, "config/team-a", nil))
		assert.False(t, exists("config/team-a"))
	})
}

func TestConfigConnectionsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config/team-a", w.single())
		w.write("config/team-b", fields{"client_id": clientB, "client_secret": w.client(clientB), "token_url": w.tokenURL()})
		before := w.read("config/team-b")
		w.write("config/team-a", fields{"refresh_before": 60})
		assert.Equal(t, before, w.read("config/team-b"))

		a, b := w.read("creds/team-a"), w.read("creds/team-b")
		assert.Equal(t, []any{"team-a", clientA}, []any{a["connection"], a["client_id"]})
		assert.Equal(t, []any{"team-b", clientB}, []any{b["connection"], b["client_id"]})
		assert.NotEqual(t, a["access_token"], b["access_token"])
	})
}

func TestConfigMisspeltFieldIsWarnedOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		warning := []string{"Endpoint ignored these unrecognized parameters: [refesh_before]"}
		assert.Equal(t, warning, w.write("config", with(pair, fields{"refesh_before": 60})))
		assert.Equal(t, warning, w.write("config", fields{"refesh_before": 60}), "also if nothing changes")
		assert.EqualValues(t, 300, w.read("config")["refresh_before"])
	})
}

// Whatever holds a secret or a token is seal-wrapped, and a token stays in its
// cluster.
func TestConfigIsSealWrapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		wrapped := map[string]bool{}
		w.storage.failPut(func(ctx context.Context, entry *logical.StorageEntry) error {
			wrapped[entry.Key] = entry.SealWrap
			return w.storage.InmemStorage.Put(ctx, entry)
		})
		w.write("config", w.pair())
		w.write("config/team-a", fields{"client_id": clientA, "client_secret": wrongSecret, "verify_connection": false})
		w.rotate(nil)
		assert.Equal(t, map[string]bool{"connection/default": true, "token/default": true, "connection/team-a": true}, wrapped)
		assert.Len(t, w.storage.content(t), len(wrapped))

		special := w.backend.SpecialPaths()
		assert.Equal(t, []string{"connection/", "token/", "revocation/"}, special.SealWrapStorage)
		assert.Equal(t, []string{"token/", "revocation/"}, special.LocalStorage)
	})
}
