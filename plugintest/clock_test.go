package plugintest

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	gbg "gbg.example/vault-plugin-secrets-gbg"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// machineClock is the clock of a machine that sleeps, or whose wall clock is set: its
// times have a monotonic reading beside the wall clock's, as those of time.Now have.
// Without either it goes as the world's clock does.
type machineClock struct {
	w *world

	slept, set atomic.Int64 // time.Duration
}

// newMachine makes a mount on the world's storage, on a machine whose wall clock is
// ahead of the world's.
func (w *world) newMachine(ahead time.Duration) (*mount, *machineClock) {
	w.t.Helper()
	clock := &machineClock{w: w}
	clock.setBy(ahead)
	return clock.mount(), clock
}

// mount makes a mount on the machine.
func (c *machineClock) mount() *mount {
	c.w.t.Helper()
	return c.w.mountWith(gbg.Options{Now: c.Now})
}

// Now returns the time on the machine.
func (c *machineClock) Now() time.Time {
	now := time.Now().Round(0)
	return withReadings(now.Add(time.Duration(c.set.Load())), now.Sub(start)-time.Duration(c.slept.Load()))
}

// sleep lets time pass that the monotonic clock does not see.
func (c *machineClock) sleep(d time.Duration) {
	c.slept.Add(int64(d))
	c.w.pass(d)
}

// setBy sets the wall clock forward, or back.
func (c *machineClock) setBy(d time.Duration) { c.set.Add(int64(d)) }

// withReadings makes a time.Time with these readings of the two clocks. There is no
// other way to have the wall clock's differ than to write it where package time keeps
// it: TestReadings sees that it still does.
func withReadings(wall time.Time, monotonic time.Duration) time.Time {
	const hasMonotonic = 1 << 63
	began := time.Date(1885, time.January, 1, 0, 0, 0, 0, time.UTC)
	t := wall
	bits := (*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&t))
	bits.wall = hasMonotonic | uint64(wall.Unix()-began.Unix())<<30 | uint64(wall.Nanosecond())
	bits.ext = int64(monotonic) + 1
	return t
}

// jump makes the mount one whose clock jumps ahead, in both readings, when the function
// is called. No timer fires for that: so it is on a machine that slept.
func (w *world) jump() (ahead func(time.Duration)) {
	w.t.Helper()
	var by atomic.Int64 // time.Duration
	w.backend.Cleanup(w.t.Context())
	w.mount = w.mountWith(gbg.Options{Now: func() time.Time { return time.Now().Add(time.Duration(by.Load())) }})
	return func(d time.Duration) { by.Add(int64(d)) }
}

func TestReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := withReadings(start, time.Second)
		b := withReadings(start.Add(time.Hour), 3*time.Second)
		assert.Equal(t, 2*time.Second, b.Sub(a))
		assert.Equal(t, time.Hour, b.Round(0).Sub(a.Round(0)))
		assert.True(t, a.Round(0).Equal(start))
		assert.Equal(t, start.Format(time.RFC3339Nano), a.Format(time.RFC3339Nano))
	})
}

// The age of a secret counts the time that the machine slept: in warnings, in the
// status and in the list.
func TestClockOfAMachineThatSlept(t *testing.T) {
	for name, makeOld := range map[string]func(w *world, m *mount){
		"written":           func(*world, *mount) {},
		"written anew":      func(w *world, m *mount) { m.write("config", fields{"client_secret": w.regenerate(clientA)}) },
		"given to a rotate": func(w *world, m *mount) { m.rotate(fields{"client_secret": w.regenerate(clientB)}) },
		"verified since":    func(_ *world, m *mount) { m.read("creds") },
		"after a failed one": func(_ *world, m *mount) {
			m.refused(m.try(logical.UpdateOperation, "rotate", fields{"client_secret": wrongSecret}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				m, clock := w.newMachine(0)
				m.write("config", with(w.pair(), fields{"max_secret_age": "24h"}))
				makeOld(w, m)
				active := m.read("status")["active_client_id"].(string)
				clock.sleep(12 * time.Hour)
				assert.Empty(t, m.ok(m.try(logical.ReadOperation, "creds", nil)).Warnings)
				clock.sleep(12 * time.Hour)
				want := []string{tooOld(active, 24*time.Hour)}
				assert.Equal(t, want, m.ok(m.try(logical.ReadOperation, "creds", nil)).Warnings)
				assert.Equal(t, want, m.ok(m.try(logical.ReadOperation, "status", nil)).Warnings)
				clock.sleep(24 * time.Hour)
				list := m.ok(m.try(logical.ListOperation, "status/", nil)).Data["key_info"].(map[string]any)
				assert.Equal(t, "2d", list["default"].(map[string]any)["secret_age"])
			})
		})
	}
}

