package plugintest

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// refuseClient answers that a client is not accepted.
func refuseClient(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
}

// One stray refusal does not change which client is active.
func TestStrayRefusal(t *testing.T) {
	for _, lease := range []bool{false, true} {
		t.Run(fmt.Sprintf("lease=%t", lease), func(t *testing.T) {
			inBubble(t, worldOptions{lifetime: time.Minute}, func(w *world) {
				config := w.pair()
				config["lease"] = lease
				w.write("config", config)
				for range 6 {
					time.Sleep(2 * time.Minute)
					var once sync.Once
					w.onRequest(func(rw http.ResponseWriter, _ *http.Request) (answered bool) {
						once.Do(func() { refuseClient(rw); answered = true })
						return answered
					})
					require.Equal(t, clientA, w.read("creds")["client_id"])
				}
				require.NotContains(t, w.read("status"), "last_rotation_time")
			})
		})
	}
}

// A refusal that is repeated makes the standby active.
func TestRepeatedRefusal(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		_, err := w.sim.Regenerate(clientA)
		require.NoError(t, err)
		time.Sleep(2 * time.Hour)
		asked := w.askedBy(clientA)
		require.Equal(t, clientB, w.read("creds")["client_id"])
		require.Equal(t, 2, w.askedBy(clientA)-asked)
	})
}

// Failover acts on the settings of the moment, not on those that its request began
// with.
func TestSettingsChangeDuringARefusal(t *testing.T) {
	for name, change := range map[string]fields{
		"failover off": {"failover": false},
		"no pair":      {"paired_client_id": ""},
	} {
		for _, lease := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, lease=%t", name, lease), func(t *testing.T) {
				inBubble(t, worldOptions{}, func(w *world) {
					config := w.pair()
					config["lease"], config["verify_connection"] = lease, false
					w.write("config", config)
					var others atomic.Int32
					w.onRequest(func(rw http.ResponseWriter, r *http.Request) bool {
						if r.FormValue("client_id") != clientA {
							others.Add(1)
							return false
						}
						time.Sleep(time.Second)
						refuseClient(rw)
						return true
					})
					reading := w.begin(logical.ReadOperation, "creds", nil)
					time.Sleep(500 * time.Millisecond)
					w.write("config", change)
					text := w.coded(http.StatusBadGateway, <-reading)
					assert.NotContains(t, text, `""`)
					assert.Zero(t, others.Load())
					assert.Equal(t, clientA, w.read("config")["active_client_id"])
				})
			})
		}
	}
}

// Leased readers whose clients are both refused follow one of them, and a config write
// that mends it does not wait behind them.
func TestLeasedReadersFollowOneProbe(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		config := w.pair()
		config["lease"], config["verify_connection"] = true, false
		w.write("config", config)
		var a, b atomic.Int32
		w.onRequest(func(rw http.ResponseWriter, r *http.Request) bool {
			map[string]*atomic.Int32{clientA: &a, clientB: &b}[r.FormValue("client_id")].Add(1)
			time.Sleep(200 * time.Millisecond)
			refuseClient(rw)
			return true
		})
		read50 := func() {
			var answers []<-chan answer
			for range 50 {
				answers = append(answers, w.begin(logical.ReadOperation, "creds", nil))
			}
			synctest.Wait()
			for _, answered := range answers {
				w.coded(http.StatusBadGateway, <-answered)
			}
		}
		read50()
		require.LessOrEqual(t, a.Load(), int32(50+1))
		require.Equal(t, int32(1), b.Load())

		time.Sleep(2 * time.Minute)
		before := a.Load()
		read50()
		require.Equal(t, int32(1), a.Load()-before, "one probe after a failure")
		require.Equal(t, int32(2), b.Load())

		time.Sleep(2 * time.Minute)
		go read50()
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		w.write("config", fields{"max_secret_age": 3600})
		require.Less(t, time.Since(began), time.Second)
		time.Sleep(time.Minute)
	})
}

// A token that was asked for one reader is not shared because lease is turned off
// meanwhile.
func TestLeaseTurnedOffDuringARead(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		config := w.pair()
		config["lease"], config["verify_connection"] = true, false
		w.write("config", config)
		w.onRequest(func(http.ResponseWriter, *http.Request) bool {
			time.Sleep(time.Second)
			return false
		})
		reading := w.begin(logical.ReadOperation, "creds", nil)
		time.Sleep(500 * time.Millisecond)
		w.write("config", fields{"lease": false})
		leased := <-reading
		own := w.ok(leased).Data["access_token"]
		require.NotNil(t, leased.resp.Secret, "it keeps its lease")
		require.NotEqual(t, own, w.read("creds")["access_token"])
	})
}

// The other way round, a token that was asked for everybody is nobody's lease.
func TestLeaseTurnedOnDuringARead(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		config := w.pair()
		config["verify_connection"] = false
		w.write("config", config)
		w.onRequest(func(http.ResponseWriter, *http.Request) bool {
			time.Sleep(time.Second)
			return false
		})
		first, second := w.begin(logical.ReadOperation, "creds", nil), w.begin(logical.ReadOperation, "creds", nil)
		time.Sleep(500 * time.Millisecond)
		w.write("config", fields{"lease": true})
		a, b := <-first, <-second
		require.NotEqual(t, w.ok(a).Data["access_token"], w.ok(b).Data["access_token"])
		require.NotNil(t, a.resp.Secret)
		require.NotNil(t, b.resp.Secret)
	})
}

