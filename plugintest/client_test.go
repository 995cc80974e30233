package plugintest

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/client"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// vaultAPI is as much of Vault's HTTP API as the Go client uses.
type vaultAPI struct {
	world  *world
	sealed atomic.Bool

	mu       sync.Mutex
	requests []url.Values // the queries
	served   int
}

// newClient returns Vault's API, and a client that reads creds from it.
func (w *world) newClient() (*vaultAPI, *client.TokenSource) {
	w.t.Helper()
	v := &vaultAPI{world: w}
	vault, err := api.NewClient(&api.Config{Address: w.server(v), HttpClient: w.httpClient()})
	require.NoError(w.t, err)
	vault.SetToken("fake-vault-token")
	source, err := client.New(vault, "gbg/creds")
	require.NoError(w.t, err)
	return v, source
}

func (w *world) httpClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: w.network.DialContext, DisableKeepAlives: true}}
}

func (v *vaultAPI) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	v.requests = append(v.requests, r.URL.Query())
	v.mu.Unlock()
	if v.sealed.Load() {
		v.fail(rw, http.StatusServiceUnavailable, "Vault is sealed")
		return
	}
	data := fields{}
	for name, values := range r.URL.Query() {
		data[name] = values[0]
	}
	a := v.world.send(r.Context(), logical.ReadOperation, r.URL.Path[len("/v1/gbg/"):], data)
	var coded logical.HTTPCodedError
	switch {
	case errors.As(a.err, &coded):
		v.fail(rw, coded.Code(), coded.Error())
	case a.err != nil:
		v.fail(rw, http.StatusInternalServerError, a.err.Error())
	case a.resp.IsError():
		v.fail(rw, http.StatusBadRequest, a.resp.Error().Error())
	default:
		v.mu.Lock()
		v.served++
		v.mu.Unlock()
		body := fields{"data": a.resp.Data, "warnings": a.resp.Warnings}
		if a.resp.Secret != nil {
			body["lease_id"] = "gbg/creds/lease"
		}
		_ = json.NewEncoder(rw).Encode(body)
	}
}

func (v *vaultAPI) fail(rw http.ResponseWriter, status int, text string) {
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(fields{"errors": []string{text}})
}

// counts returns how many requests came, and how many got a token.
func (v *vaultAPI) counts() (requests, served int) {
	synctest.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.requests), v.served
}

// Eight programs use one token after another for half a day, with an outage of Vault each
// time that the next token is due. Every call has a valid token, and Vault is read once
// a token.
func TestGoClientUsesOneTokenAfterAnother(t *testing.T) {
	inBubble(t, worldOptions{random: 0.5}, func(w *world) {
		w.write("config", w.pair())
		vault, source := w.newClient()
		asked := w.asked() - 1 // config got the first token
		for end := time.Now().Add(12 * time.Hour); time.Now().Before(end); w.pass(10 * time.Second) {
			var left time.Duration
			for range 8 {
				token, err := source.Token()
				require.NoError(w.t, err)
				require.True(w.t, w.live(token.AccessToken))
				left = time.Until(token.Expiry)
			}
			vault.sealed.Store(2*time.Minute < left && left < 5*time.Minute)
		}
		requests, served := vault.counts()
		tokens := w.asked() - asked
		assert.GreaterOrEqual(w.t, tokens, 12)
		assert.LessOrEqual(w.t, served, tokens)
		assert.GreaterOrEqual(w.t, served, tokens-1, "the last one may not have been read yet")
		assert.Greater(w.t, requests-served, 4*tokens, "the outages")
		assert.Less(w.t, requests-served, 10*tokens, "with growing pauses")
	})
}

// A plugin that has been restarted does not know that its token is in use until it is
// read, so that the next token is not there yet: one more read.
func TestGoClientAfterARestart(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		vault, source := w.newClient()
		first, err := source.Token()
		require.NoError(w.t, err)
		w.restart()
		w.pass(55 * time.Minute)
		for range 20 {
			token, err := source.Token()
			require.NoError(w.t, err)
			require.True(w.t, w.live(token.AccessToken))
			w.pass(time.Second)
		}
		next, err := source.Token()
		require.NoError(w.t, err)
		assert.NotEqual(w.t, first.AccessToken, next.AccessToken)
		requests, _ := vault.counts()
		assert.Equal(w.t, 3, requests)
	})
}

func TestGoClientFollowsARotation(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		_, source := w.newClient()
		before, err := source.Token()
		require.NoError(w.t, err)
		assert.Equal(w.t, clientA, before.Extra("client_id"))
		w.rotateToStandby()
		w.pass(55*time.Minute - time.Second)
		for range 2 { // the first one begins the refresh
			w.pass(time.Second)
			token, err := source.Token()
			require.NoError(w.t, err)
			assert.True(w.t, w.live(token.AccessToken))
		}
		after, err := source.Token()
		require.NoError(w.t, err)
		assert.Equal(w.t, clientB, after.Extra("client_id"))
	})
}

// GBG revokes the tokens: the calls that find out are repeated with one newer token.
func TestGoClientWithARevokedToken(t *testing.T) {
	for name, more := range map[string]fields{"shared": {}, "leased": {"lease": true}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, worldOptions{}, func(w *world) {
				w.write("config", with(w.pair(), more))
				vault, source := w.newClient()
				gbg := &http.Client{Transport: &client.Transport{Source: source, Base: w.httpClient().Transport}}
				call := func() int {
					resp, err := gbg.Get(w.url(gbgsim.APIPath))
					if !assert.NoError(w.t, err) {
						return 0
					}
					defer resp.Body.Close()
					return resp.StatusCode
				}
				require.Equal(w.t, http.StatusOK, call())
				w.pass(time.Minute)
				asked := w.asked()
				require.NoError(w.t, w.sim.RevokeTokens(clientA))
				var callers sync.WaitGroup
				for range 16 {
					callers.Go(func() { assert.Equal(w.t, http.StatusOK, call()) })
				}
				callers.Wait()
				requests, _ := vault.counts()
				assert.Equal(w.t, 2, requests)
				assert.Equal(w.t, asked+1, w.asked())
				assert.Equal(w.t, name == "shared", vault.requests[1].Has("newer_than"))
			})
		})
	}
}

// A connection that has leases since the token was read refuses newer_than.
func TestGoClientOfAConnectionThatHasLeasesNow(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		vault, source := w.newClient()
		refused, err := source.Token()
		require.NoError(w.t, err)
		w.write("config", fields{"lease": true})
		newer, err := source.Renew(w.t.Context(), refused)
		require.NoError(w.t, err)
		assert.NotEqual(w.t, refused.AccessToken, newer.AccessToken)
		assert.True(w.t, w.live(newer.AccessToken))
		requests, served := vault.counts()
		assert.Equal(w.t, 3, requests)
		assert.Equal(w.t, 2, served)
	})
}
