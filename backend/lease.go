package backend

import (
	"context"
	"errors"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// Lease describes the Vault lease of a token that is for one reader alone.
type Lease struct {
	// TTL is the duration of the lease, in whole seconds, at least one second.
	TTL time.Duration
	// Token is the argument for Revoke when the lease ends.
	Token LeasedToken
}

// LeasedToken holds what is needed to revoke a token.
type LeasedToken struct {
	Connection string
	// ClientID is the client that the token was issued to.
	ClientID    string
	AccessToken connection.Secret
	// Expires is when the token expires.
	Expires time.Time
}

// lease gets a token for one reader alone. If GBG refuses the active client, the
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
				st = now // a failover may have left a warning for this reader
			}
			return e.leasedCredential(name, st, t, minTTL)
		case !errors.Is(err, errSuperseded):
			return Credential{}, st.counters.countFailure(err)
		}
	}
}

// issue gets one token for the active client, or for the standby after a failover. If
// the last request failed, or the client is refused, one reader at a time sends a
// request and the others wait for its outcome. If the connection has changed, or
// another reader sent the request, the error is errSuperseded and the caller must try
// again.
func (e *Engine) issue(ctx context.Context, name string, st *state) (*token, error) {
	var refused *ClientError
	if st.backoff == nil {
		t, err := e.issueOnce(ctx, name, st)
		if refused = clientRefusal(err); refused == nil {
			return t, err
		}
	}
	var mine *token // set if this caller sent the request
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

// issueOnce gets one token for the active client. It does not record a refusal of the
// client.
func (e *Engine) issueOnce(ctx context.Context, name string, st *state) (*token, error) {
	limit, end := e.limit(ctx, st.conn)
	defer end()
	r := e.activeRequest(name, st)
	r.stale = func() bool { // also if another reader's request has failed in the meantime
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

// probe requests the active client's token after a failure, and fails over if the
// client is refused. refused is a refusal that was just received, or nil. The token
// is for the reader who called. probe runs on the engine's context, because other
// readers wait for its outcome.
func (e *Engine) probe(name string, st *state, refused *ClientError) (*token, error) {
	done, ok := e.begin()
	if !ok {
		return nil, ErrClosed
	}
	defer done()
	// Another probe may have ended since this caller read the state.
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

// recordLeased records that the active client has got a token for one reader. If the
// connection's tokens are no longer leased, the reader still gets the token, under a
// lease and not shared. If the client may no longer be the active one, the error is
// errSuperseded: regenerate_after would not cover the token.
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

// leasedCredential returns the answer to the reader. A lease ends no later than the
// token and lasts no longer than the mount allows; the times in the answer follow the
// shorter of the two.
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
	c.Warnings = append(st.conn.Warnings(now), c.Warnings...)
	if text := st.warning.take(); text != "" {
		c.Warnings = append(c.Warnings, text)
	}
	return c, nil
}
