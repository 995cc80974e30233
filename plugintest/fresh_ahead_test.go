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

	"vault-plugin-secrets-gbg/internal/gbgsim"
)

// The next token is there a little before it is promised.
func TestFreshNextTokenComesAhead(t *testing.T) {
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
				f := newWorld(t, worldOptions{lifetime: c.lifetime, random: c.random})
				f.write("config", f.single())
				old := f.read("creds")
				promised := start.Add(secondsOf(old["rotation_period"]))

				f.passUntil(promised.Add(-c.ahead - 50*time.Millisecond))
				assert.Equal(t, old["access_token"], f.read("creds")["access_token"])
				assert.Equal(t, 1, f.asked())
				f.pass(2 * 50 * time.Millisecond)
				assert.Equal(t, 2, f.asked())
				next := f.read("creds")
				assert.NotEqual(t, old["access_token"], next["access_token"])
				assert.WithinDuration(t, promised.Add(-c.ahead), f.moment(next["last_vault_rotation"]), 50*time.Millisecond)
				assert.Equal(t, 2, f.asked())
			})
		})
	}
}

// Whoever comes back half a second after ttl has passed gets a newer token,
// however far into a token's life they read it, and the old one is still good.
func TestFreshComeBackAfterTTL(t *testing.T) {
	for _, lifetime := range []time.Duration{30 * time.Second, 5 * time.Minute, time.Hour, 24 * time.Hour} {
		for _, random := range []float64{0, 0.5, 0.999} {
			t.Run(fmt.Sprint(lifetime, random), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newWorld(t, worldOptions{lifetime: lifetime, random: random})
					f.write("config", f.single())
					old := f.read("creds")
					for round := range 6 {
						// What is left of the token's time, in sixths.
						left := f.moment(old["last_vault_rotation"]).Add(secondsOf(old["rotation_period"])).Sub(time.Now())
						f.pass(left * time.Duration(round) / 6)
						again := f.read("creds")
						require.Equal(t, without(old, "ttl"), without(again, "ttl"))

						f.pass(secondsOf(again["ttl"]) + 500*time.Millisecond)
						assert.True(t, f.live(old["access_token"]), "the old token has ended")
						next := f.read("creds")
						assert.NotEqual(t, old["access_token"], next["access_token"])
						assert.True(t, f.moment(next["last_vault_rotation"]).After(f.moment(old["last_vault_rotation"])))
						assert.True(t, f.live(next["access_token"]))
						old = next
					}
					assert.Equal(t, 7, f.asked())
				})
			})
		}
	}
}

// One request per period, however many readers come back when told, or on clocks
// of their own.
func TestFreshOneRequestPerPeriod(t *testing.T) {
	const periods = 20
	for _, lifetime := range []time.Duration{30 * time.Second, time.Hour} {
		t.Run(lifetime.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newWorld(t, worldOptions{lifetime: lifetime})
				f.dice = seededDice()
				f.restart()
				f.write("config", f.single())

				type reader struct {
					polls time.Duration // zero is: when ttl says
					back  time.Time
				}
				readers := []*reader{{}, {}, {}, {}, {polls: lifetime / 7}, {polls: lifetime / 3}, {polls: lifetime}}
				var tokens []any
				reads := 0
				for len(tokens) < periods+1 {
					next := slices.MinFunc(readers, func(a, b *reader) int { return a.back.Compare(b.back) })
					f.passUntil(next.back)
					got := f.read("creds")
					reads++
					require.True(t, f.live(got["access_token"]))
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
				assert.Equal(t, periods+1, f.asked())
				pauses := f.pauses(0)
				period := lifetime - min(5*time.Minute, lifetime/3)
				for _, pause := range pauses {
					// Ahead by a tenth of the overlap, 5 s at most, and a random part of
					// another tenth.
					tenth := (lifetime - period) / 10
					lead := min(tenth, 5*time.Second)
					assert.LessOrEqual(t, pause, period-lead+50*time.Millisecond)
					assert.GreaterOrEqual(t, pause, period-lead-tenth-50*time.Millisecond)
				}
				t.Logf("%d reads over %d periods of %s: %d token requests, %s to %s apart", reads, periods, period, f.asked(), slices.Min(pauses), slices.Max(pauses))
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
func TestFreshComeBackTimesSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const crowd = 1000
		f := newWorld(t, worldOptions{})
		f.dice = seededDice()
		f.restart()
		f.write("config", f.single())
		old := f.read("creds")
		f.pass(1234 * time.Second)

		const bucket = 5 * time.Second
		const next, latest = 2066 * time.Second, 75 * time.Second // of 3300 s and 300 s
		histogram := make([]int, latest/bucket+1)
		for range crowd {
			got := f.read("creds")
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
		assert.Equal(t, 1, f.asked())
	})
}

// A token that nobody reads is left to lapse.
func TestFreshIdleConnectionAsksForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		f.pass(30 * 24 * time.Hour)
		assert.Equal(t, 1, f.asked(), "the one of the verification")

		f.read("creds")
		assert.Equal(t, 2, f.asked())
		f.pass(30 * 24 * time.Hour)
		assert.Equal(t, 3, f.asked(), "one successor, which nobody reads")

		f.restart()
		f.pass(24 * time.Hour)
		f.read("config")
		f.read("status")
		f.pass(24 * time.Hour)
		assert.Equal(t, 3, f.asked(), "neither of them uses the token")
	})
}

func TestFreshManyIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const connections = 1000
		f := newWorld(t, worldOptions{})
		single := f.single()
		f.write("config/first", single)
		f.pass(2 * time.Minute) // which closes idle network connections
		goroutines := runtime.NumGoroutine()
		for i := range connections {
			f.write(fmt.Sprintf("config/team-%d", i), single)
		}
		assert.Equal(t, connections+1, f.asked())
		f.pass(2 * time.Minute)
		assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
		for range 48 {
			f.pass(time.Hour)
		}
		assert.Equal(t, connections+1, f.asked())
		assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines)

		// After a restart none is even loaded before it is asked for.
		gets := map[string]int{}
		get := func(ctx context.Context, key string) (*logical.StorageEntry, error) {
			gets[key]++
			return f.storage.InmemStorage.Get(ctx, key)
		}
		f.storage.onGet.Store(&get)
		f.restart()
		for range 48 {
			f.pass(time.Hour)
		}
		assert.Empty(t, gets)
		f.read("creds/team-7")
		f.read("creds/team-7")
		synctest.Wait()
		assert.Equal(t, map[string]int{"connection/team-7": 1, "token/team-7": 1}, gets)
		assert.Equal(t, connections+2, f.asked())
	})
}

// Whoever comes first after the refresh time is served at once, and sees to the
// next token.
func TestFreshFirstReadAfterTheRefreshTime(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newWorld(t, worldOptions{})
				f.write("config", f.single())
				f.pass(56 * time.Minute)
				require.Equal(t, 1, f.asked())
				if restart {
					f.restart()
				}
				release := f.gate.hold(clientA)
				for range 10 {
					got := f.read("creds")
					assert.Equal(t, "2026-03-01T12:00:00.250000000Z", got["last_vault_rotation"])
					assert.EqualValues(t, 3, got["ttl"])
					synctest.Wait()
					assert.Equal(t, 2, f.asked(), "one request, and nobody waits for it")
				}
				release()
				f.pass(3500 * time.Millisecond)
				assert.Equal(t, "2026-03-01T12:56:00.250000000Z", f.read("creds")["last_vault_rotation"])
				assert.Equal(t, 2, f.asked())
			})
		})
	}
}

// Two answers with the same token are equal in every key but ttl, whatever
// happens to the mount meanwhile.
func TestFreshAnswersWithTheSameTokenAreEqual(t *testing.T) {
	for _, random := range []float64{0, 0.7} {
		t.Run(fmt.Sprint(random), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newWorld(t, worldOptions{random: random, lifetime: 1000 * time.Second})
				pair := f.pair()
				f.fault(gbgsim.Fault{Kind: gbgsim.FaultScope, Scope: "gbg.token more"})
				f.write("config", pair)
				first := f.read("creds")
				asked := f.asked()
				for _, meanwhile := range []struct {
					name string
					do   func()
				}{
					{"time", func() { f.pass(1234 * time.Millisecond) }},
					{"a restart", func() { f.restart() }},
					{"an invalidation", func() { f.backend.InvalidateKey(t.Context(), connectionKey) }},
					{"another one", func() { f.backend.InvalidateKey(t.Context(), tokenKey) }},
					{"refresh_before", func() { f.write("config", fields{"refresh_before": 17}) }},
					{"another restart", func() { f.restart() }},
					{"request_timeout", func() { f.write("config", fields{"request_timeout": 20}) }},
					{"max_secret_age", func() { f.write("config", fields{"max_secret_age": 1}) }},
					{"failover", func() { f.write("config", fields{"failover": false}) }},
					{"a write of the same", func() { f.write("config", pair) }},
					{"a new secret, unverified", func() { f.write("config", fields{"client_secret": wrongSecret, "verify_connection": false}) }},
					{"no standby", func() { f.write("config", fields{"paired_client_id": ""}) }},
				} {
					meanwhile.do()
					assert.Equal(t, without(first, "ttl"), without(f.read("creds"), "ttl"), "after %s", meanwhile.name)
				}
				assert.Equal(t, asked, f.asked())
				f.fault(freshStatus(500))
				f.passUntil(start.Add(720 * time.Second))
				require.Contains(t, f.read("status"), "last_error")
				assert.Equal(t, without(first, "ttl"), without(f.read("creds"), "ttl"), "while refreshing fails")
				f.restart()
				assert.Equal(t, without(first, "ttl"), without(f.read("creds"), "ttl"), "after a restart meanwhile")
			})
		})
	}
}

