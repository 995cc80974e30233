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

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// unverified gives a world with client A configured and whatever GBG.
func unverified(t *testing.T, gbg http.Handler) *world {
	t.Helper()
	w := newWorld(t, worldOptions{gbg: gbg})
	w.write("config", with(w.single(), fields{"verify_connection": false}))
	return w
}

// failing is what the answer to a reader adds to an error.
func failing(since, next time.Time) string {
	return fmt.Sprintf(" Token requests have failed since %s; the next try is at %s.", timestamp(since), timestamp(next))
}

// newSecret is what it adds if GBG refused a client.
const newSecret = " If its secret was regenerated, write the new one: vault write gbg/config client_secret=@FILE (paired_client_secret for the paired client)."

func TestTroubleGBGUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := unverified(t, nil)
		w.closeGBG()
		a, rests := w.tryRetried(logical.ReadOperation, "creds", nil)
		address := strings.TrimPrefix(w.gbg.URL, "http://")
		assert.Equal(t, fmt.Sprintf(`connection "default": no token for client "client-a": dial tcp %s: connect: connection refused (%s).`, address, w.tokenURL())+
			failing(time.Now(), time.Now().Add(time.Second)), w.coded(http.StatusServiceUnavailable, a))
		assert.Equal(t, retryPauses, rests)
		assert.Equal(t, start.Add(7750*time.Millisecond), time.Now().UTC())
	})
}

// GBG that never answers costs a reader request_timeout.
func TestTroubleGBGSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := unverified(t, nil)
		defer w.gate.hold(clientA)()
		reading := later(func() answer { return w.send(t.Context(), logical.ReadOperation, "creds", nil) })
		await(t, w.gate.arrived, "the token request")
		w.pass(10 * time.Second)
		assert.Equal(t, fmt.Sprintf(`connection "default": no token for client "client-a": no answer in the time allowed (%s).`, w.tokenURL())+
			failing(time.Now(), time.Now().Add(time.Second)), w.coded(http.StatusServiceUnavailable, await(t, reading, "an answer")))
		assert.Equal(t, 2, w.asked(), "half of the time each")
	})
}

func TestTroubleGBGRefusesTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config/team-a", with(w.single(), fields{"client_secret": wrongSecret, "verify_connection": false}))
		assert.Equal(t, w.refusal("team-a", clientA)+failing(start, start.Add(time.Second))+strings.Replace(newSecret, "config", "config/team-a", 1),
			w.coded(http.StatusBadGateway, w.try(logical.ReadOperation, "creds/team-a", nil)))
		assert.Equal(t, 2, w.asked(), "once more, and then it does not help to ask again")
	})
}

// Without a standby there is nothing to rotate to.
func TestTroubleNoAdviceToRotateWithoutAPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := unverified(t, nil)
		w.regenerate(clientA)
		assert.NotContains(t, w.coded(http.StatusBadGateway, w.try(logical.ReadOperation, "creds", nil)), "rotate")
		assert.NotContains(t, w.read("status")["next_step"], "rotate")
	})
}

