package plugintest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// exchange exchanges a token, which must succeed.
func (m *mount) exchange(path, idToken string) *logical.Response {
	m.world.t.Helper()
	resp := m.ok(m.try(logical.UpdateOperation, path, fields{"id_token": idToken}))
	require.NotNil(m.world.t, resp)
	return resp
}

func TestExchangeOfACallersOwnToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{random: 0.5})
		assert.Equal(t, asks{}, w.asksFor(func() { w.write("config/sso", w.exchangeOnly()) }), "there is nothing to verify with")
		content, status := w.storage.content(t), w.read("status/sso")

		idToken := w.idToken(someone)
		resp := w.exchange("creds/sso", idToken+"\n")
		assert.Equal(t, url.Values{
			"grant_type": {"id_auth"}, "client_id": {"ro.client"}, "client_secret": {"secret"}, "id_token": {idToken},
		}, w.sim.LastExchange(), "as GBG documents it")
		assert.Empty(t, resp.Warnings)
		assert.Equal(t, someone, w.owner(resp.Data["access_token"]))
		assert.Equal(t, fields{
			"token_type": "Bearer", "client_id": "ro.client", "scope": "", "connection": "sso",
			"expire_time": "2026-03-01T13:00:00Z", "last_vault_rotation": "2026-03-01T12:00:00.250000000Z",
			"rotation_period": int64(3300), "ttl": int64(3338), // 3300 and half of a quarter of 300
		}, without(resp.Data, "access_token"))

		again := w.exchange("creds/sso", idToken)
		assert.NotEqual(t, resp.Data["access_token"], again.Data["access_token"], "nothing is shared")
		assert.Equal(t, asks{gbg: 2}, w.asks())
		assert.Equal(t, content, w.storage.content(t), "nothing is kept")
		assert.Equal(t, status, w.read("status/sso"))
	})
}

// The scope of the connection is asked for, and what GBG leaves out is said.
func TestExchangeWithScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.exchangeOnly(), fields{"scope": " journey   documents"}))
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultBody, Endpoint: gbgsim.EndpointIdentity, Body: `{"access_token":"sim-token-x","expires_in":"60","scope":"journey"}`})
		resp := w.exchange("creds", w.idToken(someone))
		assert.Equal(t, []string{"journey documents"}, w.sim.LastExchange()["scope"])
		assert.Equal(t, "journey", resp.Data["scope"])
		assert.Equal(t, []string{`GBG granted client "ro.client" less than was asked for: "documents" is missing (granted: "journey")`}, resp.Warnings)
	})
}

// An identity provider's token need not be a JWT.
func TestExchangeOfAnOpaqueToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{gbg: says(200, `{"access_token":"sim-token-x","expires_in":60}`)})
		w.write("config", w.exchangeOnly())
		for _, idToken := range []string{"x", "~._-+/abc==", long(32 << 10)} {
			w.heard.mark("~._-+/abc==")
			assert.Equal(t, "sim-token-x", w.exchange("creds", idToken).Data["access_token"])
		}
	})
}

func TestExchangeRefusesBadInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.exchangeOnly())
		w.write("config/go", w.single())
		asked := w.asks()
		const marked = "FAKE-ID-TOKEN"
		w.heard.mark(marked)
		for _, c := range []struct {
			path string
			data fields
			want string
		}{
			{"creds", nil, "id_token is empty"},
			{"creds", fields{"id_token": nil}, "id_token is empty"},
			{"creds", fields{"id_token": " \n"}, "id_token is empty"},
			{"creds", fields{"id_token": marked + long(32<<10)}, "id_token is longer than 32768 bytes"},
			{"creds", fields{"id_token": "Bearer " + marked}, `id_token has a space in it: give the token alone, without "Bearer"`},
			{"creds", fields{"id_token": marked + "\nx"}, "id_token has a character that is not valid in a token"},
			{"creds", fields{"id_token": marked + "ä"}, "id_token has a character that is not valid in a token"},
			{"creds", fields{"id_token": marked + "\xff"}, "id_token is not UTF-8 text"},
			{"creds", fields{"id_token": []any{marked}}, "id_token must be a string"},
			{"creds", fields{"id_token": map[string]any{marked: marked}}, "id_token must be a string"},
			{"creds", fields{"id_token": marked, "min_ttl": 60}, "min_ttl is for reads; an exchange always returns a new token"},
			{"creds/go", fields{"id_token": marked}, `id_token is for grant_type "id_auth"; this connection's is "client_credentials": read its creds instead`},
			{"creds/go", nil, `id_token is for grant_type "id_auth"; this connection's is "client_credentials": read its creds instead`},
			{"creds/nothing", fields{"id_token": marked}, `connection "nothing" is not configured; configure it with: vault write gbg/config/nothing client_id=ID client_secret=@FILE`},
		} {
			assert.Equal(t, c.want, w.refused(w.try(logical.UpdateOperation, c.path, c.data)))
		}
		assert.Equal(t, asked, w.asks())
	})
}

func TestExchangeIsAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config/sso", w.exchangeOnly())
		w.write("config", w.exchangeOnly())
		w.write("config/m2m", w.m2m())
		idToken := w.idToken(someone)
		const bring = `connection "sso" has no clients of its own: it exchanges tokens that callers bring: vault write gbg/creds/sso id_token=@FILE`
		assert.Equal(t, bring, w.refused(w.try(logical.ReadOperation, "creds/sso", nil)))
		assert.Equal(t, bring, w.refused(w.try(logical.ReadOperation, "creds/sso", fields{"min_ttl": 60})))
		assert.Equal(t, bring, w.refused(w.try(logical.UpdateOperation, "rotate/sso", nil)))
		assert.Equal(t, bring, w.refused(w.try(logical.UpdateOperation, "rotate/sso", fields{"client_id": idpA})))
		for path, command := range map[string]string{"creds": "gbg/creds", "creds/sso": "gbg/creds/sso", "creds/m2m": "gbg/creds/m2m"} {
			assert.Equal(t, "id_token must not be in a read, where it is a part of the address; exchange it with: vault write "+command+" id_token=@FILE",
				w.refused(w.try(logical.ReadOperation, path, fields{"id_token": idToken})))
		}
	})
}

// What GBG refuses is the caller's affair, unless it refuses who sends it.
func TestExchangeRefusedByGBG(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config/sso", w.exchangeOnly())
		status := w.read("status/sso")
		idToken := w.idToken(someone)
		at := w.identityURL()
		for _, c := range []struct {
			fault gbgsim.Fault
			code  int
			want  string
		}{
			{
				refusalAt(gbgsim.EndpointIdentity, "", "invalid_grant", "The token "+idToken+" has expired."), http.StatusBadRequest,
				`GBG refused to exchange the id_token: invalid_grant: The token [redacted] has expired. (HTTP 400 from ` + at + `)`,
			},
			{
				gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 403, GBGError: gbgsim.GBGError{Name: "FORBIDDEN", Problem: "Not you."}, RequestID: "fake-1"},
				http.StatusBadRequest,
				`GBG refused to exchange the id_token: FORBIDDEN: Not you. (HTTP 403 from ` + at + `, request id fake-1)`,
			},
			{
				refusalAt(gbgsim.EndpointIdentity, "", "invalid_client", "Who is ro.client? Its secret is wrong."), http.StatusBadGateway,
				`GBG refused to exchange the id_token: invalid_client: Who is ro.client? Its secret is wrong. (HTTP 400 from ` + at +
					`). GBG refused the client that sends the id_token, not the id_token: check exchange_client_id and exchange_client_secret at gbg/config/sso.`,
			},
		} {
			c.fault.Endpoint = gbgsim.EndpointIdentity
			w.fault(c.fault)
			a := w.try(logical.UpdateOperation, "creds/sso", fields{"id_token": idToken})
			want := `connection "sso": ` + c.want
			if c.code == http.StatusBadRequest {
				assert.Equal(t, want, w.refused(a))
			} else {
				assert.Equal(t, want, w.coded(c.code, a))
			}
			w.sim.ClearFaults()
			assert.Equal(t, status, w.read("status/sso"), "it says nothing of the connection")
			w.exchange("creds/sso", idToken)
		}
		assert.Contains(t, w.refused(w.try(logical.UpdateOperation, "creds/sso", fields{"id_token": "FAKE-NOBODYS"})), "invalid_grant")
	})
}

// A status of GBG's, or an answer that is no token, may come from the very token:
// the next caller's is not held back.
func TestExchangeTroubleOfOneToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			fault gbgsim.Fault
			want  string
		}{
			{gbgsim.Fault{Kind: gbgsim.FaultNullToken}, "the answer has no usable access_token (HTTP 200 from "},
			{gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 500, Error: "server_error"}, "server_error (HTTP 500 from "},
			{gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, Error: "maintenance"}, "maintenance (HTTP 503 from "},
			{gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 429, Error: "slow_down"}, "slow_down (HTTP 429 from "},
		} {
			w := newWorld(t, worldOptions{})
			w.write("config", w.exchangeOnly())
			c.fault.Endpoint = gbgsim.EndpointIdentity
			w.fault(c.fault)
			a, rests := w.tryRetried(logical.UpdateOperation, "creds", fields{"id_token": w.idToken(someone)})
			assert.Equal(t, `connection "default": no token from GBG in exchange for the id_token: `+c.want+w.identityURL()+").",
				w.coded(http.StatusServiceUnavailable, a))
			assert.Equal(t, retryPauses, rests)
			w.sim.ClearFaults()
			w.exchange("creds", w.idToken(someone))
			assert.NotContains(t, w.read("status"), "last_error")
		}
	})
}

