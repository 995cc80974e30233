package plugintest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
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

// revocationRequest is a request that came to the revocation endpoint.
type revocationRequest struct {
	at              time.Time
	path            string
	clientID, token string
}

// revocationWorld is a world with a look at its revocation endpoint. Any path below
// gbgsim.RevokePath is the same endpoint.
type revocationWorld struct {
	*world

	// answer, if set, is called for each request, and gives the status to answer with;
	// 0 leaves the answer to the simulator.
	answer atomic.Pointer[func(context.Context, revocationRequest) (status int)]

	mu       sync.Mutex
	requests []revocationRequest
}

func newRevocationWorld(t *testing.T) *revocationWorld {
	t.Helper()
	r := &revocationWorld{}
	r.world = newWorld(t, worldOptions{gbg: r})
	return r
}

// ServeHTTP implements http.Handler.
func (r *revocationWorld) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	if !strings.HasPrefix(req.URL.Path, gbgsim.RevokePath) {
		r.sim.ServeHTTP(rw, req)
		return
	}
	got := revocationRequest{at: time.Now(), path: req.URL.Path}
	if f := r.answer.Load(); f != nil {
		got.clientID, got.token = req.FormValue("client_id"), req.FormValue("token")
		r.note(got)
		if status := (*f)(req.Context(), got); status != 0 {
			rw.WriteHeader(status)
		}
		return
	}
	r.note(got)
	req.URL.Path = gbgsim.RevokePath
	r.sim.ServeHTTP(rw, req)
}

func (r *revocationWorld) note(got revocationRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, got)
}

// answers makes the endpoint answer so from now on.
func (r *revocationWorld) answers(f func(context.Context, revocationRequest) (status int)) {
	r.answer.Store(&f)
}

// status makes the endpoint answer with a status from now on.
func (r *revocationWorld) status(status int) {
	r.answers(func(context.Context, revocationRequest) int { return status })
}

// recovers leaves the endpoint to the simulator.
func (r *revocationWorld) recovers() { r.answer.Store(nil) }

// received gives the requests so far.
func (r *revocationWorld) received() []revocationRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]revocationRequest(nil), r.requests...)
}

// count is how many requests there have been.
func (r *revocationWorld) count() int { return len(r.received()) }

// pending gives the keys of the tokens that wait to be revoked.
func (r *revocationWorld) pending() (keys []string) {
	r.t.Helper()
	for _, key := range r.storage.keys(r.t) {
		if strings.HasPrefix(key, "revocation/") {
			keys = append(keys, key)
		}
	}
	return keys
}

// connect configures a connection of the pair with a revocation endpoint of its own.
func (r *revocationWorld) connect(name string, pair fields) {
	r.t.Helper()
	r.write("config/"+name, with(pair, fields{"lease": true, "revoke_url": r.revokeURL() + "/" + name, "verify_connection": false}))
}

// Many leases that end together at an endpoint that does not work cost one try, also
// if Vault ends them at once; the tokens wait, and Vault hears what it always hears.
func TestRevocationOfManyLeasesAtADeadEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRevocationWorld(t)
		r.write("config", r.leasing())
		var leases []*logical.Response
		for range 200 {
			leases = append(leases, r.lease("creds"))
		}
		r.status(http.StatusServiceUnavailable)
		errs := make([]error, len(leases))
		var revoking sync.WaitGroup
		for i, lease := range leases {
			revoking.Go(func() { errs[i] = r.revoke(lease) })
		}
		revoking.Wait()
		for _, err := range errs {
			require.ErrorContains(t, err, `connection "default": a token of client "client-a" was not revoked: `)
			require.ErrorContains(t, err, `(HTTP 503 from `+r.revokeURL()+`); the engine retries until the token expires at 2026-03-01T13:00:00Z`)
		}
		assert.Equal(t, 1, r.count())
		assert.Len(t, r.pending(), 200)
		for _, lease := range leases {
			require.NoError(t, r.revoke(lease), "Vault is told once")
		}
		r.minute()
		assert.Equal(t, 2, r.count())
		r.recovers()
		r.minute()
		r.minute()
		assert.Empty(t, r.pending())
		for _, lease := range leases {
			assert.False(t, r.accepted(lease))
		}
	})
}

// While the endpoint works, leases that end together do not wait for each other.
func TestRevocationOfManyLeasesAtAnEndpointThatWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRevocationWorld(t)
		r.write("config", r.leasing())
		require.NoError(t, r.revoke(r.lease("creds")))
		leases := []*logical.Response{r.lease("creds"), r.lease("creds")}
		arrived, release := make(chan struct{}, len(leases)), make(chan struct{})
		r.answers(func(context.Context, revocationRequest) int {
			arrived <- struct{}{}
			<-release
			return http.StatusOK
		})
		var revoking sync.WaitGroup
		for _, lease := range leases {
			revoking.Go(func() { assert.NoError(t, r.revoke(lease)) })
		}
		for range leases {
			await(t, arrived, "a request beside the other")
		}
		close(release)
		revoking.Wait()
	})
}

