package client

import (
	"time"

	"golang.org/x/oauth2"
)

// token is a token as Vault answered it.
type token struct {
	oauth   *oauth2.Token
	fetched string    // last_vault_rotation
	leased  bool      // under a lease of its own
	next    time.Time // when there is a newer one
	expires time.Time
}

// left returns how long the token is still valid; zero or less if it has expired or t
// is nil. If the monotonic and the wall clock disagree (the wall clock was set, or the
// machine slept), the smaller value counts.
func (t *token) left(now time.Time) time.Duration {
	if t == nil {
		return 0
	}
	return min(t.expires.Sub(now), t.expires.Round(0).Sub(now.Round(0)))
}

// valid reports whether the token is valid; nil is not.
func (t *token) valid(now time.Time) bool { return t.left(now) > 0 }

// due reports whether there is a newer token.
func (t *token) due(now time.Time) bool { return reached(t.next, now) }

// reached reports whether a time has come, by the monotonic or by the wall clock.
func reached(moment, now time.Time) bool {
	return !now.Before(moment) || !now.Round(0).Before(moment.Round(0))
}
