package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gbg.example/vault-plugin-secrets-gbg/backend"
	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// summary is a prometheus.Collector of the state of all connections together.
type summary struct {
	connections []backend.Status
	total       backend.Counts
}

var (
	totalReads       = describeTotal("gbg_reads_total", readsHelp, "source")
	totalFailedReads = describeTotal("gbg_failed_reads_total", failedReadsHelp)
	totalFlips       = describeTotal("gbg_rotations_total", flipsHelp, "cause")
	totalChecks      = describeTotal("gbg_standby_checks_total", checksHelp, "result")

	byState  = describeTotal("gbg_connections", "Connections by state.", "state")
	byResult = describeTotal("gbg_failing_connections", "Connections whose last token request failed, by its result. Absent if there are none.", "result")
	dueFor   = describeTotal("gbg_due_rotations", "Connections with a scheduled rotation that is due and was not made, by reason: no_new_secret, window_closed, or pending while it is being tried.", "reason")
	expiring = describeTotal("gbg_expiring_tokens", "Tokens that are in use and past half of the time between their refresh and their expiry.")
	oldest   = describeTotal("gbg_oldest_secret_set_timestamp_seconds", "When the oldest secret of an active client was stored, connections with a max_secret_age left out. Absent if there is none.")
)

func describeTotal(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (s summary) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{totalReads, totalFailedReads, totalFlips, totalChecks, byState, byResult, dueFor, expiring, oldest, unreadable} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (s summary) Collect(metrics chan<- prometheus.Metric) {
	count := func(desc *prometheus.Desc, n uint64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	count(totalReads, s.total.Memory, "memory")
	count(totalReads, s.total.Storage, "storage")
	count(totalReads, s.total.GBG, "gbg")
	count(totalFailedReads, s.total.Failed)
	count(totalFlips, s.total.Rotations, string(connection.CauseRotate))
	count(totalFlips, s.total.Failovers, string(connection.CauseFailover))
	count(totalFlips, s.total.Scheduled, string(connection.CauseSchedule))

	count(totalChecks, s.total.ChecksOK, string(backend.ProofOK))
	count(totalChecks, s.total.ChecksRefused, string(backend.ProofRefused))
	count(totalChecks, s.total.ChecksUnreachable, string(backend.ProofUnreachable))

	states, results := map[backend.ConnectionState]int{}, map[string]int{}
	rotations := map[string]int{reasonOf(connection.NoNewSecret): 0, reasonOf(connection.WindowClosed): 0, reasonOf(""): 0}
	expiringTokens := 0
	var oldestSecret time.Time
	for i := range s.connections {
		c := &s.connections[i]
		states[c.State]++
		if c.LastErrorResult != "" {
			results[c.LastErrorResult]++
		}
		if !c.RotationDue.IsZero() {
			rotations[reasonOf(c.RotationObstacle)]++
		}
		if c.TokenExpiring {
			expiringTokens++
		}
		if set := c.Active.SecretSetTime; c.MaxSecretAge == 0 && !set.IsZero() && (oldestSecret.IsZero() || set.Before(oldestSecret)) {
			oldestSecret = set
		}
	}
	for _, state := range backend.ConnectionStates() {
		gauge(byState, float64(states[state]), string(state))
	}
	for result, n := range results {
		gauge(byResult, float64(n), result)
	}
	for reason, n := range rotations {
		gauge(dueFor, float64(n), reason)
	}
	gauge(expiring, float64(expiringTokens))
	if !oldestSecret.IsZero() {
		gauge(oldest, unixSeconds(oldestSecret))
	}
	gauge(unreadable, float64(states[backend.StateUnreadable]))
}
