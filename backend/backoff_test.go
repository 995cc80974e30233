package backend

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// testNow is the current time of these tests.
var testNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// exact is an engine whose pauses have no random part.
func exact() *Engine { return &Engine{random: func() float64 { return 0 }} }

func clientError(cause gbgauth.Error) *ClientError {
	return &ClientError{Connection: "team-a", ClientID: "id-a", Cause: &cause}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		nth    int
		random float64
		want   time.Duration
	}{
		{1, 0, time.Second},
		{2, 0, 2 * time.Second},
		{6, 0, 32 * time.Second},
		{7, 0, time.Minute},
		{1000, 0, time.Minute},
		{1, 0.5, time.Second}, // never less than the first
		{2, 0.5, 1800 * time.Millisecond},
		{7, 1, 48 * time.Second},
	} {
		e := &Engine{random: func() float64 { return tc.random }}
		assert.Equal(t, tc.want, e.delay(tc.nth, firstBackoff, maxBackoff), "%d, %v", tc.nth, tc.random)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	var none *backoff
	assert.False(t, none.blocked(testNow))
	assert.Zero(t, none.wait(testNow))
	assert.False(t, none.clientRefused())
	assert.Nil(t, none.withoutPause(testNow))

	cause := errors.New("out of order")
	first := none.next(cause, testNow, exact().delay)
	assert.Equal(t, &backoff{err: cause, since: testNow, last: testNow, count: 1, until: testNow.Add(time.Second)}, first)
	assert.True(t, first.blocked(testNow.Add(time.Second-1)))
	assert.False(t, first.blocked(testNow.Add(time.Second)))
	assert.Equal(t, time.Second, first.wait(testNow))
	assert.Zero(t, first.wait(testNow.Add(time.Hour)))

	later := testNow.Add(time.Minute)
	second := first.next(cause, later, exact().delay)
	assert.Equal(t, &backoff{err: cause, since: testNow, last: later, count: 2, until: later.Add(2 * time.Second)}, second)

	ended := second.withoutPause(later)
	assert.False(t, ended.blocked(later))
	assert.Equal(t, 2, ended.count)
	assert.True(t, second.blocked(later), "the one before is not changed")
	assert.Same(t, ended, ended.withoutPause(later))

	var failing *FailingError
	require.ErrorAs(t, second.failingError(later.Add(500*time.Millisecond)), &failing)
	assert.Equal(t, &FailingError{Cause: cause, Since: testNow, NextTry: second.until, Wait: 1500 * time.Millisecond}, failing)
}

func TestBackoffHonoursRetryAfter(t *testing.T) {
	t.Parallel()
	for retryAfter, want := range map[time.Duration]time.Duration{
		0: time.Second, 500 * time.Millisecond: time.Second, 30 * time.Second: 30 * time.Second, time.Hour: time.Hour,
	} {
		err := clientError(gbgauth.Error{Kind: gbgauth.RateLimited, RetryAfter: retryAfter})
		assert.Equal(t, testNow.Add(want), (*backoff)(nil).next(err, testNow, exact().delay).until)
		pair := &PairError{Active: clientError(gbgauth.Error{Kind: gbgauth.RefusedClient}), Standby: err}
		assert.Equal(t, testNow.Add(want), (*backoff)(nil).next(pair, testNow, exact().delay).until, "also the standby's")
	}
}

func TestBackoffOfARefusedClient(t *testing.T) {
	t.Parallel()
	for kind, refused := range map[gbgauth.Kind]bool{
		gbgauth.RefusedClient: true, gbgauth.RefusedRequest: false, gbgauth.ServerError: false, gbgauth.NotTokenEndpoint: false,
	} {
		b := (*backoff)(nil).next(clientError(gbgauth.Error{Kind: kind}), testNow, exact().delay)
		assert.Equal(t, refused, b.clientRefused(), "%v", kind)
	}
}
