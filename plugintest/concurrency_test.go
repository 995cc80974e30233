package plugintest

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gbg "gbg.example/vault-plugin-secrets-gbg"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// readLater reads creds in a goroutine; waiting is closed once the reader waits
// for GBG.
func (m *mount) readLater(ctx context.Context) (reading <-chan answer, waiting <-chan struct{}) {
	watched := watch(ctx)
	return later(func() answer { return m.send(watched, logical.ReadOperation, "creds", nil) }), watched.waiting
}

// cold gives a world whose connection has a pair and no token yet.
func cold(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, worldOptions{})
	w.write("config", with(w.pair(), fields{"verify_connection": false}))
	return w
}

func TestColdReadersShareOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := cold(t)
		release := w.gate.hold(clientA)
		defer release()
		var readings []<-chan answer
		for range 50 {
			reading, waiting := w.readLater(t.Context())
			await(t, waiting, "a reader to wait")
			readings = append(readings, reading)
		}
		release()
		var first fields
		for _, reading := range readings {
			got := w.ok(await(t, reading, "a reader's answer")).Data
			if first == nil {
				first = got
			}
			assert.Equal(t, first, got)
		}
		assert.Equal(t, 1, w.asked())
	})
}

// Readers that come as they like share it too, also at the end of a token.
func TestCrowdsShareOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := cold(t)
		for round := range 3 {
			var crowd sync.WaitGroup
			tokens := make([]any, 50)
			for i := range tokens {
				crowd.Go(func() {
					if a := w.send(t.Context(), logical.ReadOperation, "creds", nil); a.err == nil {
						tokens[i] = a.resp.Data["access_token"]
					}
				})
			}
			crowd.Wait()
			for _, token := range tokens {
				assert.Equal(t, clientA, w.owner(token))
				assert.Equal(t, tokens[0], token)
			}
			assert.Equal(t, round+1, w.asked())
			w.pass(time.Hour)
		}
	})
}

// A reader who saw that there is no token, and then dawdled while others
// fetched one, takes theirs.
func TestReaderWhoDawdlesTakesTheTokenOfTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := cold(t)
		arrived, proceed := make(chan struct{}), make(chan struct{})
		var dawdles atomic.Bool
		w.mount = w.mountWith(gbg.Options{Now: func() time.Time {
			if dawdles.CompareAndSwap(true, false) {
				close(arrived)
				<-proceed
			}
			return time.Now()
		}})
		w.read("status") // so that the connection is in memory
		dawdles.Store(true)
		dawdler, _ := w.readLater(t.Context())
		await(t, arrived, "the first reader")
		token := w.read("creds")
		close(proceed)
		assert.Equal(t, token, w.ok(await(t, dawdler, "the first reader's answer")).Data)
		assert.Equal(t, 1, w.asked())
	})
}

func TestReadersShareAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := cold(t)
		w.write("config", fields{"failover": false})
		w.regenerate(clientA)
		release := w.gate.hold(clientA)
		defer release()
		var readings []<-chan answer
		for range 10 {
			reading, waiting := w.readLater(t.Context())
			await(t, waiting, "a reader to wait")
			readings = append(readings, reading)
		}
		release()
		for _, reading := range readings {
			w.coded(http.StatusBadGateway, await(t, reading, "a reader's answer"))
		}
		assert.Equal(t, 2, w.asked(), "a refused client is asked once more")
		assert.Equal(t, int64(1), w.read("status")["consecutive_errors"])
	})
}

func TestReaderWhoLeavesCancelsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := cold(t)
		release := w.gate.hold(clientA)
		defer release()
		ctx, leave := context.WithCancel(t.Context())
		first, waiting := w.readLater(ctx) // the one that started it
		await(t, waiting, "the first reader to wait")
		second, waiting := w.readLater(t.Context())
		await(t, waiting, "the second reader to wait")

		leave()
		assert.ErrorIs(t, await(t, first, "the reader who left").err, context.Canceled)
		release()
		assert.Equal(t, clientA, w.ok(await(t, second, "the reader who stayed")).Data["client_id"])
		assert.Equal(t, 1, w.asked())
	})
}

func TestReaderWhoLeavesAloneStillFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := cold(t)
		release := w.gate.hold(clientA)
		defer release()
		ctx, leave := context.WithCancel(t.Context())
		reading, _ := w.readLater(ctx)
		await(t, w.gate.arrived, "the token request")
		leave()
		assert.ErrorIs(t, await(t, reading, "the reader who left").err, context.Canceled)
		next, waiting := w.readLater(t.Context())
		await(t, waiting, "the next reader to wait")
		release()
		w.ok(await(t, next, "the next reader"))
		assert.Equal(t, 1, w.asked())
	})
}

// A token that was asked for with one state of a connection is not served once
// a write or rotation that replaces its client has been answered.
func TestTokenOfThePastIsNeverServed(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*world)
		client string // of the token that the waiting reader gets
	}{
		{"rotation", func(w *world) { w.rotate(nil) }, clientB},
		{"rotation with a new secret", func(w *world) { w.rotate(fields{"client_secret": w.regenerate(clientB)}) }, clientB},
		{"another client in its place", func(w *world) {
			w.write("config", fields{"client_id": "client-c", "client_secret": w.client("client-c")})
		}, "client-c"},
		{"another client, unverified", func(w *world) {
			w.write("config", fields{"client_id": "client-c", "client_secret": w.client("client-c"), "verify_connection": false})
		}, "client-c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := cold(t)
				release := w.gate.hold(clientA)
				defer release()
				before, _ := w.readLater(t.Context())
				await(t, w.gate.arrived, "the request for client A")
				c.change(w)

				// Nobody waits for the old client's token any more.
				fresh := w.read("creds")
				assert.Equal(t, c.client, fresh["client_id"])
				release()
				got := w.ok(await(t, before, "the waiting reader")).Data
				assert.Equal(t, c.client, w.owner(got["access_token"]))
				assert.Equal(t, fresh["access_token"], got["access_token"])
				for range 10 {
					assert.Equal(t, fresh["access_token"], w.read("creds")["access_token"])
				}
				assert.Equal(t, 1, w.askedBy(clientA))
			})
		})
	}
}

// There and back again: the request of before the first rotation is not the
// request of after the second.
func TestTokenOfThePastAfterTwoRotations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := cold(t)
		release := w.gate.hold(clientA)
		reading, _ := w.readLater(t.Context())
		await(t, w.gate.arrived, "the request for client A")
		w.rotate(nil)
		rotating := later(func() answer {
			return w.send(t.Context(), logical.UpdateOperation, "rotate", fields{"client_id": clientA})
		})
		await(t, w.gate.arrived, "client A's proof")
		release()
		assert.Equal(t, clientA, w.ok(await(t, rotating, "the rotation")).Data["active_client_id"])
		w.ok(await(t, reading, "the waiting reader"))
		assert.Equal(t, clientA, w.owner(w.read("creds")["access_token"]))
		assert.Equal(t, 2, w.askedBy(clientA), "the proof's token is the one that is served")
	})
}

func TestConnectionDeletedUnderAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := cold(t)
		release := w.gate.hold(clientA)
		defer release()
		reading, _ := w.readLater(t.Context())
		await(t, w.gate.arrived, "the token request")
		w.ok(w.try(logical.DeleteOperation, "config", nil))
		release()
		assert.Contains(t, w.refused(await(t, reading, "the reader")), "is not configured")
		assert.Empty(t, w.storage.content(t))
	})
}

// A connection of the same name is another one.
func TestConnectionReplacedUnderAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := cold(t)
		release := w.gate.hold(clientA)
		defer release()
		reading, _ := w.readLater(t.Context())
		await(t, w.gate.arrived, "the token request")
		w.ok(w.try(logical.DeleteOperation, "config", nil))
		w.write("config", fields{"client_id": "client-c", "client_secret": w.client("client-c"), "token_url": w.tokenURL()})
		release()
		assert.Equal(t, "client-c", w.ok(await(t, reading, "the reader")).Data["client_id"])
	})
}

