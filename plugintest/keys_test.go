package plugintest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	gbg "gbg.example/vault-plugin-secrets-gbg"
	"gbg.example/vault-plugin-secrets-gbg/backend"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// keyMade is a connection whose clients have registered keys of which A's has got a
// token.
func keyMade(w *world) *assertions {
	w.t.Helper()
	sent := w.recordAssertions()
	w.write("config", w.withKeys())
	w.markKeys()
	w.register(idpA, idpB)
	w.read("creds")
	return sent
}

// proven is keyMade where B's key has got a token, too: both have been active.
func proven(w *world) *assertions {
	w.t.Helper()
	sent := keyMade(w)
	w.rotateToStandby()
	w.rotateToStandby()
	return sent
}

func TestKeysFirstWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		sent := w.recordAssertions()
		config := w.withKeys()
		const why = `verify_connection must be false: this write makes the key of client "idp-client-a", which must be registered at the identity provider before it can get a token; afterwards read it at keys`
		assert.Equal(t, why, w.refused(w.try(logical.UpdateOperation, "config", without(config, "verify_connection"))))
		assert.Empty(t, w.storage.keys(t))

		w.write("config", config)
		w.markKeys()
		stored := w.storage.content(t)
		w.write("config", without(config, "verify_connection"))
		assert.Equal(t, stored, w.storage.content(t), "the same write makes no other keys")
		assert.Empty(t, sent.sent(), "nor any request")
		assert.Contains(t, string(stored[connectionKey].Value), `{"version":2,`)
		assert.Len(t, w.privateKeys(), 2)

		got := w.read("config")
		assert.Equal(t, []any{"private_key_jwt", "ES256", w.idpURL(), idpA, idpB}, []any{
			got["idp_auth_method"], got["key_algorithm"], got["idp_audience"], got["client_id"], got["paired_client_id"],
		})
		status := w.read("status")
		assert.Equal(t, timestamp(start), status["active_secret_set_time"])
		assert.NotContains(t, status, "active_verified_time")
		assert.Equal(t, proveKeys, status["next_step"])

		// Not registered yet.
		text := w.badGateway(w.try(logical.ReadOperation, "creds", nil))
		assert.Contains(t, text, `the identity provider refused client "idp-client-a": invalid_client: The client_assertion is not signed with a key that is registered for the client.`)
		assert.True(t, strings.HasSuffix(text, "Check that the identity provider accepts the connection's idp_audience, and that the clients' keys are registered there: vault read gbg/keys."), text)
		assert.Zero(t, w.sim.Stats().IDP.ByClient[idpB].Total, "an unproved key is not failed over to")
		assert.Contains(t, w.read("status")["next_step"], "Check that the identity provider accepts the connection's idp_audience, and that the clients' keys are registered there: vault read gbg/keys")

		w.register(idpA)
		w.minute()
		assert.Equal(t, idpA, w.owner(w.read("creds")["access_token"]))
		form := sent.sent()[len(sent.sent())-1]
		assert.Equal(t, []string{idpA, "client_credentials", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			[]string{form.Get("client_id"), form.Get("grant_type"), form.Get("client_assertion_type")})
		assert.False(t, form.Has("client_secret"))
	})
}

func TestKeysRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.withKeys())
		w.markKeys()
		w.pass(time.Hour)
		answer := w.read("keys")
		assert.Equal(t, answer, w.read("keys/default"))
		var set jose.JSONWebKeySet
		require.NoError(t, json.Unmarshal([]byte(answer["jwks"].(string)), &set))
		require.Len(t, set.Keys, 2)
		for i, id := range []string{idpA, idpB} {
			key := w.key(id)
			assert.Equal(t, i == 0, key["active"])
			assert.Equal(t, "ES256", key["algorithm"])
			assert.Equal(t, timestamp(start), key["created_time"])
			assert.Len(t, key["thumbprint_sha1"], 40)
			assert.Len(t, key["x5t"], 27)
			assert.Len(t, key["x5t_s256"], 43)
			assert.True(t, strings.HasPrefix(key["certificate"].(string), "-----BEGIN CERTIFICATE-----\n"))
			assert.Equal(t, key["kid"], set.Keys[i].KeyID)
			assert.True(t, set.Keys[i].IsPublic())
			jwk := key["jwk"].(map[string]any)
			assert.Equal(t, []any{key["kid"], "EC", "sig"}, []any{jwk["kid"], jwk["kty"], jwk["use"]})
			assert.NotContains(t, jwk, "d")
		}
		w.restart()
		assert.Equal(t, answer, w.read("keys"))
	})
}

func TestKeysRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		keyMade(w)
		w.minute()
		old, content := w.key(idpB), w.privateKeys()
		answer := w.newKey(nil)
		assert.Equal(t, answer, w.read("keys"), "a write answers as a read does")
		made := w.keyOf(answer, idpB)
		assert.NotEqual(t, old["kid"], made["kid"])
		assert.Equal(t, content[0], w.privateKeys()[0], "the active client keeps its key")
		assert.NotContains(t, string(w.storage.content(t)[connectionKey].Value), content[1], "the key that was replaced is destroyed")

		before := w.privateKeys()
		text := w.refused(w.try(logical.UpdateOperation, "rotate", nil))
		assert.Contains(t, text, `the identity provider refused client "idp-client-b": invalid_client: The client_assertion is not signed with a key that is registered for the client.`)
		assert.Contains(t, text, "Nothing has changed.")
		assert.Equal(t, before, w.privateKeys())
		assert.Equal(t, answer, w.read("keys"))
		status := w.read("status")
		assert.Equal(t, "standby_unproven", status["state"], "it may not be registered yet")
		assert.Contains(t, status["standby_error"], "invalid_client")

		w.register(idpB)
		resp := w.rotate(nil)
		assert.Equal(t, []any{true, idpB, idpA}, []any{resp.Data["rotated"], resp.Data["active_client_id"], resp.Data["standby_client_id"]})
		assert.Empty(t, resp.Warnings)
		assert.Equal(t, idpB, w.owner(w.read("creds")["access_token"]))
		after := resp.Data["regenerate_after"].(string)
		assert.Equal(t, "After "+after+` have an administrator make a new key for client "idp-client-a" (vault write gbg/keys client_id=idp-client-a) and register it at the identity provider, then, when it is time to rotate again: vault write gbg/rotate client_id=idp-client-a`,
			resp.Data["next_step"])
		assert.Equal(t, resp.Data["next_step"], w.read("status")["next_step"])

		// And back, with the key that A still has.
		resp = w.rotateToStandby()
		assert.Equal(t, []string{`client "idp-client-a" is active again with the key it had the last time; replace the standby's key before each rotation to renew it`}, resp.Warnings)
		w.mustBeWhole(idpA)
	})
}

// With a JWK Set that the identity provider reads itself, nobody copies a key.
func TestKeysRotationWithAPublishedSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{lifetime: 10 * time.Minute})
		published := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = rw.Write([]byte(w.read("keys")["jwks"].(string)))
		})
		w.write("config", w.withKeys())
		publish := func() {
			recorded := &bytes.Buffer{}
			published.ServeHTTP(bodyWriter{recorded}, nil)
			var set jose.JSONWebKeySet
			require.NoError(t, json.Unmarshal(recorded.Bytes(), &set))
			for _, id := range []string{idpA, idpB} {
				require.NoError(t, w.sim.SetIDPKeys(id, gbgsim.IDPKeys{JWKS: set}))
			}
		}
		publish()
		active, standby := idpA, idpB
		for range 3 {
			assert.Equal(t, active, w.owner(w.read("creds")["access_token"]))
			w.pass(time.Hour)
			w.newKey(fields{"client_id": standby})
			publish()
			w.rotate(fields{"client_id": standby})
			active, standby = standby, active
		}
	})
}

// A repeated write does not replace a key that somebody may be registering.
func TestKeysRepeatedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		keyMade(w)
		w.minute()
		made := w.newKey(nil)
		w.pass(59 * time.Second)
		assert.Equal(t, made, w.newKey(fields{"client_id": idpB}))
		w.pass(time.Second)
		later := w.newKey(nil)
		assert.NotEqual(t, w.keyOf(made, idpB)["kid"], w.keyOf(later, idpB)["kid"])

		// One that has got a token is replaced at once.
		w.register(idpB)
		w.rotateToStandby()
		w.rotateToStandby()
		assert.NotEqual(t, w.keyOf(later, idpB)["kid"], w.keyOf(w.newKey(nil), idpB)["kid"])

		w.minute()
		var writers sync.WaitGroup
		kids := make([]any, 16)
		for i := range kids {
			writers.Go(func() {
				resp := w.ok(w.send(t.Context(), logical.UpdateOperation, "keys", nil))
				kids[i] = w.keyOf(resp.Data, idpB)["kid"]
			})
		}
		writers.Wait()
		w.markKeys()
		for _, kid := range kids {
			assert.Equal(t, kids[0], kid, "writers at once get one key")
		}
	})
}

func TestKeysAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		for _, op := range []logical.Operation{logical.ReadOperation, logical.UpdateOperation} {
			assert.Contains(t, w.refused(w.try(op, "keys/none", nil)), `connection "none" is not configured`)
		}
		w.write("config/secrets", w.m2mSingle())
		w.write("config/sso", w.exchangeOnly())
		for _, name := range []string{"secrets", "sso"} {
			for _, op := range []logical.Operation{logical.ReadOperation, logical.UpdateOperation} {
				assert.Equal(t, `idp_auth_method must be "private_key_jwt": the clients of this connection have no keys`, w.refused(w.try(op, "keys/"+name, nil)))
			}
		}
		require.NoError(t, w.sim.DeleteIDPClient(idpA))
		keyMade(w)
		content := w.storage.content(t)
		for _, c := range []struct {
			path string
			data fields
			want string
		}{
			{"keys", fields{"client_id": idpA}, `client_id "idp-client-a" is the active client, which keeps its key: a new key is made for the standby, "idp-client-b"`},
			{"keys", fields{"client_id": "other"}, `client_id "other" is not a client of this connection; its clients are "idp-client-a" (active) and "idp-client-b" (standby)`},
			{"keys", fields{"client_id": " "}, `client_id is empty; leave it out for the standby`},
			{"rotate", fields{"client_secret": wrongSecret}, `client_secret has no use with idp_auth_method "private_key_jwt": the clients have keys that the engine makes`},
			{"config", fields{"client_secret": wrongSecret}, `client_secret has no use with idp_auth_method "private_key_jwt": the clients have keys that the engine makes`},
			{"config", fields{"paired_client_id": "other"}, `verify_connection must be false: this write makes the key of client "other", which must be registered at the identity provider before it can get a token; afterwards read it at keys`},
			{"config", fields{"idp_audience": "https://other.example"}, `idp_audience cannot be changed with idp_auth_method "private_key_jwt"`},
			{"config", fields{"idp_token_url": "https://other.example"}, `idp_token_url cannot be changed with idp_auth_method "private_key_jwt"`},
			{"config", fields{"token_url": "https://other.example"}, `token_url cannot be changed with idp_auth_method "private_key_jwt"`},
			{"config", fields{"revoke_url": "https://other.example"}, `revoke_url cannot be used with idp_auth_method "private_key_jwt"`},
			{"config", fields{"idp_auth_method": "client_secret_post", "client_secret": wrongSecret, "paired_client_secret": wrongSecret}, `idp_auth_method cannot be changed from "private_key_jwt" to "client_secret_post"`},
			{"config/secrets", fields{"idp_auth_method": "private_key_jwt"}, `idp_auth_method cannot be changed from "client_secret_post" to "private_key_jwt"`},
			{"config/secrets", fields{"key_algorithm": "RS256"}, `key_algorithm is for idp_auth_method "private_key_jwt"; this connection's is "client_secret_post"`},
		} {
			assert.Contains(t, w.refused(w.try(logical.UpdateOperation, c.path, c.data)), c.want)
		}
		assert.Equal(t, content, w.storage.content(t))

		w.write("config", fields{"paired_client_id": ""})
		for _, path := range []string{"keys", "rotate"} {
			assert.Equal(t, `connection "default" has no paired client to rotate to; add one with: vault write gbg/config paired_client_id=ID verify_connection=false`, w.refused(w.try(logical.UpdateOperation, path, nil)))
		}
		assert.Equal(t, "Add a second client, so that keys can be rotated without downtime: vault write gbg/config paired_client_id=ID verify_connection=false", w.read("status")["next_step"])
	})
}

// A change of what a token request looks like is verified with the keys.
func TestKeysVerifiedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		keyMade(w)
		assert.Equal(t, asks{2, 2}, w.asksFor(func() { w.write("config", fields{"idp_scope": "api"}) }))
		assert.NotEmpty(t, w.read("status")["standby_verified_time"])
		w.unregister(idpB)
		assert.Contains(t, w.refused(w.try(logical.UpdateOperation, "config", fields{"idp_scope": "other"})), `refused client "idp-client-b"`)
		assert.Equal(t, asks{}, w.asksFor(func() { w.write("config", fields{"key_algorithm": "PS256"}) }), "nor is the algorithm of the next key")
		assert.Equal(t, "ES256", w.key(idpB)["algorithm"])
		w.newKey(nil)
		assert.Equal(t, "ES256", w.key(idpA)["algorithm"])
		assert.Equal(t, "PS256", w.key(idpB)["algorithm"])
		w.register(idpB)
		w.rotateToStandby()
		assert.Equal(t, idpB, w.owner(w.read("creds")["access_token"]))
	})
}

