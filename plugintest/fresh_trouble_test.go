package plugintest

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-gbg/internal/gbgsim"
)

// freshTroubles are all that may go wrong at GBG for a while and is an answer, or
// the end of one, at once.
var freshTroubles = map[string]gbgsim.Fault{
	"500":                   freshStatus(500),
	"501":                   freshStatus(501),
	"502":                   freshStatus(502),
	"503":                   freshStatus(503),
	"504":                   freshStatus(504),
	"429":                   freshStatus(429),
	"408":                   freshStatus(408),
	"503 with an error":     {Kind: gbgsim.FaultStatus, Status: 503, Error: "temporarily_unavailable"},
	"500 as GBG says it":    {Kind: gbgsim.FaultStatus, Status: 500, GBGError: gbgsim.GBGError{Code: "1", Name: "OOPS", Problem: "Oops."}},
	"HTML":                  {Kind: gbgsim.FaultBody, Body: "<html>"},
	"nothing":               {Kind: gbgsim.FaultBody},
	"a JSON list":           {Kind: gbgsim.FaultBody, Body: "[]"},
	"JSON without a token":  {Kind: gbgsim.FaultBody, Body: "{}"},
	"null":                  {Kind: gbgsim.FaultBody, Body: "null"},
	"a null token":          {Kind: gbgsim.FaultNullToken},
	"a redirect":            {Kind: gbgsim.FaultRedirect, Location: gbgsim.TokenPath},
	"a permanent redirect":  {Kind: gbgsim.FaultRedirect, Status: 308, Location: gbgsim.TokenPath},
	"a closed connection":   {Kind: gbgsim.FaultClose},
	"a reset connection":    {Kind: gbgsim.FaultReset},
	"half an answer":        {Kind: gbgsim.FaultTruncate},
	"too much of an answer": {Kind: gbgsim.FaultOversize},
	"a life of nothing":     {Kind: gbgsim.FaultExpiresIn, ExpiresIn: "0"},
	"a life below nothing":  {Kind: gbgsim.FaultExpiresIn, ExpiresIn: "-1"},
	"a life of words":       {Kind: gbgsim.FaultExpiresIn, ExpiresIn: `"abc"`},
}

// What goes wrong for a moment is tried again, after growing pauses, and the
// reader sees nothing but a wait.
func TestFreshTroubleForAMoment(t *testing.T) {
	for name, fault := range freshTroubles {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := freshCold(t, nil)
				fault.Requests = 4
				f.fault(fault)
				a, took := f.tryTimed(logical.ReadOperation, "creds", nil)
				assert.True(t, f.live(f.ok(a).Data["access_token"]))
				assert.Equal(t, 5, f.asked())
				assert.Equal(t, freshPauses(250*time.Millisecond, 500*time.Millisecond, time.Second, 2*time.Second), f.pauses(0))
				assert.Equal(t, 3750*time.Millisecond, took)
				assert.Equal(t, "2026-03-01T12:00:04.000000000Z", f.ok(a).Data["last_vault_rotation"], "of the request that went well")
				assert.NotContains(t, f.read("status"), "last_error")
				assert.Zero(t, f.askedBy(clientB))
			})
		})
	}
}

func freshPauses(pauses ...time.Duration) []time.Duration { return pauses }

// What goes on longer is an error within request_timeout.
func TestFreshTroubleForLong(t *testing.T) {
	for name, fault := range freshTroubles {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := freshCold(t, nil)
				f.fault(fault)
				a, took := f.tryTimed(logical.ReadOperation, "creds", nil)
				text, retryAfter := f.unavailable(a)
				assert.Contains(t, text, `connection "default": no token for client "client-a": `)
				assert.Contains(t, text, "Token requests fail since 2026-03-01T12:00:08Z; the next try is at 2026-03-01T12:00:09Z")
				assert.Equal(t, 1, retryAfter)
				assert.Equal(t, 6, f.asked())
				assert.Equal(t, 7750*time.Millisecond, took, "the next pause would be too long")
				assert.Subset(t, f.read("status"), fields{
					"last_error_time": "2026-03-01T12:00:08Z", "next_try_time": "2026-03-01T12:00:09Z", "consecutive_errors": int64(1),
				})
			})
		})
	}
}

