package client_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"gbg.example/vault-plugin-secrets-gbg/client"
)

var _ oauth2.TokenSource = (*client.TokenSource)(nil)

func TestTheTokenIsReadAgainAfterTTLWithoutWaiting(t *testing.T) {
	inBubble(t, func(w *world) {
		assert.Equal(w.t, "fake-token-1", w.token())
		time.Sleep(ttl - time.Second)
		assert.Equal(w.t, "fake-token-1", w.token())
		assert.Equal(w.t, 1, w.count())

		w.delay = 10 * time.Second
		time.Sleep(time.Second)
		for range 10 {
			assert.Equal(w.t, "fake-token-1", w.token(), "while Vault is asked in the background")
			time.Sleep(time.Second)
		}
		synctest.Wait()
		assert.Equal(w.t, "fake-token-2", w.token())
		assert.Equal(w.t, 2, w.count())
	})
}

func TestNothingIsReadThatNobodyUses(t *testing.T) {
	inBubble(t, func(w *world) {
		w.token()
		time.Sleep(24 * time.Hour)
		assert.Equal(w.t, 1, w.count())
		assert.Equal(w.t, "fake-token-2", w.token())
	})
}

func TestAToken(t *testing.T) {
	inBubble(t, func(w *world) {
		token, err := w.source.Token()
		require.NoError(w.t, err)
		assert.True(w.t, token.Valid())
		assert.Equal(w.t, "Bearer", token.Type())
		assert.Equal(w.t, time.Now().Add(lifetime), token.Expiry.In(time.Now().Location()))
		assert.Equal(w.t, "client-a", token.Extra("client_id"))
		assert.Equal(w.t, "gbg.token", token.Extra("scope"))
		assert.Equal(w.t, "default", token.Extra("connection"))
	})
}

func TestCallersShareOneRequest(t *testing.T) {
	inBubble(t, func(w *world) {
		w.delay = 5 * time.Second
		impatient, cancel := context.WithTimeout(w.t.Context(), time.Second)
		defer cancel()
		var callers sync.WaitGroup
		callers.Go(func() {
			_, err := w.source.TokenContext(impatient)
			assert.ErrorIs(w.t, err, context.DeadlineExceeded)
		})
		for range 16 {
			callers.Go(func() {
				token, err := w.source.TokenContext(w.t.Context())
				if assert.NoError(w.t, err, "another caller gave up") {
					assert.Equal(w.t, "fake-token-1", token.AccessToken)
				}
			})
		}
		callers.Wait()
		assert.Equal(w.t, 1, w.count())
	})
}

// Vault is away for four minutes, and the token stays valid for five: callers get it
// and notice nothing.
func TestAnOutageOfVault(t *testing.T) {
	inBubble(t, func(w *world) {
		w.token()
		time.Sleep(ttl)
		w.refuse(http.StatusServiceUnavailable)
		for outage := time.Now(); time.Since(outage) < 4*time.Minute; time.Sleep(100 * time.Millisecond) {
			require.Equal(w.t, "fake-token-1", w.token())
		}
		requests := w.received()[1:]
		assert.Greater(w.t, len(requests), 8)
		assert.Less(w.t, len(requests), 18)
		for i, r := range requests[1:] {
			pause, most := r.at.Sub(requests[i].at), min(time.Second<<i, 30*time.Second)
			assert.GreaterOrEqual(w.t, pause, most/2, "pause %d", i)
			assert.LessOrEqual(w.t, pause, most+100*time.Millisecond, "pause %d", i)
		}
		w.onRequest(nil)
		time.Sleep(30 * time.Second)
		w.token()
		assert.NotEqual(w.t, "fake-token-1", w.token())
	})
}

// Before the token expires the pauses become shorter, so that Vault is asked once more
// in time.
func TestAnOutageThatEndsJustBeforeTheTokenExpires(t *testing.T) {
	inBubble(t, func(w *world) {
		w.token()
		time.Sleep(ttl)
		w.refuse(http.StatusServiceUnavailable)
		for outage := time.Now(); time.Since(outage) < lifetime-ttl-3*time.Second; time.Sleep(100 * time.Millisecond) {
			w.token()
		}
		w.onRequest(nil)
		for range 30 {
			w.token()
			time.Sleep(100 * time.Millisecond)
		}
		assert.NotEqual(w.t, "fake-token-1", w.token())
	})
}

func TestAnOutageLongerThanTheToken(t *testing.T) {
	inBubble(t, func(w *world) {
		w.token()
		w.refuse(http.StatusServiceUnavailable)
		time.Sleep(lifetime)
		_, err := w.source.Token()
		var refused *api.ResponseError
		require.ErrorAs(w.t, err, &refused)
		assert.Equal(w.t, http.StatusServiceUnavailable, refused.StatusCode)
		assert.ErrorContains(w.t, err, "client: reading gbg/creds from Vault: ")
		assert.NotContains(w.t, err.Error(), tokenPrefix)
		asked := w.count()
		for range 100 {
			_, again := w.source.Token()
			assert.Equal(w.t, err, again, "in the pause, without another request")
		}
		assert.Equal(w.t, asked, w.count())
		w.onRequest(nil)
		time.Sleep(time.Second)
		w.token()
	})
}

func TestVaultDoesNotAnswer(t *testing.T) {
	inBubble(t, func(w *world) {
		w.delay = time.Hour
		began := time.Now()
		_, err := w.source.Token()
		assert.ErrorIs(w.t, err, context.DeadlineExceeded)
		assert.Equal(w.t, time.Minute, time.Since(began))
		time.Sleep(time.Second)

		w.vault.SetClientTimeout(3 * time.Second)
		began = time.Now()
		_, err = w.source.Token()
		assert.ErrorIs(w.t, err, context.DeadlineExceeded)
		assert.Equal(w.t, 3*time.Second, time.Since(began))
		time.Sleep(time.Hour) // until the fake Vault has answered
	})
}