// An endpoint that fails is left alone for a growing pause, whatever the failure.
func TestRevocationPauses(t *testing.T) {
	for name, status := range map[string]int{
		"no answer": http.StatusServiceUnavailable, "a refusal": http.StatusUnauthorized, "a page": http.StatusForbidden, "a redirect": http.StatusFound,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRevocationWorld(t)
				require.NoError(t, r.sim.SetTokenLifetime(24*time.Hour))
				r.write("config", r.leasing())
				r.status(status)
				for range 3 {
					require.Error(t, r.revoke(r.lease("creds")))
				}
				for range 130 {
					r.minute()
				}
				var minutes []int
				for _, request := range r.received() {
					minutes = append(minutes, int(request.at.Sub(start).Minutes()))
				}
				assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 8, 11, 16, 25, 43, 73, 103}, minutes)
				assert.Len(t, r.pending(), 3)

				// One success ends it.
				r.recovers()
				for range 30 {
					r.minute()
				}
				assert.Empty(t, r.pending())
			})
		})
	}
}

// The pause is as long as the endpoint asks, if that is more.
func TestRevocationPauseAsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.leasing())
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointRevoke, Status: http.StatusTooManyRequests, RetryAfter: "600"})
		require.Error(t, w.revoke(w.lease("creds")))
		for range 9 {
			w.minute()
		}
		assert.Equal(t, 1, w.revocations())
		w.minute()
		assert.Equal(t, 2, w.revocations())
	})
}

// A write that changes what is asked ends the pause.
func TestRevocationPauseEndsWithAChange(t *testing.T) {
	for name, change := range map[string]func(r *revocationWorld, pair fields, secret string){
		"a new secret": func(r *revocationWorld, _ fields, secret string) {
			r.write("config", fields{"client_secret": secret})
		},
		"a rotation with a new secret": func(r *revocationWorld, _ fields, secret string) {
			r.rotate(fields{"client_secret": secret})
		},
		"another address": func(r *revocationWorld, pair fields, secret string) {
			r.write("config", fields{"revoke_url": r.revokeURL() + "/other", "client_secret": secret, "paired_client_secret": pair["paired_client_secret"]})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRevocationWorld(t)
				pair := r.leasing()
				r.write("config", pair)
				lease, other := r.lease("creds"), r.lease("creds")
				r.rotate(fields{"client_id": clientB})
				secret := r.regenerate(clientA)
				require.ErrorContains(t, r.revoke(lease), "invalid_client")
				for range 6 { // the next try would be in the eighth
					r.minute()
				}
				asked := r.count()
				require.ErrorContains(t, r.revoke(other), "invalid_client")
				assert.Equal(t, asked, r.count(), "it is left alone")

				change(r, pair, secret)
				r.minute()
				assert.Empty(t, r.pending())
				for _, lease := range []*logical.Response{lease, other} {
					assert.False(t, r.accepted(lease))
				}
			})
		})
	}
}

// What fails for one client, or one token, is no affair of the others.
func TestRevocationOfTheOthersGoesOn(t *testing.T) {
	t.Run("clients", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRevocationWorld(t)
			r.write("config", r.leasing())
			ofA := []*logical.Response{r.lease("creds"), r.lease("creds"), r.lease("creds")}
			r.rotate(fields{"client_id": clientB})
			ofB := []*logical.Response{r.lease("creds"), r.lease("creds"), r.lease("creds")}
			r.status(http.StatusServiceUnavailable)
			for i := range ofA {
				require.Error(t, r.revoke(ofA[i]))
				require.Error(t, r.revoke(ofB[i]))
			}
			r.regenerate(clientA) // and nobody wrote it here
			r.recovers()
			r.minute()
			for i := range ofA {
				assert.True(t, r.accepted(ofA[i]))
				assert.False(t, r.accepted(ofB[i]))
			}
		})
	})
	t.Run("tokens", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRevocationWorld(t)
			r.write("config", r.leasing())
			r.status(http.StatusServiceUnavailable)
			refused := map[string]bool{}
			for i := range 20 {
				lease := r.lease("creds")
				require.Error(t, r.revoke(lease))
				refused[lease.Data["access_token"].(string)] = i < 5
			}
			r.answers(func(_ context.Context, request revocationRequest) int {
				if refused[request.token] {
					return http.StatusBadRequest
				}
				return http.StatusOK
			})
			for range 59 {
				r.minute()
			}
			assert.Len(t, r.pending(), 5, "each of the five makes way for the others")
		})
	})
}

