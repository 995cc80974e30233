package backend

import (
	"sync/atomic"
	"time"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// token is an access token in memory. All of it but the flags is never changed.
type token struct {
	access   Secret
	typ      string
	clientID string
	// tokenURL is where it came from; scope is what was granted, asked what was
	// asked for.
	tokenURL, scope, asked string
	// fetched is when its request was sent, expires when GBG lets it end.
	fetched, expires time.Time
	// lifetimeAssumed says that GBG named no lifetime.
	lifetimeAssumed bool

	// used says that somebody read it. A token that nobody reads gets no
	// successor.
	used atomic.Bool
	// succeeding says that its successor is being fetched.
	succeeding atomic.Bool
}

// newToken counts a token's life from the moment its request was sent.
func newToken(r gbgauth.ClientCredentials, t *gbgauth.Token, sent time.Time) *token {
	return &token{
		access:          t.AccessToken,
		typ:             t.Type,
		clientID:        r.ClientID,
		tokenURL:        r.TokenURL,
		scope:           orDefault(t.Scope, r.Scope),
		asked:           r.Scope,
		fetched:         sent,
		expires:         sent.Add(t.Lifetime),
		lifetimeAssumed: t.LifetimeAssumed,
	}
}

// answers says that the token is what a request would get.
func (t *token) answers(r gbgauth.ClientCredentials) bool {
	return t.clientID == r.ClientID && t.tokenURL == r.TokenURL && t.asked == r.Scope
}

// lifetime is how long GBG lets the token live.
func (t *token) lifetime() time.Duration { return t.expires.Sub(t.fetched) }

// left is how long the token is still valid; zero or less if it is not. Where
// the monotonic and the wall clock disagree (one was set, or the machine slept,
// which the monotonic clock does not see) the smaller counts. A nil token is
// not valid.
func (t *token) left(now time.Time) time.Duration {
	if t == nil {
		return 0
	}
	return min(t.expires.Sub(now), t.expires.Round(0).Sub(now.Round(0)))
}

// overlap is how long before its expiry a token has a successor: as configured,
// but never more than a third of its life.
func (t *token) overlap(s Settings) time.Duration {
	return min(s.withDefaults().RefreshBefore, t.lifetime()/3)
}

// refresh is when the token has its successor.
func (t *token) refresh(s Settings) time.Time { return t.expires.Add(-t.overlap(s)) }

// rotationPeriod is the time from this token to the next, in whole seconds, at
// least one.
func (t *token) rotationPeriod(s Settings) time.Duration {
	return rotationPeriod(t.lifetime(), s)
}

func rotationPeriod(lifetime time.Duration, s Settings) time.Duration {
	overlap := min(s.withDefaults().RefreshBefore, lifetime/3)
	return max((lifetime - overlap).Round(time.Second), time.Second)
}
