package plugintest

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// readFor reads creds with a min_ttl.
func (w *world) readFor(minTTL time.Duration) answer {
	return w.try(logical.ReadOperation, "creds", fields{"min_ttl": fmt.Sprint(int(minTTL / time.Second))})
}

// The bound of min_ttl is two thirds of a token's lifetime, however old the current
// token is, and whatever refresh_before is.
func TestMinTTLBound(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		config := w.pair()
		config["refresh_before"] = 1
		w.write("config", config)
		asked := w.askedBy(clientA)
		for range 10 {
			a := w.readFor(40*time.Minute + time.Second)
			require.NoError(t, a.err)
			require.Equal(t, "min_ttl must be at most 40m0s: two thirds of a token's lifetime, which is 1h0m0s", a.resp.Error().Error())
			time.Sleep(time.Minute)
		}
		require.Equal(t, asked, w.askedBy(clientA))
	})
}

// At the bound GBG is asked three times a lifetime at most, whoever reads however often.
func TestMinTTLAtTheBound(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		config := w.pair()
		config["refresh_before"] = 1
		w.write("config", config)
		asked := w.askedBy(clientA)
		for began := time.Now(); time.Since(began) < 3*time.Hour; time.Sleep(10 * time.Second) {
			w.ok(w.readFor(40 * time.Minute))
		}
		require.LessOrEqual(t, w.askedBy(clientA)-asked, 9)
		require.GreaterOrEqual(t, w.askedBy(clientA)-asked, 8)
	})
}

// A fresh token that has come too late to be valid for so long is not passed off for
// one that is.
func TestMinTTLAndASlowAnswer(t *testing.T) {
	for _, lease := range []bool{false, true} {
		t.Run(fmt.Sprintf("lease=%t", lease), func(t *testing.T) {
			inBubble(t, worldOptions{lifetime: 9 * time.Second}, func(w *world) {
				config := w.pair()
				config["verify_connection"], config["lease"] = false, lease
				w.write("config", config)
				w.onRequest(func(http.ResponseWriter, *http.Request) bool {
					time.Sleep(4 * time.Second)
					return false
				})
				text := w.coded(http.StatusServiceUnavailable, w.readFor(6*time.Second))
				require.Contains(t, text, "it is valid for another 5s, less than min_ttl (6s)")
			})
		})
	}
}

func TestMinTTL(t *testing.T) {
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
				w := newWorld(t, worldOptions{})
				w.write("config", w.single())
				w.pass(c.at)
				data := fields{}
				if c.minTTL != nil {
					data["min_ttl"] = c.minTTL
				}
				asked, now := w.asked(), time.Now().UTC()
				got := w.creds(data).Data
				if !c.fresh {
					assert.Equal(t, start, w.moment(got["last_vault_rotation"]), "the shared one")
					return
				}
				assert.Equal(t, now, w.moment(got["last_vault_rotation"]))
				assert.Equal(t, asked+1, w.asked())
				// Everybody gets that one, also after a restart.
				assert.Equal(t, without(got, "ttl"), without(w.read("creds"), "ttl"))
				w.restart()
				assert.Equal(t, without(got, "ttl"), without(w.read("creds"), "ttl"))
				assert.Equal(t, asked+1, w.asked())
			})
		})
	}
}

// No reader can wear out tokens: more than two thirds of a lifetime is refused
// every time, also while the current token has more left.
func TestMinTTLTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		const want = "min_ttl must be at most 40m0s: two thirds of a token's lifetime, which is 1h0m0s"
		for _, at := range []time.Duration{0, 10 * time.Minute, 57 * time.Minute, 2 * time.Hour} {
			w.pass(time.Until(start.Add(at)))
			for _, minTTL := range []any{2401, "1h", "2540400h", 1 << 31} {
				assert.Equal(t, want, w.refused(w.tryCreds(fields{"min_ttl": minTTL})), minTTL)
			}
		}
		w.restart()
		assert.Equal(t, want, w.refused(w.tryCreds(fields{"min_ttl": 2401})))
		assert.Equal(t, 1, w.asked(), "GBG is not asked")

		for _, minTTL := range []any{"soon", "-5s", -5} {
			a := w.tryCreds(fields{"min_ttl": minTTL})
			assert.True(t, a.err != nil || a.resp.IsError(), minTTL)
		}
		assert.Equal(t, 1, w.asked())
	})
}

