package backend

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// errSuperseded says that the connection changed while its token was fetched.
var errSuperseded = errors.New("the connection has changed")

// awaitFetch waits for the one token request that is under way for a state, and
// starts it if there is none.
func (e *Engine) awaitFetch(ctx context.Context, name string, st *state) error {
	select {
	case r := <-e.startFetch(name, st):
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
	limit, end := e.limit(e.ctx, st.conn)
	defer end()

	t, err := e.ask(limit, name, st.conn, st.conn.Pair.Active(), st.http)
	if err == nil {
		return e.install(e.ctx, name, st.revision, t)
	}
	var refused *ClientError
	if errors.As(err, &refused) && refused.Cause.Kind == gbgauth.RefusedClient {
		err = e.failOver(limit, name, st, refused)
	}
	switch {
	case err == nil, errors.Is(err, errSuperseded):
		return err
	case e.ctx.Err() != nil:
		return ErrClosed
	}
	return e.noteTrouble(name, st, err)
}

// startFetch joins the token request that is under way for a state, or starts
// it.
func (e *Engine) startFetch(name string, st *state) <-chan fetchResult {
	key := name + "\x00" + strconv.FormatUint(st.revision, 10)
	return e.fetches.DoChan(key, func() (any, error) { return nil, e.fetch(name, st) })
}

// ask gets a token for one client of a connection, and tries again after
// growing pauses while GBG does not say no and there is time. The error is a
// *ClientError, or the context's if it was cancelled.
func (e *Engine) ask(limit timeLimit, name string, conn *Connection, client Client, via *http.Client) (*token, error) {
	for attempt := 1; ; attempt++ {
		t, err := e.askOnce(limit.ctx, name, conn, client, via)
		var failed *ClientError
		if err == nil || !errors.As(err, &failed) {
			return t, err
		}
		pause := max(e.growing(attempt, firstRetryPause, maxRetryPause), failed.Cause.RetryAfter)
		if !failed.Temporary() || !e.rest(limit, pause) {
			e.logger.Warn("no token", "connection", name, "client_id", client.ID, "kind", failed.Cause.Kind, "attempts", attempt, "error", failed.Cause)
			return nil, err
		}
	}
}

func (e *Engine) askOnce(ctx context.Context, name string, conn *Connection, client Client, via *http.Client) (*token, error) {
	request := conn.request(client)
	sent := e.clock.Now()
	issued, err := request.Fetch(ctx, via)
	log := e.logger.With("connection", name, "client_id", client.ID, "duration", e.clock.Since(sent))
	var failed *gbgauth.Error
	switch {
	case errors.As(err, &failed):
		log.Debug("token request failed", "kind", failed.Kind, "error", failed)
		return nil, &ClientError{Connection: name, ClientID: client.ID, Cause: failed}
	case err != nil:
		return nil, err
	}
	t := newToken(request, issued, sent, conn.Settings)
	if t.left(e.clock.Now()) <= 0 {
		late := &gbgauth.Error{Kind: gbgauth.NotAToken, URL: request.TokenURL, Description: "the token had ended by the time its answer was here"}
		return nil, &ClientError{Connection: name, ClientID: client.ID, Cause: late}
	}
	log.Debug("token fetched", "expire_time", t.expires)
	if t.missing != "" {
		log.Warn("token lacks scopes that were asked for", "missing", t.missing)
	}
	if t.lifetimeAssumed {
		log.Warn("token came without expires_in", "assumed", t.lifetime())
	}
	return t, nil
}

// timeLimit is the time that one answer may take, by the engine's clock.
type timeLimit struct {
	ctx  context.Context // ends with it
	ends time.Time
}

// limit begins a connection's request timeout. end must be called.
func (e *Engine) limit(ctx context.Context, conn *Connection) (_ timeLimit, end func()) {
	timeout := conn.Settings.withDefaults().RequestTimeout
	ctx, cancel := context.WithCancelCause(ctx)
	timer := e.clock.AfterFunc(timeout, func() { cancel(context.DeadlineExceeded) })
	return timeLimit{ctx: ctx, ends: e.clock.Now().Add(timeout)}, func() {
		timer.Stop()
		cancel(nil)
	}
}

// rest waits, if there is more time than that. If not, it says so at once.
func (e *Engine) rest(limit timeLimit, pause time.Duration) (rested bool) {
	if limit.ends.Sub(e.clock.Now()) <= pause {
		return false
	}
	timer := e.clock.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.Chan():
		return true
	case <-limit.ctx.Done():
		return false
	}
}
