package plugintest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// The next token is there a little before it is promised.
func TestNextTokenComesAhead(t *testing.T) {
	for _, c := range []struct {
		lifetime time.Duration
		random   float64
		ahead    time.Duration // of the time promised
	}{
		{time.Hour, 0, 5 * time.Second},
		{time.Hour, 0.5, 20 * time.Second},
		{24 * time.Hour, 0, 5 * time.Second},
		{30 * time.Second, 0, time.Second},
		{30 * time.Second, 0.9, 1900 * time.Millisecond},
	} {
		t.Run(fmt.Sprint(c.lifetime, c.random), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{lifetime: c.lifetime, random: c.random})
				w.write("config", w.single())
				old := w.read("creds")
				promised := start.Add(secondsOf(old["rotation_period"]))

				w.passUntil(promised.Add(-c.ahead - 50*time.Millisecond))
				assert.Equal(t, old["access_token"], w.read("creds")["access_token"])
				assert.Equal(t, 1, w.asked())
				w.pass(2 * 50 * time.Millisecond)
				assert.Equal(t, 2, w.asked())
				next := w.read("creds")
				assert.NotEqual(t, old["access_token"], next["access_token"])
				assert.WithinDuration(t, promised.Add(-c.ahead), w.moment(next["last_vault_rotation"]), 50*time.Millisecond)
				assert.Equal(t, 2, w.asked())
			})
		})
	}
}

// Whoever comes back half a second after ttl has passed gets a newer token,
// however far into a token's life they read it, and the old one is still good.
func TestComeBackAfterTTL(t *testing.T) {
	for _, lifetime := range []time.Duration{30 * time.Second, 5 * time.Minute, time.Hour, 24 * time.Hour} {
		for _, random := range []float64{0, 0.5, 0.999} {
			t.Run(fmt.Sprint(lifetime, random), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, worldOptions{lifetime: lifetime, random: random})
					w.write("config", w.single())
					old := w.read("creds")
					for round := range 6 {
						// What is left of the token's time, in sixths.
						left := time.Until(w.moment(old["last_vault_rotation"]).Add(secondsOf(old["rotation_period"])))
						w.pass(left * time.Duration(round) / 6)
						again := w.read("creds")
						require.Equal(t, without(old, "ttl"), without(again, "ttl"))

						w.pass(secondsOf(again["ttl"]) + 500*time.Millisecond)
						assert.True(t, w.live(old["access_token"]), "the old token has ended")
						next := w.read("creds")
						assert.NotEqual(t, old["access_token"], next["access_token"])
						assert.True(t, w.moment(next["last_vault_rotation"]).After(w.moment(old["last_vault_rotation"])))
						assert.True(t, w.live(next["access_token"]))
						old = next
					}
					assert.Equal(t, 7, w.asked())
				})
			})
		}
	}
}

// One request per period, however many readers come back when told, or on clocks
// of their own.
func TestOneRequestPerPeriod(t *testing.T) {
	const periods = 20
	for _, lifetime := range []time.Duration{30 * time.Second, time.Hour} {
		t.Run(lifetime.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{lifetime: lifetime})
				w.dice = seededDice()
				w.restart()
				w.write("config", w.single())

				type reader struct {
					polls time.Duration // zero is: when ttl says
					back  time.Time
				}
				readers := []*reader{{}, {}, {}, {}, {polls: lifetime / 7}, {polls: lifetime / 3}, {polls: lifetime}}
				var tokens []any
				reads := 0
				for len(tokens) < periods+1 {
					next := slices.MinFunc(readers, func(a, b *reader) int { return a.back.Compare(b.back) })
					w.passUntil(next.back)
					got := w.read("creds")
					reads++
					require.True(t, w.live(got["access_token"]))
					if !slices.Contains(tokens, got["access_token"]) {
						tokens = append(tokens, got["access_token"])
					}
					require.Equal(t, tokens[len(tokens)-1], got["access_token"], "a token of the past")
					wait := next.polls
					if wait == 0 {
						wait = secondsOf(got["ttl"]) + 500*time.Millisecond
					}
					next.back = time.Now().Add(wait)
				}
				assert.Equal(t, periods+1, w.asked())
				pauses := w.pauses(0)
				period := lifetime - min(5*time.Minute, lifetime/3)
				for _, pause := range pauses {
					// Ahead by a tenth of the overlap, 5 s at most, and a random part of
					// another tenth.
					tenth := (lifetime - period) / 10
					lead := min(tenth, 5*time.Second)
					assert.LessOrEqual(t, pause, period-lead+50*time.Millisecond)
					assert.GreaterOrEqual(t, pause, period-lead-tenth-50*time.Millisecond)
				}
				t.Logf("%d reads over %d periods of %s: %d token requests, %s to %s apart", reads, periods, period, w.asked(), slices.Min(pauses), slices.Max(pauses))
			})
		})
	}
}

