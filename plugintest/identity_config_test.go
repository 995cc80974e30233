package plugintest

import (
	"testing"
	"testing/synctest"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
)

func TestIdentityConfigOfCallersOwnTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config/sso", fields{"grant_type": "id_auth"})
		assert.Equal(t, with(noSchedule, fields{
			"grant_type": "id_auth", "token_url": "https://api.gbgplc.com/authenticate/v1/connect/token", "scope": "",
			"idp_token_url": "", "idp_scope": "", "idp_auth_method": "client_secret_post", "idp_params": map[string]string{}, "exchange_client_id": "ro.client",
			"refresh_before": int64(300), "request_timeout": int64(10), "failover": true, "standby_check": int64(24 * 3600), "max_secret_age": int64(0), "ca_pem": "",
			"lease": false, "revoke_url": "",
		}), w.read("config/sso"))
		assert.Equal(t, fields{
			"state": "ok", "lease": false, "connection": "sso", "grant_type": "id_auth", "token_url": "https://api.gbgplc.com/authenticate/v1/connect/token",
			"next_step": "Exchange an identity provider's token: vault write gbg/creds/sso id_token=@FILE",
		}, w.read("status/sso"))
		assert.Equal(t, []string{"sso"}, w.ok(w.try(logical.ListOperation, "config/", nil)).Data["keys"])

		// Repeating it, and writing back what was read, change nothing.
		content := w.storage.content(t)
		w.write("config/sso", fields{"grant_type": "id_auth"})
		assert.Equal(t, content, w.storage.content(t))
		config := w.read("config/sso")
		w.write("config/sso", config)
		assert.Equal(t, config, w.read("config/sso"))
		assert.Equal(t, asks{}, w.asks())

		after := w.newMount()
		assert.Equal(t, w.read("config/sso"), after.read("config/sso"))
		after.ok(after.try(logical.DeleteOperation, "config/sso", nil))
		assert.Empty(t, w.storage.content(t))
	})
}

// Every field that has no use is refused by its name, and nothing is stored.
func TestIdentityConfigRefusesFieldsOfTheOtherGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		single, exchangeOnly, m2m := w.single(), w.exchangeOnly(), w.m2m()
		const ofIDAuth, noPair = ` is for grant_type "id_auth"; this connection's is "client_credentials"`, " has no use without idp_token_url: callers bring the tokens to exchange"
		for _, c := range []struct {
			base  fields
			field string
			value string
			want  string
		}{
			{single, "idp_token_url", "https://idp.test/token", ofIDAuth},
			{single, "idp_scope", "x", ofIDAuth},
			{single, "exchange_client_id", "x", ofIDAuth},
			{single, "exchange_client_secret", "x", ofIDAuth},
			{exchangeOnly, "client_id", "x", noPair},
			{exchangeOnly, "client_secret", "x", noPair},
			{exchangeOnly, "paired_client_id", "x", noPair},
			{exchangeOnly, "paired_client_secret", "x", noPair},
			{exchangeOnly, "idp_scope", "x", " needs idp_token_url: it is the scope to request there"},
			{exchangeOnly, "idp_token_url", "https://idp.test/token", ""},
			{m2m, "client_id", "", " is empty: give a value or leave the field out"},
			{m2m, "idp_token_url", "http://idp.test/token", " must begin with https:// (http:// is for a loopback address only)"},
			{m2m, "idp_token_url", "https://a:b@idp.test/token", " must not hold a user name or password"},
			{m2m, "idp_scope", "a\"b", " has a character that is not valid in a scope"},
			{m2m, "idp_scope", long(4<<10 + 1), " is longer than 4096 bytes"},
			{m2m, "exchange_client_id", "a\x00b", " has control characters"},
			{m2m, "exchange_client_id", long(513), " is longer than 512 bytes"},
			{m2m, "exchange_client_secret", "a\x00b", " has control characters"},
			{m2m, "exchange_client_secret", long(8<<10 + 1), " is longer than 8192 bytes"},
		} {
			want := c.field + c.want
			if c.want == "" {
				want = "client_id is missing"
			}
			assert.Equal(t, want, w.refused(w.try(logical.UpdateOperation, "config", with(c.base, fields{c.field: c.value}))))
		}
		assert.Equal(t, "exchange_client_secret must be a string",
			w.refused(w.try(logical.UpdateOperation, "config", with(m2m, fields{"exchange_client_secret": []any{wrongSecret}}))))
		assert.Empty(t, w.storage.content(t))

		// What is given but empty is the default.
		w.write("config/go", with(single, fields{"idp_token_url": "", "idp_scope": ""}))
		w.write("config/sso", with(exchangeOnly, fields{"paired_client_id": ""}))
	})
}

func TestIdentityConfigKeepsItsKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config/go", w.pair())
		w.write("config/sso", w.exchangeOnly())
		m2m := w.m2m()
		w.write("config/m2m", m2m)
		content := w.storage.content(t)
		const again = ": delete the connection and write it again, or use another name"
		for _, c := range []struct {
			path string
			data fields
			want string
		}{
			{"config/go", fields{"grant_type": "id_auth"}, `grant_type cannot be changed from "client_credentials" to "id_auth"` + again},
			{"config/go", with(m2m, nil), `grant_type cannot be changed from "client_credentials" to "id_auth"` + again},
			{"config/sso", fields{"grant_type": ""}, `grant_type cannot be changed from "id_auth" to "client_credentials"` + again},
			{"config/m2m", fields{"grant_type": "client_credentials"}, `grant_type cannot be changed from "id_auth" to "client_credentials"` + again},
			{"config/m2m", fields{"idp_token_url": ""}, "idp_token_url cannot be removed" + again},
		} {
			assert.Equal(t, c.want, w.refused(w.try(logical.UpdateOperation, c.path, c.data)))
		}
		assert.Equal(t, content, w.storage.content(t))

		// Clients can come later, and prove themselves then.
		assert.Equal(t, asks{2, 2}, w.asksFor(func() { w.write("config/sso", m2m) }))
		assert.Equal(t, idpA, w.read("creds/sso")["client_id"])
	})
}

// No stored secret goes to an address that whoever writes could have chosen.
func TestIdentityConfigWantsSecretsForANewAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		m2m := w.m2m()
		w.write("config", with(m2m, fields{"exchange_client_secret": wrongSecret, "verify_connection": false}))
		w.write("config/sso", with(w.exchangeOnly(), fields{"exchange_client_secret": wrongSecret}))
		content := w.storage.content(t)
		const again = " must give the secrets of both clients again, so that no stored secret is sent to a new address"
		elsewhere := "https://elsewhere.test/token"
		secrets := fields{"client_secret": m2m["client_secret"], "paired_client_secret": m2m["paired_client_secret"], "verify_connection": false}
		for _, c := range []struct {
			path string
			data fields
			want string
		}{
			{"config", fields{"token_url": elsewhere}, "client_secret is missing: a write that changes token_url" + again},
			{"config", fields{"token_url": ""}, "client_secret is missing: a write that changes token_url" + again},
			{"config", fields{"idp_token_url": elsewhere}, "client_secret is missing: a write that changes idp_token_url" + again},
			{"config", with(without(secrets, "paired_client_secret"), fields{"idp_token_url": elsewhere}), "paired_client_secret is missing: a write that changes idp_token_url" + again},
			{"config", with(secrets, fields{"token_url": elsewhere}), "exchange_client_secret is missing: a write that changes token_url must give it again, so that it is not sent to a new address"},
			{"config/sso", fields{"token_url": elsewhere}, "exchange_client_secret is missing: a write that changes token_url must give it again, so that it is not sent to a new address"},
		} {
			assert.Equal(t, c.want, w.refused(w.try(logical.UpdateOperation, c.path, c.data)))
		}
		assert.Equal(t, content, w.storage.content(t))
		assert.Equal(t, asks{}, w.asks())

		w.write("config", with(secrets, fields{"idp_token_url": elsewhere}))
		w.write("config", with(secrets, fields{"token_url": elsewhere, "exchange_client_secret": wrongSecret}))
		w.write("config/sso", fields{"token_url": elsewhere, "exchange_client_secret": "secret"})
	})
}

// What changes a request in either step is verified, what does not is not.
func TestIdentityConfigVerifiesWhatMatters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		m2m := w.m2m()
		w.write("config", m2m)
		for _, c := range []struct {
			data fields
			want asks
		}{
			{fields{"idp_scope": "other"}, asks{2, 2}},
			{fields{"exchange_client_id": "ro.client", "exchange_client_secret": "secret"}, asks{}},
			{fields{"refresh_before": "60s"}, asks{}},
			{m2m, asks{}},
		} {
			assert.Equal(t, c.want, w.asksFor(func() { w.write("config", c.data) }), "%v", c.data)
		}
		assert.Contains(t, w.refused(w.try(logical.UpdateOperation, "config", fields{"exchange_client_secret": wrongSecret})), "invalid_client")
	})
}
