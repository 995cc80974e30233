package backend

import (
	"errors"
	"time"
)

const (
	// firstRetryDelay and maxRetryDelay bound the pauses between the tries of one
	// request.
	firstRetryDelay = 250 * time.Millisecond
	maxRetryDelay   = 4 * time.Second
	// firstBackoff and maxBackoff bound the pause after a request that has failed.
	firstBackoff = time.Second
	maxBackoff   = time.Minute
)

// backoff is a run of failed token requests and the pause that follows it. Nil
// stands for none.
type backoff struct {
	// err is the last failure.
	err error
	// since is when the first of the run failed, last when the last did.
	since, last time.Time
	// count is how many failed in a row.
	count int
	// until is when the token endpoint may be asked again.
	until time.Time
}

// delayFunc returns the pause after the nth failure in a row.
type delayFunc func(nth int, first, most time.Duration) time.Duration

// next returns the backoff after one more failure. Its pause is what delay says, or
// what the endpoint asked for (Retry-After) if that is longer.
func (b *backoff) next(err error, now time.Time, delay delayFunc) *backoff {
	n := &backoff{err: err, since: now, last: now, count: 1}
	if b != nil {
		n.since = b.since
		n.count += b.count
	}
	n.until = now.Add(max(delay(n.count, firstBackoff, maxBackoff), retryAfter(err)))
	return n
}

// blocked reports whether the token endpoint is to be left alone at this time.
func (b *backoff) blocked(now time.Time) bool { return b != nil && now.Before(b.until) }

// wait returns how long the token endpoint is to be left alone.
func (b *backoff) wait(now time.Time) time.Duration {
	if b == nil {
		return 0
	}
	return max(b.until.Sub(now), 0)
}

// withoutPause returns the same run of failures with its pause at an end.
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

// failingError returns the backoff as an error for a reader.
func (b *backoff) failingError(now time.Time) error {
	return &FailingError{Cause: b.err, Since: b.since, NextTry: b.until, Wait: b.wait(now)}
}

// delay returns the pause after the nth failure: twice as long each time, up to
// most, less a random fifth, so that many callers do not come back at once.
func (e *Engine) delay(nth int, first, most time.Duration) time.Duration {
	pause := most
	if shift := nth - 1; shift < 16 { // beyond, it would overflow
		pause = min(first<<shift, most)
	}
	return max(pause-time.Duration(e.random()*float64(pause)/5), first)
}

// recordFailure notes that a token request has failed, and plans the next one if
// the current token is in use. Of leased reads that failed at the same time only the
// first counts. It returns the error for those who wait; errSuperseded if the
// connection has changed.
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
			next.token.refreshing.Store(false) // or the planned try would do nothing
			// Not before its time, if it was a reader's min_ttl that failed.
			e.scheduleRefresh(name, &next, latest(next.backoff.until, next.token.refreshStart()))
		}
		return &next
	})
	if !ok {
		return errSuperseded
	}
	return failing
}

// recordExchangeFailure notes that GBG could not be reached for an exchange. Of
// callers that meet the same failure at once only the first counts. It returns the
// error for the caller; errSuperseded if the connection has changed.
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

// endPause lets the token endpoint be asked again at once. The failures so far stay
// in the status until a request succeeds.
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