// Every algorithm, registered as a certificate as Entra ID takes it.
func TestKeysOfCertificates(t *testing.T) {
	for _, algorithm := range []string{"RS256", "PS256", "ES256"} {
		t.Run(algorithm, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.recordAssertions()
				w.write("config", with(w.withKeys(), fields{"key_algorithm": algorithm}))
				w.markKeys()
				for _, id := range []string{idpA, idpB} {
					require.NoError(t, w.sim.SetIDPKeys(id, gbgsim.IDPKeys{Certificates: []string{w.key(id)["certificate"].(string)}}))
				}
				assert.Equal(t, algorithm, w.key(idpA)["algorithm"])
				assert.Equal(t, idpA, w.owner(w.read("creds")["access_token"]))
				w.rotateToStandby()
				assert.Equal(t, idpB, w.owner(w.read("creds")["access_token"]))
			})
		})
	}
}

func TestKeysFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		proven(w)
		w.unregister(idpA)
		w.pass(2 * time.Hour) // what nobody reads is left to lapse
		resp := w.creds()
		assert.Equal(t, idpB, w.owner(resp.Data["access_token"]))
		assert.Equal(t, []string{`the identity provider refused client "idp-client-a" (invalid_client), so client "idp-client-b" has taken over. Have an administrator make a new key for client "idp-client-a" (vault write gbg/keys client_id=idp-client-a) and register it at the identity provider, then: vault write gbg/rotate client_id=idp-client-a`}, resp.Warnings)
		assert.Equal(t, "failover", w.read("status")["last_rotation_cause"])

		// The refused client gets a new key, which no failover trusts until it is proved.
		w.newKey(fields{"client_id": idpA})
		w.unregister(idpB)
		w.pass(2 * time.Hour)
		asked := w.sim.Stats().IDP.ByClient[idpA].Total
		assert.Contains(t, w.badGateway(w.tryCreds()), `refused client "idp-client-b"`)
		assert.Equal(t, asked, w.sim.Stats().IDP.ByClient[idpA].Total)
		assert.Equal(t, idpB, w.read("status")["active_client_id"])
		assert.NotContains(t, w.read("status"), "standby_verified_time")
		w.restart()
		assert.NotContains(t, w.read("status"), "standby_verified_time", "nor after a restart")

		w.register(idpA)
		w.rotateToStandby()
		assert.Equal(t, idpA, w.owner(w.read("creds")["access_token"]))
	})
}

func TestKeysRefreshAndRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		sent := keyMade(w)
		first := w.read("creds")
		w.pass(55 * time.Minute)
		second := w.read("creds")
		assert.NotEqual(t, first["access_token"], second["access_token"])
		assert.Equal(t, asks{2, 2}, w.asks())
		w.restart()
		assert.Equal(t, without(second, "ttl"), without(w.read("creds"), "ttl"))
		assert.Equal(t, asks{2, 2}, w.asks(), "the stored token is served")
		w.pass(55 * time.Minute)
		w.read("creds")
		assert.Equal(t, asks{3, 3}, w.asks())
		seen := map[string]bool{}
		for _, form := range sent.sent() {
			seen[form.Get("client_assertion")] = true
		}
		assert.Len(t, seen, 3, "every request has an assertion of its own")
	})
}

// A try that got no answer may have used up its assertion: the next one has its own.
func TestKeysRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		sent := w.recordAssertions()
		w.write("config", w.withKeys())
		w.markKeys()
		w.register(idpA, idpB)
		lost := 2
		w.sim.ClearFaults()
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointIDP, Status: http.StatusServiceUnavailable, Requests: lost})
		assert.Equal(t, idpA, w.owner(w.read("creds")["access_token"]))
		seen := map[string]bool{}
		for _, form := range sent.sent() {
			seen[form.Get("client_assertion")] = true
		}
		assert.Len(t, seen, lost+1)
	})
}

func TestKeysForAnotherAudience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config/other", with(w.withKeys(), fields{"idp_audience": "https://other.example/token"}))
		w.write("config", with(w.exchangeOnly(), fields{
			"idp_token_url": w.idpURL(), "idp_auth_method": "private_key_jwt", "idp_audience": gbgsim.IDPIssuer,
			"client_id": idpA, "verify_connection": false,
		}))
		w.markKeys()
		for _, name := range []string{"other", "default"} {
			key := w.keyOf(w.read("keys/"+name), idpA)
			require.NoError(t, w.sim.SetIDPKeys(idpA, gbgsim.IDPKeys{Certificates: []string{key["certificate"].(string)}}))
			a := w.try(logical.ReadOperation, "creds/"+name, nil)
			if name == "other" {
				text := w.badGateway(a)
				assert.Contains(t, text, "The client_assertion is for another audience.")
				assert.Contains(t, text, "accepts the connection's idp_audience")
			} else {
				w.ok(a)
			}
		}
	})
}

