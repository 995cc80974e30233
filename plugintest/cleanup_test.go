package plugintest

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// What a backend starts, its clean-up ends: goroutines, and the connections to
// GBG that they belong to.
func TestCleanupLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		before := goleak.IgnoreCurrent()

		m := w.newMount()
		m.write("config", pair)
		m.write("config/team-a", with(pair, fields{"refresh_before": 60}))
		m.read("creds")
		m.rotate(nil)
		m.read("creds/team-a")
		m.backend.Cleanup(t.Context())
		goleak.VerifyNone(t, before)
	})
}

func TestCleanupWithAFetchInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := cold(t)
		before := goleak.IgnoreCurrent()

		m := w.newMount()
		release := w.gate.hold(clientA)
		defer release()
		first, waiting := m.readLater(t.Context())
		await(t, waiting, "the first reader to wait")
		ctx, leave := context.WithCancel(t.Context())
		second, waiting := m.readLater(ctx)
		await(t, waiting, "the second reader to wait")
		leave() // and nobody waits for the second
		await(t, second, "the second reader")
		await(t, w.gate.arrived, "the token request")

		m.backend.Cleanup(t.Context())
		assert.Equal(t, "the secrets engine is shutting down",
			w.coded(http.StatusServiceUnavailable, await(t, first, "the first reader")))
		goleak.VerifyNone(t, before)
		assert.Zero(t, w.sim.Stats().TokenRequests.Issued)
	})
}

// Changes under way are part of what clean-up ends: they write nothing after it.
func TestCleanupEndsARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		content := w.storage.content(t)
		release := w.gate.hold(clientB)
		defer release()
		rotating := later(func() answer { return w.send(t.Context(), logical.UpdateOperation, "rotate", nil) })
		await(t, w.gate.arrived, "the proof")
		w.backend.Cleanup(t.Context())
		release()
		assert.Equal(t, "the secrets engine is shutting down",
			w.coded(http.StatusServiceUnavailable, await(t, rotating, "the rotation")))
		assert.Equal(t, content, w.storage.content(t))
	})
}

// A connection with roots of its own has network connections of its own.
func TestCleanupOfConnectionsWithRootsOfTheirOwn(t *testing.T) {
	for name, last := range map[string]func(*mount){
		"a config write":         func(*mount) {},
		"an invalidation":        func(m *mount) { m.read("creds"); m.backend.InvalidateKey(t.Context(), "connection/default") },
		"a refused config write": func(m *mount) { m.try(logical.UpdateOperation, "config", fields{"client_secret": wrongSecret}) },
		"other roots": func(m *mount) {
			a, _ := m.tryRetried(logical.UpdateOperation, "config", fields{"ca_pem": testCA})
			m.coded(http.StatusServiceUnavailable, a)
		},
		"other roots, unverified": func(m *mount) { m.write("config", fields{"ca_pem": testCA, "verify_connection": false}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				secret := w.client(clientA)
				server := w.anotherServer(w.sim)
				server.StartTLS()
				before := goleak.IgnoreCurrent()
				m := w.newMount()
				m.write("config", fields{
					"client_id": clientA, "client_secret": secret,
					"token_url": server.URL + gbgsim.TokenPath, "ca_pem": pemOf("CERTIFICATE", server.Certificate().Raw),
				})
				last(m)
				m.backend.Cleanup(t.Context())
				goleak.VerifyNone(t, before)
			})
		})
	}
}

func TestAfterCleanup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := cold(t)
		w.backend.Cleanup(t.Context())
		w.backend.Cleanup(t.Context()) // twice is fine
		assert.Equal(t, "the secrets engine is shutting down",
			w.coded(http.StatusServiceUnavailable, w.try(logical.ReadOperation, "creds", nil)))
		assert.Zero(t, w.asked())
	})
}

// Whatever is asked of a backend that shuts down is answered, or a 503: with its
// storage still there, and without.
func TestEveryOperationAfterCleanup(t *testing.T) {
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprintf("storage gone: %v", gone), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				pair := w.pair()
				w.write("config", with(pair, fields{"lease": true, "revoke_url": w.revokeURL()}))
				leased := w.lease("creds")
				w.write("config/team-a", pair)
				content := w.storage.content(t)
				w.backend.Cleanup(t.Context())
				if gone {
					w.storage.trap.Store(&trap{storageFault: storageFault{lasts: true}})
				}
				shutDown := func(op logical.Operation, path string, data fields) {
					t.Helper()
					assert.Equal(t, "the secrets engine is shutting down", w.coded(http.StatusServiceUnavailable, w.send(t.Context(), op, path, data)), "%s %s", op, path)
				}
				shutDown(logical.UpdateOperation, "config", pair)
				shutDown(logical.UpdateOperation, "config/new", pair)
				shutDown(logical.DeleteOperation, "config", nil)
				shutDown(logical.DeleteOperation, "config/team-a", nil)
				shutDown(logical.ReadOperation, "creds", nil)
				shutDown(logical.UpdateOperation, "creds", fields{"id_token": "FAKE"})
				shutDown(logical.UpdateOperation, "rotate", nil)
				shutDown(logical.UpdateOperation, "rotate/team-a", nil)
				assert.Equal(t, logical.CodedError(http.StatusServiceUnavailable, "the secrets engine is shutting down"), w.revoke(leased))

				for path, op := range map[string]logical.Operation{
					"config/": logical.ListOperation, "status/": logical.ListOperation, "metrics": logical.ReadOperation,
					"config/new": logical.ReadOperation, "status/new": logical.ReadOperation, "creds/new": logical.ReadOperation,
				} {
					switch a := w.send(t.Context(), op, path, nil); {
					case gone:
						shutDown(op, path, nil)
					case path == "status/new" || path == "creds/new":
						assert.Contains(t, w.refused(a), "is not configured")
					default:
						w.ok(a)
					}
				}
				for _, path := range []string{"config", "status", "creds/team-a"} {
					w.ok(w.send(t.Context(), logical.ReadOperation, path, nil)) // they are in memory
				}
				w.storage.heal()
				assert.Equal(t, content, w.storage.content(t))
			})
		})
	}
}