func TestTroubleWhatGBGSays(t *testing.T) {
	const about = `connection "default": `
	for _, c := range []struct {
		name string
		gbg  http.Handler
		code int
		want string // after the connection, before the address
		// refusesClient is set if the answer refuses the client, so that a new secret
		// may help.
		refusesClient bool
	}{
		{"refused client", says(401, `{"error": "invalid_client"}`), 502, `GBG refused client "client-a": invalid_client (HTTP 401`, true},
		{"unauthorized client", says(400, `{"error": "unauthorized_client", "error_description": "not for you"}`), 502, `GBG refused client "client-a": unauthorized_client: not for you (HTTP 400`, true},
		{"refused scope", says(400, `{"error": "invalid_scope", "error_description": "no such scope"}`), 502, `GBG refused client "client-a": invalid_scope: no such scope (HTTP 400`, false},
		{"GBG GO's own form", says(403, `{"errors": [{"code": "4031", "name": "FORBIDDEN", "problem": "The client is locked."}]}`), 502, `GBG refused client "client-a": FORBIDDEN: The client is locked. (HTTP 403`, false},
		{"control characters", says(400, `{"error": "invalid_request", "error_description": "a\u001b[31m\nb\u0000c"}`), 502, `GBG refused client "client-a": invalid_request: a [31m b c (HTTP 400`, false},

		{"an error of GBG's", says(500, `oops`), 503, `no token for client "client-a": the error response has no description (HTTP 500`, false},
		{"busy", says(429, `{"error": "slow_down"}`), 503, `no token for client "client-a": slow_down (HTTP 429`, false},
		{"a refusal with status 503", says(503, `{"error": "invalid_client"}`), 503, `no token for client "client-a": invalid_client (HTTP 503`, false},

		{"no JSON", says(200, `<html>`), 503, `no token for client "client-a": the answer is not a JSON object (HTTP 200`, false},
		{"a JSON list", says(200, `[]`), 503, `no token for client "client-a": the answer is not a JSON object (HTTP 200`, false},
		{"nothing", says(200, ``), 503, `no token for client "client-a": the answer is not a JSON object (HTTP 200`, false},
		{"no access_token", says(200, `{"expires_in": 60}`), 503, `no token for client "client-a": the answer has no usable access_token (HTTP 200`, false},
		{"an empty access_token", says(200, `{"access_token": "", "expires_in": 60}`), 503, `no token for client "client-a": the answer has no usable access_token (HTTP 200`, false},
		{"an impossible access_token", says(200, `{"access_token": "sim-token-\n", "expires_in": 60}`), 503, `no token for client "client-a": access_token contains characters that are not allowed in a token (HTTP 200`, false},
		{"a life of nothing", says(200, `{"access_token": "sim-token-x", "expires_in": 0}`), 503, `no token for client "client-a": expires_in is less than a second (HTTP 200`, false},
		{"a life below nothing", says(200, `{"access_token": "sim-token-x", "expires_in": "-60"}`), 503, `no token for client "client-a": expires_in is less than a second (HTTP 200`, false},
		{"a life of words", says(200, `{"access_token": "sim-token-x", "expires_in": "soon"}`), 503, `no token for client "client-a": expires_in is not a number (HTTP 200`, false},
		{"a large answer", says(200, `{"access_token": "sim-token-x", "more": "`+long(1<<20)+`"}`), 503, `no token for client "client-a": the answer is larger than 1 MiB (HTTP 200`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := unverified(t, c.gbg)
				wantRests, closing := retryPauses, ""
				if c.code == http.StatusBadGateway {
					wantRests = nil
				}
				if c.refusesClient {
					closing = newSecret
				}
				a, rests := w.tryRetried(logical.ReadOperation, "creds", nil)
				assert.Equal(t, about+c.want+` from `+w.tokenURL()+`).`+failing(time.Now(), time.Now().Add(time.Second))+closing, w.coded(c.code, a))
				assert.Equal(t, wantRests, rests)

				// Whoever configures is told the same, as 400 or 503.
				a, rests = w.tryRetried(logical.UpdateOperation, "config", fields{"client_secret": wrongSecret})
				var got string
				if c.code == http.StatusServiceUnavailable {
					got = w.coded(c.code, a)
				} else {
					got = w.refused(a)
				}
				assert.Equal(t, wantRests, rests)
				assert.Equal(t, about+c.want+` from `+w.tokenURL()+`). Nothing has changed.`, got)
			})
		})
	}
}

func TestTroubleRequestID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := unverified(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Request-ID", "req-1234")
			says(http.StatusBadRequest, `{"error": "invalid_request"}`).ServeHTTP(w, r)
		}))
		assert.Contains(t, w.coded(http.StatusBadGateway, w.try(logical.ReadOperation, "creds", nil)),
			`invalid_request (HTTP 400 from `+w.tokenURL()+`, request id req-1234)`)
	})
}

func TestTroubleRedirectIsNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		followed := make(chan struct{}, 1)
		for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
			const elsewhere = "127.0.0.1:9000"
			w := unverified(t, http.RedirectHandler("http://"+elsewhere, status))
			w.unstartedServer(elsewhere, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed <- struct{}{} })).Start()
			a, _ := w.tryRetried(logical.ReadOperation, "creds", nil)
			assert.Contains(t, w.coded(http.StatusServiceUnavailable, a), "the endpoint answered with a redirect, which is never followed")
		}
		assert.Empty(t, followed)
	})
}

