package backend

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// token is an access token in memory. It is immutable except for its flags.
type token struct {
	access connection.Secret
	typ    string
	// clientID is the id of the client or user of the pair that it was issued to.
	clientID string
	// source is the request that it came from, without secrets.
	source connection.Request
	// scope is the granted scope, missing the part of the requested one that was not
	// granted.
	scope, missing string
	// fetched is when its request was sent, expires when it expires.
	fetched, expires time.Time
	// overlap is how long before its expiry there is a newer token. It is kept with
	// the token, so that all answers with this token are the same.
	overlap time.Duration
	// lead is how long before that the next token is requested.
	lead time.Duration
	// lifetimeAssumed is set if the token came without a lifetime.
	lifetimeAssumed bool
	// claims are those of a client's token; empty if it is not a JWT.
	claims connection.Claims

	// used is set when the token is read. An unused token is not refreshed.
	used atomic.Bool
	// refreshing is set while the next token is being fetched.
	refreshing atomic.Bool
	// forwards is for a node that cannot write to storage.
	forwards forwards
}

// maxAnswerTime is the maximum time that refreshLead allows for GBG's answer.
const maxAnswerTime = 5 * time.Second

// newToken returns a token. Its lifetime begins when its request was sent.
func (e *Engine) newToken(r connection.Request, t *issuedToken, s connection.Settings) *token {
	granted := cmp.Or(t.Scope, r.Scope())
	early := overlap(t.Lifetime, s)
	var claims connection.Claims
	if r.HasClient() {
		claims = claimsOf(t.AccessToken, r.ID(), r.PairFields())
	}
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
		claims:          claims,
	}
}

// refreshLead returns how long before the overlap of two tokens the second is
// requested: time for GBG to answer, plus up to a tenth of the overlap at random, so
// that connections with tokens of the same age do not all send their requests at
// once.
func (e *Engine) refreshLead(overlap time.Duration) time.Duration {
	return min(overlap/10, maxAnswerTime) + time.Duration(e.random()*float64(overlap)/10)
}

// warnings returns the warnings about the token, usually nil.
func (t *token) warnings() []string {
	if t.missing == "" {
		return nil
	}
	return []string{fmt.Sprintf("GBG granted %s %q less than was asked for: %q is missing (granted: %q)", t.source.PairFields().Noun(), t.clientID, t.missing, t.scope)}
}

// lifetime returns the token's lifetime.
func (t *token) lifetime() time.Duration { return t.expires.Sub(t.fetched) }

// left returns how long the token is still valid; zero or less if it has expired or t
// is nil. If the monotonic and the wall clock disagree (the wall clock was set, or
// the machine slept, which stops the monotonic clock), the smaller value counts.
func (t *token) left(now time.Time) time.Duration {
	if t == nil {
		return 0
	}
	return min(t.expires.Sub(now), t.expires.Round(0).Sub(now.Round(0)))
}

// refreshTime returns when there is a newer token.
func (t *token) refreshTime() time.Time { return t.expires.Add(-t.overlap) }

// refreshStart returns when the newer token is requested.
func (t *token) refreshStart() time.Time { return t.refreshTime().Add(-t.lead) }

// rotationPeriod returns the time from this token to the next, in whole seconds, at
// least one.
func (t *token) rotationPeriod() time.Duration { return rotationPeriod(t.lifetime(), t.overlap) }

// overlap returns how long before a token's expiry there is a newer one: as
// configured, but at most a third of its lifetime.
func overlap(lifetime time.Duration, s connection.Settings) time.Duration {
	return min(s.WithDefaults().RefreshBefore, lifetime/3)
}

func rotationPeriod(lifetime, overlap time.Duration) time.Duration {
	return max((lifetime - overlap).Round(time.Second), time.Second)
}

// missingScopes returns the requested scopes that were not granted, space-separated;
// empty if none is missing.
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
