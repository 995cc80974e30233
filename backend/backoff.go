package backend

import (
	"errors"
	"time"
)

const (
	// firstRetryDelay and maxRetryDelay bound the pauses between the attempts of one
	// request.
	firstRetryDelay = 250 * time.Millisecond
	maxRetryDelay   = 4 * time.Second
	// firstBackoff and maxBackoff bound the pause after a failed request.
	firstBackoff = time.Second
	maxBackoff   = time.Minute
)

// backoff is a run of consecutive failed token requests and the pause that follows
// it. Nil means that the last request did not fail.
type backoff struct {
	// err is the last failure.
	err error
	// since and last are the times of the first and the last failure of the run.
	since, last time.Time
	// count is the number of consecutive failures.
	count int
	// until is when the next token request may be sent.
	until time.Time
}

// delayFunc returns the pause after n consecutive failures.
type delayFunc func(n int, first, most time.Duration) time.Duration

// next returns the backoff after one more failure. The pause is the longer of delay's
// and the endpoint's Retry-After.
func (b *backoff) next(err error, now time.Time, delay delayFunc) *backoff {
	n := &backoff{err: err, since: now, last: now, count: 1}
	if b != nil {
		n.since = b.since
		n.count += b.count
	}
	n.until = now.Add(max(delay(n.count, firstBackoff, maxBackoff), retryAfter(err)))
	return n
}

// blocked reports whether the pause lasts at time now.
func (b *backoff) blocked(now time.Time) bool { return b != nil && now.Before(b.until) }

// wait returns how long the pause still lasts; zero if it is over.
func (b *backoff) wait(now time.Time) time.Duration {
	if b == nil {
		return 0
	}
	return max(b.until.Sub(now), 0)
}

// withoutPause returns the same run of failures with its pause ended.
func (b *backoff) withoutPause(now time.Time) *backoff {
	if !b.blocked(now) {
		return b
	}
	n := *b
	n.until = now
	return &n
}

// clientRefused reports whether the last failure was a refusal of the active client.
func (b *backoff) clientRefused() bool {
	var failed *ClientError
	return b != nil && errors.As(b.err, &failed) && failed.ClientRefused()
}

// failingError returns the error for a reader while the backoff lasts.
func (b *backoff) failingError(now time.Time) error {
	return &FailingError{Cause: b.err, Since: b.since, NextTry: b.until, Wait: b.wait(now)}
}

// delay returns the pause after n consecutive failures. It doubles each time, up to
// most, and is shortened by up to a fifth at random so that many callers do not retry
// at once.
func (e *Engine) delay(n int, first, most time.Duration) time.Duration {
	pause := most
	if shift := n - 1; shift < 16 { // a larger shift would overflow
		pause = min(first<<shift, most)
	}
	return max(pause-time.Duration(e.random()*float64(pause)/5), first)
}

// recordFailure records a failed token request, and schedules the next one if the
// current token is in use. If several leased reads fail at the same time, only the
// first is counted. It returns the error for the waiting readers, or errSuperseded if
// the connection has changed.
func (e *Engine) recordFailure(name string, st *state, err error) error {
	var failing error
	ok := e.update(name, st.revision, func(was *state) *state {
		next := *was
		if was.conn.Settings.Lease && was.backoff != nil && was.backoff != st.backoff {
			failing = was.backoff.failingError(e.now())
			return was
		}
		next.backoff = was.backoff.next(err, e.now(), e.delay)
		e.reportFailure(name, was.conn, was.backoff, next.backoff)
		failing = next.backoff.failingError(next.backoff.last)
		if next.token != nil {
			next.token.refreshing.Store(false) // or the scheduled refresh would do nothing
			// Not before refreshStart: the failed request may have been for a reader's min_ttl.
			e.scheduleRefresh(name, &next, latest(next.backoff.until, next.token.refreshStart()))
		}
		return &next
	})
	if !ok {
		return errSuperseded
	}
	return failing
}

// recordExchangeFailure records that an exchange could not reach GBG. If several
// callers meet the same failure at the same time, only the first is counted. It
// returns the error for the caller, or errSuperseded if the connection has changed.
func (e *Engine) recordExchangeFailure(name string, st *state, err error) error {
	var failing error
	ok := e.update(name, st.revision, func(was *state) *state {
		next := *was
		if was.exchangeBackoff == st.exchangeBackoff || was.exchangeBackoff == nil {
			next.exchangeBackoff = was.exchangeBackoff.next(err, e.now(), e.delay)
			e.reportFailure(name, was.conn, was.exchangeBackoff, next.exchangeBackoff)
		}
		failing = next.exchangeBackoff.failingError(e.now())
		return &next
	})
	if !ok {
		return errSuperseded
	}
	return failing
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// endPause ends the pause, so that the next request is sent at once. The failures
// stay in the status until a request succeeds.
func (e *Engine) endPause(name string, st *state) {
	e.update(name, st.revision, func(was *state) *state {
		next := *was
		now := e.now()
		next.backoff, next.exchangeBackoff = was.backoff.withoutPause(now), was.exchangeBackoff.withoutPause(now)
		if next.token != nil && next.backoff != was.backoff {
			e.scheduleRefresh(name, &next, latest(now, next.token.refreshStart()))
		}
		return &next
	})
}