// A connection or an entry that cannot be read is passed over and told of once, until
// it could be.
func TestRevocationPassesOverWhatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRevocationWorld(t)
		require.NoError(t, r.sim.SetTokenLifetime(24*time.Hour))
		pair := r.pair()
		leases := map[string]*logical.Response{}
		r.status(http.StatusServiceUnavailable)
		for _, name := range []string{"damaged", "dead", "unread", "well"} {
			r.connect(name, pair)
			leases[name] = r.lease("creds/" + name)
			require.Error(t, r.revoke(leases[name]))
		}
		entry, err := r.storage.Get(t.Context(), "connection/damaged")
		require.NoError(t, err)
		require.NoError(t, r.storage.Put(t.Context(), &logical.StorageEntry{Key: "connection/damaged", Value: []byte(`{"version":1}`)}))
		r.restart()
		unread := r.storedRevocation(leases["unread"])
		r.storage.failGetOf(unread)
		r.answers(func(_ context.Context, request revocationRequest) int {
			if strings.HasSuffix(request.path, "/dead") {
				return http.StatusServiceUnavailable
			}
			return http.StatusOK
		})

		said := r.lines(func() {
			for range 5 {
				r.minute()
			}
		}, "WARN", "ERROR")
		require.Len(t, said, 2, said)
		told := strings.Join(said, "")
		assert.Contains(t, told, `tokens are waiting to be revoked: their connection cannot be read: connection=damaged error="connection \"damaged\": its storage entry is damaged`)
		assert.Contains(t, told, `pending revocations could not be read or deleted; trying again every minute: error="the disk is full"`)
		assert.ElementsMatch(t, []string{r.storedRevocation(leases["damaged"]), r.storedRevocation(leases["dead"]), unread}, r.pending())

		// All of it can be mended, and told of anew.
		require.NoError(t, r.storage.Put(t.Context(), entry))
		r.storage.heal()
		r.recovers()
		for range 5 {
			r.minute()
		}
		assert.Empty(t, r.pending())
	})
}

// A lease that ends while its connection cannot be read does not become one that Vault
// keeps for ever: its token waits as if GBG had not answered.
func TestRevocationOfAConnectionThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRevocationWorld(t)
		r.write("config", r.leasing())
		lease := r.lease("creds")
		entry, err := r.storage.Get(t.Context(), "connection/default")
		require.NoError(t, err)
		require.NoError(t, r.storage.Put(t.Context(), &logical.StorageEntry{Key: "connection/default", Value: []byte(`{"version":9}`)}))
		r.restart()
		said := r.lines(func() {
			require.ErrorContains(t, r.revoke(lease), `connection "default": its storage entry has version 9`)
		}, "WARN")
		require.Len(t, said, 1)
		assert.Contains(t, said[0], "token not revoked yet")
		require.NoError(t, r.revoke(lease))
		assert.True(t, r.accepted(lease))

		require.NoError(t, r.storage.Put(t.Context(), entry))
		r.minute()
		assert.False(t, r.accepted(lease))
		assert.Empty(t, r.pending())
	})
}

// What has ended by itself is forgotten, whatever stands in the way of the others.
func TestRevocationForgetsWhatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRevocationWorld(t)
		pair := r.pair()
		r.status(http.StatusServiceUnavailable)
		for _, name := range []string{"damaged", "dead"} {
			r.connect(name, pair)
			require.Error(t, r.revoke(r.lease("creds/"+name)))
		}
		require.NoError(t, r.storage.Put(t.Context(), &logical.StorageEntry{Key: "connection/damaged", Value: []byte(`{"version":1}`)}))
		r.restart()
		r.pass(58 * time.Minute)
		said := r.lines(func() {
			for range 2 {
				r.minute()
			}
		}, "WARN", "ERROR")
		require.Len(t, said, 3, said)
		assert.Contains(t, said[0], "tokens are waiting to be revoked")
		for _, line := range said[1:] {
			assert.Contains(t, line, "token expired before it could be revoked")
		}
		assert.Empty(t, r.pending())
	})
}

// A storage that does not forget what was revoked is told of once, and no reason to
// stop.
func TestRevocationThatStorageKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRevocationWorld(t)
		r.write("config", r.leasing())
		r.status(http.StatusServiceUnavailable)
		leases := []*logical.Response{r.lease("creds"), r.lease("creds"), r.lease("creds")}
		for _, lease := range leases {
			require.Error(t, r.revoke(lease))
		}
		r.recovers()
		r.storage.failDelete(errDisk)
		assert.Len(t, r.lines(func() {
			for range 3 {
				r.minute()
			}
		}, "WARN", "ERROR"), 1)
		for _, lease := range leases {
			assert.False(t, r.accepted(lease))
		}
		r.storage.heal()
		r.minute()
		assert.Empty(t, r.pending())

		// Nor is one that may not be written.
		r.status(http.StatusServiceUnavailable)
		require.Error(t, r.revoke(r.lease("creds")))
		r.recovers()
		r.readOnly()
		assert.Empty(t, r.lines(r.minute, "WARN", "ERROR"))
	})
}

