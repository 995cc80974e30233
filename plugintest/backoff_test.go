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

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// temporaryFaults are all that may go wrong at GBG for a while and is an answer, or
// the end of one, at once.
var temporaryFaults = map[string]gbgsim.Fault{
	"500":                   statusFault(500),
	"501":                   statusFault(501),
	"502":                   statusFault(502),
	"503":                   statusFault(503),
	"504":                   statusFault(504),
	"429":                   statusFault(429),
	"408":                   statusFault(408),
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
func TestTroubleForAMoment(t *testing.T) {
	for name, fault := range temporaryFaults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := coldWith(t, nil)
				fault.Requests = 4
				w.fault(fault)
				a, took := w.tryTimed(logical.ReadOperation, "creds", nil)
				assert.True(t, w.live(w.ok(a).Data["access_token"]))
				assert.Equal(t, 5, w.asked())
				assert.Equal(t, durations(250*time.Millisecond, 500*time.Millisecond, time.Second, 2*time.Second), w.pauses(0))
				assert.Equal(t, 3750*time.Millisecond, took)
				assert.Equal(t, "2026-03-01T12:00:04.000000000Z", w.ok(a).Data["last_vault_rotation"], "of the request that went well")
				assert.NotContains(t, w.read("status"), "last_error")
				assert.Zero(t, w.askedBy(clientB))
			})
		})
	}
}

func durations(pauses ...time.Duration) []time.Duration { return pauses }

// What goes on longer is an error within request_timeout.
func TestTroubleForLong(t *testing.T) {
	for name, fault := range temporaryFaults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := coldWith(t, nil)
				w.fault(fault)
				a, took := w.tryTimed(logical.ReadOperation, "creds", nil)
				text, retryAfter := w.unavailable(a)
				assert.Contains(t, text, `connection "default": no token for client "client-a": `)
				assert.Contains(t, text, "Token requests have failed since 2026-03-01T12:00:08Z; the next try is at 2026-03-01T12:00:09Z")
				assert.Equal(t, 1, retryAfter)
				assert.Equal(t, 6, w.asked())
				assert.Equal(t, 7750*time.Millisecond, took, "the next pause would be too long")
				assert.Subset(t, w.read("status"), fields{
					"last_error_time": "2026-03-01T12:00:08Z", "next_try_time": "2026-03-01T12:00:09Z", "consecutive_errors": int64(1),
				})
			})
		})
	}
}

// The tries fit request_timeout, whatever it is, and what the dice say.
func TestTriesWithinTheRequestTimeout(t *testing.T) {
	for _, random := range []float64{0, 0.5, 0.999} {
		for _, timeout := range []int{1, 2, 10, 30, 60} {
			t.Run(fmt.Sprint(random, timeout), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, worldOptions{random: random})
					w.write("config", with(w.single(), fields{"verify_connection": false, "request_timeout": timeout}))
					w.fault(statusFault(503))
					a, took := w.tryTimed(logical.ReadOperation, "creds", nil)
					w.unavailable(a)

					most := time.Duration(timeout) * time.Second
					assert.Less(t, took, most)
					assert.Greater(t, took, most/3)
					want := 250 * time.Millisecond
					for i, pause := range w.pauses(0) {
						assert.LessOrEqual(t, pause, want+50*time.Millisecond, "pause %d", i)
						assert.GreaterOrEqual(t, pause, max(want*4/5, 250*time.Millisecond), "pause %d", i)
						want = min(2*want, 4*time.Second)
					}
					t.Logf("%d token requests in %s, %s apart", w.asked(), took, w.pauses(0))
				})
			})
		}
	}
}

// GBG that hangs costs request_timeout, in two tries.
func TestTroubleThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := coldWith(t, fields{"request_timeout": 7})
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultHang})
		a, took := w.tryTimed(logical.ReadOperation, "creds", nil)
		text, retryAfter := w.unavailable(a)
		assert.Contains(t, text, "no answer in the time allowed")
		assert.Equal(t, 7*time.Second, took)
		assert.Equal(t, 1, retryAfter)
		assert.Equal(t, durations(3750*time.Millisecond), w.pauses(0), "half of request_timeout and the least pause")
	})
}

