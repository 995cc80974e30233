package metrics

import (
	"bytes"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"gbg.example/vault-plugin-secrets-gbg/backend"
)

// format is the text format that Prometheus scrapes by default.
var format = expfmt.NewFormat(expfmt.TypeTextPlain)

// ContentType is the media type of Text.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Metrics are the metrics of one mount. It implements backend.Observer.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
}

// New returns the metrics of a plugin with a version, which may be empty if unknown.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gbg_request_duration_seconds",
			Help: "Duration of requests to GBG and to identity providers, by step and result.",
			// From a fast token endpoint to the maximum request_timeout.
			Buckets: []float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"connection", "step", "result"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "gbg_build_info",
		Help:        "Always 1. The labels are the version of the plugin and of Go.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.requests, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// OnRequest implements backend.Observer.
func (m *Metrics) OnRequest(r backend.EndpointRequest) {
	m.requests.WithLabelValues(r.Connection, r.Step.String(), r.Result).Observe(r.Duration.Seconds())
}

// Forget implements backend.Observer. It deletes the series of a connection.
func (m *Metrics) Forget(connection string) {
	m.requests.DeletePartialMatch(prometheus.Labels{"connection": connection})
}

// Text returns all metrics, including those of the given connections.
func (m *Metrics) Text(connections []backend.Status) (string, error) {
	snapshots := prometheus.NewPedanticRegistry()
	if err := snapshots.Register(snapshot(connections)); err != nil {
		return "", err
	}
	families, err := prometheus.Gatherers{m.registry, snapshots}.Gather()
	if err != nil {
		return "", err
	}
	var text bytes.Buffer
	encoder := expfmt.NewEncoder(&text, format)
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			return "", err
		}
	}
	return text.String(), nil
}