// Slow endpoints do not keep a run beyond its time, and those that it did not come
// to are the first in the next one.
func TestRevocationRunsHaveAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRevocationWorld(t)
		pair := r.pair()
		r.status(http.StatusServiceUnavailable)
		const connections = 10
		for i := range connections {
			name := fmt.Sprint("team-", i)
			r.connect(name, pair)
			require.Error(t, r.revoke(r.lease("creds/"+name)))
		}
		r.answers(func(context.Context, revocationRequest) int {
			r.pass(16 * time.Second)
			return http.StatusServiceUnavailable
		})
		reached := map[string]bool{}
		for range 4 { // 3, 3, 3 and 1
			before := r.count()
			began := time.Now().Add(time.Minute)
			r.minute()
			assert.Less(t, time.Since(began), 90*time.Second, "Vault would have ended it")
			for _, request := range r.received()[before:] {
				reached[request.path] = true
			}
		}
		assert.Len(t, reached, connections)
	})
}

// Nor does one that hangs, however long its request_timeout is.
func TestRevocationRunAndAnEndpointThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRevocationWorld(t)
		pair := r.pair()
		r.connect("hangs", with(pair, fields{"request_timeout": 60}))
		r.connect("well", pair)
		r.status(http.StatusServiceUnavailable)
		for _, name := range []string{"hangs", "well"} {
			require.Error(t, r.revoke(r.lease("creds/"+name)))
		}
		arrived := make(chan string, 2)
		r.answers(func(ctx context.Context, request revocationRequest) int {
			arrived <- request.path
			if strings.HasSuffix(request.path, "/hangs") {
				<-ctx.Done()
			}
			return http.StatusOK
		})
		r.pass(time.Minute)
		began := time.Now()
		running := later(func() answer { return answer{err: tick(r.mount)} })
		for range 2 {
			if path := await(t, arrived, "a request"); strings.HasSuffix(path, "/hangs") {
				r.pass(30 * time.Second)
			}
		}
		require.NoError(t, await(t, running, "the end of the run").err)
		assert.Equal(t, 30*time.Second, time.Since(began))
		assert.Len(t, r.pending(), 1)
	})
}

// A run that is cancelled ends at once.
func TestRevocationRunThatIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRevocationWorld(t)
		r.write("config", r.leasing())
		r.status(http.StatusServiceUnavailable)
		for range 5 {
			require.Error(t, r.revoke(r.lease("creds")))
		}
		ctx, cancel := context.WithCancel(t.Context())
		r.answers(func(context.Context, revocationRequest) int {
			cancel()
			return http.StatusOK
		})
		r.pass(time.Minute)
		asked := r.count()
		_, err := r.backend.HandleRequest(ctx, &logical.Request{Operation: logical.RollbackOperation, Storage: r.storage})
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, asked+1, r.count())
		assert.GreaterOrEqual(t, len(r.pending()), 4)
	})
}

// storedRevocation is the key under which a lease's token waits to be revoked.
func (r *revocationWorld) storedRevocation(lease *logical.Response) string {
	r.t.Helper()
	for key, entry := range r.storage.content(r.t) {
		if strings.HasPrefix(key, "revocation/") && strings.Contains(string(entry.Value), lease.Data["access_token"].(string)) {
			return key
		}
	}
	require.FailNow(r.t, "the token is not stored")
	panic("unreachable")
}

// failGetOf makes every Get of a key from now on fail.
func (s *storage) failGetOf(failing string) {
	f := func(ctx context.Context, key string) (*logical.StorageEntry, error) {
		if key == failing {
			return nil, errDisk
		}
		return s.InmemStorage.Get(ctx, key)
	}
	s.onGet.Store(&f)
}

// If the first request to revoke a token gets no answer the second one does, in the
// time for one answer.
func TestFirstRevocationHangs(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		config := w.pair()
		config["lease"], config["revoke_url"] = true, w.url(gbgsim.RevokePath)
		w.write("config", config)
		lease := w.try(logical.ReadOperation, "creds", nil).resp
		var once sync.Once
		w.onRequest(func(rw http.ResponseWriter, r *http.Request) (answered bool) {
			once.Do(func() { answered = hang(rw, r) })
			return answered
		})
		began := time.Now()
		_, err := w.backend.HandleRequest(w.t.Context(), &logical.Request{Operation: logical.RevokeOperation, Secret: lease.Secret, Storage: w.storage})
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(began), 10*time.Second)
	})
}
