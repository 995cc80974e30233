package plugintest

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// The state of a connection is one series, and that of a refused standby another.
func TestMetricsOfStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := coldWith(t, nil)
		assert.Equal(t, samples{`gbg_connection_state{state="standby_unproven"}`: 1}, w.metrics().of("default").like("gbg_connection_state"))
		w.fault(refusalOf(clientA))
		w.pass(time.Minute)
		w.creds()
		assert.Equal(t, samples{`gbg_connection_state{state="standby_refused"}`: 1}, w.metrics().of("default").like("gbg_connection_state"))
		assert.Equal(t, samples{`gbg_standby_refused_timestamp_seconds{client_id="client-a"}`: unix(start.Add(time.Minute + refusedPause))}, w.metrics().of("default").like("gbg_standby_refused"))
		w.sim.ClearFaults()
		w.rotateToStandby()
		assert.Empty(t, w.metrics().like("gbg_standby_refused"))
	})
}

// The summary has no series of one connection, and what alerts need of all of them.
func TestMetricsSummary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config/good", pair)
		w.pass(time.Minute)
		w.write("config/old", with(pair, fields{"max_secret_age": "1h"}))
		w.write("config/bad", pair)
		w.write("config/down", fields{"client_id": clientA, "client_secret": wrongSecret, "token_url": w.tokenURL(), "verify_connection": false})
		require.NoError(t, w.storage.Put(t.Context(), &logical.StorageEntry{Key: "connection/later", Value: []byte(`{"version":99}`)}))
		summary := func() samples { return withoutBuild(w.metricsWith(fields{"summary": true}).like("gbg_")) }

		w.read("creds/good")
		w.read("creds/bad")
		w.badGateway(w.try(logical.ReadOperation, "creds/down", nil))
		want := samples{
			`gbg_reads_total{source="memory"}`:  2,
			`gbg_reads_total{source="storage"}`: 0,
			`gbg_reads_total{source="gbg"}`:     0,
			`gbg_failed_reads_total{}`:          1,

			`gbg_rotations_total{cause="rotate"}`:   0,
			`gbg_rotations_total{cause="schedule"}`: 0,
			`gbg_rotations_total{cause="failover"}`: 0,

			`gbg_standby_checks_total{result="ok"}`:          0,
			`gbg_standby_checks_total{result="refused"}`:     0,
			`gbg_standby_checks_total{result="unreachable"}`: 0,

			`gbg_due_rotations{reason="no_new_secret"}`: 0,
			`gbg_due_rotations{reason="window_closed"}`: 0,
			`gbg_due_rotations{reason="pending"}`:       0,

			`gbg_connections{state="unreadable"}`:       1,
			`gbg_connections{state="down"}`:             1,
			`gbg_connections{state="failing"}`:          0,
			`gbg_connections{state="standby_refused"}`:  0,
			`gbg_connections{state="secret_old"}`:       0,
			`gbg_connections{state="rotation_due"}`:     0,
			`gbg_connections{state="standby_unproven"}`: 0,
			`gbg_connections{state="ok"}`:               3,

			`gbg_failing_connections{result="client_refused"}`: 1,
			`gbg_expiring_tokens{}`:                            0,
			`gbg_oldest_secret_set_timestamp_seconds{}`:        unix(start),
			`gbg_unreadable_connections{}`:                     1,

			`gbg_request_duration_seconds{result="ok",step="token"}`:             6,
			`gbg_request_duration_seconds{result="client_refused",step="token"}`: 2,
		}
		assert.Equal(t, want, summary())
		assert.NotEmpty(t, w.metricsWith(fields{"summary": "true"}).like("go_"), "and the process's")
		assert.Equal(t, summary(), withoutBuild(w.metricsWith(fields{"summary": "true"}).like("gbg_")), "as a query has it")
		assert.Contains(t, withoutBuild(w.metricsWith(fields{"summary": "false"})), `gbg_connection_state{connection="down",state="down"}`)

		// What a deleted connection counted is not taken back: it would look like a
		// restart, and all that was counted before as new.
		w.ok(w.try(logical.DeleteOperation, "config/down", nil))
		want[`gbg_connections{state="down"}`] = 0
		delete(want, `gbg_failing_connections{result="client_refused"}`)
		assert.Equal(t, want, summary())

		// A token in use that is not replaced, the secret that is too old, and the one
		// that nobody reads.
		w.regenerate(clientA)
		w.fault(statusFault(http.StatusServiceUnavailable))
		w.pass(57 * time.Minute)
		now := summary()
		assert.Equal(t, 2, int(now[`gbg_connections{state="failing"}`]))
		assert.Equal(t, 2, int(now[`gbg_failing_connections{result="server_error"}`]))
		assert.Equal(t, 1, int(now[`gbg_expiring_tokens{}`]), "the other one began a minute later")
		w.pass(2 * time.Minute)
		now = summary()
		assert.Equal(t, 1, int(now[`gbg_connections{state="down"}`]))
		assert.Equal(t, 1, int(now[`gbg_expiring_tokens{}`]), "one has ended")
		w.pass(time.Minute)
		assert.Equal(t, 1, int(summary()[`gbg_connections{state="secret_old"}`]))
	})
}

// The summary counts the rotations that are due by why they were not made, and the checks
// of all standbys.
func TestMetricsSummaryOfRotations(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		pair := with(w.pair(), nightly)
		for _, name := range []string{"served", "served-too", "closed"} {
			w.write("config/"+name, pair)
		}
		w.passUntil(marchAt(2, 3, 0))
		w.passUntil(marchAt(3, 2, 59))
		w.write("config/tried", with(pair, fields{"client_id": clientB, "client_secret": pair["paired_client_secret"], "paired_client_id": clientA, "paired_client_secret": pair["client_secret"], "verify_connection": false}))
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusServiceUnavailable})
		w.passUntil(marchAt(3, 3, 30))
		due := func() samples { return w.metricsWith(fields{"summary": true}).like("gbg_due_rotations") }
		assert.Equal(w.t, samples{
			`gbg_due_rotations{reason="no_new_secret"}`: 3,
			`gbg_due_rotations{reason="window_closed"}`: 0,
			`gbg_due_rotations{reason="pending"}`:       1,
		}, due())
		w.passUntil(marchAt(3, 5, 0))
		w.sim.ClearFaults()
		w.write("config/closed", fields{"client_secret": w.regenerate(clientA)})
		assert.Equal(w.t, samples{
			`gbg_due_rotations{reason="no_new_secret"}`: 2,
			`gbg_due_rotations{reason="window_closed"}`: 2,
			`gbg_due_rotations{reason="pending"}`:       0,
		}, due())
		assert.Equal(w.t, samples{
			`gbg_standby_checks_total{result="ok"}`:          3,
			`gbg_standby_checks_total{result="refused"}`:     0,
			`gbg_standby_checks_total{result="unreachable"}`: 0,
		}, w.metricsWith(fields{"summary": true}).like("gbg_standby_checks"))
	})
}
