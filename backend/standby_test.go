package backend

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

func TestForwardsClaim(t *testing.T) {
	t.Parallel()
	var f forwards
	assert.True(t, f.claimFirst(testNow))
	assert.False(t, f.claimFirst(testNow.Add(time.Hour)), "only the first")
	assert.False(t, f.claim(testNow.Add(forwardInterval-1)))
	assert.True(t, f.claim(testNow.Add(forwardInterval)))
	assert.False(t, f.claim(testNow.Add(forwardInterval)))
	assert.True(t, f.claim(testNow.Add(2*forwardInterval)))
}

// Of many readers at once one is forwarded.
func TestForwardsClaimAtOnce(t *testing.T) {
	t.Parallel()
	for name, claim := range map[string]func(*forwards, time.Time) bool{"claim": (*forwards).claim, "claimFirst": (*forwards).claimFirst} {
		var f forwards
		var claimed atomic.Int64
		var readers sync.WaitGroup
		for range 100 {
			readers.Go(func() {
				if claim(&f, testNow) {
					claimed.Add(1)
				}
			})
		}
		readers.Wait()
		assert.EqualValues(t, 1, claimed.Load(), name)
	}
}

func TestTokenKeepsForwards(t *testing.T) {
	t.Parallel()
	was := &token{access: connection.NewSecret("one")}
	was.forwards.claim(testNow)
	same, other := &token{access: connection.NewSecret("one")}, &token{access: connection.NewSecret("two")}
	same.keepForwards(was)
	other.keepForwards(was)
	assert.False(t, same.forwards.claimFirst(testNow))
	assert.True(t, other.forwards.claimFirst(testNow))
	(*token)(nil).keepForwards(was)
	other.keepForwards(nil)
}
