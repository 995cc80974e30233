package backend

import (
	"time"
)

const (
	// firstRetryPause and maxRetryPause bound the pauses between the tries of one
	// request.
	firstRetryPause = 250 * time.Millisecond
	maxRetryPause   = 4 * time.Second
	// firstPause and maxPause bound the time in which GBG is left alone after a
	// request has failed.
	firstPause = time.Second
	maxPause   = time.Minute
)

// trouble is a run of failed token requests. Nil is no trouble.
type trouble struct {
	// err is the last failure.
	err error
	// since is when the first of the run failed, last when the last did.
	since, last time.Time
	// count is how many failed in a row.
	count int
	// next is when GBG may be asked again.
	next time.Time
}

// growth gives the pause after the nth failure in a row.
type growth func(nth int, first, most time.Duration) time.Duration

// followedBy is the trouble after one more failure. pause gives how long GBG is
// then left alone, unless it asked for more.
func (t *trouble) followedBy(err error, now time.Time, pause growth) *trouble {
	next := &trouble{err: err, since: now, last: now, count: 1}
	if t != nil {
		next.since = t.since
		next.count += t.count
	}
	wait := pause(next.count, firstPause, maxPause)
	next.next = now.Add(max(wait, min(retryAfter(err), maxPause)))
	return next
}

// forbids says that GBG is to be left alone for now.
func (t *trouble) forbids(now time.Time) bool { return t != nil && now.Before(t.next) }

// wait is how long GBG is to be left alone.
func (t *trouble) wait(now time.Time) time.Duration {
	if t == nil {
		return 0
	}
	return max(t.next.Sub(now), 0)
}

// failing is the trouble as an error.
func (t *trouble) failing(now time.Time) error {
	return &FailingError{Cause: t.err, Since: t.since, NextTry: t.next, Wait: t.wait(now)}
}

// growing gives the pause after the nth failure: twice as long each time, up to
// most, less a random fifth, so that many do not come back at once.
func (e *Engine) growing(nth int, first, most time.Duration) time.Duration {
	pause := most
	if shift := nth - 1; shift < 16 { // beyond, it would overflow
		pause = min(first<<shift, most)
	}
	return max(pause-time.Duration(e.random()*float64(pause)/5), first)
}

// noteTrouble remembers that a token request has failed, and plans the next one
// if the current token is in use. It gives the error for those who wait.
func (e *Engine) noteTrouble(name string, st *state, err error) error {
	var failing error
	ok := e.update(name, st.revision, func(was *state) *state {
		next := *was
		next.trouble = was.trouble.followedBy(err, e.clock.Now(), e.growing)
		e.troubled(name, was.conn, was.trouble, next.trouble)
		failing = next.trouble.failing(next.trouble.last)
		if next.token != nil {
			next.token.succeeding.Store(false) // or the planned try would pass
			// Not before its time, if it was a reader's min_ttl that failed.
			e.plan(name, &next, later(next.trouble.next, next.token.refresh().Add(-next.token.lead())))
		}
		return &next
	})
	if !ok {
		return errSuperseded
	}
	return failing
}

// noteOfMany remembers a failure that many callers, each with a request of its
// own, may have met at the same time: only the first counts. in says which trouble
// of a state it is. The error is for the caller; errSuperseded if the connection
// has changed.
func (e *Engine) noteOfMany(name string, st *state, err error, in func(*state) **trouble) error {
	ok := e.update(name, st.revision, func(was *state) *state {
		next := *was
		tr := in(&next)
		if *tr == *in(st) {
			*tr = (*tr).followedBy(err, e.clock.Now(), e.growing)
			e.troubled(name, was.conn, *in(was), *tr)
		}
		if *tr != nil {
			err = (*tr).failing(e.clock.Now())
		}
		return &next
	})
	if !ok {
		return errSuperseded
	}
	return err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// endTrouble lets GBG be asked again at once.
func (e *Engine) endTrouble(name string, st *state) {
	e.update(name, st.revision, func(was *state) *state {
		next := *was
		next.trouble, next.exchangeTrouble = nil, nil
		return &next
	})
}