// seededDice are dice that fall the same way each time.
func seededDice() func() float64 {
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(3, 14))
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return dice.Float64()
	}
}

// A crowd that reads the same token does not come back in one second, but spread
// over a quarter of the overlap, all of them late enough.
func TestComeBackTimesSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const crowd = 1000
		w := newWorld(t, worldOptions{})
		w.dice = seededDice()
		w.restart()
		w.write("config", w.single())
		old := w.read("creds")
		w.pass(1234 * time.Second)

		const bucket = 5 * time.Second
		const next, latest = 2066 * time.Second, 75 * time.Second // of 3300 s and 300 s
		histogram := make([]int, latest/bucket+1)
		for range crowd {
			got := w.read("creds")
			require.Equal(t, without(old, "ttl"), without(got, "ttl"))
			late := secondsOf(got["ttl"]) - next
			require.GreaterOrEqual(t, late, time.Duration(0), "before there is a newer token")
			require.LessOrEqual(t, late, latest, "later than a quarter of the overlap")
			histogram[late/bucket]++
		}
		for i, n := range histogram {
			from := time.Duration(i) * bucket
			t.Logf("%3.0f to %3.0f s late: %3d %s", from.Seconds(), (from + bucket - time.Second).Seconds(), n, strings.Repeat("#", n/2))
			if from < latest { // the last one has one second only
				assert.InDelta(t, crowd/int(latest/bucket), n, 30)
			}
		}
		assert.Equal(t, 1, w.asked())
	})
}

// A token that nobody reads is left to lapse.
func TestIdleConnectionAsksForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		w.pass(30 * 24 * time.Hour)
		assert.Equal(t, 1, w.asked(), "the one of the verification")

		w.read("creds")
		assert.Equal(t, 2, w.asked())
		w.pass(30 * 24 * time.Hour)
		assert.Equal(t, 3, w.asked(), "one successor, which nobody reads")

		w.restart()
		w.pass(24 * time.Hour)
		w.read("config")
		w.read("status")
		w.pass(24 * time.Hour)
		assert.Equal(t, 3, w.asked(), "neither of them uses the token")
	})
}

func TestManyIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const connections = 1000
		w := newWorld(t, worldOptions{})
		single := w.single()
		w.write("config/first", single)
		w.pass(2 * time.Minute) // which closes idle network connections
		goroutines := runtime.NumGoroutine()
		for i := range connections {
			w.write(fmt.Sprintf("config/team-%d", i), single)
		}
		assert.Equal(t, connections+1, w.asked())
		w.pass(2 * time.Minute)
		assert.Less(t, runtime.NumGoroutine(), goroutines+connections/10, "none for each connection")
		for range 48 {
			w.pass(time.Hour)
		}
		assert.Equal(t, connections+1, w.asked())
		assert.Less(t, runtime.NumGoroutine(), goroutines+connections/10, "none for each connection")

		// After a restart none is even loaded before it is asked for.
		gets := map[string]int{}
		get := func(ctx context.Context, key string) (*logical.StorageEntry, error) {
			gets[key]++
			return w.storage.InmemStorage.Get(ctx, key)
		}
		w.storage.onGet.Store(&get)
		w.restart()
		for range 48 {
			w.pass(time.Hour)
		}
		assert.Empty(t, gets)
		w.read("creds/team-7")
		w.read("creds/team-7")
		synctest.Wait()
		assert.Equal(t, map[string]int{"connection/team-7": 1, "token/team-7": 1}, gets)
		assert.Equal(t, connections+2, w.asked())
	})
}

// Whoever comes first after the refresh time is served at once, and sees to the
// next token.
func TestFirstReadAfterTheRefreshTime(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", w.single())
				w.pass(56 * time.Minute)
				require.Equal(t, 1, w.asked())
				if restart {
					w.restart()
				}
				release := w.gate.hold(clientA)
				for range 10 {
					got := w.read("creds")
					assert.Equal(t, "2026-03-01T12:00:00.250000000Z", got["last_vault_rotation"])
					assert.EqualValues(t, 3, got["ttl"])
					synctest.Wait()
					assert.Equal(t, 2, w.asked(), "one request, and nobody waits for it")
				}
				release()
				w.pass(3500 * time.Millisecond)
				assert.Equal(t, "2026-03-01T12:56:00.250000000Z", w.read("creds")["last_vault_rotation"])
				assert.Equal(t, 2, w.asked())
			})
		})
	}
}

