package backend

import (
	"context"
	"errors"
	"strconv"
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
		return e.install(name, st.revision, t)
	}
	var refused *ClientError
	if errors.As(err, &refused) && refused.ClientRefused() {
		_, err = e.failOver(limit, name, st, refused)
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
