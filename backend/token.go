package backend

import (
	"fmt"
	"sync/atomic"
	"time"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// token is an access token in memory. All of it but the flags is never changed.
type token struct {
	access   Secret
	typ      string
	clientID string
	// source is where it came from.
	source request
	// scope is what was granted, missing what was asked for and was not.
	scope, missing string
	// fetched is when its request was sent, expires when GBG lets it end.
	fetched, expires time.Time
	// overlap is how long before its end it has a successor. It is the token's own,
	// so that all answers with this token are the same.
	overlap time.Duration
	// lifetimeAssumed says that GBG named no lifetime.
	lifetimeAssumed bool

	// used says that somebody read it. A token that nobody reads gets no
	// successor.
	used atomic.Bool
	// succeeding says that its successor is being fetched.
	succeeding atomic.Bool
}

// maxLead bounds token.lead.
const maxLead = 5 * time.Second

// newToken counts a token's life from the moment its request was sent.
func newToken(r request, t *gbgauth.Token, sent time.Time, s Settings) *token {
	granted := orDefault(t.Scope, r.scope())
	return &token{
		access:          t.AccessToken,
		typ:             t.Type,
		clientID:        orDefault(r.clients.ClientID, r.exchange.ClientID),
		source:          r.source(),
		scope:           granted,
		missing:         missingScopes(r.scope(), granted),
		fetched:         sent,
		expires:         sent.Add(t.Lifetime),
		overlap:         overlap(t.Lifetime, s),
		lifetimeAssumed: t.LifetimeAssumed,
	}
}

// warnings are what to tell people about the token. Mostly nil.
func (t *token) warnings() []string {
	if t.missing == "" {
		return nil
	}
	return []string{fmt.Sprintf("GBG granted client %q less than was asked for: %q is missing (granted: %q)", t.clientID, t.missing, t.scope)}
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

// refresh is when the token has its successor.
func (t *token) refresh() time.Time { return t.expires.Add(-t.overlap) }

// lead is how long before that, at most, the successor is asked for: time for
// GBG to answer.
func (t *token) lead() time.Duration { return min(t.overlap/10, maxLead) }

// rotationPeriod is the time from this token to the next, in whole seconds, at
// least one.
func (t *token) rotationPeriod() time.Duration { return rotationPeriod(t.lifetime(), t.overlap) }

// overlap is how long before its end a token has a successor: as configured, but
// never more than a third of its life.
func overlap(lifetime time.Duration, s Settings) time.Duration {
	return min(s.withDefaults().RefreshBefore, lifetime/3)
}

func rotationPeriod(lifetime, overlap time.Duration) time.Duration {
	return max((lifetime - overlap).Round(time.Second), time.Second)
}