// Before a lifetime has been seen, the first token tells.
func TestMinTTLOnAColdConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.single(), fields{"verify_connection": false}))
		const want = "min_ttl must be at most 40m0s: two thirds of a token's lifetime, which is 1h0m0s"
		assert.Equal(t, want, w.refused(w.tryCreds(fields{"min_ttl": 2401})))
		assert.Equal(t, 1, w.asked())
		assert.Equal(t, want, w.refused(w.tryCreds(fields{"min_ttl": 3601})))
		assert.EqualValues(t, 3300, w.creds(fields{"min_ttl": 2400}).Data["ttl"])
		assert.Equal(t, 1, w.asked())
	})
}

// A lifetime that GBG has shortened meanwhile.
func TestMinTTLAndAShorterLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		require.NoError(t, w.sim.SetTokenLifetime(10*time.Minute))
		w.pass(30 * time.Minute)
		assert.Contains(t, w.refused(w.tryCreds(fields{"min_ttl": "40m"})), "must be at most 6m40s: two thirds of a token's lifetime, which is 10m0s")
		assert.Equal(t, 2, w.asked())
		assert.EqualValues(t, 400, w.creds(fields{"min_ttl": 400}).Data["ttl"])
		assert.Equal(t, 2, w.asked())
	})
}

func TestMinTTLOfACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		old := w.read("creds")
		w.pass(40 * time.Minute)
		release := w.gate.hold(clientA)
		var crowd []<-chan answer
		for range 50 {
			crowd = append(crowd, w.begin(logical.ReadOperation, "creds", fields{"min_ttl": "30m"}))
		}
		require.Equal(t, 1, w.underWay())
		assert.Equal(t, without(old, "ttl"), without(w.read("creds"), "ttl"), "who asks for no min_ttl does not wait")
		release()
		var got fields
		for _, answered := range crowd {
			data := w.ok(<-answered).Data
			if got == nil {
				got = data
			}
			assert.Equal(t, got, data)
		}
		assert.NotEqual(t, old["access_token"], got["access_token"])
		assert.Equal(t, got["access_token"], w.read("creds")["access_token"])
		assert.Equal(t, 2, w.asked())
	})
}

// However many ask for it, and whenever: nobody gets more than three tokens a
// lifetime out of GBG.
func TestMinTTLDoesNotWearOutTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		for range 360 {
			w.creds(fields{"min_ttl": 2400})
			w.pass(10 * time.Second)
		}
		t.Logf("%d token requests in an hour of the worst reader", w.asked())
		assert.Equal(t, 3, w.asked())
	})
}

// While GBG is down, who wants more than there is gets the error at once in the
// pause, and everybody else the token.
func TestMinTTLWhileGBGIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		old := w.read("creds")
		w.pass(40 * time.Minute)
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, RetryAfter: "30"})
		for left := 30; left > 0; left -= 10 {
			_, retryAfter := w.unavailable(w.tryCreds(fields{"min_ttl": "30m"}))
			assert.Equal(t, left, retryAfter)
			got := w.creds(fields{"min_ttl": "19m"}).Data
			assert.Equal(t, without(old, "ttl"), without(got, "ttl"))
			assert.Equal(t, 2, w.asked())
			if left > 10 {
				w.pass(10 * time.Second)
			}
		}
		w.sim.ClearFaults()
		w.pass(10 * time.Second)
		got := w.creds(fields{"min_ttl": "30m"}).Data
		assert.NotEqual(t, old["access_token"], got["access_token"])
		assert.Equal(t, 3, w.asked())
		assert.NotContains(t, w.read("status"), "last_error")
	})
}

// A failover that a min_ttl brings about.
func TestMinTTLFailsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		w.pass(40 * time.Minute)
		w.fault(refusalOf(clientA))
		resp := w.creds(fields{"min_ttl": "30m"})
		assert.Equal(t, takenOver("invalid_client"), resp.Warnings)
		assert.Equal(t, clientB, resp.Data["client_id"])
		w.mustBeWhole(clientB)
	})
}
