package plugintest

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func TestM2MInTwoSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{random: 0.5})
		assert.Equal(t, asks{2, 2}, w.asksFor(func() {
			w.write("config/m2m", with(w.m2m(), fields{"idp_scope": "gbg/.default", "scope": "api"}))
		}), "both clients prove themselves, in both steps")
		form := w.sim.LastExchange()
		assert.Regexp(t, "^"+gbgsim.IDPTokenPrefix, form.Get("id_token"))
		form.Del("id_token")
		assert.Equal(t, url.Values{
			"grant_type": {"id_auth"}, "client_id": {"ro.client"}, "client_secret": {"secret"}, "scope": {"api"},
		}, form)

		got := w.read("creds/m2m")
		assert.Equal(t, idpA, w.owner(got["access_token"]))
		assert.Equal(t, fields{
			"token_type": "Bearer", "client_id": idpA, "scope": "api", "connection": "m2m",
			"expire_time": "2026-03-01T13:00:00Z", "last_vault_rotation": "2026-03-01T12:00:00.250000000Z",
			"rotation_period": int64(3300), "ttl": int64(3338),
		}, without(got, "access_token"))
		assert.Equal(t, asks{2, 2}, w.asks(), "the token of the verification is served")

		assert.Equal(t, with(noSchedule, fields{
			"grant_type": "id_auth", "token_url": w.identityURL(), "idp_token_url": w.idpURL(), "idp_scope": "gbg/.default", "scope": "api",
			"idp_auth_method": "client_secret_post", "idp_params": map[string]string{},
			"exchange_client_id": "ro.client", "client_id": idpA, "paired_client_id": idpB, "active_client_id": idpA,
			"refresh_before": int64(300), "request_timeout": int64(10), "failover": true, "standby_check": int64(24 * 3600), "max_secret_age": int64(0), "ca_pem": "",
			"lease": false, "revoke_url": "",
		}), w.read("config/m2m"))
		status := w.read("status/m2m")
		assert.Equal(t, "id_auth", status["grant_type"])
		assert.Equal(t, w.identityURL(), status["token_url"])
		assert.Equal(t, w.idpURL(), status["idp_token_url"])
		assert.Equal(t, []any{idpA, idpB}, []any{status["active_client_id"], status["standby_client_id"]})
	})
}

// One fetch for everybody, ahead of time, and stored.
func TestM2MIsSharedAndFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.m2m(), fields{"verify_connection": false}))
		release := w.gate.hold(idpA)
		var readers sync.WaitGroup
		tokens := make([]any, 20)
		for i := range tokens {
			readers.Go(func() {
				tokens[i] = w.ok(w.send(t.Context(), logical.ReadOperation, "creds", nil)).Data["access_token"]
			})
		}
		await(t, w.gate.arrived, "the token request")
		release()
		readers.Wait()
		for _, token := range tokens {
			assert.Equal(t, tokens[0], token)
		}
		assert.Equal(t, asks{1, 1}, w.asks())

		w.pass(55 * time.Minute)
		assert.Equal(t, asks{2, 2}, w.asks(), "ahead")
		next := w.read("creds")
		assert.NotEqual(t, tokens[0], next["access_token"])
		assert.Equal(t, asks{2, 2}, w.asks())

		after := w.newMount()
		assert.Equal(t, without(next, "ttl"), without(after.read("creds"), "ttl"), "and after a restart")
		assert.Equal(t, asks{2, 2}, w.asks())
	})
}

// What is stored of one way to get tokens does not pass for another's.
func TestM2MStoredTokenIsOfItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, field := range []string{"idp_scope", "scope", "exchange_client_id"} {
			w := newWorld(t, worldOptions{})
			w.write("config", w.m2mSingle())
			token := w.storage.content(t)["token/default"]
			w.write("config", fields{field: "other", "verify_connection": false})
			require.NoError(t, w.storage.Put(t.Context(), &token))
			w.sim.ClearFaults()
			want := w.asks().idp + 1
			if field == "exchange_client_id" {
				want++ // GBG refuses it, and is asked once more
			}
			w.newMount().try(logical.ReadOperation, "creds", nil)
			assert.Equal(t, want, w.asks().idp, field)
		}
	})
}