// The tries fit request_timeout, whatever it is, and what the dice say.
func TestFreshTriesWithinTheRequestTimeout(t *testing.T) {
	for _, random := range []float64{0, 0.5, 0.999} {
		for _, timeout := range []int{1, 2, 10, 30, 60} {
			t.Run(fmt.Sprint(random, timeout), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newWorld(t, worldOptions{random: random})
					f.write("config", with(f.single(), fields{"verify_connection": false, "request_timeout": timeout}))
					f.fault(freshStatus(503))
					a, took := f.tryTimed(logical.ReadOperation, "creds", nil)
					f.unavailable(a)

					most := time.Duration(timeout) * time.Second
					assert.Less(t, took, most)
					assert.Greater(t, took, most/3)
					want := 250 * time.Millisecond
					for i, pause := range f.pauses(0) {
						assert.LessOrEqual(t, pause, want+50*time.Millisecond, "pause %d", i)
						assert.GreaterOrEqual(t, pause, max(want*4/5, 250*time.Millisecond), "pause %d", i)
						want = min(2*want, 4*time.Second)
					}
					t.Logf("%d token requests in %s, %s apart", f.asked(), took, f.pauses(0))
				})
			})
		}
	}
}

// GBG that hangs costs request_timeout, in two tries.
func TestFreshTroubleThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := freshCold(t, fields{"request_timeout": 7})
		f.fault(gbgsim.Fault{Kind: gbgsim.FaultHang})
		a, took := f.tryTimed(logical.ReadOperation, "creds", nil)
		text, retryAfter := f.unavailable(a)
		assert.Contains(t, text, "no answer in the time allowed")
		assert.Equal(t, 7*time.Second, took)
		assert.Equal(t, 1, retryAfter)
		assert.Equal(t, freshPauses(3750*time.Millisecond), f.pauses(0), "half of request_timeout and the least pause")
	})
}

// A certificate that is no good is trouble too, with not one request sent.
func TestFreshTroubleWithCertificates(t *testing.T) {
	for _, kind := range []gbgsim.FaultKind{gbgsim.FaultExpiredCertificate, gbgsim.FaultUntrustedCertificate} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newWorld(t, worldOptions{})
				server := f.anotherServer(f)
				config, err := f.sim.TLSConfig()
				require.NoError(t, err)
				server.TLS = config
				server.StartTLS()
				roots, err := f.sim.CAPEM()
				require.NoError(t, err)
				f.write("config", with(f.single(), fields{
					"verify_connection": false, "ca_pem": string(roots), "token_url": server.URL + gbgsim.TokenPath,
				}))

				f.fault(gbgsim.Fault{Kind: kind, Requests: 3})
				a, took := f.tryTimed(logical.ReadOperation, "creds", nil)
				assert.True(t, f.live(f.ok(a).Data["access_token"]))
				assert.Equal(t, 1750*time.Millisecond, took)
				assert.Equal(t, gbgsim.ConnectionCounts{Total: 4, Faulted: 3}, f.sim.Stats().TLSConnections)
				assert.Equal(t, 1, f.asked())
			})
		})
	}
}