// A rotation that waits for GBG keeps no reader of a current token waiting.
func TestReadersDoNotWaitForARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		release := w.gate.hold(clientB)
		defer release()
		rotating := later(func() answer { return w.send(t.Context(), logical.UpdateOperation, "rotate", nil) })
		await(t, w.gate.arrived, "the proof")
		assert.Equal(t, clientA, w.read("creds")["client_id"])
		assert.Equal(t, clientA, w.read("status")["active_client_id"])
		assert.Equal(t, clientA, w.read("config")["active_client_id"])
		release()
		w.ok(await(t, rotating, "the rotation"))
		assert.Equal(t, clientB, w.read("creds")["client_id"])
	})
}

func TestTwoRotationsAtOnce(t *testing.T) {
	for _, c := range []struct {
		name    string
		request fields
		second  func(*world, answer)
	}{
		{"without client_id the second is refused", nil, func(w *world, a answer) { assert.Contains(t, w.refused(a), "may be the same request again") }},
		{"with client_id the second changes nothing", fields{"client_id": clientB}, func(w *world, a answer) { assert.Equal(t, false, w.ok(a).Data["rotated"]) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", w.pair())
				release := w.gate.hold(clientB)
				defer release()
				var rotations []<-chan answer
				for range 2 {
					rotations = append(rotations, later(func() answer {
						return w.send(t.Context(), logical.UpdateOperation, "rotate", c.request)
					}))
				}
				await(t, w.gate.arrived, "the first proof")
				release()
				var second []answer
				for _, rotation := range rotations {
					a := await(t, rotation, "a rotation")
					if a.resp.Data["rotated"] != true {
						second = append(second, a)
					}
				}
				require.Len(t, second, 1)
				c.second(w, second[0])
				w.mustAgree(clientB)
			})
		})
	}
}

// Changes of one connection queue up; whoever leaves the queue changes nothing.
func TestChangeGivenUpInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config", pair)
		w.write("config/team-a", pair)
		content := w.storage.content(t)
		release := w.gate.hold(clientB)
		defer release()
		first := later(func() answer { return w.send(t.Context(), logical.UpdateOperation, "rotate", nil) })
		await(t, w.gate.arrived, "the first one's proof")

		ctx, leave := context.WithCancel(t.Context())
		leave()
		for _, queued := range []answer{
			w.send(ctx, logical.UpdateOperation, "rotate", nil),
			w.send(ctx, logical.UpdateOperation, "config", fields{"refresh_before": 60}),
			w.send(ctx, logical.DeleteOperation, "config", nil),
		} {
			assert.ErrorIs(t, queued.err, context.Canceled)
		}
		assert.Equal(t, content, w.storage.content(t))
		w.write("config/team-a", fields{"refresh_before": 60}) // another connection does not queue here

		release()
		w.ok(await(t, first, "the first one"))
		w.mustAgree(clientB)
	})
}

// mustAgree checks that everything that tells of the active client tells the
// same, storage included.
func (w *world) mustAgree(active string) {
	w.t.Helper()
	restarted := w.newMount()
	for _, m := range []*mount{w.mount, restarted} {
		assert.Equal(w.t, active, m.read("config")["active_client_id"])
		assert.Equal(w.t, active, m.read("status")["active_client_id"])
		creds := m.read("creds")
		assert.Equal(w.t, active, creds["client_id"])
		assert.Equal(w.t, active, w.owner(creds["access_token"]))
	}
	assert.Equal(w.t, w.read("config"), restarted.read("config"))
}

