package plugintest

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// hang answers nothing until the client gives up.
func hang(_ http.ResponseWriter, r *http.Request) bool {
	_ = r.ParseForm()
	<-r.Context().Done()
	return true
}

// requests is every kind of request to GBG, each with what to configure before.
var requests = []struct {
	name string
	// path is the endpoint whose first answer does not come.
	path string
	// prepare returns the configuration, and the request that the test is about.
	prepare func(w *world) (config fields, op logical.Operation, path string, data fields)
}{
	{"shared read", gbgsim.TokenPath, func(w *world) (fields, logical.Operation, string, fields) {
		return w.pair(), logical.ReadOperation, "creds", nil
	}},
	{"leased read", gbgsim.TokenPath, func(w *world) (fields, logical.Operation, string, fields) {
		config := w.pair()
		config["lease"] = true
		return config, logical.ReadOperation, "creds", nil
	}},
	{"rotation", gbgsim.TokenPath, func(w *world) (fields, logical.Operation, string, fields) {
		return w.pair(), logical.UpdateOperation, "rotate", fields{"client_id": clientB}
	}},
	{"verification", gbgsim.TokenPath, func(w *world) (fields, logical.Operation, string, fields) {
		config := w.pair()
		return config, logical.UpdateOperation, "config/other", config
	}},
	{"identity provider", gbgsim.IDPTokenPath, func(w *world) (fields, logical.Operation, string, fields) {
		return w.m2m(), logical.ReadOperation, "creds", nil
	}},
	{"exchange", gbgsim.IdentityTokenPath, func(w *world) (fields, logical.Operation, string, fields) {
		return w.m2m(), logical.ReadOperation, "creds", nil
	}},
	{"exchange of a caller's token", gbgsim.IdentityTokenPath, func(w *world) (fields, logical.Operation, string, fields) {
		token, err := w.sim.IDToken("alice@example.com")
		require.NoError(w.t, err)
		return fields{"grant_type": "id_auth", "token_url": w.url(gbgsim.IdentityTokenPath)}, logical.UpdateOperation, "creds", fields{"id_token": token}
	}},
}

// If the first request gets no answer the second one does, in the time for one answer
// to a reader.
func TestFirstRequestHangs(t *testing.T) {
	for _, c := range requests {
		for _, timeout := range []time.Duration{time.Second * 4, 10 * time.Second, time.Minute} {
			t.Run(fmt.Sprintf("%s %s", c.name, timeout), func(t *testing.T) {
				inBubble(t, worldOptions{}, func(w *world) {
					config, op, path, data := c.prepare(w)
					config["request_timeout"], config["verify_connection"] = int(timeout/time.Second), false
					w.write("config", config)
					if path == "config/other" {
						data["verify_connection"] = true
					}
					var once sync.Once
					w.onRequest(func(rw http.ResponseWriter, r *http.Request) (answered bool) {
						if r.URL.Path == c.path {
							once.Do(func() { answered = hang(rw, r) })
						}
						return answered
					})
					began := time.Now()
					w.ok(w.try(op, path, data))
					require.LessOrEqual(t, time.Since(began), timeout)
				})
			})
		}
	}
}

// Connections that have gone silent are left, for every kind of request.
func TestSilentConnections(t *testing.T) {
	for _, c := range requests {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, worldOptions{}, func(w *world) {
				config, op, path, data := c.prepare(w)
				config["verify_connection"] = false
				w.write("config", config)
				warm, err := w.sim.IDToken("bob@example.com") // opens a connection
				require.NoError(t, err)
				w.write("config/warm", fields{"grant_type": "id_auth", "token_url": w.url(gbgsim.IdentityTokenPath)})
				w.write("creds/warm", fields{"id_token": warm})
				require.Equal(t, 1, w.network.Dials(gbgAddress))
				w.network.DropTraffic()
				if path == "config/other" {
					data["verify_connection"] = true
				}
				w.ok(w.try(op, path, data))
				require.Greater(t, w.network.Dials(gbgAddress), 1)
			})
		})
	}
}

// An answer that takes its time is still taken.
func TestSlowAnswer(t *testing.T) {
	for _, c := range requests {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, worldOptions{}, func(w *world) {
				config, op, path, data := c.prepare(w)
				config["verify_connection"] = false
				w.write("config", config)
				if path == "config/other" {
					data["verify_connection"] = true
				}
				w.onRequest(func(http.ResponseWriter, *http.Request) bool {
					time.Sleep(4 * time.Second)
					return false
				})
				w.ok(w.try(op, path, data))
			})
		})
	}
}