// A certificate that is no good is trouble too, with not one request sent.
func TestTroubleWithCertificates(t *testing.T) {
	for _, kind := range []gbgsim.FaultKind{gbgsim.FaultExpiredCertificate, gbgsim.FaultUntrustedCertificate} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				server := w.anotherServer(w)
				config, err := w.sim.TLSConfig()
				require.NoError(t, err)
				server.TLS = config
				server.StartTLS()
				roots, err := w.sim.CAPEM()
				require.NoError(t, err)
				w.write("config", with(w.single(), fields{
					"verify_connection": false, "ca_pem": string(roots), "token_url": server.URL + gbgsim.TokenPath,
				}))

				w.fault(gbgsim.Fault{Kind: kind, Requests: 3})
				a, took := w.tryTimed(logical.ReadOperation, "creds", nil)
				assert.True(t, w.live(w.ok(a).Data["access_token"]))
				assert.Equal(t, 1750*time.Millisecond, took)
				assert.Equal(t, gbgsim.ConnectionCounts{Total: 4, Faulted: 3}, w.sim.Stats().TLSConnections)
				assert.Equal(t, 1, w.asked())
			})
		})
	}
}

// GBG knows best when to come back.
func TestRetryAfter(t *testing.T) {
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
				w := coldWith(t, nil)
				c.fault.Kind, c.fault.Requests = gbgsim.FaultStatus, 1
				w.fault(c.fault)
				a, took := w.tryTimed(logical.ReadOperation, "creds", nil)
				assert.True(t, w.live(w.ok(a).Data["access_token"]))
				assert.Equal(t, c.want, took)
				assert.Equal(t, 2, w.asked())
			})
		})
	}
}

// A Retry-After that does not fit request_timeout ends the tries at once, and
// sets the pause.
func TestRetryAfterBeyondTheTimeout(t *testing.T) {
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
				w := coldWith(t, nil)
				c.fault.Kind, c.fault.Status = gbgsim.FaultStatus, 429
				w.fault(c.fault)
				text, retryAfter := w.unavailable(w.tryCreds())
				assert.Contains(t, text, "HTTP 429")
				assert.Equal(t, roundedUpSeconds(c.want), retryAfter)
				assert.Equal(t, timestamp(start.Add(c.want)), w.read("status")["next_try_time"])
				w.pass(c.want - 1)
				w.unavailable(w.tryCreds())
				assert.Equal(t, 1, w.asked())
				w.pass(1)
				w.unavailable(w.tryCreds())
				assert.Equal(t, 2, w.asked())
			})
		})
	}
}

// After a failure GBG is left alone for a growing time, in which readers get the
// last answer at once.
func TestPauseAfterFailure(t *testing.T) {
	for _, random := range []float64{0, 0.999} {
		t.Run(fmt.Sprint(random), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{random: random})
				w.write("config", with(w.single(), fields{"verify_connection": false, "request_timeout": 1}))
				w.fault(statusFault(503))
				var since string
				for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
					want *= time.Second
					a, _ := w.tryTimed(logical.ReadOperation, "creds", nil)
					failed := time.Now()
					if since == "" {
						since = timestamp(failed)
					}
					text, retryAfter := w.unavailable(a)
					assert.LessOrEqual(t, retryAfter, int(want.Seconds()))
					assert.GreaterOrEqual(t, retryAfter, int(max(want*4/5, time.Second).Seconds()))
					assert.Contains(t, text, "Token requests have failed since "+since)
					asked := w.asked()
					pause := time.Duration(retryAfter) * time.Second // rounded up
					if random == 0 {
						assert.Equal(t, want, pause)
					}
					for _, part := range []time.Duration{1, 3, 5, 7} {
						at := failed.Add((pause - time.Second) * part / 8)
						w.passUntil(at)
						again, left := w.unavailable(w.tryCreds())
						assert.Equal(t, text, again, "the last answer")
						assert.LessOrEqual(t, time.Now().Add(time.Duration(left-1)*time.Second), failed.Add(pause))
						assert.GreaterOrEqual(t, time.Now().Add(time.Duration(left)*time.Second), failed.Add(pause-time.Second))
						if random == 0 {
							assert.Equal(t, roundedUpSeconds(failed.Add(pause).Sub(at)), left)
						}
					}
					assert.Equal(t, asked, w.asked(), "GBG is left alone")
					assert.EqualValues(t, i+1, w.read("status")["consecutive_errors"])
					w.passUntil(failed.Add(pause))
				}
			})
		})
	}
}

func roundedUpSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// Nobody has to sit out the pause: a write that may have mended things ends it.
func TestWritesEndThePause(t *testing.T) {
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
				w := coldWith(t, nil)
				w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, RetryAfter: "60"})
				w.unavailable(w.tryCreds())
				w.sim.ClearFaults()
				w.unavailable(w.tryCreds())
				require.Equal(t, 1, w.asked())
				w.write(c.path, c.data)
				assert.True(t, w.live(w.read("creds")["access_token"]))
				assert.NotContains(t, w.read("status"), "last_error")
			})
		})
	}
}