// GBG knows best when to come back.
func TestFreshRetryAfter(t *testing.T) {
	for name, c := range map[string]struct {
		fault gbgsim.Fault
		want  time.Duration
	}{
		"seconds":            {gbgsim.Fault{Status: 429, RetryAfter: "3"}, 3 * time.Second},
		"a date":             {gbgsim.Fault{Status: 429, RetryAfterDate: 3 * time.Second}, 3 * time.Second},
		"with 503":           {gbgsim.Fault{Status: 503, RetryAfter: "5"}, 5 * time.Second},
		"with 500":           {gbgsim.Fault{Status: 500, RetryAfter: "5"}, 5 * time.Second},
		"nearly the timeout": {gbgsim.Fault{Status: 503, RetryAfter: "9"}, 9 * time.Second},
		"less than our own":  {gbgsim.Fault{Status: 503, RetryAfter: "0"}, 250 * time.Millisecond},
		"a date in the past": {gbgsim.Fault{Status: 503, RetryAfterDate: -time.Minute}, 250 * time.Millisecond},
		"negative":           {gbgsim.Fault{Status: 503, RetryAfter: "-5"}, 250 * time.Millisecond},
		"a fraction":         {gbgsim.Fault{Status: 503, RetryAfter: "1.5"}, 250 * time.Millisecond},
		"words":              {gbgsim.Fault{Status: 503, RetryAfter: "soon"}, 250 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := freshCold(t, nil)
				c.fault.Kind, c.fault.Requests = gbgsim.FaultStatus, 1
				f.fault(c.fault)
				a, took := f.tryTimed(logical.ReadOperation, "creds", nil)
				assert.True(t, f.live(f.ok(a).Data["access_token"]))
				assert.Equal(t, c.want, took)
				assert.Equal(t, 2, f.asked())
			})
		})
	}
}

// A Retry-After that does not fit request_timeout ends the tries at once, and
// sets the pause.
func TestFreshRetryAfterBeyondTheTimeout(t *testing.T) {
	for name, c := range map[string]struct {
		fault gbgsim.Fault
		want  time.Duration
	}{
		"the timeout":  {gbgsim.Fault{RetryAfter: "10"}, 10 * time.Second},
		"seconds":      {gbgsim.Fault{RetryAfter: "42"}, 42 * time.Second},
		"a date":       {gbgsim.Fault{RetryAfterDate: 42 * time.Second}, 42 * time.Second},
		"an hour":      {gbgsim.Fault{RetryAfter: "3600"}, time.Hour},
		"many years":   {gbgsim.Fault{RetryAfter: "4000000000"}, time.Hour},
		"another year": {gbgsim.Fault{RetryAfterDate: 365 * 24 * time.Hour}, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := freshCold(t, nil)
				c.fault.Kind, c.fault.Status = gbgsim.FaultStatus, 429
				f.fault(c.fault)
				text, retryAfter := f.unavailable(f.tryCreds())
				assert.Contains(t, text, "HTTP 429")
				assert.Equal(t, roundedUpSeconds(c.want), retryAfter)
				assert.Equal(t, timestamp(start.Add(c.want)), f.read("status")["next_try_time"])
				f.pass(c.want - 1)
				f.unavailable(f.tryCreds())
				assert.Equal(t, 1, f.asked())
				f.pass(1)
				f.unavailable(f.tryCreds())
				assert.Equal(t, 2, f.asked())
			})
		})
	}
}

