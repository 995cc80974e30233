package plugintest

import (
	"testing"
	"testing/synctest"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
)

// isEmpty follows the name of a field in an error.
const isEmpty = " is empty: give a value or leave the field out"

// An empty text is what an unset variable leaves. As a boolean it would be false, and as
// a number or duration zero: a protection switched off.
func TestEmptyBooleansNumbersAndDurationsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		checked := map[string]bool{}
		for range 2 { // without a connection, and with one
			content, asked := w.storage.content(t), w.asks()
			for request, operations := range routes {
				for name, field := range frameworkOf(t, w).Route(request).Fields {
					if field.Type == framework.TypeString {
						continue
					}
					checked[request+" "+name] = true
					for _, op := range operations {
						if op == logical.CreateOperation {
							op = logical.UpdateOperation // Vault makes the one of the other
						}
						for _, empty := range []string{"", " ", "\n"} {
							assert.Equal(t, name+isEmpty, w.refused(w.try(op, request, fields{name: empty})), "%s %s %q", op, request, empty)
						}
					}
				}
			}
			assert.Equal(t, content, w.storage.content(t))
			assert.Equal(t, asked, w.asks())
			w.write("config", pair)
			w.write("config/team-a", pair)
		}
		for _, field := range []string{
			"config failover", "config/team-a lease", "config verify_connection", "config refresh_before", "config request_timeout",
			"config max_secret_age", "creds min_ttl", "creds/team-a min_ttl",
		} {
			assert.True(t, checked[field], field)
		}
	})
}

// Null is not given.
func TestNullKeepsTheValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.pair(), fields{"failover": false, "refresh_before": 60, "scope": "gbg.token"}))
		before, asked := w.read("config"), w.asked()
		w.write("config", fields{"failover": nil, "refresh_before": nil, "max_secret_age": nil, "verify_connection": nil, "scope": nil, "client_secret": nil})
		assert.Equal(t, before, w.read("config"))
		assert.Equal(t, asked, w.asked())
		w.ok(w.try(logical.ReadOperation, "creds", fields{"min_ttl": nil}))
	})
}

// An empty text is the default of a setting that is a text, but for ids and secrets:
// those are given or left out.
func TestEmptyTexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair, m2m := w.pair(), w.m2m()
		w.write("config", with(pair, fields{"scope": "a", "ca_pem": testCA, "verify_connection": false}))
		w.write("config/m2m", with(m2m, fields{"idp_scope": "a"}))
		w.write("config", fields{"scope": "", "ca_pem": ""})
		w.write("config/m2m", fields{"idp_scope": " "})
		got := w.read("config")
		assert.Equal(t, "gbg.token", got["scope"])
		assert.Empty(t, got["ca_pem"])
		assert.Empty(t, w.read("config/m2m")["idp_scope"])

		w.write("config/single", without(pair, "paired_client_id", "paired_client_secret"))
		content := w.storage.content(t)
		for path, names := range map[string][]string{
			"config":        {"client_id", "client_secret", "paired_client_secret"},
			"config/m2m":    {"client_id", "client_secret", "paired_client_secret", "exchange_client_id", "exchange_client_secret"},
			"config/single": {"client_id", "client_secret", "paired_client_secret"},
		} {
			for _, name := range names {
				for _, empty := range []string{"", " \n"} {
					assert.Equal(t, name+isEmpty, w.refused(w.try(logical.UpdateOperation, path, fields{name: empty})), path)
				}
			}
		}
		assert.Equal(t, "paired_client_secret"+isEmpty,
			w.refused(w.try(logical.UpdateOperation, "config", fields{"paired_client_id": "", "paired_client_secret": ""})))
		assert.Equal(t, content, w.storage.content(t))
		w.write("config/single", fields{"paired_client_id": ""})
		assert.Equal(t, content, w.storage.content(t))
	})
}

// The framework's own error would quote the value, which may be a secret in the wrong
// field.
func TestValuesOfAnotherTypeAreNotQuoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		const flag, duration = " must be true or false", ` must be a duration such as "90s" or "5m", or a number of seconds, and not negative`
		for _, c := range []struct {
			op    logical.Operation
			path  string
			field string
			want  string
		}{
			{logical.UpdateOperation, "config", "failover", flag},
			{logical.UpdateOperation, "config", "verify_connection", flag},
			{logical.UpdateOperation, "config/team-a", "lease", flag},
			{logical.UpdateOperation, "config", "refresh_before", duration},
			{logical.ReadOperation, "creds", "min_ttl", duration},
		} {
			for _, value := range []any{wrongSecret, []any{wrongSecret}, []string{"", ""}, fields{"value": wrongSecret}} {
				assert.Equal(t, c.field+c.want, w.refused(w.try(c.op, c.path, fields{c.field: value})), "%s %v", c.path, value)
			}
		}
		for _, negative := range []any{-1, "-5s", "-1"} {
			assert.Equal(t, "max_secret_age"+duration, w.refused(w.try(logical.UpdateOperation, "config", fields{"max_secret_age": negative})))
		}
	})
}
