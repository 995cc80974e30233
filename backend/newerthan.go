package backend

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// NewerThan is the parameter of a reader that had its token refused by GBG's API.
const NewerThan connection.Field = "newer_than"

const (
	// renewInterval is the minimum time between two tokens of a connection that are
	// fetched because of newer_than.
	renewInterval = time.Minute
	// maxNewerThan is how far newer_than may be ahead of the clock and of the current
	// token, because clocks differ.
	maxNewerThan = time.Minute
)

// RefusedToken identifies a token by its fetch time, at the precision that the reader
// kept.
type RefusedToken struct {
	fetched   time.Time
	precision time.Duration
}

// ParseRefusedToken parses a time in the form of RFC 3339. The error is an *InputError.
func ParseRefusedToken(text string) (RefusedToken, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return RefusedToken{}, connection.Invalid(NewerThan, "must be a time as in last_vault_rotation, such as 2026-03-01T12:00:00.25Z")
	}
	precision := time.Second
	if _, fraction, ok := strings.Cut(text, "."); ok {
		for _, c := range fraction {
			if c < '0' || c > '9' || precision == 1 {
				break
			}
			precision /= 10
		}
	}
	return RefusedToken{fetched: at.Truncate(precision), precision: precision}, nil
}

// covers reports whether a token that was fetched at a time is the refused token or one
// before it.
func (r RefusedToken) covers(fetched time.Time) bool {
	return !wallTime(fetched).Truncate(r.precision).After(r.fetched)
}

// checkFuture refuses a time at which no token can have been fetched.
func (r RefusedToken) checkFuture(t *token, now time.Time) error {
	newest := wallTime(now)
	if t != nil {
		newest = latest(newest, wallTime(t.fetched))
	}
	if r.fetched.After(newest.Add(maxNewerThan)) {
		return connection.Invalid(NewerThan, "is in the future: give the last_vault_rotation of the token that was refused")
	}
	return nil
}

// NewerToken is Token for a reader that had its token refused by GBG's API. If the current
// token is that one or an older one, NewerToken fetches a new one for all readers, at most
// once in renewInterval. Within that time, or if the request fails, it returns the current
// token with a warning, provided that it is valid. The errors are those of Token.
func (e *Engine) NewerToken(ctx context.Context, name string, refused RefusedToken, minTTL time.Duration) (Credential, error) {
	ctx, leave, err := e.join(ctx)
	if err != nil {
		return Credential{}, err
	}
	defer leave()
	for {
		st, err := e.state(ctx, name)
		switch {
		case err != nil:
			return Credential{}, err
		case !st.conn.Settings.HasPair():
			return Credential{}, ErrNoClients
		case st.conn.Settings.Lease:
			return Credential{}, connection.Invalid(NewerThan, "has no use on a connection with lease=true: every read is a new token")
		}
		now := e.now()
		if err := refused.checkFuture(st.token, now); err != nil {
			return Credential{}, err
		}
		if err := checkMinTTL(minTTL, st.knownLifetime()); err != nil {
			return Credential{}, err
		}
		if st.token.left(now) <= 0 || !refused.covers(st.token.fetched) {
			return e.Token(ctx, name, minTTL)
		}
		if renewed := st.counters.renewed.Load(); renewed != nil && now.Sub(*renewed) < renewInterval {
			return e.currentToken(ctx, name, refused, minTTL, fmt.Sprintf("a new token was fetched %s ago because one was refused; there is no newer one yet: try again in %s",
				now.Sub(*renewed).Truncate(time.Second), ceilSecond(renewInterval-now.Sub(*renewed))))
		}
		if st.backoff.blocked(now) {
			return e.failedToRenew(ctx, name, refused, minTTL, st.backoff.failingError(now))
		}
		switch err := e.awaitRenewal(ctx, name, st); {
		case err == nil:
			if fresh := e.states.get(name); fresh != nil && fresh.token != st.token && fresh.token != nil {
				return e.serveFresh(name, fresh, minTTL)
			}
		case ctx.Err() != nil:
			return Credential{}, context.Cause(ctx)
		case !errors.Is(err, errSuperseded):
			return e.failedToRenew(ctx, name, refused, minTTL, err)
		}
	}
}

// failedToRenew returns the current token with a warning that no newer one could be
// fetched.
func (e *Engine) failedToRenew(ctx context.Context, name string, refused RefusedToken, minTTL time.Duration, cause error) (Credential, error) {
	return e.currentToken(ctx, name, refused, minTTL, "no newer token could be fetched, this is the one before: "+cause.Error())
}

// currentToken is Token with a warning, unless the token is newer than the refused one.
func (e *Engine) currentToken(ctx context.Context, name string, refused RefusedToken, minTTL time.Duration, warning string) (Credential, error) {
	c, err := e.Token(ctx, name, minTTL)
	if err == nil && refused.covers(c.FetchTime) {
		c.Warnings = append(c.Warnings, warning)
	}
	return c, err
}

// awaitRenewal waits for the token request that is in progress for a state, and starts it
// if there is none.
func (e *Engine) awaitRenewal(ctx context.Context, name string, st *state) error {
	return st.await(ctx, e.fetches.DoChan(fetchKey(name, st), func() (any, error) {
		err := e.fetch(name, st)
		if err == nil {
			now := e.now()
			st.counters.renewed.Store(&now)
		}
		return nil, err
	}))
}
