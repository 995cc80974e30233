package metrics

import (
	"cmp"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gbg.example/vault-plugin-secrets-gbg/backend"
	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// snapshot is a prometheus.Collector of the state of the connections at a scrape.
type snapshot []backend.Status

const (
	readsHelp       = "Successful reads of a token, by its source: memory, Vault's storage, or a request to GBG that the read waited for."
	failedReadsHelp = "Reads that failed because no token could be obtained."
	flipsHelp       = "Changes of the active client, by cause."
	checksHelp      = "Checks of the standby, by result: ok, refused, or unreachable."
)

var (
	reads = describe("gbg_reads_total", readsHelp, "source")
	// It does not include reads that fail for another reason than a missing token,
	// such as an invalid min_ttl or a canceled request.
	failedReads = describe("gbg_failed_reads_total", failedReadsHelp)
	flips       = describe("gbg_rotations_total", flipsHelp, "cause")
	failures    = describe("gbg_consecutive_failures", "Consecutive failed token requests. 0 if the last one succeeded.")

	tokenExpires = describe("gbg_token_expire_timestamp_seconds", "Expiry of the current token. Absent if there is none.")
	tokenRefresh = describe("gbg_token_refresh_timestamp_seconds", "When the current token is refreshed, if it is in use. Absent if there is none.")

	active   = describe("gbg_client_active", "1 for the client that requests tokens, 0 for the standby.", "client_id")
	setTime  = describe("gbg_client_secret_set_timestamp_seconds", "When the client's secret was stored.", "client_id")
	verified = describe("gbg_client_verified_timestamp_seconds", "When the client last got a token with its current secret. Absent if it never did.", "client_id")
	due      = describe("gbg_secret_due_timestamp_seconds", "When the active client's secret reaches max_secret_age. Absent if max_secret_age is not set.")
	state    = describe("gbg_connection_state", "1 for the state of the connection.", "state")
	refused  = describe("gbg_standby_refused_timestamp_seconds", "When the standby was refused. Absent if it was not, or has got a token or a new secret since.", "client_id")
	rotated  = describe("gbg_last_rotation_timestamp_seconds", "When the active client last changed, by cause. Absent if it never did.", "cause")

	nextRotation = describe("gbg_next_rotation_timestamp_seconds", "The next time of the rotation schedule. Absent if there is none.")
	rotationDue  = describe("gbg_rotation_due_timestamp_seconds", "Since when a scheduled rotation has been due that was not made, by reason: no_new_secret, window_closed, or pending while it is being tried. Absent if none is.", "reason")

	checks = describe("gbg_standby_checks_total", checksHelp, "result")
	differ = describe("gbg_claims_differ", "1 if the last tokens of both clients differ in claims that may grant rights, 0 if not. Absent if there is no standby.")

	unreadable = prometheus.NewDesc("gbg_unreadable_connections", "Connections whose storage entry this plugin cannot read.", nil, nil)
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{"connection"}, labels...), nil)
}

// Describe implements prometheus.Collector.
func (s snapshot) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{reads, failedReads, flips, failures, tokenExpires, tokenRefresh, active, setTime, verified, due, rotated, nextRotation, rotationDue, checks, differ, state, refused, unreadable} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (s snapshot) Collect(metrics chan<- prometheus.Metric) {
	unreadableCount := 0
	for i := range s {
		c := &s[i]
		series := series{metrics, c.Connection}
		series.gauge(state, 1, string(c.State))
		if !c.Readable() {
			unreadableCount++
			continue
		}
		series.collect(c)
	}
	metrics <- prometheus.MustNewConstMetric(unreadable, prometheus.GaugeValue, float64(unreadableCount))
}

// series sends the metrics of one connection.
type series struct {
	metrics    chan<- prometheus.Metric
	connection string
}

func (s series) collect(c *backend.Status) {
	s.gauge(failures, float64(c.ConsecutiveErrors))
	if c.Active.ID == "" {
		return // callers supply the id_token: there are no token reads and no clients
	}
	s.count(reads, c.Counts.Memory, "memory")
	s.count(reads, c.Counts.Storage, "storage")
	s.count(reads, c.Counts.GBG, "gbg")
	s.count(failedReads, c.Counts.Failed)
	s.count(flips, c.Counts.Rotations, string(connection.CauseRotate))
	if !c.NextRotationTime.IsZero() || c.Counts.Scheduled > 0 {
		s.count(flips, c.Counts.Scheduled, string(connection.CauseSchedule))
	}
	s.count(flips, c.Counts.Failovers, string(connection.CauseFailover))
	s.time(tokenExpires, c.TokenExpireTime)
	s.time(tokenRefresh, c.TokenRefreshTime)
	s.time(due, c.SecretDueTime)
	s.time(nextRotation, c.NextRotationTime)
	s.time(rotationDue, c.RotationDue, reasonOf(c.RotationObstacle))
	s.time(rotated, c.LastRotation.Time, string(c.LastRotation.Cause))
	s.client(c.Active, 1)
	if c.Standby.ID != "" {
		s.client(c.Standby, 0)
		if c.StandbyRefused {
			s.time(refused, c.Standby.Refusal.Time, c.Standby.ID)
		}
		s.standby(c)
	}
}

// reasonOf returns why a rotation that is due was not made, as a label's value.
func reasonOf(obstacle connection.RotationObstacle) string {
	return cmp.Or(string(obstacle), "pending")
}

func (s series) standby(c *backend.Status) {
	s.count(checks, c.Counts.ChecksOK, string(backend.ProofOK))
	s.count(checks, c.Counts.ChecksRefused, string(backend.ProofRefused))
	s.count(checks, c.Counts.ChecksUnreachable, string(backend.ProofUnreachable))
	s.gauge(differ, number(len(c.ClaimsDiffer) > 0))
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (s series) client(c backend.ClientStatus, isActive float64) {
	s.gauge(active, isActive, c.ID)
	s.time(setTime, c.SecretSetTime, c.ID)
	s.time(verified, c.VerifiedTime, c.ID)
}

func (s series) count(desc *prometheus.Desc, n uint64, labels ...string) {
	s.send(desc, prometheus.CounterValue, float64(n), labels)
}

func (s series) gauge(desc *prometheus.Desc, value float64, labels ...string) {
	s.send(desc, prometheus.GaugeValue, value, labels)
}

// time sends a timestamp unless it is zero.
func (s series) time(desc *prometheus.Desc, at time.Time, labels ...string) {
	if !at.IsZero() {
		s.gauge(desc, unixSeconds(at), labels...)
	}
}

// unixSeconds returns a time as a metric's value.
func unixSeconds(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }

func (s series) send(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels []string) {
	s.metrics <- prometheus.MustNewConstMetric(desc, kind, value, append([]string{s.connection}, labels...)...)
}