// A token is never served beyond its end, whatever happens to the wall clock while
// the plugin runs; also one that comes from storage.
func TestClockThatIsSetAndATokensEnd(t *testing.T) {
	for name, by := range map[string]time.Duration{"back": -time.Hour, "far back": -1000 * time.Hour, "forward": 10 * time.Minute, "not": 0} {
		for _, stored := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, worldOptions{})
					m, clock := w.newMachine(0)
					m.write("config", w.single())
					if stored {
						m.backend.Cleanup(t.Context())
						m = clock.mount()
					}
					m.read("status") // so that the token is in memory
					w.pass(10 * time.Minute)
					clock.setBy(by)
					// The last minute: as far as it goes with nobody who had the token refreshed.
					w.pass(50 * time.Minute)
					w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusBadRequest, Error: "invalid_scope"})
					m.coded(http.StatusBadGateway, m.try(logical.ReadOperation, "creds", nil))
					w.sim.ClearFaults()
					w.pass(2 * time.Second)
					assert.True(t, simTakes(w.sim, m.read("creds")["access_token"]))
				})
			})
		}
	}
}

// regenerate_after is never before the last token's end, whatever happened to the
// wall clock while the plugin ran.
func TestClockThatIsSetAndRegenerateAfter(t *testing.T) {
	for name, by := range map[string]time.Duration{"back": -time.Hour, "forward": time.Hour, "not": 0} {
		for _, stored := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, worldOptions{})
					m, clock := w.newMachine(0)
					m.write("config", w.pair())
					if stored {
						m.backend.Cleanup(t.Context())
						m = clock.mount()
					}
					m.read("status")
					w.pass(10 * time.Minute)
					clock.setBy(by)
					// By the clock that people have before them.
					want := timestamp(roundedUp(start.Add(by + time.Hour)))
					assert.Equal(t, want, m.rotate(nil).Data["regenerate_after"])
				})
			})
		}
	}
}

// After a sleep it may be late, by no more than a token's life.
func TestClockOfAMachineThatSleptAndRegenerateAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		m, clock := w.newMachine(0)
		m.write("config", w.pair())
		clock.sleep(10 * time.Hour)
		assert.Equal(t, timestamp(roundedUp(start.Add(11*time.Hour))), m.rotate(nil).Data["regenerate_after"])
	})
}

// A clock that was far ahead when the last rotation or token was stored does not put
// regenerate_after off for as long.
func TestClockThatWasAheadAndRegenerateAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		ahead, _ := w.newMachine(1000 * time.Hour)
		ahead.write("config", w.pair())
		ahead.read("creds")
		ahead.rotate(nil)
		ahead.backend.Cleanup(t.Context())
		node, _ := w.newMachine(0)
		assert.Equal(t, timestamp(roundedUp(start.Add(time.Hour))), node.rotate(nil).Data["regenerate_after"], "of the token, of which it only knows that it lives an hour")
		assert.Equal(t, timestamp(roundedUp(start.Add(24*time.Hour))), node.rotate(fields{"client_id": clientB}).Data["regenerate_after"], "of the client before, whose tokens end within a day")
	})
}

// A node whose clock is behind that of the node before: what it cannot know to be
// valid it does not serve.
func TestClockOfAnotherNode(t *testing.T) {
	for name, c := range map[string]struct {
		ahead time.Duration
		age   time.Duration // of the token when the other node takes over
		kept  bool
	}{
		"in step":                            {0, time.Minute, true},
		"a little behind":                    {-30 * time.Second, 0, true},
		"behind, and the token is young":     {-time.Hour, 10 * time.Minute, false},
		"ahead, and the token has ended":     {time.Hour, 10 * time.Minute, false},
		"ahead, and the token is valid":      {30 * time.Minute, 10 * time.Minute, true},
		"far ahead":                          {1000 * time.Hour, 0, false},
		"behind by more than a token's life": {-1000 * time.Hour, 59 * time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", w.single())
				before := w.read("creds")
				w.backend.Cleanup(t.Context())
				w.pass(c.age)
				node, _ := w.newMachine(c.ahead)
				asked := w.asked()
				got := node.read("creds")
				assert.True(t, simTakes(w.sim, got["access_token"]))
				if c.kept {
					assert.Equal(t, before["access_token"], got["access_token"])
					assert.Equal(t, before["expire_time"], got["expire_time"], "the same in every answer")
					assert.Equal(t, asked, w.asked())
				} else {
					assert.Equal(t, asked+1, w.asked())
				}
			})
		})
	}
}