// A write that fails has mended nothing.
func TestWritesThatFailDoNotEndThePause(t *testing.T) {
	for name, write := range map[string]func(*world) answer{
		"an input error": func(w *world) answer {
			return w.try(logical.UpdateOperation, "config", fields{"request_timeout": 0})
		},
		"a refused secret": func(w *world) answer {
			return w.try(logical.UpdateOperation, "config", fields{"client_secret": wrongSecret})
		},
		"a refused rotation": func(w *world) answer {
			return w.try(logical.UpdateOperation, "rotate", fields{"client_secret": wrongSecret})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := coldWith(t, nil)
				w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, RetryAfter: "60", Requests: 1})
				want, _ := w.unavailable(w.tryCreds())
				w.refused(write(w))
				asked := w.asked()
				got, retryAfter := w.unavailable(w.tryCreds())
				assert.Equal(t, want, got)
				assert.Equal(t, 60, retryAfter)
				assert.Equal(t, asked, w.asked())
			})
		})
	}
}

// A thousand readers at once, then fifty every other second, during an outage of
// ten minutes.
func TestOutageUnderManyReaders(t *testing.T) {
	for name, c := range map[string]struct {
		fault gbgsim.Fault
		most  int
	}{
		"503":                             {statusFault(503), 100},
		"503 with Retry-After":            {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, RetryAfter: "30"}, 20},
		"a refusal of the request":        {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 400, Error: "invalid_scope"}, 20},
		"a refusal of both clients":       {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 401, Error: "invalid_client"}, 40},
		"GBG that does not answer at all": {gbgsim.Fault{Kind: gbgsim.FaultHang}, 30}, // two tries each time
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const readers, perTick, outage = 1000, 50, 10 * time.Minute
				w := coldWith(t, nil)
				w.dice = seededDice()
				w.restart()
				w.fault(c.fault)
				reads, waited := 0, time.Duration(0)
				read := func(n int) {
					// Once one of them has been answered the others will be too.
					began := time.Now()
					var crowd []<-chan answer
					for range min(n, 3) {
						crowd = append(crowd, w.begin(logical.ReadOperation, "creds", nil))
					}
					synctest.Wait()
					waits := len(crowd[0]) == 0
					for range n - len(crowd) {
						if waits {
							crowd = append(crowd, w.begin(logical.ReadOperation, "creds", nil))
						} else {
							require.Error(t, w.handle(t.Context(), &logical.Request{Operation: logical.ReadOperation, Path: "creds", Storage: w.storage}).err)
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
					w.pass(2 * time.Second)
					read(perTick)
				}
				t.Logf("%d reads in %s: %d token requests; no reader waited longer than %s", reads, time.Since(start).Round(time.Second), w.asked(), waited)
				assert.LessOrEqual(t, w.asked(), c.most)
				assert.LessOrEqual(t, waited, 10*time.Second, "request_timeout")

				w.sim.ClearFaults()
				w.pass(time.Minute)
				assert.True(t, w.live(w.read("creds")["access_token"]))
				status := w.read("status")
				for _, key := range []string{"last_error", "last_error_time", "consecutive_errors", "next_try_time"} {
					assert.NotContains(t, status, key)
				}
			})
		})
	}
}

// Once the token has ended and nobody reads, there is nothing to try for.
func TestTroubleOfAnIdleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		w.read("creds")
		w.fault(statusFault(503))
		w.pass(time.Hour + 10*time.Second)
		asked := w.asked()
		w.pass(24 * time.Hour)
		assert.Equal(t, asked, w.asked())
		assert.Contains(t, w.read("status"), "last_error")
	})
}

// While GBG is in trouble and the token is valid, readers get it, and ttl is the
// time to the next try.
func TestTTLInTrouble(t *testing.T) {
	for _, random := range []float64{0, 0.5} {
		t.Run(fmt.Sprint(random), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{random: random})
				w.write("config", with(w.single(), fields{"request_timeout": 1}))
				old := w.read("creds")
				w.fault(statusFault(503))
				w.passUntil(start.Add(3300 * time.Second))
				expires := start.Add(time.Hour)
				longest := time.Duration(0)
				for now := time.Now(); now.Before(expires); now = time.Now() {
					got := w.read("creds")
					require.Equal(t, without(old, "ttl"), without(got, "ttl"))
					ttl := secondsOf(got["ttl"])
					longest = max(longest, ttl)
					left := expires.Sub(now).Truncate(time.Second)
					assert.GreaterOrEqual(t, ttl, max(min(3*time.Second, left), time.Second), "at %s", now)
					assert.LessOrEqual(t, ttl, max(left, time.Second), "beyond its end, at %s", now)
					if next := w.read("status")["next_try_time"]; next != nil {
						// Which is in whole seconds, rounded down, as ttl is rounded up.
						want := max(min(max(w.moment(next).Sub(now), 3*time.Second), left), time.Second)
						require.GreaterOrEqual(t, ttl, want, "at %s", now)
						require.Less(t, ttl, want+2*time.Second, "at %s", now)
					}
					w.pass(777 * time.Millisecond)
				}
				assert.Greater(t, longest, 45*time.Second)
				t.Logf("%d token requests in five minutes; ttl up to %s", w.asked()-1, longest)
				w.unavailable(<-w.begin(logical.ReadOperation, "creds", nil))
			})
		})
	}
}

