package backend

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// minRetryTTL is the least that a reader is told to wait while refreshing
// fails. Vault Secrets Operator polls and then reports a failed sync below that.
const minRetryTTL = 3 * time.Second

// token is an access token in memory.
type token struct {
	access   Secret
	typ      string
	clientID string
	// scope is what was granted; asked what was asked for.
	scope, asked string
	// fetched is when its request was sent, expires when GBG lets it end.
	fetched, expires time.Time
	// lifetimeAssumed says that GBG named no lifetime.
	lifetimeAssumed bool
}

// newToken counts a token's life from the moment its request was sent.
func newToken(r gbgauth.ClientCredentials, t *gbgauth.Token, sent time.Time) *token {
	return &token{
		access:          t.AccessToken,
		typ:             t.Type,
		clientID:        r.ClientID,
		scope:           orDefault(t.Scope, r.Scope),
		asked:           r.Scope,
		fetched:         sent,
		expires:         sent.Add(t.Lifetime),
		lifetimeAssumed: t.LifetimeAssumed,
	}
}

// lifetime is how long GBG lets the token live.
func (t *token) lifetime() time.Duration { return t.expires.Sub(t.fetched) }

// overlap is how long before its expiry a token has a successor: as configured,
// but never more than a third of its life.
func (t *token) overlap(s Settings) time.Duration {
	return min(s.withDefaults().RefreshBefore, t.lifetime()/3)
}

// refresh is when the token gets its successor.
func (t *token) refresh(s Settings) time.Time { return t.expires.Add(-t.overlap(s)) }

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
	// Warnings are for a person.
	Warnings []string
}

// Token gives the current token of a connection, and fetches one if there is
// none or it is about to end. Concurrent callers share one request; a caller
// whose ctx ends leaves it to the others. The errors are ErrNotConfigured,
// *ClientError, ErrClosed, ctx's and the storage's.
func (e *Engine) Token(ctx context.Context, name string) (Credential, error) {
	for {
		st, err := e.state(ctx, name)
		if err != nil {
			return Credential{}, err
		}
		now := e.clock.Now()
		if st.token != nil && now.Before(st.token.refresh(st.conn.Settings)) {
			return e.credential(name, st, now), nil
		}
		err = e.awaitFetch(ctx, name, st)
		switch {
		case errors.Is(err, errSuperseded):
			continue
		case err == nil:
			if st = e.states.get(name); st == nil || st.token == nil {
				continue
			}
			return e.credential(name, st, e.clock.Now()), nil
		case st.token != nil && e.clock.Now().Before(st.token.expires) && ctx.Err() == nil:
			return e.credential(name, st, e.clock.Now()), nil
		}
		return Credential{}, err
	}
}

// credential makes the answer to a reader out of the current token.
func (e *Engine) credential(name string, st *state, now time.Time) Credential {
	t := st.token
	overlap := t.overlap(st.conn.Settings)
	c := Credential{
		Connection:     name,
		ClientID:       t.clientID,
		AccessToken:    t.access,
		TokenType:      t.typ,
		Scope:          t.scope,
		ExpireTime:     t.expires.UTC().Truncate(time.Second),
		FetchTime:      t.fetched.UTC(),
		RotationPeriod: max((t.lifetime() - overlap).Round(time.Second), time.Second),
	}
	if left := t.expires.Add(-overlap).Sub(now); left > 0 {
		// A random share of the overlap keeps a crowd of consumers from coming
		// back in the same second; always late, when the next token is there.
		c.TTL = ceilSecond(left + time.Duration(e.random()*float64(overlap)/4))
	} else {
		c.TTL = min(minRetryTTL, max(ceilSecond(t.expires.Sub(now)), time.Second))
	}
	if missing := missingScopes(t.asked, t.scope); missing != "" {
		c.Warnings = append(c.Warnings, scopeWarning(t.clientID, missing, t.scope))
	}
	return c
}

func ceilSecond(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}

// errSuperseded: the connection changed while its token was being fetched.
var errSuperseded = errors.New("the connection has changed")

// awaitFetch waits for the one token request that is under way for a state, and
// starts it if there is none.
func (e *Engine) awaitFetch(ctx context.Context, name string, st *state) error {
	key := name + "\x00" + strconv.FormatUint(st.revision, 10)
	done := e.fetches.DoChan(key, func() (any, error) { return nil, e.fetch(name, st) })
	select {
	case r := <-done:
		return r.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fetch gets a token for everybody, on the engine's own time, and makes it the
// current one unless the connection has changed meanwhile.
func (e *Engine) fetch(name string, st *state) error {
	done, ok := e.begin()
	if !ok {
		return ErrClosed
	}
	defer done()
	// A reader that saw the old token may come here after the new one did.
	if now := e.states.get(name); now != nil && now.revision == st.revision && now.token != st.token {
		return nil
	}
	ctx, cancel := context.WithTimeout(e.ctx, st.conn.Settings.withDefaults().RequestTimeout)
	defer cancel()

	t, err := e.ask(ctx, name, st.conn, st.conn.Pair.Active(), st.http)
	if err != nil && e.ctx.Err() != nil {
		return ErrClosed
	}
	ok = e.update(name, st.revision, func(now *state) *state {
		if err != nil {
			return now.withTrouble(err.Error(), e.clock.Now())
		}
		return now.withToken(t)
	})
	if !ok {
		return errSuperseded
	}
	return err
}

// ask gets one token for one client of a connection. The error is a
// *ClientError, or ctx's if it was cancelled.
func (e *Engine) ask(ctx context.Context, name string, conn *Connection, client Client, via *http.Client) (*token, error) {
	request := conn.request(client)
	sent := e.clock.Now()
	issued, err := request.Fetch(ctx, via)
	log := e.logger.With("connection", name, "client_id", client.ID, "duration", e.clock.Since(sent))
	var failed *gbgauth.Error
	switch {
	case errors.As(err, &failed):
		log.Warn("token request failed", "kind", failed.Kind, "error", failed)
		return nil, &ClientError{Connection: name, ClientID: client.ID, Cause: failed}
	case err != nil:
		return nil, err
	}
	t := newToken(request, issued, sent)
	log.Debug("token fetched", "expire_time", t.expires)
	if missing := missingScopes(t.asked, t.scope); missing != "" {
		log.Warn("token lacks scopes that were asked for", "missing", missing)
	}
	if t.lifetimeAssumed {
		log.Warn("token came without expires_in", "assumed", t.lifetime())
	}
	return t, nil
}

func scopeWarning(clientID, missing, granted string) string {
	return fmt.Sprintf("GBG granted client %q less than was asked for: %q is missing (granted: %q)", clientID, missing, granted)
}