// What GBG says of a token's life, and what it is taken for.
func TestExpiresIn(t *testing.T) {
	const none, day = 0, 24 * time.Hour
	for expiresIn, c := range map[string]struct {
		lifetime time.Duration
		assumed  any
	}{
		"":              {5 * time.Minute, int64(300)}, // it is missing
		"null":          {5 * time.Minute, int64(300)},
		"300":           {5 * time.Minute, nil},
		`"300"`:         {5 * time.Minute, nil},
		`" 300 "`:       {5 * time.Minute, nil},
		"300.9":         {5 * time.Minute, nil},
		"3e2":           {5 * time.Minute, nil},
		"1":             {time.Second, nil},
		"86400":         {day, nil},
		"86401":         {day, nil},
		"1e20":          {day, nil},
		`"1e20"`:        {day, nil},
		"1e400":         {day, nil},
		"0":             {none, nil},
		`"0"`:           {none, nil},
		"0.9":           {none, nil},
		"-1":            {none, nil},
		"-1e400":        {none, nil},
		`"abc"`:         {none, nil},
		`""`:            {none, nil},
		`"Infinity"`:    {none, nil},
		"true":          {none, nil},
		"[300]":         {none, nil},
		`{"in": 300}`:   {none, nil},
		`"300 seconds"`: {none, nil},
	} {
		t.Run(expiresIn, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := coldWith(t, fields{"request_timeout": 1})
				w.fault(gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, ExpiresIn: expiresIn})
				if c.lifetime == none {
					a, _ := w.tryTimed(logical.ReadOperation, "creds", nil)
					text, _ := w.unavailable(a)
					assert.Contains(t, text, "expires_in")
					assert.Empty(t, w.storage.writesOf(tokenKey))
					return
				}
				got := w.read("creds")
				assert.Equal(t, timestamp(start.Add(c.lifetime)), got["expire_time"])
				period := max((c.lifetime - min(5*time.Minute, c.lifetime/3)).Round(time.Second), time.Second)
				assert.Equal(t, period, secondsOf(got["rotation_period"]))
				assert.Equal(t, period, secondsOf(got["ttl"]))
				assert.Equal(t, c.assumed, w.read("status")["token_lifetime_assumed"])
				w.restart()
				assert.Equal(t, without(got, "ttl"), without(w.read("creds"), "ttl"))
				assert.Equal(t, c.assumed, w.read("status")["token_lifetime_assumed"])
			})
		})
	}
}

// An assumed life is one to go by, until GBG says better.
func TestAssumedLifetimeIsRefreshedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, Requests: 2})
		w.write("config", w.single())
		for range 2 {
			old := w.read("creds")
			assert.EqualValues(t, 200, old["rotation_period"])
			w.pass(secondsOf(old["ttl"]) + 500*time.Millisecond)
			assert.NotEqual(t, old["access_token"], w.read("creds")["access_token"])
		}
		assert.NotContains(t, w.read("status"), "token_lifetime_assumed")
		assert.EqualValues(t, 3300, w.read("creds")["rotation_period"])
		assert.True(t, w.logged("token came without expires_in"))
	})
}

// A clock that jumps past a token's end, or a machine that slept: the token that
// ended is not served.
func TestClockJumpsForward(t *testing.T) {
	for name, jump := range map[string]time.Duration{
		"into the overlap": 56 * time.Minute, "to the end": time.Hour, "past it": time.Hour + 1, "a day": 24 * time.Hour, "ten years": 87600 * time.Hour,
	} {
		for _, used := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, worldOptions{})
					jumped := w.jump()
					w.write("config", w.single())
					before := time.Now()
					if used {
						w.read("creds")
					}
					jumped(jump)
					got := w.read("creds")
					if jump >= time.Hour {
						assert.NotEqual(t, before, w.moment(got["last_vault_rotation"]).Local(), "the token that ended")
					}
					synctest.Wait()
					again := w.read("creds")
					assert.Equal(t, timestamp(before.Add(jump+time.Hour)), again["expire_time"])
					assert.Equal(t, 2, w.asked())
				})
			})
		}
	}
}

// A clock that jumps while GBG is asked.
func TestClockJumpsDuringARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{lifetime: 5 * time.Second})
		w.write("config", with(w.single(), fields{"verify_connection": false, "request_timeout": 60}))
		release := w.gate.hold(clientA)
		reading := w.begin(logical.ReadOperation, "creds", nil)
		require.Equal(t, 1, w.underWay())
		w.pass(30 * time.Second)
		release()
		got := w.ok(<-reading).Data
		assert.True(t, w.live(got["access_token"]))
		assert.Greater(t, got["expire_time"], timestamp(time.Now()))
		assert.Equal(t, 2, w.asked(), "the first token had ended on its way")
		assert.Equal(t, durations(30*time.Second+retryPauses[0]), w.pauses(0), "which is trouble like any other")
	})
}

// A timer that fires late, for the machine slept, refreshes what can still be
// refreshed.
func TestClockJumpsOverTheRefreshTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		jumped := w.jump()
		w.write("config", w.single())
		old := w.read("creds")
		jumped(58 * time.Minute)
		assert.Equal(t, without(old, "ttl"), without(w.read("creds"), "ttl"), "it is valid")
		synctest.Wait()
		assert.Equal(t, 2, w.asked())
		got := w.read("creds")
		assert.NotEqual(t, old["access_token"], got["access_token"])
		assert.Equal(t, timestamp(start.Add(118*time.Minute)), got["expire_time"])
	})
}
