package gbg_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

// What a backend starts, its clean-up ends: goroutines, and the connections to
// GBG that they belong to.
func TestCleanupLeavesNothingBehind(t *testing.T) {
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
}

func TestCleanupWithAFetchInFlight(t *testing.T) {
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
}

func TestAfterCleanup(t *testing.T) {
	w := cold(t)
	w.backend.Cleanup(t.Context())
	w.backend.Cleanup(t.Context()) // twice is fine
	assert.Equal(t, "the secrets engine is shutting down",
		w.coded(http.StatusServiceUnavailable, w.try(logical.ReadOperation, "creds", nil)))
	assert.Zero(t, w.asked())
}