// Two answers with the same token are equal in every key but ttl, whatever
// happens to the mount meanwhile.
func TestAnswersWithTheSameTokenAreEqual(t *testing.T) {
	for _, random := range []float64{0, 0.7} {
		t.Run(fmt.Sprint(random), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{random: random, lifetime: 1000 * time.Second})
				pair := w.pair()
				w.fault(gbgsim.Fault{Kind: gbgsim.FaultScope, Scope: "gbg.token more"})
				w.write("config", pair)
				first := w.read("creds")
				asked := w.asked()
				for _, meanwhile := range []struct {
					name string
					do   func()
				}{
					{"time", func() { w.pass(1234 * time.Millisecond) }},
					{"a restart", func() { w.restart() }},
					{"an invalidation", func() { w.backend.InvalidateKey(t.Context(), connectionKey) }},
					{"another one", func() { w.backend.InvalidateKey(t.Context(), tokenKey) }},
					{"refresh_before", func() { w.write("config", fields{"refresh_before": 17}) }},
					{"another restart", func() { w.restart() }},
					{"request_timeout", func() { w.write("config", fields{"request_timeout": 20}) }},
					{"max_secret_age", func() { w.write("config", fields{"max_secret_age": 1}) }},
					{"failover", func() { w.write("config", fields{"failover": false}) }},
					{"a write of the same", func() { w.write("config", pair) }},
					{"a new secret, unverified", func() { w.write("config", fields{"client_secret": wrongSecret, "verify_connection": false}) }},
					{"no standby", func() { w.write("config", fields{"paired_client_id": ""}) }},
				} {
					meanwhile.do()
					assert.Equal(t, without(first, "ttl"), without(w.read("creds"), "ttl"), "after %s", meanwhile.name)
				}
				assert.Equal(t, asked, w.asked())
				w.fault(statusFault(500))
				w.passUntil(start.Add(720 * time.Second))
				require.Contains(t, w.read("status"), "last_error")
				assert.Equal(t, without(first, "ttl"), without(w.read("creds"), "ttl"), "while refreshing fails")
				w.restart()
				assert.Equal(t, without(first, "ttl"), without(w.read("creds"), "ttl"), "after a restart meanwhile")
			})
		})
	}
}

// While GBG keeps the refresh waiting, nobody else waits.
func TestNobodyWaitsForARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config", pair)
		old := w.read("creds")
		release := w.gate.hold(clientA)
		defer release()
		w.pass(55*time.Minute - time.Second)
		require.Equal(t, 1, w.underWay())

		// Each of these would hang if it waited: the clock stands still.
		goroutines := runtime.NumGoroutine()
		for range 50 {
			assert.Equal(t, without(old, "ttl"), without(w.read("creds"), "ttl"))
		}
		synctest.Wait()
		assert.Less(t, runtime.NumGoroutine(), goroutines+25, "no reader leaves a goroutine behind")
		assert.Equal(t, clientA, w.read("status")["active_client_id"])
		w.write("config", fields{"request_timeout": 20})
		w.write("config/team-a", pair2(w))
		w.read("creds/team-a")
		assert.Equal(t, without(old, "ttl"), without(w.read("creds"), "ttl"))
		assert.Equal(t, true, w.rotate(nil).Data["rotated"])
		fresh := w.read("creds")
		assert.Equal(t, clientB, fresh["client_id"])
		assert.Equal(t, 1, w.underWay())

		// What comes for the client that has left is nobody's.
		release()
		synctest.Wait()
		assert.Equal(t, fresh["access_token"], w.read("creds")["access_token"])
		w.restart()
		assert.Equal(t, fresh["access_token"], w.read("creds")["access_token"])
		assert.Equal(t, 2, w.askedBy(clientA))
		w.mustBeWhole(clientB)
	})
}

// pair2 is a pair of other clients.
func pair2(w *world) fields {
	return fields{
		"client_id": "client-c", "client_secret": w.client("client-c"),
		"paired_client_id": "client-d", "paired_client_secret": w.client("client-d"),
		"token_url": w.tokenURL(),
	}
}

