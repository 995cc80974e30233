package backend

import (
	"context"
	"errors"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// IDToken is the field with a caller's token from an identity provider.
const IDToken connection.Field = "id_token"

// Exchange exchanges a caller's own token for one of GBG Identity Solution. The
// result is for this caller alone: it is neither stored nor shared. The errors are
// ErrNotConfigured, *InputError, *ClientError, *FailingError, ErrClosed, ctx's and
// the storage's.
func (e *Engine) Exchange(ctx context.Context, name string, idToken connection.Secret) (Credential, error) {
	ctx, leave, err := e.join(ctx)
	if err != nil {
		return Credential{}, err
	}
	defer leave()
	st, err := e.state(ctx, name)
	if err != nil {
		return Credential{}, err
	}
	if grant := st.conn.Settings.WithDefaults().GrantType; grant != connection.GrantIDAuth {
		return Credential{}, connection.Invalid(IDToken, "is for grant_type %q; this connection's is %q: read its creds instead", connection.GrantIDAuth, grant)
	}
	if idToken, err = connection.NormalizedIDToken(IDToken, idToken); err != nil {
		return Credential{}, err
	}
	if now := e.now(); st.exchangeBackoff.blocked(now) {
		return Credential{}, st.exchangeBackoff.failingError(now)
	}
	limit, end := e.limit(ctx, st.conn)
	defer end()
	exchange := st.conn.Exchange(idToken)
	issued, err := e.requestWithRetry(limit, endpointRequest{
		tokenRequest: tokenRequest{connection: name, conn: st.conn, via: st.http},
		step:         StepOwnExchange, url: exchange.TokenURL, fetch: exchange.Fetch,
	})
	if err != nil {
		return Credential{}, e.exchangeFailed(name, st, err)
	}
	e.exchangeSucceeded(name, st)
	t := e.newToken(connection.Request{Exchange: exchange}, issued, st.conn.Settings)
	c := t.credential(name)
	c.TTL = max(e.untilNext(t.left(e.now()), t.overlap), time.Second)
	return c, nil
}

// exchangeFailed returns the error for a caller. If GBG could not be reached, or sent
// a Retry-After, it also blocks the next exchanges. Any other failure may be due to
// this caller's token and must not affect the others.
func (e *Engine) exchangeFailed(name string, st *state, err error) error {
	var failed *ClientError
	if !errors.As(err, &failed) || !failed.Cause.NoAnswer() && failed.RetryAfter() == 0 {
		return err
	}
	if failing := e.recordExchangeFailure(name, st, err); !errors.Is(failing, errSuperseded) {
		return failing
	}
	return err
}

// exchangeSucceeded clears the exchange failures that st has.
func (e *Engine) exchangeSucceeded(name string, st *state) {
	if st.exchangeBackoff == nil {
		return
	}
	e.update(name, st.revision, func(was *state) *state {
		e.reportRecovery(name, was.conn, was.exchangeBackoff)
		next := *was
		next.exchangeBackoff = nil
		return &next
	})
}
