package backend

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

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
	if !st.token.refreshing.CompareAndSwap(false, true) {
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
		if now := e.states.get(name); errors.Is(r.Err, errSuperseded) && now != nil {
			e.update(name, now.revision, func(now *state) *state {
				if now.token == st.token {
					e.scheduleRefresh(name, now, e.now())
				}
				return now
			})
		}
	}()
}