func TestM2MRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.m2m())
		expires := w.read("creds")["expire_time"]
		secret, err := w.sim.RegenerateIDP(idpB)
		require.NoError(t, err)

		text := w.refused(w.try(logical.UpdateOperation, "rotate", nil))
		content := w.storage.content(t)
		assert.Contains(t, text, `connection "default": the identity provider refused client "idp-client-b": invalid_client`)
		assert.Contains(t, text, "from "+w.idpURL()+"). Nothing has changed.")
		assert.Contains(t, w.read("status")["standby_error"], `the identity provider refused client "idp-client-b"`)
		w.fault(refusalAt(gbgsim.EndpointIdentity, "", "invalid_grant", "No such machine"))
		text = w.refused(w.try(logical.UpdateOperation, "rotate", fields{"client_secret": secret}))
		assert.Equal(t, `connection "default": GBG refused to exchange the identity provider's token of client "idp-client-b": invalid_grant: No such machine (HTTP 400 from `+
			w.identityURL()+"). Nothing has changed.", text)
		w.sim.ClearFaults()
		assert.Equal(t, content, w.storage.content(t))

		resp := w.rotate(fields{"client_secret": secret + "\n"})
		assert.Equal(t, true, resp.Data["rotated"])
		assert.Equal(t, []any{idpB, idpA}, []any{resp.Data["active_client_id"], resp.Data["standby_client_id"]})
		assert.Equal(t, "2026-03-01T13:00:01Z", resp.Data["regenerate_after"], "when the last of GBG's tokens for A has expired, rounded up from %s", expires)
		assert.Equal(t, `After 2026-03-01T13:00:01Z regenerate the secret of client "idp-client-a" at the identity provider, then, when it is time to rotate again: vault write gbg/rotate client_id=idp-client-a client_secret=@FILE`,
			resp.Data["next_step"])
		assert.Equal(t, idpB, w.owner(w.read("creds")["access_token"]))
	})
}

func TestM2MFailsOver(t *testing.T) {
	for name, c := range map[string]struct {
		fault      gbgsim.Fault
		want, step string
	}{
		"at the identity provider": {
			refusalAt(gbgsim.EndpointIDP, idpA, "invalid_client", "Who?"),
			`the identity provider refused client "idp-client-a" (invalid_client), so client "idp-client-b" has taken over. Renew client "idp-client-a": vault write gbg/rotate client_id=idp-client-a client_secret=@FILE`,
			`Renew it now: if nobody has its current secret, regenerate it at the identity provider, then: vault write gbg/rotate client_id=idp-client-a client_secret=@FILE`,
		},
		"at GBG": {
			gbgsim.Fault{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointIdentity, Status: 400, Error: "unauthorized_client", Requests: 2},
			`GBG refused to exchange the identity provider's token of client "idp-client-a" (unauthorized_client), so client "idp-client-b" has taken over: ask GBG what that client's tokens lack`,
			`Ask GBG what its tokens lack, then: vault write gbg/rotate client_id=idp-client-a`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", with(w.m2m(), fields{"verify_connection": false}))
				w.fault(c.fault)
				resp := w.ok(w.try(logical.ReadOperation, "creds", nil))
				assert.Equal(t, idpB, w.owner(resp.Data["access_token"]))
				assert.Equal(t, []string{c.want}, resp.Warnings)
				status := w.read("status")
				assert.Equal(t, `Client "idp-client-a" is the standby and has been refused since `+status["standby_error_time"].(string)+": see standby_error. "+c.step, status["next_step"])
				assert.Equal(t, []any{idpB, "failover"}, []any{status["active_client_id"], status["last_rotation_cause"]})
			})
		})
	}
}

