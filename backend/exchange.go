package backend

import (
	"context"
	"errors"
	"net/http"
	"time"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// Exchange gets a token of GBG Identity Solution for a caller's own token. What
// comes back is the caller's alone: it is neither kept nor shared. The errors are
// ErrNotConfigured, *InputError, *ClientError, *FailingError, ErrClosed, ctx's
// and the storage's.
func (e *Engine) Exchange(ctx context.Context, name string, idToken Secret) (Credential, error) {
	ctx, leave, err := e.join(ctx)
	if err != nil {
		return Credential{}, err
	}
	defer leave()
	st, err := e.state(ctx, name)
	if err != nil {
		return Credential{}, err
	}
	if grant := st.conn.Settings.withDefaults().GrantType; grant != GrantIDAuth {
		return Credential{}, invalid(IDToken, "is for grant_type %q; this connection's is %q: read its creds instead", GrantIDAuth, grant)
	}
	if idToken, err = cleanIDToken(idToken); err != nil {
		return Credential{}, err
	}
	if now := e.clock.Now(); st.exchangeTrouble.forbids(now) {
		return Credential{}, st.exchangeTrouble.failing(now)
	}
	limit, end := e.limit(ctx, st.conn)
	defer end()
	exchange := st.conn.exchange(idToken)
	issued, err := e.insist(limit, question{
		connection: name, step: StepOwnExchange, url: exchange.TokenURL, fetch: exchange.Fetch, via: st.http,
	})
	if err != nil {
		return Credential{}, e.noteExchange(name, st, err)
	}
	if st.exchangeTrouble != nil {
		e.update(name, st.revision, func(was *state) *state {
			e.recovered(name, was.conn, was.exchangeTrouble)
			next := *was
			next.exchangeTrouble = nil
			return &next
		})
	}
	t := newToken(request{exchange: exchange}, issued.Token, issued.sent, st.conn.Settings)
	c := t.credential(name)
	c.TTL = max(e.untilNext(t.left(e.clock.Now()), t.overlap), time.Second)
	return c, nil
}

// noteExchange remembers that GBG could not be reached, for every caller, and
// gives the error for this one. What one caller's token alone may have brought
// about stays between GBG and that caller.
func (e *Engine) noteExchange(name string, st *state, err error) error {
	var failed *ClientError
	if !errors.As(err, &failed) || failed.Cause.Kind != gbgauth.Unreachable || failed.Cause.Status == http.StatusInternalServerError {
		return err
	}
	if noted := e.noteOfMany(name, st, err, (*state).ofExchanges); !errors.Is(noted, errSuperseded) {
		return noted
	}
	return err
}
