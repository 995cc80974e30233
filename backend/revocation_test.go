package backend

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// revocationStart is when the tests of revocation endpoints begin.
var revocationStart = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

func doubling(nth int) time.Duration { return time.Minute << (nth - 1) }

func TestRevocationEndpointPause(t *testing.T) {
	t.Parallel()
	endpoint := revocationEndpoint{connection: "team-a", url: "https://gbg.test/revoke", clientID: "a", secret: connection.NewSecret("s")}
	other := endpoint
	other.clientID = "b"
	var r revocationEndpoints
	now := revocationStart
	require.Nil(t, r.blocked(endpoint, now), "never asked")
	assert.False(t, r.healthy(endpoint, now), "nobody knows")

	// The pause counts from when the failure was known.
	first := &gbgauth.Error{Description: "first"}
	r.recordFailure(endpoint, now, now.Add(10*time.Second), first, doubling)
	assert.Equal(t, first, r.blocked(endpoint, now.Add(time.Minute+10*time.Second-1)))
	assert.Nil(t, r.blocked(endpoint, now.Add(time.Minute+10*time.Second)))
	assert.Nil(t, r.blocked(other, now))

	// Those that were under way with it are the same failure.
	r.recordFailure(endpoint, now.Add(5*time.Second), now.Add(15*time.Second), &gbgauth.Error{Description: "beside it"}, doubling)
	assert.Nil(t, r.blocked(endpoint, now.Add(time.Minute+10*time.Second)))

	now = now.Add(time.Minute)
	second := &gbgauth.Error{Description: "second", RetryAfter: 5 * time.Minute}
	r.recordFailure(endpoint, now, now.Add(10*time.Second), second, doubling)
	assert.Equal(t, second, r.blocked(endpoint, now.Add(5*time.Minute+10*time.Second-1)), "as asked")
	assert.Nil(t, r.blocked(endpoint, now.Add(5*time.Minute+10*time.Second)))
	assert.False(t, r.healthy(endpoint, now.Add(5*time.Minute+10*time.Second)))

	now = now.Add(6 * time.Minute)
	r.recordSuccess(endpoint, now)
	assert.Nil(t, r.blocked(endpoint, now))
	assert.True(t, r.healthy(endpoint, now))
	assert.False(t, r.healthy(endpoint, now.Add(revocationProof)), "for a moment")
	r.recordFailure(endpoint, now.Add(time.Second), now.Add(time.Second), first, doubling)
	assert.Nil(t, r.blocked(endpoint, now.Add(time.Second+time.Minute)), "the first one again")
}

// Unused endpoints are deleted; failing ones are not deleted too early.
func TestRevocationEndpointsAreForgotten(t *testing.T) {
	t.Parallel()
	var r revocationEndpoints
	failing, working := revocationEndpoint{connection: "failing"}, revocationEndpoint{connection: "working"}
	r.recordFailure(failing, revocationStart, revocationStart, &gbgauth.Error{}, doubling)
	r.recordSuccess(working, revocationStart)
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 2}, {revocationProof, 2}, {revocationProof + 1, 1}, {time.Minute + maxRevocationPause, 1}, {time.Minute + maxRevocationPause + 1, 0}} {
		r.prune(revocationStart.Add(c.after))
		assert.Len(t, r.health, c.want, c.after)
	}
}

// A run begins where the one before stopped, and what has failed makes way for what
// has not, the last failure last.
func TestRevocationOrder(t *testing.T) {
	t.Parallel()
	var r revocations
	order := func() []string { return r.order([]string{"d", "a", "c", "b", "e"}) }
	assert.Equal(t, []string{"a", "b", "c", "d", "e"}, order())
	r.recordFailure("c")
	r.recordFailure("a")
	assert.Equal(t, []string{"b", "d", "e", "c", "a"}, order())
	r.recordFailure("c")
	assert.Equal(t, []string{"b", "d", "e", "a", "c"}, order())
	r.stop("e")
	assert.Equal(t, []string{"e", "a", "c", "b", "d"}, order())
	assert.Equal(t, []string{"a", "b", "d"}, r.order([]string{"a", "b", "d"}), "it has gone, and so have those before it")
	r.stop("")
	assert.Equal(t, []string{"b", "c", "d", "e", "a"}, order(), "what was gone has not failed")
	assert.Empty(t, r.order(nil))
}