// After a failure GBG is left alone for a growing time, in which readers get the
// last answer at once.
func TestFreshPauseAfterFailure(t *testing.T) {
	for _, random := range []float64{0, 0.999} {
		t.Run(fmt.Sprint(random), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newWorld(t, worldOptions{random: random})
				f.write("config", with(f.single(), fields{"verify_connection": false, "request_timeout": 1}))
				f.fault(freshStatus(503))
				var since string
				for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
					want *= time.Second
					a, _ := f.tryTimed(logical.ReadOperation, "creds", nil)
					failed := time.Now()
					if since == "" {
						since = timestamp(failed)
					}
					text, retryAfter := f.unavailable(a)
					assert.LessOrEqual(t, retryAfter, int(want.Seconds()))
					assert.GreaterOrEqual(t, retryAfter, int(max(want*4/5, time.Second).Seconds()))
					assert.Contains(t, text, "Token requests fail since "+since)
					asked := f.asked()
					pause := time.Duration(retryAfter) * time.Second // rounded up
					if random == 0 {
						assert.Equal(t, want, pause)
					}
					for _, part := range []time.Duration{1, 3, 5, 7} {
						at := failed.Add((pause - time.Second) * part / 8)
						f.passUntil(at)
						again, left := f.unavailable(f.tryCreds())
						assert.Equal(t, text, again, "the last answer")
						assert.LessOrEqual(t, time.Now().Add(time.Duration(left-1)*time.Second), failed.Add(pause))
						assert.GreaterOrEqual(t, time.Now().Add(time.Duration(left)*time.Second), failed.Add(pause-time.Second))
						if random == 0 {
							assert.Equal(t, roundedUpSeconds(failed.Add(pause).Sub(at)), left)
						}
					}
					assert.Equal(t, asked, f.asked(), "GBG is left alone")
					assert.EqualValues(t, i+1, f.read("status")["consecutive_errors"])
					f.passUntil(failed.Add(pause))
				}
			})
		})
	}
}

func roundedUpSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// Nobody has to sit out the pause: a write that may have mended things ends it.
func TestFreshWritesEndThePause(t *testing.T) {
	for name, c := range map[string]struct {
		path string
		data fields
	}{
		"a config write that changes nothing":  {"config", nil},
		"one that repeats what is there":       {"config", fields{"failover": true, "client_id": clientA}},
		"one that changes something else":      {"config", fields{"max_secret_age": 1000}},
		"one that is not verified":             {"config", fields{"request_timeout": 20, "verify_connection": false}},
		"one that is verified":                 {"config", fields{"scope": "gbg.token gbg.token"}},
		"a rotation":                           {"rotate", nil},
		"a rotation to where we are":           {"rotate", fields{"client_id": clientA}},
		"a rotation to the standby by name":    {"rotate", fields{"client_id": clientB}},
		"a config write of the standby's name": {"config", fields{"paired_client_id": clientB}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := freshCold(t, nil)
				f.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, RetryAfter: "60"})
				f.unavailable(f.tryCreds())
				f.sim.ClearFaults()
				f.unavailable(f.tryCreds())
				require.Equal(t, 1, f.asked())
				f.write(c.path, c.data)
				assert.True(t, f.live(f.read("creds")["access_token"]))
				assert.NotContains(t, f.read("status"), "last_error")
			})
		})
	}
}

// A write that fails has mended nothing.
func TestFreshWritesThatFailDoNotEndThePause(t *testing.T) {
	for name, write := range map[string]func(*world) answer{
		"an input error": func(f *world) answer {
			return f.try(logical.UpdateOperation, "config", fields{"request_timeout": 0})
		},
		"a refused secret": func(f *world) answer {
			return f.try(logical.UpdateOperation, "config", fields{"client_secret": wrongSecret})
		},
		"a refused rotation": func(f *world) answer {
			return f.try(logical.UpdateOperation, "rotate", fields{"client_secret": wrongSecret})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := freshCold(t, nil)
				f.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, RetryAfter: "60", Requests: 1})
				want, _ := f.unavailable(f.tryCreds())
				f.refused(write(f))
				asked := f.asked()
				got, retryAfter := f.unavailable(f.tryCreds())
				assert.Equal(t, want, got)
				assert.Equal(t, 60, retryAfter)
				assert.Equal(t, asked, f.asked())
			})
		})
	}
}