func TestRetryAfter(t *testing.T) {
	for name, test := range map[string]struct {
		value       string
		least, most time.Duration
	}{
		"seconds":    {"120", 2 * time.Minute, 2*time.Minute + time.Second},
		"a date":     {"Sat, 01 Jan 2000 01:02:00 GMT", 2 * time.Minute, 2*time.Minute + time.Second}, // the bubble's clock
		"too long":   {"999999999999", time.Hour, time.Hour + time.Second},
		"the past":   {"Sat, 01 Jan 2000 00:00:00 GMT", 500 * time.Millisecond, time.Second},
		"negative":   {"-5", 500 * time.Millisecond, time.Second},
		"no time":    {"soon", 500 * time.Millisecond, time.Second},
		"zero":       {"0", 500 * time.Millisecond, time.Second},
		"no seconds": {"", 500 * time.Millisecond, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.skew = time.Hour // a date is by Vault's clock
				w.refuse(http.StatusServiceUnavailable, "Retry-After", test.value)
				began := time.Now()
				for w.count() < 2 {
					_, err := w.source.Token()
					require.Error(w.t, err)
					time.Sleep(10 * time.Millisecond)
				}
				pause := w.received()[1].at.Sub(began)
				assert.GreaterOrEqual(w.t, pause, test.least)
				assert.LessOrEqual(w.t, pause, test.most+10*time.Millisecond)
			})
		})
	}
}

func TestClocksThatDiffer(t *testing.T) {
	for _, skew := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		inBubble(t, func(w *world) {
			w.skew = skew
			w.token()
			w.refuse(http.StatusServiceUnavailable)
			time.Sleep(lifetime - time.Second)
			w.token()
			time.Sleep(time.Second)
			_, err := w.source.Token()
			assert.Error(w.t, err, "the token has expired")
		})
	}
}

func TestAnswersThatAreNoToken(t *testing.T) {
	without := func(key string) func(map[string]any) {
		return func(answer map[string]any) { delete(answer["data"].(map[string]any), key) }
	}
	with := func(key string, value any) func(map[string]any) {
		return func(answer map[string]any) { answer["data"].(map[string]any)[key] = value }
	}
	const notAToken = "client: reading gbg/creds from Vault: the answer is not a token of the GBG secrets engine"
	for name, test := range map[string]struct {
		change func(map[string]any)
		want   string
	}{
		"no data":         {func(answer map[string]any) { delete(answer, "data") }, notAToken},
		"no access_token": {without("access_token"), notAToken},
		"no expire_time":  {without("expire_time"), notAToken},
		"no ttl":          {without("ttl"), notAToken},
		"ttl a text":      {with("ttl", tokenPrefix), notAToken},
		"no time":         {with("expire_time", tokenPrefix), notAToken},
		"expired":         {with("expire_time", "2000-01-01T00:00:00Z"), "client: reading gbg/creds from Vault: the token has expired already"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.change = test.change
				_, err := w.source.Token()
				assert.EqualError(w.t, err, test.want)
			})
		})
	}
	inBubble(t, func(w *world) {
		w.onRequest(func(rw http.ResponseWriter, _ *http.Request) bool {
			_, _ = rw.Write([]byte("<html>" + tokenPrefix))
			return true
		})
		_, err := w.source.Token()
		assert.EqualError(w.t, err, notAToken)
	})
}

func TestTheVaultClientAsItIsNow(t *testing.T) {
	inBubble(t, func(w *world) {
		w.refuse(http.StatusForbidden)
		_, err := w.source.Token()
		require.Error(w.t, err)
		assert.Equal(w.t, 1, w.count(), "no retries by vault/api")

		w.vault.SetToken("fake-vault-token-2")
		w.vault.SetNamespace("team-a")
		other := "127.0.0.1:8300"
		w.serve(other, w)
		require.NoError(w.t, w.vault.SetAddress("http://"+other))
		w.onRequest(nil)
		time.Sleep(time.Second)
		w.token()
		last := w.received()[1]
		assert.Equal(w.t, "fake-vault-token-2", last.header.Get("X-Vault-Token"))
		assert.Equal(w.t, "team-a", last.header.Get("X-Vault-Namespace"))
		assert.Equal(w.t, 1, w.network.Dials(other))
	})
}

func TestAnEmptyPath(t *testing.T) {
	inBubble(t, func(w *world) {
		_, err := client.New(w.vault, "/")
		assert.EqualError(w.t, err, `client: the path is empty; an example is "gbg/creds"`)
	})
}

func TestTheLog(t *testing.T) {
	var log bytes.Buffer
	inBubble(t, func(w *world) {
		w.change = func(answer map[string]any) { answer["warnings"] = []string{"a failover"} }
		w.token()
		time.Sleep(ttl)
		w.refuse(http.StatusServiceUnavailable)
		w.token()
		assert.Contains(w.t, log.String(), `level=WARN msg="a GBG token came from Vault with a warning" path=gbg/creds warning="a failover"`)
		assert.Regexp(w.t, `level=WARN msg="reading a GBG token from Vault failed" path=gbg/creds error=".*status 503.*" next_try=\S+ token_valid=5m0s`, log.String())
		assert.NotContains(w.t, log.String(), tokenPrefix)
	}, client.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
}
