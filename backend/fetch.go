package backend

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// errSuperseded is the error of a request whose connection has changed in the
// meantime.
var errSuperseded = errors.New("the connection has changed")

// refusedPause is the pause before a refused client's request is repeated.
const refusedPause = 300 * time.Millisecond

// awaitFetch waits for the state's token request, and starts one if there is none.
func (e *Engine) awaitFetch(ctx context.Context, name string, st *state) error {
	st.counters.waiting.Add(1)
	defer st.counters.waiting.Add(-1)
	select {
	case r := <-e.startFetch(name, st):
		return r.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// startFetch joins the state's token request, or starts one if there is none.
func (e *Engine) startFetch(name string, st *state) <-chan fetchResult {
	return e.fetches.DoChan(fetchKey(name, st), func() (any, error) { return nil, e.fetch(name, st) })
}

func fetchKey(name string, st *state) string {
	return name + "\x00" + strconv.FormatUint(st.revision, 10)
}

// fetch gets a token for all readers and makes it the current one, unless the
// connection has changed in the meantime. It runs on the engine's context.
func (e *Engine) fetch(name string, st *state) error {
	done, ok := e.begin()
	if !ok {
		return ErrClosed
	}
	defer done()
	// A reader that saw the old state may get here after another fetch has ended.
	if now := e.states.get(name); now != nil && now.revision == st.revision {
		switch {
		case now.token != st.token:
			return nil
		case now.backoff != st.backoff:
			return errSuperseded // there may be a pause now
		}
	}
	limit, end := e.limit(e.ctx, st.conn)
	defer end()
	r := e.activeRequest(name, st)
	r.awaited = func() bool { return st.counters.waiting.Load() > 0 }
	t, refused, err := e.requestActive(limit, st, r, nil)
	switch {
	case err == nil:
		return e.install(name, st.revision, t)
	case refused != nil:
		_, err = e.failOver(limit, name, st, refused)
	}
	switch {
	case err == nil, errors.Is(err, errSuperseded):
		return err
	case e.ctx.Err() != nil:
		return ErrClosed
	case errors.Is(err, errNoStorage): // says nothing of GBG
		return err
	}
	return e.recordFailure(name, st, err)
}

// activeRequest returns the request for a token of the state's active client. It is
// abandoned if the connection's token request changes.
func (e *Engine) activeRequest(name string, st *state) tokenRequest {
	return tokenRequest{
		connection: name, conn: st.conn, client: st.conn.Pair.Active(), via: st.http,
		stale: func() bool { return e.superseded(name, st) },
	}
}

// superseded reports whether the connection's token request has changed since st.
func (e *Engine) superseded(name string, st *state) bool {
	now := e.states.get(name)
	return now == nil || now.revision != st.revision
}

// requestActive gets a token for the active client. If the client is refused the
// request is repeated once, so that one stray answer cannot change the active client;
// it is not repeated if the previous request was refused, too. first is a refusal of
// a request that was just made, or nil. A non-nil refused means that the refusal is
// final; err is then the same error.
func (e *Engine) requestActive(limit timeLimit, st *state, r tokenRequest, first *ClientError) (t *token, refused *ClientError, err error) {
	if first == nil {
		t, err = e.requestToken(limit, r)
		if first = clientRefusal(err); first == nil || st.backoff.clientRefused() {
			return t, first, err
		}
	}
	if !e.waitRetry(limit, refusedPause) {
		return nil, nil, first
	}
	t, err = e.requestToken(limit, r)
	return t, clientRefusal(err), err
}

type fetchResult = singleflight.Result

// timers holds one timer for each connection whose token is to be refreshed later.
// The zero value is ready to use.
type timers struct {
	mu     sync.Mutex
	timers map[string]*time.Timer
	closed bool
}

// set schedules f to run after d, in place of the name's previous timer.
func (t *timers) set(name string, d time.Duration, f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if old := t.timers[name]; old != nil {
		old.Stop()
	}
	if t.timers == nil {
		t.timers = make(map[string]*time.Timer)
	}
	t.timers[name] = time.AfterFunc(d, f)
}

// drop stops the timer of a name, if there is one.
func (t *timers) drop(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.timers[name]; old != nil {
		old.Stop()
		delete(t.timers, name)
	}
}

// close stops all timers. No timer can be set afterwards.
func (t *timers) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, timer := range t.timers {
		timer.Stop()
	}
	t.timers = nil
}

// scheduleNextRefresh schedules the refresh of the state's token for its
// refreshStart.
func (e *Engine) scheduleNextRefresh(name string, st *state) {
	if st.token == nil {
		e.timers.drop(name)
		return
	}
	e.scheduleRefresh(name, st, st.token.refreshStart())
}

// scheduleRefresh schedules the refresh of the state's token. It is skipped if the
// token is not the current one by then, or has not been read: an unused token is left
// to expire.
func (e *Engine) scheduleRefresh(name string, st *state, at time.Time) {
	t := st.token
	e.timers.set(name, at.Sub(e.now()), func() {
		now := e.states.get(name)
		if now == nil || now.token != t || !t.used.Load() || t.left(e.now()) <= 0 {
			return
		}
		e.refreshInBackground(name, now)
	})
}

// refreshInBackground fetches the next token, unless a fetch is already in progress.
func (e *Engine) refreshInBackground(name string, st *state) {
	if e.readOnly || !st.token.refreshing.CompareAndSwap(false, true) {
		return
	}
	done, ok := e.begin()
	if !ok {
		return
	}
	result := e.startFetch(name, st)
	go func() {
		defer done()
		r := <-result
		if r.Err == nil {
			return
		}
		st.token.refreshing.Store(false)
		now, pause := e.states.get(name), time.Duration(0)
		switch {
		case now == nil:
			return
		case errors.Is(r.Err, errNoStorage):
			pause = noStoragePause
		case !errors.Is(r.Err, errSuperseded):
			return
		}
		// The token may still be current after the connection has changed: try again.
		e.update(name, now.revision, func(now *state) *state {
			if now.token == st.token {
				at := e.now()
				e.scheduleRefresh(name, now, at.Add(max(pause, now.backoff.wait(at))))
			}
			return now
		})
	}()
}
