package backend

import (
	"context"
	"errors"
	"time"
)

// minRetryTTL is the least that a reader is told to wait while refreshing
// fails. Vault Secrets Operator polls and then reports a failed sync below that.
const minRetryTTL = 3 * time.Second

// Credential is a token as a reader gets it.
type Credential struct {
	Connection  string
	ClientID    string
	AccessToken Secret
	TokenType   string
	// Scope is the scope granted, space-separated.
	Scope string
	// ExpireTime is when GBG lets the token end, in whole seconds, UTC.
	ExpireTime time.Time
	// FetchTime is when the token was fetched.
	FetchTime time.Time
	// RotationPeriod is the time from one token to the next, in whole seconds, at
	// least one.
	RotationPeriod time.Duration
	// TTL is the time after which there is a newer token, in whole seconds,
	// rounded up. It alone differs between two answers with the same token.
	TTL time.Duration
	// Lease is nil if the token is shared.
	Lease *Lease
	// Warnings are for a person.
	Warnings []string
}

// Token gives the current token of a connection, or one of the caller's own if the
// connection's are leased. It waits for GBG only if there is none that is valid,
// and valid for minTTL at least; concurrent callers share one request, and a caller
// whose ctx ends leaves it to the others. A minTTL of zero asks for any valid
// token; more than a rotation period is an *InputError, once a lifetime has been
// seen. The other errors are ErrNotConfigured, ErrNoClients, *FailingError,
// ErrClosed, ctx's and the storage's.
func (e *Engine) Token(ctx context.Context, name string, minTTL time.Duration) (Credential, error) {
	var from origin
	for {
		st := e.states.get(name)
		if st == nil {
			from = max(from, fromStorage)
			var err error
			if st, err = e.state(ctx, name); err != nil {
				return Credential{}, err
			}
		}
		switch {
		case !st.conn.Settings.hasPair():
			return Credential{}, ErrNoClients
		case st.conn.Settings.Lease:
			return e.lease(ctx, name, minTTL)
		}
		now := e.clock.Now()
		if left := st.token.left(now); left > 0 && left >= minTTL {
			st.counters.served(from)
			return e.serve(name, st, now), nil
		}
		if err := st.allows(minTTL); err != nil {
			return Credential{}, err
		}
		if st.trouble.forbids(now) {
			return Credential{}, st.counters.unserved(st.trouble.failing(now))
		}
		from = fromGBG
		switch err := e.awaitFetch(ctx, name, st); {
		case err == nil:
			now := e.clock.Now()
			if fresh := e.states.get(name); fresh != nil && fresh.token != st.token && fresh.token.left(now) > 0 {
				if err := fresh.allows(minTTL); err != nil {
					return Credential{}, err
				}
				fresh.counters.served(from)
				return e.serve(name, fresh, now), nil
			}
		case !errors.Is(err, errSuperseded):
			return Credential{}, st.counters.unserved(err)
		}
	}
}

// allows refuses a minTTL that would wear out tokens before their time, if a
// lifetime has been seen.
func (s *state) allows(minTTL time.Duration) error {
	switch {
	case s.token != nil:
		return atMost(minTTL, s.token.rotationPeriod())
	case s.conn.TokenLifetime != 0:
		return allowed(minTTL, s.conn.TokenLifetime, s.conn.Settings)
	}
	return nil
}

// allowed does the same for tokens of a lifetime.
func allowed(minTTL, lifetime time.Duration, s Settings) error {
	return atMost(minTTL, rotationPeriod(lifetime, overlap(lifetime, s)))
}

func atMost(minTTL, period time.Duration) error {
	if minTTL <= period {
		return nil
	}
	return invalid(MinTTL, "is more than the rotation period, which is %s: no token is sure to be valid that long", period)
}

// serve makes the answer to a reader out of the current token, and sees to it
// that a token in use gets its successor.
func (e *Engine) serve(name string, st *state, now time.Time) Credential {
	t := st.token
	firstUse := !t.used.Load() && t.used.CompareAndSwap(false, true)
	c := t.credential(name)
	c.Warnings = append(st.conn.warnings(now), c.Warnings...)
	left := t.left(now)
	untilNext := left - t.overlap
	due := untilNext <= t.lead()
	if untilNext > 0 && (!due || st.trouble == nil) {
		c.TTL = e.untilNext(left, t.overlap)
	} else {
		wait := max(ceilSecond(st.trouble.wait(now)), minRetryTTL)
		c.TTL = max(min(wait, left.Truncate(time.Second)), time.Second)
	}
	// Its time came while nobody used it, or refreshing it has failed.
	if (untilNext <= 0 || due && firstUse) && !st.trouble.forbids(now) {
		e.succeed(name, st)
	}
	if text := st.notice.take(); text != "" {
		c.Warnings = append(c.Warnings, text)
	}
	return c
}

// credential is the token as a reader gets it, TTL aside.
func (t *token) credential(connection string) Credential {
	return Credential{
		Connection:     connection,
		ClientID:       t.clientID,
		AccessToken:    t.access,
		TokenType:      t.typ,
		Scope:          t.scope,
		ExpireTime:     t.expires.UTC().Truncate(time.Second),
		FetchTime:      t.fetched.UTC(),
		RotationPeriod: t.rotationPeriod(),
		Warnings:       t.warnings(),
	}
}

// untilNext is when to come back for the successor of a token that is valid for
// left and has its successor overlap before that. A random share of the overlap
// keeps a crowd of consumers from coming back in the same second; always late,
// when the next token is there.
func (e *Engine) untilNext(left, overlap time.Duration) time.Duration {
	return ceilSecond(left - overlap + time.Duration(e.random()*float64(overlap)/4))
}

func ceilSecond(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}
