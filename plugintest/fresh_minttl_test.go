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

func TestFreshMinTTL(t *testing.T) {
	for name, c := range map[string]struct {
		at     time.Duration
		minTTL any
		fresh  bool
	}{
		"none":                        {50 * time.Minute, nil, false},
		"zero":                        {50 * time.Minute, 0, false},
		"less than what is left":      {50 * time.Minute, 599, false},
		"what is left":                {50 * time.Minute, 600, false},
		"more than what is left":      {50 * time.Minute, 601, true},
		"a nanosecond more":           {50*time.Minute + 1, 600, true},
		"as a text":                   {50 * time.Minute, "11m", true},
		"as a text of seconds":        {50 * time.Minute, "599", false},
		"the most, and it is left":    {20 * time.Minute, 2400, false},
		"the most, a moment later":    {20*time.Minute + time.Millisecond, 2400, true},
		"in the overlap":              {58 * time.Minute, "2m", false},
		"in the overlap, more of it":  {58 * time.Minute, "121s", true},
		"none, and nothing is left":   {60 * time.Minute, nil, true},
		"little, and nothing is left": {60 * time.Minute, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newWorld(t, worldOptions{})
				f.write("config", f.single())
				f.pass(c.at)
				data := fields{}
				if c.minTTL != nil {
					data["min_ttl"] = c.minTTL
				}
				asked, now := f.asked(), time.Now().UTC()
				got := f.creds(data).Data
				if !c.fresh {
					assert.Equal(t, start, f.moment(got["last_vault_rotation"]), "the shared one")
					return
				}
				assert.Equal(t, now, f.moment(got["last_vault_rotation"]))
				assert.Equal(t, asked+1, f.asked())
				// Everybody gets that one, also after a restart.
				assert.Equal(t, without(got, "ttl"), without(f.read("creds"), "ttl"))
				f.restart()
				assert.Equal(t, without(got, "ttl"), without(f.read("creds"), "ttl"))
				assert.Equal(t, asked+1, f.asked())
			})
		})
	}
}

// No reader can wear out tokens: more than two thirds of a lifetime is refused
// every time, also while the current token has more left.
func TestFreshMinTTLTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		const want = "min_ttl must be at most 40m0s: two thirds of a token's lifetime, which is 1h0m0s"
		for _, at := range []time.Duration{0, 10 * time.Minute, 57 * time.Minute, 2 * time.Hour} {
			f.pass(time.Until(start.Add(at)))
			for _, minTTL := range []any{2401, "1h", "2540400h", 1 << 31} {
				assert.Equal(t, want, f.refused(f.tryCreds(fields{"min_ttl": minTTL})), minTTL)
			}
		}
		f.restart()
		assert.Equal(t, want, f.refused(f.tryCreds(fields{"min_ttl": 2401})))
		assert.Equal(t, 1, f.asked(), "GBG is not asked")

		for _, minTTL := range []any{"soon", "-5s", -5} {
			a := f.tryCreds(fields{"min_ttl": minTTL})
			assert.True(t, a.err != nil || a.resp.IsError(), minTTL)
		}
		assert.Equal(t, 1, f.asked())
	})
}

// Before a lifetime has been seen, the first token tells.
func TestFreshMinTTLOnAColdConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", with(f.single(), fields{"verify_connection": false}))
		const want = "min_ttl must be at most 40m0s: two thirds of a token's lifetime, which is 1h0m0s"
		assert.Equal(t, want, f.refused(f.tryCreds(fields{"min_ttl": 2401})))
		assert.Equal(t, 1, f.asked())
		assert.Equal(t, want, f.refused(f.tryCreds(fields{"min_ttl": 3601})))
		assert.EqualValues(t, 3300, f.creds(fields{"min_ttl": 2400}).Data["ttl"])
		assert.Equal(t, 1, f.asked())
	})
}

// A lifetime that GBG has shortened meanwhile.
func TestFreshMinTTLAndAShorterLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		require.NoError(t, f.sim.SetTokenLifetime(10*time.Minute))
		f.pass(30 * time.Minute)
		assert.Contains(t, f.refused(f.tryCreds(fields{"min_ttl": "40m"})), "must be at most 6m40s: two thirds of a token's lifetime, which is 10m0s")
		assert.Equal(t, 2, f.asked())
		assert.EqualValues(t, 400, f.creds(fields{"min_ttl": 400}).Data["ttl"])
		assert.Equal(t, 2, f.asked())
	})
}

func TestFreshMinTTLOfACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		old := f.read("creds")
		f.pass(40 * time.Minute)
		release := f.gate.hold(clientA)
		var crowd []<-chan answer
		for range 50 {
			crowd = append(crowd, f.begin(logical.ReadOperation, "creds", fields{"min_ttl": "30m"}))
		}
		require.Equal(t, 1, f.underWay())
		assert.Equal(t, without(old, "ttl"), without(f.read("creds"), "ttl"), "who asks for no min_ttl does not wait")
		release()
		var got fields
		for _, answered := range crowd {
			data := f.ok(<-answered).Data
			if got == nil {
				got = data
			}
			assert.Equal(t, got, data)
		}
		assert.NotEqual(t, old["access_token"], got["access_token"])
		assert.Equal(t, got["access_token"], f.read("creds")["access_token"])
		assert.Equal(t, 2, f.asked())
	})
}

// However many ask for it, and whenever: nobody gets more than three tokens a
// lifetime out of GBG.
func TestFreshMinTTLDoesNotWearOutTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		for range 360 {
			f.creds(fields{"min_ttl": 2400})
			f.pass(10 * time.Second)
		}
		t.Logf("%d token requests in an hour of the worst reader", f.asked())
		assert.Equal(t, 3, f.asked())
	})
}

// While GBG is down, who wants more than there is gets the error at once in the
// pause, and everybody else the token.
func TestFreshMinTTLWhileGBGIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		old := f.read("creds")
		f.pass(40 * time.Minute)
		f.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, RetryAfter: "30"})
		for left := 30; left > 0; left -= 10 {
			_, retryAfter := f.unavailable(f.tryCreds(fields{"min_ttl": "30m"}))
			assert.Equal(t, left, retryAfter)
			got := f.creds(fields{"min_ttl": "19m"}).Data
			assert.Equal(t, without(old, "ttl"), without(got, "ttl"))
			assert.Equal(t, 2, f.asked())
			if left > 10 {
				f.pass(10 * time.Second)
			}
		}
		f.sim.ClearFaults()
		f.pass(10 * time.Second)
		got := f.creds(fields{"min_ttl": "30m"}).Data
		assert.NotEqual(t, old["access_token"], got["access_token"])
		assert.Equal(t, 3, f.asked())
		assert.NotContains(t, f.read("status"), "last_error")
	})
}

// A failover that a min_ttl brings about.
func TestFreshMinTTLFailsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.pair())
		f.pass(40 * time.Minute)
		f.fault(freshRefusal(clientA))
		resp := f.creds(fields{"min_ttl": "30m"})
		assert.Equal(t, takenOver("invalid_client"), resp.Warnings)
		assert.Equal(t, clientB, resp.Data["client_id"])
		f.mustBeWhole(clientB)
	})
}