// A thousand readers at once, then fifty every other second, during an outage of
// ten minutes.
func TestFreshOutageUnderManyReaders(t *testing.T) {
	for name, c := range map[string]struct {
		fault gbgsim.Fault
		most  int
	}{
		"503":                             {freshStatus(503), 100},
		"503 with Retry-After":            {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, RetryAfter: "30"}, 20},
		"a refusal of the request":        {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 400, Error: "invalid_scope"}, 20},
		"a refusal of both clients":       {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 401, Error: "invalid_client"}, 40},
		"GBG that does not answer at all": {gbgsim.Fault{Kind: gbgsim.FaultHang}, 30}, // two tries each time
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const readers, perTick, outage = 1000, 50, 10 * time.Minute
				f := freshCold(t, nil)
				f.dice = seededDice()
				f.restart()
				f.fault(c.fault)
				reads, waited := 0, time.Duration(0)
				read := func(n int) {
					// Once one of them has been answered the others will be too.
					began := time.Now()
					var crowd []<-chan answer
					for range min(n, 3) {
						crowd = append(crowd, f.begin(logical.ReadOperation, "creds", nil))
					}
					synctest.Wait()
					waits := len(crowd[0]) == 0
					for range n - len(crowd) {
						if waits {
							crowd = append(crowd, f.begin(logical.ReadOperation, "creds", nil))
						} else {
							require.Error(t, f.handle(t.Context(), &logical.Request{Operation: logical.ReadOperation, Path: "creds", Storage: f.storage}).err)
						}
					}
					for _, answered := range crowd {
						require.Error(t, (<-answered).err)
					}
					reads += n
					waited = max(waited, time.Since(began))
				}
				read(readers)
				for time.Since(start) < outage {
					f.pass(2 * time.Second)
					read(perTick)
				}
				t.Logf("%d reads in %s: %d token requests; no reader waited longer than %s", reads, time.Since(start).Round(time.Second), f.asked(), waited)
				assert.LessOrEqual(t, f.asked(), c.most)
				assert.LessOrEqual(t, waited, 10*time.Second, "request_timeout")

				f.sim.ClearFaults()
				f.pass(time.Minute)
				assert.True(t, f.live(f.read("creds")["access_token"]))
				status := f.read("status")
				for _, key := range []string{"last_error", "last_error_time", "consecutive_errors", "next_try_time"} {
					assert.NotContains(t, status, key)
				}
			})
		})
	}
}

// Once the token has ended and nobody reads, there is nothing to try for.
func TestFreshTroubleOfAnIdleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		f.read("creds")
		f.fault(freshStatus(503))
		f.pass(time.Hour + 10*time.Second)
		asked := f.asked()
		f.pass(24 * time.Hour)
		assert.Equal(t, asked, f.asked())
		assert.Contains(t, f.read("status"), "last_error")
	})
}

// While GBG is in trouble and the token is valid, readers get it, and ttl is the
// time to the next try.
func TestFreshTTLInTrouble(t *testing.T) {
	for _, random := range []float64{0, 0.5} {
		t.Run(fmt.Sprint(random), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newWorld(t, worldOptions{random: random})
				f.write("config", with(f.single(), fields{"request_timeout": 1}))
				old := f.read("creds")
				f.fault(freshStatus(503))
				f.passUntil(start.Add(3300 * time.Second))
				expires := start.Add(time.Hour)
				longest := time.Duration(0)
				for now := time.Now(); now.Before(expires); now = time.Now() {
					got := f.read("creds")
					require.Equal(t, without(old, "ttl"), without(got, "ttl"))
					ttl := secondsOf(got["ttl"])
					longest = max(longest, ttl)
					left := expires.Sub(now).Truncate(time.Second)
					assert.GreaterOrEqual(t, ttl, max(min(3*time.Second, left), time.Second), "at %s", now)
					assert.LessOrEqual(t, ttl, max(left, time.Second), "beyond its end, at %s", now)
					if next := f.read("status")["next_try_time"]; next != nil {
						// Which is in whole seconds, rounded down, as ttl is rounded up.
						want := max(min(max(f.moment(next).Sub(now), 3*time.Second), left), time.Second)
						require.GreaterOrEqual(t, ttl, want, "at %s", now)
						require.Less(t, ttl, want+2*time.Second, "at %s", now)
					}
					f.pass(777 * time.Millisecond)
				}
				assert.Greater(t, longest, 45*time.Second)
				t.Logf("%d token requests in five minutes; ttl up to %s", f.asked()-1, longest)
				f.unavailable(<-f.begin(logical.ReadOperation, "creds", nil))
			})
		})
	}
}