// While GBG keeps the refresh waiting, nobody else waits.
func TestFreshNobodyWaitsForARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		pair := f.pair()
		f.write("config", pair)
		old := f.read("creds")
		release := f.gate.hold(clientA)
		defer release()
		f.pass(55*time.Minute - time.Second)
		require.Equal(t, 1, f.underWay())

		// Each of these would hang if it waited: the clock stands still.
		goroutines := runtime.NumGoroutine()
		for range 50 {
			assert.Equal(t, without(old, "ttl"), without(f.read("creds"), "ttl"))
		}
		synctest.Wait()
		assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines, "nobody leaves anything behind that waits")
		assert.Equal(t, clientA, f.read("status")["active_client_id"])
		f.write("config", fields{"request_timeout": 20})
		f.write("config/team-a", pair2(f))
		f.read("creds/team-a")
		assert.Equal(t, without(old, "ttl"), without(f.read("creds"), "ttl"))
		assert.Equal(t, true, f.rotate(nil).Data["rotated"])
		fresh := f.read("creds")
		assert.Equal(t, clientB, fresh["client_id"])
		assert.Equal(t, 1, f.underWay())

		// What comes for the client that has left is nobody's.
		release()
		synctest.Wait()
		assert.Equal(t, fresh["access_token"], f.read("creds")["access_token"])
		f.restart()
		assert.Equal(t, fresh["access_token"], f.read("creds")["access_token"])
		assert.Equal(t, 2, f.askedBy(clientA))
		f.mustBeWhole(clientB)
	})
}

// pair2 is a pair of other clients.
func pair2(f *world) fields {
	return fields{
		"client_id": "client-c", "client_secret": f.client("client-c"),
		"paired_client_id": "client-d", "paired_client_secret": f.client("client-d"),
		"token_url": f.tokenURL(),
	}
}

// A config write under a refresh that leaves the token's request as it is leaves
// the refresh alone too; one that changes it starts another.
func TestFreshConfigWritesUnderARefresh(t *testing.T) {
	for name, c := range map[string]struct {
		write fields
		more  int // token requests, besides the one that is held
	}{
		"another timing":           {fields{"refresh_before": 60}, 0},
		"a new secret, unverified": {nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newWorld(t, worldOptions{})
				f.write("config", f.single())
				old := f.read("creds")
				release := f.gate.hold(clientA)
				defer release()
				f.pass(55*time.Minute - time.Second)
				require.Equal(t, 1, f.underWay())
				if c.write == nil {
					c.write = fields{"client_secret": f.regenerate(clientA), "verify_connection": false}
				}
				f.write("config", c.write)
				assert.Equal(t, without(old, "ttl"), without(f.read("creds"), "ttl"))
				release()
				f.pass(refusedPause)
				got := f.read("creds")
				assert.NotEqual(t, old["access_token"], got["access_token"])
				assert.Equal(t, 2+c.more, f.asked())
				f.restart()
				assert.Equal(t, got["access_token"], f.read("creds")["access_token"])
			})
		})
	}
}

func TestFreshConnectionDeletedUnderARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		f.read("creds")
		release := f.gate.hold(clientA)
		defer release()
		f.pass(55*time.Minute - time.Second)
		require.Equal(t, 1, f.underWay())
		f.ok(f.try(logical.DeleteOperation, "config", nil))
		assert.Contains(t, f.refused(f.try(logical.ReadOperation, "creds", nil)), "is not configured")
		release()
		synctest.Wait()
		assert.Empty(t, f.storage.content(t), "the token came back")
		f.pass(24 * time.Hour)
		assert.Equal(t, 2, f.asked())
	})
}

// One try that hangs leaves time for another one.
func TestFreshRefreshHangsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		f.read("creds")
		f.fault(gbgsim.Fault{Kind: gbgsim.FaultHang, Requests: 1})
		f.passUntil(start.Add(3300*time.Second + retryPauses[0]))
		assert.Equal(t, start.Add(3300*time.Second+retryPauses[0]), f.moment(f.read("creds")["last_vault_rotation"]))
		assert.Equal(t, 3, f.asked())
		assert.NotContains(t, f.read("status"), "last_error")
	})
}

// GBG that does not answer a refresh in time costs nobody anything.
func TestFreshRefreshTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		old := f.read("creds")
		f.fault(gbgsim.Fault{Kind: gbgsim.FaultHang, Requests: 2})
		f.passUntil(start.Add(3304 * time.Second))
		assert.Equal(t, without(old, "ttl"), without(f.read("creds"), "ttl"))
		assert.NotContains(t, f.read("status"), "last_error")
		f.pass(time.Second)
		assert.Contains(t, f.read("status")["last_error"], "no answer in the time allowed")
		assert.EqualValues(t, 3, f.read("creds")["ttl"])
		f.pass(time.Second + 50*time.Millisecond)
		assert.NotEqual(t, old["access_token"], f.read("creds")["access_token"])
		assert.NotContains(t, f.read("status"), "last_error")
	})
}
