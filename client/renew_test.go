package client_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

// refused returns the current token for Renew.
func (w *world) refused() *oauth2.Token {
	w.t.Helper()
	token, err := w.source.Token()
	require.NoError(w.t, err)
	return token
}

func TestRenewAsksForANewerTokenOnceForAll(t *testing.T) {
	inBubble(t, func(w *world) {
		refused, fetched := w.refused(), lastRotation(time.Now())
		w.delay = time.Second
		time.Sleep(time.Minute)
		var callers sync.WaitGroup
		for range 16 {
			callers.Go(func() {
				newer, err := w.source.Renew(w.t.Context(), refused)
				if assert.NoError(w.t, err) {
					assert.Equal(w.t, "fake-token-2", newer.AccessToken)
				}
			})
		}
		callers.Wait()
		assert.Equal(w.t, 2, w.count())
		assert.Equal(w.t, fetched, w.received()[1].query.Get("newer_than"))
		newer, err := w.source.Renew(w.t.Context(), refused)
		require.NoError(w.t, err)
		assert.Equal(w.t, "fake-token-2", newer.AccessToken, "whoever comes late")
		assert.Equal(w.t, 2, w.count())
	})
}

// While GBG refuses every token, there is one request in the first minute, and then
// fewer and fewer.
func TestRenewWhileGBGRefusesEveryToken(t *testing.T) {
	inBubble(t, func(w *world) {
		for began := time.Now(); time.Since(began) < 40*time.Minute; time.Sleep(time.Second) {
			if _, err := w.source.Renew(w.t.Context(), w.refused()); err != nil {
				require.EqualError(w.t, err, "client: GBG refused the token, and Vault was asked for a newer one a short time ago")
			}
		}
		var pauses []time.Duration
		requests := w.received()[1:]
		for i, r := range requests[1:] {
			pauses = append(pauses, r.at.Sub(requests[i].at))
		}
		assert.Equal(w.t, []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute}, pauses)

		time.Sleep(ttl)
		w.token()
		newer, err := w.source.Renew(w.t.Context(), w.refused())
		require.NoError(w.t, err, "the pause ends with the next token")
		assert.NotEmpty(w.t, newer)
	})
}

// Within its minute, the engine answers with the token that was refused.
func TestRenewGetsTheSameTokenAgain(t *testing.T) {
	inBubble(t, func(w *world) {
		refused := w.refused()
		w.change = func(answer map[string]any) { answer["data"].(map[string]any)["access_token"] = refused.AccessToken }
		for range 2 {
			_, err := w.source.Renew(w.t.Context(), refused)
			assert.ErrorContains(w.t, err, "GBG refused the token")
		}
		assert.Equal(w.t, 2, w.count())
	})
}

// A failed request is followed by the pause of any other, not by a minute.
func TestRenewWhileVaultIsAway(t *testing.T) {
	inBubble(t, func(w *world) {
		refused := w.refused()
		w.refuse(http.StatusServiceUnavailable)
		for range 5 {
			_, err := w.source.Renew(w.t.Context(), refused)
			var failed *api.ResponseError
			assert.ErrorAs(w.t, err, &failed)
		}
		assert.Equal(w.t, 2, w.count())
		assert.Equal(w.t, refused.AccessToken, w.token(), "it may be refused in one place only")
		w.onRequest(nil)
		time.Sleep(time.Second)
		newer, err := w.source.Renew(w.t.Context(), refused)
		require.NoError(w.t, err)
		assert.NotEqual(w.t, refused.AccessToken, newer.AccessToken)
	})
}

// With leases every read is a new token, and newer_than is refused.
func TestRenewALeasedToken(t *testing.T) {
	inBubble(t, func(w *world) {
		w.change = func(answer map[string]any) { answer["lease_id"] = "gbg/creds/lease" }
		newer, err := w.source.Renew(w.t.Context(), w.refused())
		require.NoError(w.t, err)
		assert.Equal(w.t, "fake-token-2", newer.AccessToken)
		require.Equal(w.t, 2, w.count())
		assert.Empty(w.t, w.received()[1].query)
	})
}

func TestRenewATokenOfAConnectionThatHasLeasesNow(t *testing.T) {
	inBubble(t, func(w *world) {
		refused := w.refused()
		w.onRequest(func(rw http.ResponseWriter, r *http.Request) bool {
			leased := r.URL.Query().Has("newer_than")
			if leased {
				http.Error(rw, `{"errors":["newer_than is not for leased tokens"]}`, http.StatusBadRequest)
			}
			return leased
		})
		newer, err := w.source.Renew(w.t.Context(), refused)
		require.NoError(w.t, err)
		assert.NotEqual(w.t, refused.AccessToken, newer.AccessToken)
		assert.Equal(w.t, 3, w.count())
	})
}

// A refresh that is under way makes newer_than unnecessary.
func TestRenewDuringARefresh(t *testing.T) {
	inBubble(t, func(w *world) {
		refused := w.refused()
		time.Sleep(ttl)
		w.delay = time.Second
		w.token() // starts it
		newer, err := w.source.Renew(w.t.Context(), refused)
		require.NoError(w.t, err)
		assert.Equal(w.t, "fake-token-2", newer.AccessToken)
		assert.Equal(w.t, 2, w.count())
		assert.Empty(w.t, w.received()[1].query)
	})
}