// While refreshing fails, ttl is the time to the next try, at least 3; also in
// the seconds in which it fails ahead of the refresh time.
func TestTTLWhileRefreshingFailsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		w.read("creds")
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 400, Error: "invalid_scope"})
		w.passUntil(start.Add(3299 * time.Second))
		require.Contains(t, w.read("status"), "last_error")
		assert.GreaterOrEqual(t, w.read("creds")["ttl"], int64(3))
	})
}

// When GBG is back, the next try takes the trouble away, and readers see nothing
// of all that.
func TestRecoveryWhileTheTokenIsValid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		old := w.read("creds")
		w.fault(statusFault(503))
		w.pass(3400 * time.Second)
		status := w.read("status")
		assert.Contains(t, status, "last_error")
		assert.Greater(t, status["consecutive_errors"], int64(3))
		w.sim.ClearFaults()
		wait := w.read("creds")["ttl"]
		w.pass(secondsOf(wait) + 500*time.Millisecond)
		got := w.read("creds")
		assert.NotEqual(t, old["access_token"], got["access_token"])
		for _, key := range []string{"last_error", "last_error_time", "consecutive_errors", "next_try_time"} {
			assert.NotContains(t, w.read("status"), key)
		}

		// And the next trouble begins with the least pause again.
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 400, Error: "invalid_scope"})
		assert.Equal(t, time.Second, w.retries(func() { w.pass(time.Hour) })[0])
	})
}

// Readers of one connection do not suffer from the trouble of another.
func TestTroubleOfAnotherConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := coldWith(t, nil)
		w.write("config/team-a", with(pair2(w), fields{"verify_connection": false}))
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultHang, ClientID: clientA})
		reading := w.begin(logical.ReadOperation, "creds", nil)
		require.Equal(t, 1, w.underWay())
		assert.Equal(t, "client-c", w.read("creds/team-a")["client_id"])
		assert.NotContains(t, w.read("status/team-a"), "last_error")
		w.sim.ClearFaults()
		w.ok(<-reading)
	})
}

// Many readers wait for one request and get one answer.
func TestReadersShareTheTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := coldWith(t, nil)
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 500, Requests: 3})
		var wg sync.WaitGroup
		tokens := make([]any, 50)
		done := make(chan answer, 1)
		for i := range tokens {
			wg.Go(func() {
				if a := w.send(t.Context(), logical.ReadOperation, "creds", nil); a.err == nil {
					tokens[i] = a.resp.Data["access_token"]
				}
			})
		}
		go func() { wg.Wait(); done <- answer{} }()
		<-done
		for _, token := range tokens {
			assert.True(t, w.live(token))
			assert.Equal(t, tokens[0], token)
		}
		assert.Equal(t, 4, w.asked())
	})
}

// The words of an answer in the pause are those of the failure.
func TestWordsOfTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := coldWith(t, nil)
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusTooManyRequests, Error: "slow_down", RequestID: "req-1", RetryAfter: "30"})
		want := fmt.Sprintf(`connection "default": no token for client "client-a": slow_down (HTTP 429 from %s, request id req-1). `+
			"Token requests have failed since 2026-03-01T12:00:00Z; the next try is at 2026-03-01T12:00:30Z.", w.tokenURL())
		for _, left := range []int{30, 20, 10} {
			text, retryAfter := w.unavailable(w.tryCreds())
			assert.Equal(t, want, text)
			assert.Equal(t, left, retryAfter)
			w.pass(10 * time.Second)
		}
	})
}

// What the standby's GBG says of when to come back counts as well.
func TestRetryAfterOfTheStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := coldWith(t, nil)
		w.fault(refusalOf(clientA), gbgsim.Fault{Kind: gbgsim.FaultStatus, ClientID: clientB, Status: http.StatusTooManyRequests, RetryAfter: "30"})
		_, retryAfter := w.unavailable(w.tryCreds())
		assert.Equal(t, 30, retryAfter)
	})
}
