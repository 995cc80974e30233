package backend

import (
	"context"
	"errors"
	"time"
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
	AccessToken Secret
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
		longest := e.maxLeaseTTL()
		if lifetime := st.conn.TokenLifetime; lifetime != 0 {
			if err := allowed(minTTL, min(lifetime, longest), st.conn.Settings); err != nil {
				return Credential{}, err
			}
		}
		if now := e.clock.Now(); st.trouble.forbids(now) {
			return Credential{}, st.counters.unserved(st.trouble.failing(now))
		}
		t, err := e.issue(ctx, name, st)
		switch {
		case err == nil:
			if now := e.states.get(name); now != nil {
				st = now // a failover has something to say to its reader
			}
			return e.leased(name, st, t, minTTL, longest)
		case !errors.Is(err, errSuperseded):
			return Credential{}, st.counters.unserved(err)
		}
	}
}

// issue gets one token for the active client, or for the standby that has taken
// over. If the connection has changed meanwhile the error is errSuperseded: a token
// of a client that has left is nobody's, for its end is not in regenerate_after.
func (e *Engine) issue(ctx context.Context, name string, st *state) (*token, error) {
	limit, end := e.limit(ctx, st.conn)
	defer end()
	t, err := e.ask(limit, name, st.conn, st.conn.Pair.Active(), st.http)
	if err == nil {
		ok := e.update(name, st.revision, func(was *state) *state {
			e.recovered(name, was.conn, was.trouble)
			return was.withToken(t)
		})
		if !ok {
			return nil, errSuperseded
		}
		return t, nil
	}
	var refused *ClientError
	if errors.As(err, &refused) && refused.ClientRefused() {
		if t, err = e.failOver(limit, name, st, refused); err == nil {
			return t, nil
		}
	}
	if errors.Is(err, errSuperseded) || ctx.Err() != nil {
		return nil, err
	}
	return nil, e.noteOfMany(name, st, err, (*state).ofTokens)
}

// leased makes the answer to the reader. A lease ends no later than the token, nor
// than the mount allows, which is longest; what the answer says of time follows the
// shorter.
func (e *Engine) leased(name string, st *state, t *token, minTTL, longest time.Duration) (Credential, error) {
	now := e.clock.Now()
	left := min(t.left(now), longest)
	life := left + now.Sub(t.fetched)
	if err := allowed(minTTL, life, st.conn.Settings); err != nil {
		return Credential{}, err
	}
	st.counters.served(fromGBG)
	early := overlap(life, st.conn.Settings)
	c := t.credential(name)
	c.RotationPeriod = rotationPeriod(life, early)
	c.TTL = max(e.untilNext(left, early), time.Second)
	c.Lease = &Lease{
		TTL:   max(left.Truncate(time.Second), time.Second), // Vault takes 0 for its default
		Token: LeasedToken{Connection: name, ClientID: t.clientID, AccessToken: t.access, Expires: t.expires},
	}
	c.Warnings = append(st.conn.warnings(now), c.Warnings...)
	if text := st.notice.take(); text != "" {
		c.Warnings = append(c.Warnings, text)
	}
	return c, nil
}
