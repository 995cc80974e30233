package plugintest

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-gbg/internal/gbgsim"
)

// The failure of a request that came early (min_ttl) takes the place of the
// token's one timer. If nobody had read the token by then, it is never set again:
// no refresh ahead for whoever reads it later.
func TestFreshRefreshTimerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		f.pass(1300 * time.Second)
		f.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, RetryAfter: "30", Requests: 1})
		f.unavailable(f.tryCreds(fields{"min_ttl": 2400}))
		f.pass(time.Minute)
		old := f.read("creds")
		assert.EqualValues(t, 3300-1360, old["ttl"], "no sooner")
		f.passUntil(start.Add(3300*time.Second + 500*time.Millisecond))
		assert.NotEqual(t, old["access_token"], f.read("creds")["access_token"], "there must be a newer token")
	})
}

// The same failure under a token that is read makes the engine ask GBG in the
// background long before the token's time: for as long as GBG is out of order,
// and once more when it is back.
func TestFreshEarlyFailureStartsEarlyRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		f.read("creds")
		f.pass(1300 * time.Second)
		f.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, RetryAfter: "30"})
		f.unavailable(f.tryCreds(fields{"min_ttl": 2400}))
		f.pass(30 * time.Minute)
		t.Logf("%d token requests in half an hour in which nobody needs one", f.asked()-2)
		assert.Equal(t, 2, f.asked())
		assert.EqualValues(t, 3300-3100, f.read("creds")["ttl"], "nobody has to come back before its time")
	})
}

// A token that is read for the first time when its timer has fired, and before it
// is due, promises a successor that nobody fetches.
func TestFreshFirstReadJustBeforeTheRefreshTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		f.passUntil(start.Add(3297 * time.Second))
		old := f.read("creds")
		f.pass(secondsOf(old["ttl"]) + 500*time.Millisecond)
		assert.NotEqual(t, old["access_token"], f.read("creds")["access_token"], "ttl + 0.5 s later there must be a newer token")
	})
}

// What the standby's GBG says of when to come back counts as well.
func TestFreshRetryAfterOfTheStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := freshCold(t, nil)
		f.fault(freshRefusal(clientA), gbgsim.Fault{Kind: gbgsim.FaultStatus, ClientID: clientB, Status: http.StatusTooManyRequests, RetryAfter: "30"})
		_, retryAfter := f.unavailable(f.tryCreds())
		assert.Equal(t, 30, retryAfter)
	})
}

// regenerate_after is when the last token of the client has expired, which need
// not be the newest one: GBG may have shortened its lifetimes. Memory knows; after
// a restart nobody does.
func TestFreshRegenerateAfterAShorterLifetimeAndARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, restart := range []bool{false, true} {
			f := newWorld(t, worldOptions{})
			f.write("config", f.pair())
			expires := f.read("creds")["expire_time"]
			require.NoError(t, f.sim.SetTokenLifetime(time.Minute))
			f.pass(3296 * time.Second) // 13:00:00 is the end of the first, 12:55:55 that of the second
			require.Less(t, f.read("creds")["expire_time"], expires)
			if restart {
				f.restart()
			}
			assert.GreaterOrEqual(t, f.rotate(nil).Data["regenerate_after"], expires, "restart: %v", restart)
		}
	})
}

// request_timeout is for GBG. Once GBG has answered, storage is not broken off
// because the time is up: a failover that has been proven would be lost with an
// error 500, and a token would not be stored.
func TestFreshSlowStorageAfterALateAnswer(t *testing.T) {
	for name, refused := range map[string][]gbgsim.Fault{"a token": nil, "a failover": {freshRefusal(clientA)}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := freshCold(t, fields{"request_timeout": 5})
				f.fault(refused...)
				f.storage.slow(6 * time.Second)
				got := f.ok(await(t, f.begin(logical.ReadOperation, "creds", nil), "the reader")).Data
				f.storage.slow(0)
				require.Contains(t, f.storage.content(t), tokenKey)
				f.restart()
				assert.Equal(t, without(got, "ttl"), without(f.read("creds"), "ttl"))
			})
		})
	}
}