// While refreshing fails, ttl is the time to the next try, at least 3; also in
// the seconds in which it fails ahead of the refresh time.
func TestFreshTTLWhileRefreshingFailsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		f.read("creds")
		f.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 400, Error: "invalid_scope"})
		f.passUntil(start.Add(3299 * time.Second))
		require.Contains(t, f.read("status"), "last_error")
		assert.GreaterOrEqual(t, f.read("creds")["ttl"], int64(3))
	})
}

// When GBG is back, the next try takes the trouble away, and readers see nothing
// of all that.
func TestFreshRecoveryWhileTheTokenIsValid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		old := f.read("creds")
		f.fault(freshStatus(503))
		f.pass(3400 * time.Second)
		status := f.read("status")
		assert.Contains(t, status, "last_error")
		assert.Greater(t, status["consecutive_errors"], int64(3))
		f.sim.ClearFaults()
		wait := f.read("creds")["ttl"]
		f.pass(secondsOf(wait) + 500*time.Millisecond)
		got := f.read("creds")
		assert.NotEqual(t, old["access_token"], got["access_token"])
		for _, key := range []string{"last_error", "last_error_time", "consecutive_errors", "next_try_time"} {
			assert.NotContains(t, f.read("status"), key)
		}

		// And the next trouble begins with the least pause again.
		f.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 400, Error: "invalid_scope"})
		assert.Equal(t, time.Second, f.retries(func() { f.pass(time.Hour) })[0])
	})
}

// Readers of one connection do not suffer from the trouble of another.
func TestFreshTroubleOfAnotherConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := freshCold(t, nil)
		f.write("config/team-a", with(pair2(f), fields{"verify_connection": false}))
		f.fault(gbgsim.Fault{Kind: gbgsim.FaultHang, ClientID: clientA})
		reading := f.begin(logical.ReadOperation, "creds", nil)
		require.Equal(t, 1, f.underWay())
		assert.Equal(t, "client-c", f.read("creds/team-a")["client_id"])
		assert.NotContains(t, f.read("status/team-a"), "last_error")
		f.sim.ClearFaults()
		f.ok(<-reading)
	})
}

// Many readers wait for one request and get one answer.
func TestFreshReadersShareTheTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := freshCold(t, nil)
		f.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 500, Requests: 3})
		var wg sync.WaitGroup
		tokens := make([]any, 50)
		done := make(chan answer, 1)
		for i := range tokens {
			wg.Go(func() {
				if a := f.send(t.Context(), logical.ReadOperation, "creds", nil); a.err == nil {
					tokens[i] = a.resp.Data["access_token"]
				}
			})
		}
		go func() { wg.Wait(); done <- answer{} }()
		<-done
		for _, token := range tokens {
			assert.True(t, f.live(token))
			assert.Equal(t, tokens[0], token)
		}
		assert.Equal(t, 4, f.asked())
	})
}

// The words of an answer in the pause are those of the failure.
func TestFreshWordsOfTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := freshCold(t, nil)
		f.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusTooManyRequests, Error: "slow_down", RequestID: "req-1", RetryAfter: "30"})
		want := fmt.Sprintf(`connection "default": no token for client "client-a": slow_down (HTTP 429 from %s, request id req-1). `+
			"Token requests fail since 2026-03-01T12:00:00Z; the next try is at 2026-03-01T12:00:30Z.", f.tokenURL())
		for _, left := range []int{30, 20, 10} {
			text, retryAfter := f.unavailable(f.tryCreds())
			assert.Equal(t, want, text)
			assert.Equal(t, left, retryAfter)
			f.pass(10 * time.Second)
		}
	})
}
