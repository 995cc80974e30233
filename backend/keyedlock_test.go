// This test is inside the package: the lock has no public face, and that it
// leaves nothing behind can only be seen in its map.

package backend

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// requireNothingHeld checks that the lock holds no keys.
func requireNothingHeld(t *testing.T, l *keyedLock) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Empty(t, l.held)
}

// users returns how many hold a key or wait for it.
func (l *keyedLock) users(key string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.held[key]; h != nil {
		return h.users
	}
	return 0
}

func TestKeyedLockExcludesPerKey(t *testing.T) {
	t.Parallel()
	const keys, workers, rounds = 3, 8, 200
	var l keyedLock
	// Only the locks guard the counters: the race detector is half of this test.
	var inside, total [keys]int
	var wg sync.WaitGroup
	for worker := range keys * workers {
		wg.Go(func() {
			k := worker % keys
			for range rounds {
				unlock, err := l.lock(t.Context(), fmt.Sprint("key ", k))
				if !assert.NoError(t, err) {
					return
				}
				inside[k]++
				assert.Equal(t, 1, inside[k], "alone inside")
				total[k]++
				inside[k]--
				unlock()
			}
		})
	}
	wg.Wait()
	assert.Equal(t, [keys]int{workers * rounds, workers * rounds, workers * rounds}, total)
	requireNothingHeld(t, &l)
}

// Waiters that give up must not let two others in at once.
func TestKeyedLockExcludesWhileOthersGiveUp(t *testing.T) {
	t.Parallel()
	const workers, rounds = 8, 200
	var l keyedLock
	var inside, total int
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for range rounds {
				ctx, cancel := context.WithCancel(t.Context())
				if worker%2 == 0 {
					go cancel() // at any moment: before, while or after it waits
				}
				unlock, err := l.lock(ctx, "key")
				if err == nil {
					inside++
					assert.Equal(t, 1, inside, "alone inside")
					total++
					inside--
					unlock()
				} else {
					assert.ErrorIs(t, err, context.Canceled)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	assert.GreaterOrEqual(t, total, workers/2*rounds, "who does not give up gets in")
	requireNothingHeld(t, &l)
}

func TestKeyedLockKeysDoNotBlockEachOther(t *testing.T) {
	t.Parallel()
	// In a synctest bubble, waiting for ever is a failure at once.
	synctest.Test(t, func(t *testing.T) {
		var l keyedLock
		unlockA, err := l.lock(t.Context(), "a")
		require.NoError(t, err)
		unlockB, err := l.lock(t.Context(), "b")
		require.NoError(t, err)
		unlockEmpty, err := l.lock(t.Context(), "")
		require.NoError(t, err)
		unlockA()
		assert.Zero(t, l.users("a"))
		assert.Equal(t, 1, l.users("b"))
		unlockB()
		unlockEmpty()
		requireNothingHeld(t, &l)
	})
}

func TestKeyedLockWaiters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l keyedLock
		unlock, err := l.lock(t.Context(), "key")
		require.NoError(t, err)

		const waiters = 5
		got := make(chan func(), waiters)
		for range waiters {
			go func() {
				unlock, err := l.lock(t.Context(), "key")
				assert.NoError(t, err)
				got <- unlock
			}()
		}
		for left := waiters; left > 0; left-- {
			synctest.Wait()
			require.Empty(t, got, "nobody else gets in while it is held")
			require.Equal(t, left+1, l.users("key"))
			unlock()
			synctest.Wait()
			require.Len(t, got, 1, "one gets in")
			unlock = <-got
		}
		unlock()
		requireNothingHeld(t, &l)
	})
}

func TestKeyedLockWaiterGivesUp(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		ctx  func(context.Context) (context.Context, context.CancelFunc)
		end  func(context.CancelFunc)
		want error
	}{
		{
			"cancelled", context.WithCancel,
			func(cancel context.CancelFunc) { cancel() }, context.Canceled,
		},
		{
			"timed out",
			func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, time.Minute)
			},
			// The bubble's time, which passes at once.
			func(context.CancelFunc) { <-time.After(time.Minute + time.Second) }, context.DeadlineExceeded,
		},
		{
			"over before it began",
			func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(ctx)
				cancel()
				return ctx, cancel
			},
			func(context.CancelFunc) {}, context.Canceled,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var l keyedLock
				unlock, err := l.lock(t.Context(), "key")
				require.NoError(t, err)

				patient := make(chan func(), 1)
				go func() {
					unlock, err := l.lock(t.Context(), "key")
					assert.NoError(t, err)
					patient <- unlock
				}()
				ctx, cancel := tc.ctx(t.Context())
				defer cancel()
				gaveUp := make(chan error, 1)
				go func() {
					unlock, err := l.lock(ctx, "key")
					assert.Nil(t, unlock)
					gaveUp <- err
				}()
				synctest.Wait()
				tc.end(cancel)
				require.ErrorIs(t, <-gaveUp, tc.want)
				synctest.Wait()
				assert.Equal(t, 2, l.users("key"), "the holder and who still waits")
				assert.Empty(t, patient, "giving up lets nobody in")

				unlock()
				(<-patient)()
				requireNothingHeld(t, &l)
			})
		})
	}
}

// A context that is over may or may not get a free key; neither leaves a trace.
func TestKeyedLockFreeKeyAfterTheEnd(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var l keyedLock
	for range 100 {
		unlock, err := l.lock(ctx, "key")
		if err == nil {
			unlock()
		} else {
			require.ErrorIs(t, err, context.Canceled)
		}
		requireNothingHeld(t, &l)
	}
}
