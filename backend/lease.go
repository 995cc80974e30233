package backend

import (
	"context"
	"errors"
	"time"

	"vault-plugin-secrets-gbg/backend/connection"
)

// Lease is what Vault is to look after when a token is one reader's own.
type Lease struct {
	// TTL is how long the lease lasts, in whole seconds, at least one.
	TTL time.Duration
	// Token is what to give to Revoke when it ends.
	Token LeasedToken
}

// LeasedToken is what is to be known of a token to revoke it.
type LeasedToken struct {
	Connection string
	// ClientID is the client that got the token.
	ClientID    string
	AccessToken connection.Secret
	// Expires is when GBG lets the token end.
	Expires time.Time
}

// lease gets a token for one reader alone. If GBG refuses the active client the
// standby takes over as it does for shared tokens. The errors are those of Token.
func (e *Engine) lease(ctx context.Context, name string, minTTL time.Duration) (Credential, error) {
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
		case !st.conn.Settings.Lease:
			return e.Token(ctx, name, minTTL)
		}
		if err := checkMinTTL(minTTL, min(st.knownLifetime(), e.maxLeaseTTL())); err != nil {
			return Credential{}, err
		}
		if now := e.now(); st.backoff.blocked(now) {
			return Credential{}, st.counters.countFailure(st.backoff.failingError(now))
		}
		t, err := e.issue(ctx, name, st)
		switch {
		case err == nil:
			if now := e.states.get(name); now != nil {
				st = now // a failover may have a warning for its reader
			}
			return e.leasedCredential(name, st, t, minTTL)
		case !errors.Is(err, errSuperseded):
			return Credential{}, st.counters.countFailure(err)
		}
	}
}

// issue gets one token for the active client, or for the standby that has taken
// over. If the last request failed, or the client is refused, one reader at a time
// asks and the others wait for the outcome. If the connection has changed, or another
// reader has asked, the error is errSuperseded and the caller is to look again.
func (e *Engine) issue(ctx context.Context, name string, st *state) (*token, error) {
	var refused *ClientError
	if st.backoff == nil {
		t, err := e.issueOnce(ctx, name, st)
		if refused = clientRefusal(err); refused == nil {
			return t, err
		}
	}
	var mine *token // set if it was this caller who asked
	result := e.fetches.DoChan(fetchKey(name, st), func() (_ any, err error) {
		mine, err = e.probe(name, st, refused)
		return nil, err
	})
	select {
	case r := <-result:
		if r.Err == nil && mine == nil {
			return nil, errSuperseded
		}
		return mine, r.Err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// issueOnce gets one token for the active client. A refusal of the client is not
// recorded.
func (e *Engine) issueOnce(ctx context.Context, name string, st *state) (*token, error) {
	limit, end := e.limit(ctx, st.conn)
	defer end()
	r := e.activeRequest(name, st)
	r.stale = func() bool { // also if another reader has met a failure meanwhile
		now := e.states.get(name)
		return e.superseded(name, st) || now != nil && now.backoff != nil
	}
	t, err := e.requestToken(limit, r)
	switch {
	case err == nil:
		return t, e.recordLeased(name, st, t)
	case errors.Is(err, errSuperseded), ctx.Err() != nil, clientRefusal(err) != nil:
		return nil, err
	}
	return nil, e.recordFailure(name, st, err)
}

// probe asks for the active client's token after a failure, and fails over if the
// client is refused. refused is the refusal that has just come; nil if there was none.
// The token is for the reader who asked. It runs on the engine's time, for others
// wait for the outcome.
func (e *Engine) probe(name string, st *state, refused *ClientError) (*token, error) {
	done, ok := e.begin()
	if !ok {
		return nil, ErrClosed
	}
	defer done()
	// Another probe may have ended since this caller looked.
	if now := e.states.get(name); now == nil || now.revision != st.revision || now.backoff != st.backoff {
		return nil, errSuperseded
	}
	limit, end := e.limit(e.ctx, st.conn)
	defer end()
	t, refused, err := e.requestActive(limit, st, e.activeRequest(name, st), refused)
	switch {
	case err == nil:
		return t, e.recordLeased(name, st, t)
	case refused != nil:
		if t, err = e.failOver(limit, name, st, refused); err == nil {
			return t, nil
		}
	}
	switch {
	case errors.Is(err, errSuperseded):
		return nil, err
	case e.ctx.Err() != nil:
		return nil, ErrClosed
	}
	return nil, e.recordFailure(name, st, err)
}

// recordLeased notes that the active client has got a token for one reader. If the
// connection's tokens are not leased any more the reader still gets it, under a lease
// and not shared. If its client may have left the error is errSuperseded: the end of
// the token would not be in regenerate_after.
func (e *Engine) recordLeased(name string, st *state, t *token) error {
	defer e.lockEntry(name)()
	was := e.states.get(name)
	switch {
	case was == nil || !was.conn.SameRequest(st.conn):
		return errSuperseded
	case was.revision == st.revision:
		e.reportToken(name, was.conn, was, t)
		e.states.put(name, was.withToken(t))
	default:
		e.states.put(name, was.withActivity(t))
	}
	return nil
}

// leasedCredential returns the answer to the reader. A lease ends no later than the token, nor
// than the mount allows; what the answer says of time follows the shorter.
func (e *Engine) leasedCredential(name string, st *state, t *token, minTTL time.Duration) (Credential, error) {
	now := e.now()
	left := min(t.left(now), e.maxLeaseTTL())
	life := left + now.Sub(t.fetched)
	if err := checkMinTTL(minTTL, life); err != nil {
		return Credential{}, err
	}
	if err := checkLeft(name, t, left, minTTL); err != nil {
		return Credential{}, err
	}
	st.counters.countRead(fromGBG)
	early := overlap(life, st.conn.Settings)
	c := t.credential(name)
	c.RotationPeriod = rotationPeriod(life, early)
	c.TTL = max(e.untilNext(left, early), time.Second)
	c.Lease = &Lease{
		TTL:   max(left.Truncate(time.Second), time.Second), // Vault takes 0 for its default
		Token: LeasedToken{Connection: name, ClientID: t.clientID, AccessToken: t.access, Expires: t.expires},
	}
	c.Warnings = append(st.warnings(now), c.Warnings...)
	if text := st.warning.take(); text != "" {
		c.Warnings = append(c.Warnings, text)
	}
	return c, nil
}