// While GBG cannot be reached, or asks to be left alone, nobody waits for it in
// vain, once that is known.
func TestExchangeWhileGBGIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		fault gbgsim.Fault
		rests []time.Duration
		pause time.Duration
		want  string
	}{
		"not to be reached": {
			gbgsim.Fault{Kind: gbgsim.FaultClose},
			retryPauses, time.Second,
			"EOF ({gbg})",
		},
		"asks to be left alone": {
			gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, Error: "maintenance", RetryAfter: "30"},
			nil, 30 * time.Second,
			"maintenance (HTTP 503 from {gbg})",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", w.exchangeOnly())
				c.fault.Endpoint = gbgsim.EndpointIdentity
				w.fault(c.fault)
				idToken := fields{"id_token": w.idToken(someone)}
				a, rests := w.tryRetried(logical.UpdateOperation, "creds", idToken)
				said := w.coded(http.StatusServiceUnavailable, a)
				want := strings.ReplaceAll(c.want, "{gbg}", w.identityURL())
				assert.Equal(t, `connection "default": no token from GBG in exchange for the id_token: `+want+"."+
					failing(time.Now(), time.Now().Add(c.pause)), said)
				assert.Equal(t, c.rests, rests)

				asked := w.asks()
				w.pass(c.pause - 1)
				assert.Equal(t, said, w.coded(http.StatusServiceUnavailable, w.try(logical.UpdateOperation, "creds", fields{"id_token": w.idToken("bob")})), "the last answer, at once")
				assert.Equal(t, asked, w.asks())
				status := w.read("status")
				assert.Equal(t, int64(1), status["consecutive_errors"])
				assert.Contains(t, status["last_error"], want)
				assert.Equal(t, "Token requests fail: see last_error.", status["next_step"])

				w.pass(1)
				w.sim.ClearFaults()
				w.exchange("creds", w.idToken(someone))
				assert.NotContains(t, w.read("status"), "last_error")
			})
		})
	}
}

// A crowd that sees one failure is not taken for many, and a write ends the pause.
func TestExchangeTroubleIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.exchangeOnly(), fields{"request_timeout": 1}))
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointIdentity, Status: 503, RetryAfter: "30"})
		release := w.gate.hold("ro.client")
		var crowd []<-chan answer
		for range 8 {
			crowd = append(crowd, later(func() answer {
				return w.send(t.Context(), logical.UpdateOperation, "creds", fields{"id_token": "FAKE"})
			}))
			await(t, w.gate.arrived, "an exchange")
		}
		release()
		for _, answered := range crowd {
			w.coded(http.StatusServiceUnavailable, await(t, answered, "an answer"))
		}
		status := w.read("status")
		assert.Equal(t, int64(1), status["consecutive_errors"])
		assert.Equal(t, timestamp(time.Now().Add(30*time.Second)), status["next_try_time"], "as GBG asked")

		w.sim.ClearFaults()
		w.write("config", w.exchangeOnly())
		w.exchange("creds", w.idToken(someone))
	})
}

// Who gives up does not go on asking, and the engine's end is everybody's.
func TestExchangeGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.exchangeOnly())
		defer w.gate.hold("ro.client")()
		idToken := fields{"id_token": w.idToken(someone)}
		ctx, cancel := context.WithCancel(t.Context())
		gone := later(func() answer { return w.send(ctx, logical.UpdateOperation, "creds", idToken) })
		await(t, w.gate.arrived, "the exchange")
		cancel()
		require.ErrorIs(t, await(t, gone, "an answer").err, context.Canceled)

		waiting := later(func() answer { return w.send(t.Context(), logical.UpdateOperation, "creds", idToken) })
		await(t, w.gate.arrived, "the exchange")
		w.backend.Cleanup(t.Context())
		assert.Equal(t, "the secrets engine is shutting down", w.coded(http.StatusServiceUnavailable, await(t, waiting, "an answer")))
		assert.NotContains(t, fmt.Sprint(w.coded(http.StatusServiceUnavailable, w.try(logical.UpdateOperation, "creds", idToken))), "Nothing")
	})
}

// A connection with clients of its own exchanges callers' tokens as well, and
// keeps the two apart.
func TestExchangeBesideASharedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.m2m())
		shared := w.read("creds")
		content := w.storage.content(t)
		own := w.exchange("creds", w.idToken(someone))
		assert.Equal(t, someone, w.owner(own.Data["access_token"]))
		assert.Equal(t, "ro.client", own.Data["client_id"])
		assert.Equal(t, shared, w.read("creds"))
		assert.Equal(t, content, w.storage.content(t))

		w.fault(gbgsim.Fault{Kind: gbgsim.FaultClose, Endpoint: gbgsim.EndpointIdentity})
		w.tryRetried(logical.UpdateOperation, "creds", fields{"id_token": w.idToken(someone)})
		w.sim.ClearFaults()
		assert.Equal(t, without(shared, "ttl"), without(w.read("creds"), "ttl"))
		w.ok(w.try(logical.UpdateOperation, "rotate", nil))
		assert.NotContains(t, w.read("status"), "last_error", "the rotation's token came through an exchange")
		w.exchange("creds", w.idToken(someone))
	})
}
