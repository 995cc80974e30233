package backend

import (
	"cmp"
	"context"
	"errors"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// minRetryTTL is the minimum TTL while refreshing fails. Below it, Vault Secrets
// Operator polls and then reports a failed sync.
const minRetryTTL = 3 * time.Second

// Credential is a token as a reader receives it.
type Credential struct {
	Connection string
	// ClientID is the client that the token was issued to, and Username the user in the
	// password grant, otherwise empty.
	ClientID    string
	Username    string
	AccessToken connection.Secret
	TokenType   string
	// Scope is the scope granted, space-separated.
	Scope string
	// ExpireTime is when the token expires, in whole seconds, UTC.
	ExpireTime time.Time
	// FetchTime is when the token was fetched.
	FetchTime time.Time
	// RotationPeriod is the time from one token to the next, in whole seconds, at
	// least one second.
	RotationPeriod time.Duration
	// TTL is the time until there is a newer token, in whole seconds, rounded up. It
	// is the only field that differs between two answers with the same token.
	TTL time.Duration
	// Lease is nil if the token is shared.
	Lease *Lease
	// Failover is not nil for the first reader after a failover.
	Failover *FailoverNotice
	// Warnings are for the operator.
	Warnings []string
}

// Token returns the current token of a connection, or a new one for this caller alone
// if the connection's tokens are leased. It waits for GBG only if there is no token
// that is valid for at least minTTL. Concurrent callers share one request; a caller
// whose ctx ends does not cancel it for the others. If minTTL is zero any valid token
// will do; more than two thirds of a token's lifetime is an *InputError, once a
// lifetime is known. The other errors are ErrNotConfigured, ErrNoClients,
// *FailingError, *ShortTokenError, ErrClosed, ctx's and the storage's. On a node that
// cannot write to storage the only error is logical.ErrReadOnly.
func (e *Engine) Token(ctx context.Context, name string, minTTL time.Duration) (Credential, error) {
	if e.readOnly {
		return e.readOnlyToken(ctx, name, minTTL)
	}
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
		case !st.conn.Settings.HasPair():
			return Credential{}, ErrNoClients
		case st.conn.Settings.Lease:
			return e.lease(ctx, name, minTTL)
		}
		if err := checkMinTTL(minTTL, st.knownLifetime()); err != nil {
			return Credential{}, err
		}
		now := e.now()
		if left := st.token.left(now); left > 0 && left >= minTTL {
			st.counters.countRead(from)
			return e.serve(name, st, now), nil
		}
		if st.backoff.blocked(now) {
			return Credential{}, st.counters.countFailure(st.backoff.failingError(now))
		}
		from = fromGBG
		switch err := e.awaitFetch(ctx, name, st); {
		case err == nil:
			if fresh := e.states.get(name); fresh != nil && fresh.token != st.token && fresh.token != nil {
				return e.serveFresh(name, fresh, minTTL)
			}
		case !errors.Is(err, errSuperseded) && !errors.Is(err, errNoStorage):
			return Credential{}, st.counters.countFailure(err)
		}
	}
}

// serveFresh returns the answer to a reader who has waited for a new token.
func (e *Engine) serveFresh(name string, st *state, minTTL time.Duration) (Credential, error) {
	now := e.now()
	if err := checkMinTTL(minTTL, st.token.lifetime()); err != nil {
		return Credential{}, err
	}
	if err := checkLeft(name, st.token, st.token.left(now), minTTL); err != nil {
		return Credential{}, st.counters.countFailure(err)
	}
	st.counters.countRead(fromGBG)
	return e.serve(name, st, now), nil
}

// MinTTL is the field with the minimum time that a reader needs the token to be
// valid.
const MinTTL connection.Field = "min_ttl"

// checkMinTTL returns an error if minTTL is more than two thirds of a token's
// lifetime: GBG would have to issue more than three tokens per lifetime. A lifetime
// of zero means that it is not known yet, and allows any minTTL.
func checkMinTTL(minTTL, lifetime time.Duration) error {
	most := lifetime * 2 / 3
	if lifetime == 0 || minTTL <= most {
		return nil
	}
	return connection.Invalid(MinTTL, "must be at most %s: two thirds of a token's lifetime, which is %s", most.Truncate(time.Second), lifetime)
}

// checkLeft returns an error if a token that has just been fetched is valid for less
// than its reader asked for.
func checkLeft(name string, t *token, left, minTTL time.Duration) error {
	if left > 0 && left >= minTTL {
		return nil
	}
	return &ShortTokenError{Connection: name, ClientID: t.clientID, Fields: t.source.PairFields(), Lifetime: t.lifetime(), Left: max(left, 0), MinTTL: minTTL}
}

// serve returns the current token to a reader, and starts a refresh if it is due.
func (e *Engine) serve(name string, st *state, now time.Time) Credential {
	t := st.token
	firstUse := !t.used.Load() && t.used.CompareAndSwap(false, true)
	c := t.credential(name)
	c.Warnings = append(st.warnings(now), c.Warnings...)
	left := t.left(now)
	untilNext := left - t.overlap
	due := untilNext <= t.lead
	if untilNext > 0 && (!due || st.backoff == nil) {
		c.TTL = e.untilNext(left, t.overlap)
	} else {
		wait := max(ceilSecond(st.backoff.wait(now)), minRetryTTL)
		c.TTL = max(min(wait, left.Truncate(time.Second)), time.Second)
	}
	// The refresh became due while the token was unused, or has failed.
	if (untilNext <= 0 || due && firstUse) && !st.backoff.blocked(now) {
		e.refreshInBackground(name, st)
	}
	c.Failover = st.notice.take()
	return c
}

// credential returns the token as a Credential without its TTL.
func (t *token) credential(connection string) Credential {
	return Credential{
		Connection:     connection,
		ClientID:       cmp.Or(t.source.Password.ClientID, t.clientID),
		Username:       t.source.Password.Username,
		AccessToken:    t.access,
		TokenType:      t.typ,
		Scope:          t.scope,
		ExpireTime:     t.expires.UTC().Truncate(time.Second),
		FetchTime:      t.fetched.UTC(),
		RotationPeriod: t.rotationPeriod(),
		Warnings:       t.warnings(),
	}
}

// untilNext returns when to come back for the next token, given that this one is
// valid for left and is replaced overlap before it expires. A random part of the
// overlap is added, so that many consumers do not come back in the same second.
func (e *Engine) untilNext(left, overlap time.Duration) time.Duration {
	return ceilSecond(left - overlap + time.Duration(e.random()*float64(overlap)/4))
}

func ceilSecond(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}