// An unknown certificate is trouble, not a reason to trust.
func TestTroubleUnknownCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		secret := w.client(clientA)
		server := w.anotherServer(w.sim)
		server.StartTLS()
		single := fields{"client_id": clientA, "client_secret": secret, "token_url": server.URL + gbgsim.TokenPath}

		a, _ := w.tryRetried(logical.UpdateOperation, "config", single)
		assert.Contains(t, w.coded(http.StatusServiceUnavailable, a), "if the endpoint's certificate comes from a private CA, set ca_pem")
		a, _ = w.tryRetried(logical.UpdateOperation, "config", with(single, fields{"ca_pem": testCA}))
		assert.Contains(t, w.coded(http.StatusServiceUnavailable, a), "certificate")
		assert.Zero(t, w.asked(), "the secret was sent")

		w.write("config", with(single, fields{"ca_pem": pemOf("CERTIFICATE", server.Certificate().Raw)}))
		assert.Equal(t, clientA, w.owner(w.read("creds")["access_token"]))
	})
}

// GBG's words may quote a secret; ours never do.
func TestTroubleSecretsInGBGsWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{gbg: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			secret := r.FormValue("client_secret")
			w.Header().Set("X-Request-ID", "req "+secret)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprintf(w, `{"error": "invalid_client", "error_description": "the secret %s, or %s, is wrong"}`, secret, url.QueryEscape(secret))
		})})
		pair := with(w.pair(), fields{"client_secret": wrongSecret + "+/ =%"})
		const want = "invalid_client: the secret [redacted], or [redacted], is wrong (HTTP 401 from "
		assert.Contains(t, w.refused(w.try(logical.UpdateOperation, "config", pair)), want)
		w.write("config", with(pair, fields{"verify_connection": false}))
		assert.Contains(t, w.coded(http.StatusBadGateway, w.try(logical.ReadOperation, "creds", nil)), want)
		assert.Contains(t, w.refused(w.try(logical.UpdateOperation, "rotate", fields{"client_secret": wrongSecret})), want)
		assert.Contains(t, w.read("status")["last_error"], "[redacted]")
	})
}

// Every test's answers and log are searched for secrets at its end; here is
// that there is something to search.
func TestTroubleLogTellsWhatHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		w.rotate(nil)
		w.refused(w.try(logical.UpdateOperation, "rotate", fields{"client_secret": wrongSecret}))
		w.ok(w.try(logical.DeleteOperation, "config", nil))
		said := w.heard.log.String()
		for _, line := range []string{
			"[DEBUG] token fetched: client_id=client-a connection=default",
			"[INFO]  connection configured: connection=default active_client_id=client-a",
			"[INFO]  rotated: connection=default cause=rotate active_client_id=client-b standby_client_id=client-a",
			"[DEBUG] token request failed: client_id=client-a connection=default",
			`[WARN]  client not verified: connection=default client_id=client-a error="`,
			"[INFO]  connection deleted: connection=default",
		} {
			assert.Contains(t, said, line)
		}
	})
}

// What a caller breaks off is the caller's, not GBG's trouble.
func TestTroubleCancelledIsNoTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := unverified(t, nil)
		release := w.gate.hold(clientA)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		a := w.send(ctx, logical.ReadOperation, "creds", nil)
		assert.ErrorIs(t, a.err, context.Canceled)
		release()
		assert.NotContains(t, w.read("status"), "last_error")
	})
}

// The time to the next try stands in ttl as soon as refreshing fails, also before
// the moment that was promised.
func TestTroubleTTLBeforeThePromise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		w.read("creds")
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusBadRequest, Error: "invalid_scope"})
		w.pass(55*time.Minute - 5*time.Second)
		w.pass(time.Second)
		w.pass(2 * time.Second)
		assert.EqualValues(t, 4, w.read("creds")["ttl"])
	})
}

// Pauses differ from one engine to the next by up to a fifth, so that many do not
// come back at once.
func TestTroublePausesAreDiced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{random: 1})
		w.write("config", with(w.single(), fields{"verify_connection": false}))
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503})
		a, rests := w.tryRetried(logical.ReadOperation, "creds", nil)
		w.coded(503, a)
		assert.Equal(t, []time.Duration{
			250 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond, 1600 * time.Millisecond, 3200 * time.Millisecond, 3200 * time.Millisecond,
		}, rests)
	})
}
