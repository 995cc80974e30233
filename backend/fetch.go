package backend

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// errSuperseded is the outcome of a request whose connection changed meanwhile.
var errSuperseded = errors.New("the connection has changed")

// refusedPause is the pause before a client that was refused is asked once more.
const refusedPause = 300 * time.Millisecond

// awaitFetch waits for the one token request that is under way for a state, and
// starts it if there is none.
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

// startFetch joins the token request that is under way for a state, or starts it.
func (e *Engine) startFetch(name string, st *state) <-chan fetchResult {
	return e.fetches.DoChan(fetchKey(name, st), func() (any, error) { return nil, e.fetch(name, st) })
}

func fetchKey(name string, st *state) string {
	return name + "\x00" + strconv.FormatUint(st.revision, 10)
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

// activeRequest returns the request for a token of a state's active client. It is
// given up when the connection's token request changes.
func (e *Engine) activeRequest(name string, st *state) tokenRequest {
	return tokenRequest{
		connection: name, conn: st.conn, client: st.conn.Pair.Active(), via: st.http,
		stale: func() bool { return e.superseded(name, st) },
	}
}

// superseded reports whether a connection's token request is not that of st any more.
func (e *Engine) superseded(name string, st *state) bool {
	now := e.states.get(name)
	return now == nil || now.revision != st.revision
}

// requestActive gets a token for the active client. If the client is refused it is
// asked once more, for one stray answer must not change which client is active; not
// so if the request before had been refused, too. first is a refusal that has just
// come; nil if nothing was asked yet. The client is refused for good if refused is
// not nil, which is then err.
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

// timers holds one timer for each connection whose token is to be looked at
// later. They all stand in the clock's one heap; nothing ticks meanwhile. The
// zero value is ready.
type timers struct {
	mu     sync.Mutex
	timers map[string]*time.Timer
	closed bool
}

// set makes f run after d, instead of what was to run for this name.
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

// drop stops the timer of this name, if there is one.
func (t *timers) drop(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.timers[name]; old != nil {
		old.Stop()
		delete(t.timers, name)
	}
}

// close stops all of them for good.
func (t *timers) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, timer := range t.timers {
		timer.Stop()
	}
	t.timers = nil
}

// scheduleNextRefresh makes a state's token be refreshed in good time.
func (e *Engine) scheduleNextRefresh(name string, st *state) {
	if st.token == nil {
		e.timers.drop(name)
		return
	}
	e.scheduleRefresh(name, st, st.token.refreshStart())
}

// scheduleRefresh makes a state's token be refreshed at a time, if it is current then
// and somebody has read it. One that nobody reads is left to lapse.
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

// refreshInBackground fetches the token after the current one, unless that is under
// way.
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
		// The token may have outlived a change of its connection: ask anew.
		now, at := e.states.get(name), e.now()
		if errors.Is(r.Err, errNoStorage) {
			at = at.Add(noStoragePause)
		} else if !errors.Is(r.Err, errSuperseded) {
			return
		}
		if now != nil {
			e.update(name, now.revision, func(now *state) *state {
				if now.token == st.token {
					e.scheduleRefresh(name, now, at)
				}
				return now
			})
		}
	}()
}