// A clock that is a minute off has every assertion refused, whoever is active: nothing
// flips, readers are served as long as the token lives, and the error tells why.
func TestKeysWithAClockThatIsOff(t *testing.T) {
	for name, off := range map[string]struct {
		by   time.Duration
		want string
	}{
		"ahead":  {time.Minute, "the endpoint's clock is 1m0s behind this host's"},
		"behind": {-time.Minute, "the endpoint's clock is 1m0s ahead of this host's"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				proven(w)
				w.backend.Cleanup(t.Context())
				w.mount = w.mountWith(gbg.Options{Now: func() time.Time { return time.Now().Add(off.by) }})
				token := w.read("creds")["access_token"]
				w.pass(57 * time.Minute)
				assert.Equal(t, token, w.read("creds")["access_token"])
				assert.NotEmpty(t, w.read("status")["last_error"])
				w.pass(5 * time.Minute)
				a := w.try(logical.ReadOperation, "creds", nil)
				text := w.badGateway(a)
				assert.Contains(t, text, off.want)
				assert.Equal(t, idpA, w.read("status")["active_client_id"])

				w.restart() // on a host with the right time
				assert.Equal(t, idpA, w.owner(w.read("creds")["access_token"]))
			})
		})
	}
}

// A storage that refuses leaves the keys as they were.
func TestKeysAreStoredOrNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		keyMade(w)
		w.minute()
		content, keys := w.storage.content(t), w.read("keys")
		w.storage.failPut(refusePut)
		require.ErrorIs(t, w.try(logical.UpdateOperation, "keys", nil).err, errDisk)
		w.storage.heal()
		assert.Equal(t, keys, w.read("keys"))
		assert.Equal(t, content, w.storage.content(t))
		w.readOnly()
		assert.Equal(t, answer{err: logical.ErrReadOnly}, w.try(logical.UpdateOperation, "keys", nil))
		w.storage.heal()
		w.newKey(nil)
	})
}

// Private keys and assertions are in no answer, log line, error, event, metric or dump.
func TestKeysDoNotLeak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		proven(w)
		w.minute()
		w.newKey(nil)
		// A server that quotes what it was sent.
		w.onRequest(func(rw http.ResponseWriter, r *http.Request) bool {
			if !assert.NoError(t, r.ParseForm()) {
				return false
			}
			signature := signatureOf(r.PostForm)
			w.heard.mark(signature[:24])
			rw.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(rw).Encode(map[string]string{"error": "invalid_client", "error_description": "what is " + signature + "?"})
			return true
		})
		text := w.refused(w.try(logical.UpdateOperation, "rotate", nil))
		assert.Contains(t, text, "what is [redacted]?")
		w.onRequest(nil)
		metrics := w.ok(w.send(t.Context(), logical.ReadOperation, "metrics", nil)).Data[logical.HTTPRawBody].(string)
		w.heard.hear(metrics)
		w.statusList()

		engine := backend.New(backend.Options{Storage: w.storage, DialContext: w.network.DialContext})
		t.Cleanup(engine.Close)
		conn, err := engine.Connection(t.Context(), "default")
		require.NoError(t, err)
		keys, err := engine.Keys(t.Context(), "default")
		require.NoError(t, err)
		client := conn.Pair.Active()
		w.heard.hear(formatted(t, engine, conn, &conn, conn.Pair, client, client.Key, &client.Key, conn.Request(client), keys, w.backend, &w.backend)...)
		var stacks bytes.Buffer
		require.NoError(t, pprof.Lookup("goroutine").WriteTo(&stacks, 2))
		w.heard.hear(stacks.String())
		assert.Empty(t, w.heard.secrets())

		heard := &transcript{}
		for _, private := range w.privateKeys() {
			heard.mark(private)
		}
		heard.hear(string(w.storage.content(t)[connectionKey].Value))
		assert.NotEmpty(t, heard.secrets(), "the search finds a key where one is")
	})
}

// bodyWriter keeps the body of an answer.
type bodyWriter struct{ *bytes.Buffer }

func (bodyWriter) Header() http.Header { return http.Header{} }

func (bodyWriter) WriteHeader(int) {}