// A leased token that has ended while the failover's write was slow is not served.
func TestLeasedTokenEndsDuringAFailover(t *testing.T) {
	inBubble(t, worldOptions{lifetime: 2 * time.Second}, func(w *world) {
		config := w.pair()
		config["lease"], config["verify_connection"] = true, false
		w.write("config", config)
		_, err := w.sim.Regenerate(clientA)
		require.NoError(t, err)
		w.storage.slow(3 * time.Second)
		text := w.coded(http.StatusServiceUnavailable, w.try(logical.ReadOperation, "creds", nil))
		require.Contains(t, text, "had expired by then")
	})
}

// What GBG answers to one caller's token holds nobody else back, whatever it is.
func TestOneCallersTokenIsNobodyElsesTrouble(t *testing.T) {
	for status := 400; status < 600; status++ {
		if http.StatusText(status) == "" {
			continue
		}
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inBubble(t, worldOptions{}, func(w *world) {
				w.write("config", fields{"grant_type": "id_auth", "token_url": w.url(gbgsim.IdentityTokenPath)})
				bad, err := w.sim.IDToken("mallory@example.com")
				require.NoError(t, err)
				good, err := w.sim.IDToken("alice@example.com")
				require.NoError(t, err)
				w.onRequest(func(rw http.ResponseWriter, r *http.Request) bool {
					if r.FormValue("id_token") != bad {
						return false
					}
					rw.WriteHeader(status)
					return true
				})
				a := w.try(logical.UpdateOperation, "creds", fields{"id_token": bad})
				require.True(t, a.err != nil || a.resp.IsError())
				w.write("creds", fields{"id_token": good})
			})
		})
	}
}

// GBG that asks to be left alone is left alone, by everybody and for as long as it
// asks.
func TestRetryAfterIsHonoured(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		w.write("config/cold", fields{
			"token_url": w.url(gbgsim.TokenPath), "client_id": clientA, "client_secret": "fake-secret", "verify_connection": false,
		})
		var requests atomic.Int32
		w.onRequest(func(rw http.ResponseWriter, _ *http.Request) bool {
			requests.Add(1)
			rw.Header().Set("Retry-After", "120")
			rw.WriteHeader(http.StatusServiceUnavailable)
			return true
		})
		for _, a := range []answer{
			w.try(logical.UpdateOperation, "config", fields{"client_secret": "another-fake-secret"}),
			w.try(logical.UpdateOperation, "rotate", fields{"client_id": clientB}),
			w.try(logical.ReadOperation, "creds/cold", nil),
		} {
			w.coded(http.StatusServiceUnavailable, a)
			require.Equal(t, []string{"120"}, a.resp.Headers["Retry-After"])
		}
		require.EqualValues(t, 3, requests.Load())
		time.Sleep(119 * time.Second)
		w.coded(http.StatusServiceUnavailable, w.try(logical.ReadOperation, "creds/cold", nil))
		require.EqualValues(t, 3, requests.Load())
		time.Sleep(2 * time.Second)
		w.coded(http.StatusServiceUnavailable, w.try(logical.ReadOperation, "creds/cold", nil))
		require.EqualValues(t, 4, requests.Load())
	})
}

// A write that proves nothing ends the pause and leaves the failures; the recovery is
// told when a request succeeds.
func TestUnverifiedWriteLeavesTheFailures(t *testing.T) {
	for name, change := range map[string]fields{
		"another setting": {"max_secret_age": 3600},
		"the same again":  {"failover": true},
		"a new secret":    {"client_secret": "fake-secret", "verify_connection": false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, worldOptions{}, func(w *world) {
				config := w.pair()
				secret := config["client_secret"]
				config["verify_connection"] = false
				w.write("config", config)
				w.onRequest(func(rw http.ResponseWriter, _ *http.Request) bool {
					rw.WriteHeader(http.StatusServiceUnavailable)
					return true
				})
				w.coded(http.StatusServiceUnavailable, w.try(logical.ReadOperation, "creds", nil))
				w.write("config", change)
				require.EqualValues(t, 1, w.read("status")["consecutive_errors"])
				require.NotContains(t, w.heard.log.String(), "token requests succeed again")
				w.onRequest(nil)
				w.write("config", fields{"client_secret": secret, "verify_connection": false})
				w.read("creds") // at once: the pause is over
				require.NotContains(t, w.read("status"), "consecutive_errors")
				require.Contains(t, w.heard.log.String(), "token requests succeed again")
			})
		})
	}
}

// A page that comes from no token endpoint is said to be that, and refuses nobody.
func TestForeignAnswer(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		config := w.pair()
		config["verify_connection"] = false
		w.write("config", config)
		w.onRequest(func(rw http.ResponseWriter, _ *http.Request) bool {
			rw.Header().Set("Content-Type", "text/html")
			rw.WriteHeader(http.StatusForbidden)
			_, _ = rw.Write([]byte("<html>Blocked"))
			return true
		})
		for _, text := range []string{
			w.coded(http.StatusBadGateway, w.try(logical.ReadOperation, "creds", nil)),
			w.coded(http.StatusBadGateway, w.try(logical.UpdateOperation, "rotate", fields{"client_id": clientB})),
			w.coded(http.StatusBadGateway, w.try(logical.UpdateOperation, "config", fields{"client_secret": "fake-secret"})),
		} {
			assert.Contains(t, text, "HTTP 403 from "+w.url(gbgsim.TokenPath))
			assert.Contains(t, text, "does not come from a token endpoint")
			assert.NotContains(t, text, "secret")
		}
		status := w.read("status")
		assert.NotContains(t, status["next_step"], "secret")
		assert.Equal(t, clientA, status["active_client_id"])
	})
}
