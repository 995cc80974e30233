package client

import (
	"math/rand/v2"
	"time"
)

// The pause after a failed request to Vault doubles from minPause to maxPause.
const (
	minPause = time.Second
	maxPause = 30 * time.Second
	// maxRetryAfter is the longest Retry-After that is followed.
	maxRetryAfter = time.Hour
)

// backoff is the pause after failed requests; the zero value is none.
type backoff struct {
	err   error // of the last request
	pause time.Duration
	until time.Time
}

// blocked reports whether no request may be sent yet.
func (b *backoff) blocked(now time.Time) bool {
	return b.err != nil && !reached(b.until, now)
}

// add begins the pause after a failed request and returns its length: at least
// retryAfter, else between a half and the whole of the growing pause. While a token is
// valid for left, the pause is at most half of that, so that Vault is asked again
// before the token expires.
func (b *backoff) add(now time.Time, err error, retryAfter, left time.Duration) time.Duration {
	b.err = err
	b.pause = min(max(2*b.pause, minPause), maxPause)
	pause := b.pause
	if left > 0 {
		pause = min(pause, max(left/2, minPause))
	}
	pause = max(pause/2, retryAfter) + rand.N(pause/2) //nolint:gosec // jitter is no secret
	b.until = now.Add(pause)
	return pause
}