// Errors name the step that failed, and where.
func TestM2MTrouble(t *testing.T) {
	idp, gbg := `(HTTP 400 from {idp})`, `(HTTP 400 from {gbg})`
	for name, c := range map[string]struct {
		faults []gbgsim.Fault
		code   int
		want   string
	}{
		"the identity provider refuses both": {
			[]gbgsim.Fault{refusalAt(gbgsim.EndpointIDP, idpA, "invalid_client", "A?"), refusalAt(gbgsim.EndpointIDP, idpB, "invalid_client", "B?")},
			502,
			`the identity provider refused client "idp-client-a": invalid_client: A? ` + idp + `; the identity provider refused client "idp-client-b": invalid_client: B? ` + idp +
				`.{failing} If nobody has the current secret of client "idp-client-b", regenerate it. Then: vault write gbg/rotate client_id=idp-client-b client_secret=@FILE.`,
		},
		"the identity provider refuses the scope": {
			[]gbgsim.Fault{refusalAt(gbgsim.EndpointIDP, "", "invalid_scope", "")},
			502,
			`the identity provider refused client "idp-client-a": invalid_scope ` + idp + `.{failing}`,
		},
		"GBG refuses the token": {
			[]gbgsim.Fault{refusalAt(gbgsim.EndpointIdentity, "", "invalid_grant", "Who issued this?")},
			502,
			`GBG refused to exchange the identity provider's token of client "idp-client-a": invalid_grant: Who issued this? ` + gbg +
				`.{failing} The identity provider issued its token: check scope, idp_scope and the exchange client at gbg/config.`,
		},
		"the identity provider is gone": {
			[]gbgsim.Fault{{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointIDP, Status: 503, Error: "maintenance"}},
			503,
			`no token for client "idp-client-a" from the identity provider: maintenance (HTTP 503 from {idp}).{failing}`,
		},
		"GBG is gone": {
			[]gbgsim.Fault{{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointIdentity, Status: 503, Error: "maintenance"}},
			503,
			`no token from GBG in exchange for the identity provider's of client "idp-client-a": maintenance (HTTP 503 from {gbg}).{failing}`,
		},
		"GBG answers null": {
			[]gbgsim.Fault{{Kind: gbgsim.FaultNullToken, Endpoint: gbgsim.EndpointIdentity}},
			503,
			`no token from GBG in exchange for the identity provider's of client "idp-client-a": the answer has no usable access_token (HTTP 200 from {gbg}).{failing}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", with(w.m2m(), fields{"verify_connection": false}))
				for _, fault := range c.faults {
					w.fault(fault)
				}
				a, rests := w.tryRetried(logical.ReadOperation, "creds", nil)
				want := `connection "default": ` + strings.NewReplacer("{idp}", w.idpURL(), "{gbg}", w.identityURL(),
					"{failing}", failing(time.Now(), time.Now().Add(time.Second))).Replace(c.want)
				assert.Equal(t, want, w.coded(c.code, a))
				if c.code == http.StatusBadGateway {
					assert.Empty(t, rests)
				} else {
					assert.Equal(t, retryPauses, rests)
				}
				assert.Contains(t, w.read("status")["last_error"], w.gbg.URL)

				w.sim.ClearFaults()
				w.pass(time.Second)
				assert.NotEmpty(t, w.read("creds")["access_token"])
			})
		})
	}
}

// While GBG does not answer, the identity provider's token is not asked for again
// and again.
func TestM2MRepeatsOnlyTheStepThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.m2mSingle(), fields{"verify_connection": false}))
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointIdentity, Status: 503, Requests: 3})
		assert.Equal(t, asks{1, 4}, w.asksFor(func() {
			a, rests := w.tryRetried(logical.ReadOperation, "creds", nil)
			assert.Equal(t, retryPauses[:3], rests)
			// The token's life counts from the exchange that succeeded.
			assert.Equal(t, "2026-03-01T12:00:02.000000000Z", w.ok(a).Data["last_vault_rotation"])
		}))
	})
}

// A token of the identity provider that ended on its way is of no use.
func TestM2MSlowIdentityProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		require.NoError(t, w.sim.SetIDPTokenLifetime(time.Second))
		w.write("config", with(w.m2mSingle(), fields{"verify_connection": false}))
		release := w.gate.hold(idpA)
		reading := later(func() answer { return w.send(t.Context(), logical.ReadOperation, "creds", nil) })
		await(t, w.gate.arrived, "the request to the identity provider")
		w.pass(2 * time.Second)
		release()
		assert.NotEmpty(t, w.ok(await(t, reading, "an answer")).Data["access_token"])
		assert.Equal(t, asks{2, 1}, w.asks())
	})
}

// Both steps are tried before anything is stored.
func TestM2MConfigIsVerified(t *testing.T) {
	for name, c := range map[string]struct {
		fault gbgsim.Fault
		code  int
		want  string
	}{
		"client A refused": {
			refusalAt(gbgsim.EndpointIDP, idpA, "invalid_client", ""), 400,
			`the identity provider refused client "idp-client-a": invalid_client (HTTP 400 from {idp}). Nothing has changed.`,
		},
		"client B refused": {
			refusalAt(gbgsim.EndpointIDP, idpB, "invalid_client", ""), 400,
			`the identity provider refused client "idp-client-b": invalid_client (HTTP 400 from {idp}). Nothing has changed.`,
		},
		"exchange refused": {
			refusalAt(gbgsim.EndpointIdentity, "", "invalid_grant", "Unknown issuer"), 400,
			`GBG refused to exchange the identity provider's token of client "idp-client-a": invalid_grant: Unknown issuer (HTTP 400 from {gbg}). Nothing has changed.`,
		},
		"exchange out of order": {
			gbgsim.Fault{Kind: gbgsim.FaultNullToken, Endpoint: gbgsim.EndpointIdentity},
			503,
			`no token from GBG in exchange for the identity provider's of client "idp-client-a": the answer has no usable access_token (HTTP 200 from {gbg}). Nothing has changed.`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.fault(c.fault)
				a, _ := w.tryRetried(logical.UpdateOperation, "config", w.m2m())
				want := `connection "default": ` + strings.NewReplacer("{idp}", w.idpURL(), "{gbg}", w.identityURL()).Replace(c.want)
				if c.code == http.StatusBadRequest {
					assert.Equal(t, want, w.refused(a))
				} else {
					assert.Equal(t, want, w.coded(c.code, a))
				}
				assert.Empty(t, w.storage.content(t))
			})
		})
	}
}
