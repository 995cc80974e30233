package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vault-plugin-secrets-gbg/backend"
)

// snapshot is how the connections are at the moment of a scrape, as a collector.
type snapshot []backend.Status

var (
	reads = describe("gbg_reads_total", "Reads of a token that were answered, by where it came from: memory, Vault's storage, or GBG, for which the reader waited.", "source")
	// Reads that fail for another reason than the want of a token (a wrong min_ttl,
	// a caller who went away) are not in it.
	failedReads = describe("gbg_failed_reads_total", "Reads that were answered with an error because no token could be had.")
	flips       = describe("gbg_rotations_total", "Changes of the active client, by cause.", "cause")
	failures    = describe("gbg_consecutive_failures", "Token requests that have failed in a row; 0 if the last one succeeded.")

	tokenExpires = describe("gbg_token_expire_timestamp_seconds", "When the token being served expires. Absent if there is none.")
	tokenRefresh = describe("gbg_token_refresh_timestamp_seconds", "When the token being served gets its successor, if it is in use. Absent if there is none.")

	active   = describe("gbg_client_active", "1 for the client that tokens are asked with, 0 for the standby.", "client_id")
	setTime  = describe("gbg_client_secret_set_timestamp_seconds", "When the client's secret was stored.", "client_id")
	verified = describe("gbg_client_verified_timestamp_seconds", "When the client last got a token. Absent if it never did with this secret.", "client_id")
	due      = describe("gbg_secret_due_timestamp_seconds", "When the active client's secret reaches max_secret_age. Absent if that is off.")
	rotated  = describe("gbg_last_rotation_timestamp_seconds", "When the active client last changed, and the cause. Absent if it never did.", "cause")

	unreadable = prometheus.NewDesc("gbg_unreadable_connections", "Connections whose storage entry this plugin cannot read.", nil, nil)
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{"connection"}, labels...), nil)
}

// Describe implements prometheus.Collector.
func (s snapshot) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{reads, failedReads, flips, failures, tokenExpires, tokenRefresh, active, setTime, verified, due, rotated, unreadable} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (s snapshot) Collect(metrics chan<- prometheus.Metric) {
	lost := 0
	for _, c := range s {
		if !c.Readable() {
			lost++
			continue
		}
		series{metrics, c.Connection}.collect(c)
	}
	metrics <- prometheus.MustNewConstMetric(unreadable, prometheus.GaugeValue, float64(lost))
}

// series are those of one connection.
type series struct {
	metrics    chan<- prometheus.Metric
	connection string
}

func (s series) collect(c backend.Status) {
	s.gauge(failures, float64(c.ConsecutiveErrors))
	if c.Active.ID == "" {
		return // callers bring the tokens to exchange: there are no reads and no clients
	}
	s.count(reads, c.Counts.Memory, "memory")
	s.count(reads, c.Counts.Storage, "storage")
	s.count(reads, c.Counts.GBG, "gbg")
	s.count(failedReads, c.Counts.Failed)
	s.count(flips, c.Counts.Rotations, string(backend.CauseRotate))
	s.count(flips, c.Counts.Failovers, string(backend.CauseFailover))
	s.time(tokenExpires, c.TokenExpireTime)
	s.time(tokenRefresh, c.TokenRefreshTime)
	s.time(due, c.SecretDueTime)
	s.time(rotated, c.LastRotation.Time, string(c.LastRotation.Cause))
	s.client(c.Active, 1)
	if c.Standby.ID != "" {
		s.client(c.Standby, 0)
	}
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

// time leaves out what never was.
func (s series) time(desc *prometheus.Desc, at time.Time, labels ...string) {
	if !at.IsZero() {
		s.gauge(desc, float64(at.UnixMilli())/1000, labels...)
	}
}

func (s series) send(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels []string) {
	s.metrics <- prometheus.MustNewConstMetric(desc, kind, value, append([]string{s.connection}, labels...)...)
}