// At most 16 requests are under way at GBG at once, and nobody is turned away for it.
func TestRequestsAtOnce(t *testing.T) {
	for _, lease := range []bool{false, true} {
		t.Run(fmt.Sprintf("lease=%t", lease), func(t *testing.T) {
			inBubble(t, worldOptions{}, func(w *world) {
				const connections = 300
				config := w.pair()
				config["verify_connection"], config["lease"] = false, lease
				for i := range connections {
					w.write(fmt.Sprintf("config/c%d", i), config)
				}
				var mu sync.Mutex
				now, most := 0, 0
				w.onRequest(func(http.ResponseWriter, *http.Request) bool {
					mu.Lock()
					now++
					most = max(most, now)
					mu.Unlock()
					time.Sleep(100 * time.Millisecond)
					mu.Lock()
					now--
					mu.Unlock()
					return false
				})
				var answers []<-chan answer
				for i := range connections {
					answers = append(answers, w.begin(logical.ReadOperation, fmt.Sprintf("creds/c%d", i), nil))
				}
				for _, answered := range answers {
					w.ok(<-answered)
				}
				require.Equal(t, 16, most)
				require.Equal(t, connections, w.askedBy(clientA))
			})
		})
	}
}

// Who spent all the time waiting for a turn is told so, and nothing is said of GBG.
func TestTimeSpentWaitingForATurn(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		config := w.pair()
		config["verify_connection"] = false
		var answers []<-chan answer
		w.onRequest(hang)
		for i := range 17 {
			config["request_timeout"] = 60
			if i == 16 {
				config["request_timeout"] = 5
			}
			w.write(fmt.Sprintf("config/c%d", i), config)
			answers = append(answers, w.begin(logical.ReadOperation, fmt.Sprintf("creds/c%d", i), nil))
			time.Sleep(time.Millisecond)
		}
		text := w.coded(http.StatusServiceUnavailable, <-answers[16])
		require.Contains(t, text, "not asked: all of request_timeout (5s) was spent waiting behind other requests to this host, of which at most 16 are sent at once")
		require.NotContains(t, text, "secret")
		w.onRequest(nil)
		for _, answered := range answers[:16] {
			w.ok(<-answered)
		}
	})
}

// A reader's request goes before those that nobody waits for.
func TestReadersGoFirst(t *testing.T) {
	inBubble(t, worldOptions{lifetime: 10 * time.Minute}, func(w *world) {
		const connections = 200
		config := w.pair()
		config["verify_connection"] = false
		for i := range connections {
			w.write(fmt.Sprintf("config/c%d", i), config)
			w.read(fmt.Sprintf("creds/c%d", i))
		}
		w.write("config/late", config)
		w.onRequest(func(http.ResponseWriter, *http.Request) bool {
			time.Sleep(time.Second)
			return false
		})
		time.Sleep(10*time.Minute - 200*time.Second - 2*time.Second) // all are being refreshed
		began := time.Now()
		w.read("creds/late")
		require.LessOrEqual(t, time.Since(began), 3*time.Second)
		w.onRequest(nil)
		time.Sleep(time.Minute)
	})
}

// The refreshes of connections that began together are spread over a tenth of their
// overlap, and none comes after the time that ttl promised.
func TestRefreshesAreSpread(t *testing.T) {
	var mu sync.Mutex
	n := 0
	even := func() float64 { // as evenly as can be
		mu.Lock()
		defer mu.Unlock()
		n++
		return float64(n%100) / 100
	}
	inBubble(t, worldOptions{}, func(w *world) {
		w.dice = even
		const connections = 300
		config := w.pair()
		config["verify_connection"] = false
		for i := range connections {
			w.write(fmt.Sprintf("config/c%d", i), config)
			w.read(fmt.Sprintf("creds/c%d", i))
		}
		began := time.Now()
		var times []time.Duration
		w.onRequest(func(http.ResponseWriter, *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			times = append(times, time.Since(began))
			return false
		})
		time.Sleep(56 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, times, connections)
		require.Less(t, slices.Max(times), 55*time.Minute)
		spread := slices.Max(times) - slices.Min(times)
		assert.GreaterOrEqual(t, spread, 29*time.Second)
		assert.LessOrEqual(t, spread, 30*time.Second)
		for from := slices.Min(times); from < slices.Max(times); from += 3 * time.Second {
			in := 0
			for _, at := range times {
				if at >= from && at < from+3*time.Second {
					in++
				}
			}
			assert.LessOrEqual(t, in, connections/5, "within three seconds")
		}
	})
}

// Requests name themselves.
func TestUserAgent(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		var mu sync.Mutex
		agents := map[string]bool{}
		w.onRequest(func(_ http.ResponseWriter, r *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			agents[r.UserAgent()] = true
			return false
		})
		config := w.pair()
		config["lease"], config["revoke_url"] = true, w.url(gbgsim.RevokePath)
		w.write("config", config)
		resp := w.try(logical.ReadOperation, "creds", nil).resp
		_, err := w.backend.HandleRequest(w.t.Context(), &logical.Request{Operation: logical.RevokeOperation, Path: "creds", Secret: resp.Secret, Storage: w.storage})
		require.NoError(t, err)
		w.write("config/m2m", w.m2m())
		require.Equal(t, map[string]bool{"vault-plugin-secrets-gbg/0.0.0-test": true}, agents)
	})
}
