package backend

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"vault-plugin-secrets-gbg/backend/connection"
)

// token is an access token in memory. Only its flags are ever changed.
type token struct {
	access connection.Secret
	typ    string
	// clientID is the id of the client or user of the pair that it was issued to.
	clientID string
	// source is where it came from.
	source connection.Request
	// scope is what was granted, missing what was asked for and was not.
	scope, missing string
	// fetched is when its request was sent, expires when GBG lets it end.
	fetched, expires time.Time
	// overlap is how long before its end there is a newer one. It is the token's own,
	// so that all answers with this token are the same.
	overlap time.Duration
	// lead is how long before that the next token is asked for.
	lead time.Duration
	// lifetimeAssumed is set if GBG named no lifetime.
	lifetimeAssumed bool

	// used is set when somebody reads it. A token that nobody reads is not
	// refreshed.
	used atomic.Bool
	// refreshing is set while the next token is being fetched.
	refreshing atomic.Bool
}

// maxAnswerTime is the most that refreshLead allows GBG for its answer.
const maxAnswerTime = 5 * time.Second

// newToken returns a token whose life counts from the moment its request was sent.
func (e *Engine) newToken(r connection.Request, t *issuedToken, s connection.Settings) *token {
	granted := cmp.Or(t.Scope, r.Scope())
	early := overlap(t.Lifetime, s)
	return &token{
		access:          t.AccessToken,
		typ:             t.Type,
		clientID:        r.ID(),
		source:          r.Source(),
		scope:           granted,
		missing:         missingScopes(r.Scope(), granted),
		fetched:         t.sent,
		expires:         t.sent.Add(t.Lifetime),
		overlap:         early,
		lead:            e.refreshLead(early),
		lifetimeAssumed: t.LifetimeAssumed,
	}
}

// refreshLead returns how long before the overlap of two tokens begins the second is
// asked for: time for GBG to answer, and a random part of a tenth of the overlap, so
// that connections whose tokens began together do not all ask in one moment.
func (e *Engine) refreshLead(overlap time.Duration) time.Duration {
	return min(overlap/10, maxAnswerTime) + time.Duration(e.random()*float64(overlap)/10)
}

// warnings returns what to tell people about the token, usually nil.
func (t *token) warnings() []string {
	if t.missing == "" {
		return nil
	}
	return []string{fmt.Sprintf("GBG granted %s %q less than was asked for: %q is missing (granted: %q)", t.source.PairFields().Noun, t.clientID, t.missing, t.scope)}
}

// lifetime returns how long GBG lets the token live.
func (t *token) lifetime() time.Duration { return t.expires.Sub(t.fetched) }

// left returns how long the token is still valid; zero or less if it is not, or if t
// is nil. Where the monotonic and the wall clock disagree (one was set, or the machine
// slept, which the monotonic clock does not see) the smaller counts.
func (t *token) left(now time.Time) time.Duration {
	if t == nil {
		return 0
	}
	return min(t.expires.Sub(now), t.expires.Round(0).Sub(now.Round(0)))
}

// refreshTime returns when there is a newer token.
func (t *token) refreshTime() time.Time { return t.expires.Add(-t.overlap) }

// refreshStart returns when the newer token is asked for.
func (t *token) refreshStart() time.Time { return t.refreshTime().Add(-t.lead) }

// rotationPeriod returns the time from this token to the next, in whole seconds, at
// least one.
func (t *token) rotationPeriod() time.Duration { return rotationPeriod(t.lifetime(), t.overlap) }

// overlap returns how long before a token's end there is a newer one: as configured,
// but never more than a third of its lifetime.
func overlap(lifetime time.Duration, s connection.Settings) time.Duration {
	return min(s.WithDefaults().RefreshBefore, lifetime/3)
}

func rotationPeriod(lifetime, overlap time.Duration) time.Duration {
	return max((lifetime - overlap).Round(time.Second), time.Second)
}

// missingScopes gives the scopes that were asked for and not granted,
// space-separated; empty if none is missing.
func missingScopes(asked, granted string) string {
	have := strings.Fields(granted)
	var missing []string
	for _, scope := range strings.Fields(asked) {
		if !slices.Contains(have, scope) {
			missing = append(missing, scope)
		}
	}
	return strings.Join(missing, " ")
}
