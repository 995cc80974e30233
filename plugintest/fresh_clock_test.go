package plugintest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-gbg/internal/gbgsim"
)

// What GBG says of a token's life, and what it is taken for.
func TestFreshExpiresIn(t *testing.T) {
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
				f := freshCold(t, fields{"request_timeout": 1})
				f.fault(gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, ExpiresIn: expiresIn})
				if c.lifetime == none {
					a, _ := f.tryTimed(logical.ReadOperation, "creds", nil)
					text, _ := f.unavailable(a)
					assert.Contains(t, text, "expires_in")
					assert.Empty(t, f.storage.writesOf(tokenKey))
					return
				}
				got := f.read("creds")
				assert.Equal(t, timestamp(start.Add(c.lifetime)), got["expire_time"])
				period := max((c.lifetime - min(5*time.Minute, c.lifetime/3)).Round(time.Second), time.Second)
				assert.Equal(t, period, secondsOf(got["rotation_period"]))
				assert.Equal(t, period, secondsOf(got["ttl"]))
				assert.Equal(t, c.assumed, f.read("status")["token_lifetime_assumed"])
				f.restart()
				assert.Equal(t, without(got, "ttl"), without(f.read("creds"), "ttl"))
				assert.Equal(t, c.assumed, f.read("status")["token_lifetime_assumed"])
			})
		})
	}
}

// An assumed life is one to go by, until GBG says better.
func TestFreshAssumedLifetimeIsRefreshedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.fault(gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, Requests: 2})
		f.write("config", f.single())
		for range 2 {
			old := f.read("creds")
			assert.EqualValues(t, 200, old["rotation_period"])
			f.pass(secondsOf(old["ttl"]) + 500*time.Millisecond)
			assert.NotEqual(t, old["access_token"], f.read("creds")["access_token"])
		}
		assert.NotContains(t, f.read("status"), "token_lifetime_assumed")
		assert.EqualValues(t, 3300, f.read("creds")["rotation_period"])
		assert.True(t, f.logged("token came without expires_in"))
	})
}

// A clock that jumps past a token's end, or a machine that slept: the token that
// ended is not served.
func TestFreshClockJumpsForward(t *testing.T) {
	for name, jump := range map[string]time.Duration{
		"into the overlap": 56 * time.Minute, "to the end": time.Hour, "past it": time.Hour + 1, "a day": 24 * time.Hour, "ten years": 87600 * time.Hour,
	} {
		for _, used := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newWorld(t, worldOptions{})
					jumped := f.jump()
					f.write("config", f.single())
					before := time.Now()
					if used {
						f.read("creds")
					}
					jumped(jump)
					got := f.read("creds")
					if jump >= time.Hour {
						assert.NotEqual(t, before, f.moment(got["last_vault_rotation"]).Local(), "the token that ended")
					}
					synctest.Wait()
					again := f.read("creds")
					assert.Equal(t, timestamp(before.Add(jump+time.Hour)), again["expire_time"])
					assert.Equal(t, 2, f.asked())
				})
			})
		}
	}
}

// A clock that jumps while GBG is asked.
func TestFreshClockJumpsDuringARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{lifetime: 5 * time.Second})
		f.write("config", with(f.single(), fields{"verify_connection": false, "request_timeout": 60}))
		release := f.gate.hold(clientA)
		reading := f.begin(logical.ReadOperation, "creds", nil)
		require.Equal(t, 1, f.underWay())
		f.pass(30 * time.Second)
		release()
		got := f.ok(<-reading).Data
		assert.True(t, f.live(got["access_token"]))
		assert.Greater(t, got["expire_time"], timestamp(time.Now()))
		assert.Equal(t, 2, f.asked(), "the first token had ended on its way")
		assert.Equal(t, freshPauses(30*time.Second+retryPauses[0]), f.pauses(0), "which is trouble like any other")
	})
}

// A timer that fires late, for the machine slept, refreshes what can still be
// refreshed.
func TestFreshClockJumpsOverTheRefreshTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		jumped := f.jump()
		f.write("config", f.single())
		old := f.read("creds")
		jumped(58 * time.Minute)
		assert.Equal(t, without(old, "ttl"), without(f.read("creds"), "ttl"), "it is valid")
		synctest.Wait()
		assert.Equal(t, 2, f.asked())
		got := f.read("creds")
		assert.NotEqual(t, old["access_token"], got["access_token"])
		assert.Equal(t, timestamp(start.Add(118*time.Minute)), got["expire_time"])
	})
}