// Readers under rotations: nobody fails, and nobody who comes after a
// rotation's answer gets a token of the client that left.
func TestReadersUnderRotations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())

		var active atomic.Pointer[string] // nil while a rotation is under way
		active.Store(new(clientA))
		var done atomic.Bool
		var stale, failed atomic.Int64
		reads := make(chan struct{})
		var readers sync.WaitGroup
		for range 8 {
			readers.Go(func() {
				for !done.Load() {
					before := active.Load()
					a := w.send(t.Context(), logical.ReadOperation, "creds", nil)
					switch {
					case a.err != nil || a.resp.IsError():
						failed.Add(1)
					case before != nil && active.Load() == before && a.resp.Data["client_id"] != *before:
						stale.Add(1)
					}
					select {
					case reads <- struct{}{}:
					default:
						runtime.Gosched() // a machine of one core has GBG to run too
					}
				}
			})
		}
		for range 20 {
			active.Store(nil)
			got := w.rotateToStandby().Data["active_client_id"].(string)
			active.Store(&got)
			for range 8 {
				await(t, reads, "the readers")
			}
		}
		done.Store(true)
		readers.Wait()
		assert.Zero(t, failed.Load(), "reads that failed")
		assert.Zero(t, stale.Load(), "tokens of a client that had left")
		w.mustAgree(clientA)
	})
}

// Everything at once; what is checked is that it hangs together, under -race.
func TestEverythingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{lifetime: 10 * time.Second})
		pair := with(w.pair(), fields{"request_timeout": 60}) // longer than all of it
		w.write("config", pair)

		var wrong sync.Map
		work := func(ctx context.Context, op logical.Operation, path string, data fields, allowed func(answer) bool) func() {
			return func() {
				for range 60 {
					if a := w.send(ctx, op, path, data); !allowed(a) {
						wrong.Store(path, a)
					}
				}
			}
		}
		// Nothing may go wrong but what the others bring about.
		fine := func(a answer) bool { return a.err == nil }
		written := func(a answer) bool {
			return a.err == nil || strings.Contains(a.err.Error(), "it was deleted a moment ago")
		}
		creds := func(a answer) bool {
			if a.err != nil || a.resp.IsError() {
				return a.err == nil
			}
			owner, ok := w.sim.TokenClient(a.resp.Data["access_token"].(string))
			return ok && owner == a.resp.Data["client_id"]
		}
		leaving, leave := context.WithCancel(t.Context())
		leave()

		var all sync.WaitGroup
		for range 2 {
			all.Go(work(t.Context(), logical.ReadOperation, "creds", nil, creds))
			all.Go(work(leaving, logical.ReadOperation, "creds", nil, func(answer) bool { return true }))
			all.Go(work(t.Context(), logical.UpdateOperation, "rotate", nil, fine))
			all.Go(work(t.Context(), logical.UpdateOperation, "rotate", fields{"client_id": clientA}, fine))
			all.Go(work(t.Context(), logical.UpdateOperation, "rotate", fields{"client_id": clientB}, fine))
			all.Go(work(t.Context(), logical.UpdateOperation, "config", pair, written))
			all.Go(work(t.Context(), logical.UpdateOperation, "config", with(pair, fields{"refresh_before": 2}), written))
			all.Go(work(t.Context(), logical.ReadOperation, "config", nil, fine))
			all.Go(work(t.Context(), logical.ListOperation, "config/", nil, fine))
			all.Go(work(t.Context(), logical.ReadOperation, "status", nil, fine))
		}
		all.Go(work(t.Context(), logical.DeleteOperation, "config", nil, fine))
		all.Go(func() {
			for range 40 {
				w.pass(time.Second)
				w.backend.InvalidateKey(t.Context(), "connection/default")
				w.backend.InvalidateKey(t.Context(), "token/default")
			}
		})
		done := make(chan struct{})
		go func() { all.Wait(); close(done) }()
		<-done
		wrong.Range(func(path, a any) bool {
			t.Errorf("%s: %+v", path, a)
			return true
		})

		w.write("config", pair)
		active, ok := w.read("config")["active_client_id"].(string)
		require.True(t, ok)
		w.mustAgree(active)
	})
}