// A config write under a refresh that leaves the token's request as it is leaves
// the refresh alone too; one that changes it starts another.
func TestConfigWritesUnderARefresh(t *testing.T) {
	for name, c := range map[string]struct {
		write fields
		more  int // token requests, besides the one that is held
	}{
		"another timing":           {fields{"refresh_before": 60}, 0},
		"a new secret, unverified": {nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", w.single())
				old := w.read("creds")
				release := w.gate.hold(clientA)
				defer release()
				w.pass(55*time.Minute - time.Second)
				require.Equal(t, 1, w.underWay())
				if c.write == nil {
					c.write = fields{"client_secret": w.regenerate(clientA), "verify_connection": false}
				}
				w.write("config", c.write)
				assert.Equal(t, without(old, "ttl"), without(w.read("creds"), "ttl"))
				release()
				w.pass(refusedPause)
				got := w.read("creds")
				assert.NotEqual(t, old["access_token"], got["access_token"])
				assert.Equal(t, 2+c.more, w.asked())
				w.restart()
				assert.Equal(t, got["access_token"], w.read("creds")["access_token"])
			})
		})
	}
}

func TestConnectionDeletedUnderARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		w.read("creds")
		release := w.gate.hold(clientA)
		defer release()
		w.pass(55*time.Minute - time.Second)
		require.Equal(t, 1, w.underWay())
		w.ok(w.try(logical.DeleteOperation, "config", nil))
		assert.Contains(t, w.refused(w.try(logical.ReadOperation, "creds", nil)), "is not configured")
		release()
		synctest.Wait()
		assert.Empty(t, w.storage.content(t), "the token came back")
		w.pass(24 * time.Hour)
		assert.Equal(t, 2, w.asked())
	})
}

// One try that hangs leaves time for another one.
func TestRefreshHangsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		w.read("creds")
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultHang, Requests: 1})
		w.passUntil(start.Add(3300*time.Second + retryPauses[0]))
		assert.Equal(t, start.Add(3300*time.Second+retryPauses[0]), w.moment(w.read("creds")["last_vault_rotation"]))
		assert.Equal(t, 3, w.asked())
		assert.NotContains(t, w.read("status"), "last_error")
	})
}

// GBG that does not answer a refresh in time costs nobody anything.
func TestRefreshTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		old := w.read("creds")
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultHang, Requests: 2})
		w.passUntil(start.Add(3304 * time.Second))
		assert.Equal(t, without(old, "ttl"), without(w.read("creds"), "ttl"))
		assert.NotContains(t, w.read("status"), "last_error")
		w.pass(time.Second)
		assert.Contains(t, w.read("status")["last_error"], "no answer in the time allowed")
		assert.EqualValues(t, 3, w.read("creds")["ttl"])
		w.pass(time.Second + 50*time.Millisecond)
		assert.NotEqual(t, old["access_token"], w.read("creds")["access_token"])
		assert.NotContains(t, w.read("status"), "last_error")
	})
}

// The failure of a request that came early (min_ttl) takes the place of the
// token's one timer. If nobody had read the token by then, it is never set again:
// no refresh ahead for whoever reads it later.
func TestRefreshTimerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		w.pass(1300 * time.Second)
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, RetryAfter: "30", Requests: 1})
		w.unavailable(w.tryCreds(fields{"min_ttl": 2400}))
		w.pass(time.Minute)
		old := w.read("creds")
		assert.EqualValues(t, 3300-1360, old["ttl"], "no sooner")
		w.passUntil(start.Add(3300*time.Second + 500*time.Millisecond))
		assert.NotEqual(t, old["access_token"], w.read("creds")["access_token"], "there must be a newer token")
	})
}

// The same failure under a token that is read makes the engine ask GBG in the
// background long before the token's time: for as long as GBG is out of order,
// and once more when it is back.
func TestEarlyFailureStartsEarlyRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		w.read("creds")
		w.pass(1300 * time.Second)
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, RetryAfter: "30"})
		w.unavailable(w.tryCreds(fields{"min_ttl": 2400}))
		w.pass(30 * time.Minute)
		t.Logf("%d token requests in half an hour in which nobody needs one", w.asked()-2)
		assert.Equal(t, 2, w.asked())
		assert.EqualValues(t, 3300-3100, w.read("creds")["ttl"], "nobody has to come back before its time")
	})
}

// A token that is read for the first time when its timer has fired, and before it
// is due, promises a successor that nobody fetches.
func TestFirstReadJustBeforeTheRefreshTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		w.passUntil(start.Add(3297 * time.Second))
		old := w.read("creds")
		w.pass(secondsOf(old["ttl"]) + 500*time.Millisecond)
		assert.NotEqual(t, old["access_token"], w.read("creds")["access_token"], "ttl + 0.5 s later there must be a newer token")
	})
}
