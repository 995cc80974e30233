package plugintest

import (
	"context"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// samples are the values of metrics by name and labels, as PromQL writes them. A
// histogram is its count.
type samples map[string]float64

// metrics reads the metrics as Prometheus does.
func (m *mount) metrics() samples {
	t := m.world.t
	t.Helper()
	resp := m.ok(m.send(t.Context(), logical.ReadOperation, "metrics", nil))
	assert.Equal(t, http.StatusOK, resp.Data[logical.HTTPStatusCode])
	assert.Equal(t, "text/plain; version=0.0.4; charset=utf-8", resp.Data[logical.HTTPContentType])
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(resp.Data[logical.HTTPRawBody].(string)))
	require.NoError(t, err)
	all := samples{}
	for name, family := range families {
		for _, metric := range family.Metric {
			all[seriesName(name, metric)] = valueOf(metric)
		}
	}
	return all
}

func seriesName(name string, metric *dto.Metric) string {
	var labels []string
	for _, label := range metric.Label {
		labels = append(labels, label.GetName()+`="`+label.GetValue()+`"`)
	}
	slices.Sort(labels)
	return name + "{" + strings.Join(labels, ",") + "}"
}

func valueOf(metric *dto.Metric) float64 {
	switch {
	case metric.Histogram != nil:
		return float64(metric.Histogram.GetSampleCount())
	case metric.Counter != nil:
		return metric.Counter.GetValue()
	case metric.Gauge != nil:
		return metric.Gauge.GetValue()
	}
	return math.NaN()
}

// of leaves the samples of one connection, without that label.
func (s samples) of(connection string) samples {
	all := samples{}
	for name, value := range s {
		label := `connection="` + connection + `"`
		if !strings.Contains(name, label) {
			continue
		}
		name = strings.NewReplacer(label+",", "", ","+label, "", "{"+label+"}", "").Replace(name)
		all[name] = value
	}
	return all
}

// like leaves those whose name begins so.
func (s samples) like(prefix string) samples {
	all := maps.Clone(s)
	maps.DeleteFunc(all, func(name string, _ float64) bool { return !strings.HasPrefix(name, prefix) })
	return all
}

// unix is a time as a metric's value.
func unix(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }

// All that there is to see of a pair, before it was read and after a rotation.
func TestMetricsOfAPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config/team-a", with(w.pair(), fields{"max_secret_age": "1h"}))
		want := samples{
			`gbg_reads_total{source="memory"}`:  0,
			`gbg_reads_total{source="storage"}`: 0,
			`gbg_reads_total{source="gbg"}`:     0,
			`gbg_failed_reads_total`:            0,

			`gbg_rotations_total{cause="rotate"}`:   0,
			`gbg_rotations_total{cause="failover"}`: 0,
			`gbg_consecutive_failures`:              0,

			`gbg_token_expire_timestamp_seconds`:  unix(start.Add(time.Hour)),
			`gbg_token_refresh_timestamp_seconds`: unix(start.Add(55 * time.Minute)),
			`gbg_secret_due_timestamp_seconds`:    unix(start.Add(time.Hour)),

			`gbg_client_active{client_id="client-a"}`:                       1,
			`gbg_client_active{client_id="client-b"}`:                       0,
			`gbg_client_secret_set_timestamp_seconds{client_id="client-a"}`: unix(start),
			`gbg_client_secret_set_timestamp_seconds{client_id="client-b"}`: unix(start),
			`gbg_client_verified_timestamp_seconds{client_id="client-a"}`:   unix(start),
			`gbg_client_verified_timestamp_seconds{client_id="client-b"}`:   unix(start),
		}
		assert.Equal(t, want, w.metrics().of("team-a"))
		assert.Equal(t, samples{`gbg_request_duration_seconds{result="ok",step="token"}`: 2}, w.metrics().of(""), "of what was no connection yet")

		w.pass(10 * time.Minute)
		w.ok(w.try(logical.UpdateOperation, "rotate/team-a", fields{"client_secret": w.regenerate(clientB)}))
		w.read("creds/team-a")
		maps.Copy(want, samples{
			`gbg_reads_total{source="memory"}`:    1,
			`gbg_rotations_total{cause="rotate"}`: 1,

			`gbg_token_expire_timestamp_seconds`:                  unix(start.Add(70 * time.Minute)),
			`gbg_token_refresh_timestamp_seconds`:                 unix(start.Add(65 * time.Minute)),
			`gbg_secret_due_timestamp_seconds`:                    unix(start.Add(70 * time.Minute)),
			`gbg_last_rotation_timestamp_seconds{cause="rotate"}`: unix(start.Add(10 * time.Minute)),

			`gbg_client_active{client_id="client-a"}`:                       0,
			`gbg_client_active{client_id="client-b"}`:                       1,
			`gbg_client_secret_set_timestamp_seconds{client_id="client-b"}`: unix(start.Add(10 * time.Minute)),
			`gbg_client_verified_timestamp_seconds{client_id="client-b"}`:   unix(start.Add(10 * time.Minute)),

			`gbg_request_duration_seconds{result="ok",step="token"}`: 1,
		})
		assert.Equal(t, want, w.metrics().of("team-a"))
	})
}

// What never was is absent, not zero.
func TestMetricsOfWhatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		assert.Equal(t, samples{"gbg_unreadable_connections{}": 0}, withoutBuild(w.metrics().like("gbg_")))
		w.write("config", with(w.single(), fields{"verify_connection": false}))
		w.write("config/sso", w.exchangeOnly())
		now := w.metrics()
		for _, absent := range []string{"gbg_token", "gbg_secret_due", "gbg_last_rotation", "gbg_client_verified", "gbg_request"} {
			assert.Empty(t, now.like(absent), absent)
		}
		assert.Equal(t, samples{"gbg_consecutive_failures": 0}, now.of("sso"), "it has no clients and nobody reads it")
	})
}

func withoutBuild(s samples) samples {
	maps.DeleteFunc(s, func(name string, _ float64) bool { return strings.HasPrefix(name, "gbg_build_info") })
	return s
}

// A read is counted by where its token came from.
func TestMetricsOfReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		reads := func(memory, storage, gbg, failed float64) {
			t.Helper()
			now := w.metrics().of("default")
			assert.Equal(t, []float64{memory, storage, gbg, failed}, []float64{
				now[`gbg_reads_total{source="memory"}`], now[`gbg_reads_total{source="storage"}`], now[`gbg_reads_total{source="gbg"}`], now[`gbg_failed_reads_total`],
			})
		}
		w.read("creds")
		w.read("creds")
		reads(2, 0, 0, 0)
		w.pass(2 * time.Hour)
		w.read("creds")
		reads(2, 0, 1, 0)
		w.backend.InvalidateKey(t.Context(), connectionKey)
		w.read("creds")
		w.read("creds")
		reads(3, 1, 1, 0)

		w.pass(2 * time.Hour)
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusBadRequest, Error: "invalid_scope"})
		w.coded(http.StatusBadGateway, w.try(logical.ReadOperation, "creds", nil))
		w.coded(http.StatusBadGateway, w.try(logical.ReadOperation, "creds", nil))
		reads(3, 1, 1, 2)
		assert.Equal(t, 1, int(w.metrics().of("default")["gbg_consecutive_failures"]))
		w.refused(w.try(logical.ReadOperation, "creds", fields{"min_ttl": "3h"}))
		reads(3, 1, 1, 2)

		w.mount = w.newMount()
		reads(0, 0, 0, 0)
	})
}

// A leased token is always GBG's, and its revocation is a request too.
func TestMetricsOfLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.leasing())
		lease := w.lease("creds")
		require.NoError(t, w.revoke(lease))
		lease = w.lease("creds")
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointRevoke, Status: http.StatusServiceUnavailable})
		require.Error(t, w.revoke(lease))
		now := w.metrics().of("default")
		assert.Equal(t, 2, int(now[`gbg_reads_total{source="gbg"}`]))
		assert.Equal(t, samples{
			`gbg_request_duration_seconds{result="ok",step="token"}`:            2,
			`gbg_request_duration_seconds{result="ok",step="revoke"}`:           1,
			`gbg_request_duration_seconds{result="server_error",step="revoke"}`: 1,
		}, now.like("gbg_request"))

		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusBadRequest, Error: "invalid_scope"})
		for range 2 {
			w.coded(http.StatusBadGateway, w.try(logical.ReadOperation, "creds", nil))
		}
		assert.Equal(t, 2, int(w.metrics().of("default")["gbg_failed_reads_total"]))
	})
}

// Each result of a request has its word, each step too.
func TestMetricsOfRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.pair(), fields{"failover": false, "verify_connection": false}))
		w.write("config/m2m", with(w.m2m(), fields{"verify_connection": false}))
		w.write("config/sso", w.exchangeOnly())
		w.read("creds")
		w.read("creds/m2m")
		w.exchange("creds/sso", w.idToken(someone))
		w.refused(w.try(logical.UpdateOperation, "creds/sso", fields{"id_token": w.idToken(someone) + "x"}))
		w.regenerate(clientA)
		require.NoError(t, w.storage.Delete(t.Context(), tokenKey))
		w.backend.InvalidateKey(t.Context(), tokenKey)
		w.coded(http.StatusBadGateway, w.try(logical.ReadOperation, "creds", nil))
		for _, fault := range []gbgsim.Fault{
			{Kind: gbgsim.FaultStatus, Status: http.StatusBadRequest, Error: "invalid_scope"},
			{Kind: gbgsim.FaultStatus, Status: http.StatusServiceUnavailable, Requests: 1},
			{Kind: gbgsim.FaultBody, Body: "<html>", Requests: 1},
		} {
			w.sim.ClearFaults()
			w.fault(fault)
			w.pass(time.Minute)
			a, _ := w.tryRetried(logical.ReadOperation, "creds", nil)
			require.Error(t, a.err)
		}
		release := w.gate.hold(clientB)
		ctx, leave := context.WithCancel(t.Context())
		answered := later(func() answer { return w.send(ctx, logical.UpdateOperation, "rotate", nil) })
		await(t, w.gate.arrived, "the request")
		leave()
		require.Error(t, await(t, answered, "the answer").err)
		release()

		now := w.metrics()
		assert.Equal(t, samples{
			`gbg_request_duration_seconds{result="ok",step="token"}`:              1,
			`gbg_request_duration_seconds{result="client_refused",step="token"}`:  5, // twice at first, and after a refused request; once after a refusal
			`gbg_request_duration_seconds{result="request_refused",step="token"}`: 1,
			`gbg_request_duration_seconds{result="server_error",step="token"}`:    1,
			`gbg_request_duration_seconds{result="not_a_token",step="token"}`:     1,
			`gbg_request_duration_seconds{result="cancelled",step="token"}`:       1,
		}, now.of("default").like("gbg_request"))
		assert.Equal(t, samples{
			`gbg_request_duration_seconds{result="ok",step="idp"}`:      1,
			`gbg_request_duration_seconds{result="ok",step="exchange"}`: 1,
		}, now.of("m2m").like("gbg_request"))
		assert.Equal(t, samples{
			`gbg_request_duration_seconds{result="ok",step="own_exchange"}`:              1,
			`gbg_request_duration_seconds{result="request_refused",step="own_exchange"}`: 1,
		}, now.of("sso").like("gbg_request"))
	})
}

// Series end with their connection; another one of its name begins anew.
func TestMetricsEndWithTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		single := w.single()
		w.write("config", single)
		w.pass(2 * time.Hour)
		w.read("creds")
		assert.NotEmpty(t, w.metrics().of("default").like("gbg_request"))
		w.ok(w.try(logical.DeleteOperation, "config", nil))
		assert.Empty(t, w.metrics().of("default"))
		w.write("config", single)
		assert.Zero(t, w.metrics().of("default")[`gbg_reads_total{source="gbg"}`])
		assert.Empty(t, w.metrics().of("default").like("gbg_request"))
	})
}

// Nobody makes a series by asking for what is not there.
func TestMetricsHaveNoLabelThatCallersInvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		for _, path := range []string{"creds", "status", "config", "rotate"} {
			w.try(logical.ReadOperation, path+"/invented", fields{"min_ttl": "1m", "client_id": "invented"})
			w.try(logical.UpdateOperation, path+"/invented", fields{"client_id": "invented", "client_secret": wrongSecret, "token_url": w.tokenURL()})
		}
		w.try(logical.UpdateOperation, "rotate", fields{"client_id": "invented"})
		w.try(logical.DeleteOperation, "config/invented", nil)
		for name := range w.metrics() {
			assert.NotContains(t, name, "invented")
		}
	})
}

// One connection that cannot be read does not hide the others.
func TestMetricsBesideAnUnreadableConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		w.write("config/team-a", with(w.exchangeOnly(), nil))
		require.NoError(t, w.storage.Put(t.Context(), &logical.StorageEntry{Key: "connection/team-a", Value: []byte(`{"version":99}`)}))
		w.mount = w.newMount()
		now := w.metrics()
		assert.Equal(t, 1, int(now["gbg_unreadable_connections{}"]))
		assert.Empty(t, now.of("team-a"))
		assert.NotEmpty(t, now.of("default"))

		w.storage.failGet(errDisk)
		w.mount = w.newMount()
		assert.Equal(t, 2, int(w.metrics()["gbg_unreadable_connections{}"]))
		w.storage.heal()
	})
}

// Nor is anything left of a connection that another node has deleted, once this one
// has heard of it: what it counted, and the requests it made. The event is the
// deleting node's.
func TestMetricsEndWithAConnectionDeletedElsewhere(t *testing.T) {
	for name, learn := range map[string]func(*mount){
		"by a scrape": func(m *mount) { assert.Empty(t, m.metrics().of("gone")) },
		"by a read":   func(m *mount) { m.refused(m.try(logical.ReadOperation, "creds/gone", nil)) },
		"by a list":   func(m *mount) { m.ok(m.try(logical.ListOperation, "status/", nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				single := w.single()
				w.write("config/gone", single)
				w.write("config/stays", single)
				node := w.newMount()
				w.pass(2 * time.Hour)
				for _, connection := range []string{"gone", "stays"} {
					node.read("creds/" + connection)
					of := node.metrics().of(connection)
					require.Equal(t, 1, int(of[`gbg_reads_total{source="gbg"}`]))
					require.NotEmpty(t, of.like("gbg_request"))
				}
				sent := kindsOf(w.eventsOf(func() {
					w.ok(w.try(logical.DeleteOperation, "config/gone", nil))
					for _, key := range []string{"token/gone", "connection/gone", "connection/stays"} {
						node.backend.InvalidateKey(t.Context(), key)
					}
					learn(node)
				}))
				assert.Equal(t, []string{"gbg/config-delete"}, sent)

				// Another one of its name begins anew.
				w.write("config/gone", single)
				node.backend.InvalidateKey(t.Context(), "connection/gone")
				of := node.metrics().of("gone")
				assert.Zero(t, of[`gbg_reads_total{source="gbg"}`])
				assert.Contains(t, of, `gbg_reads_total{source="gbg"}`)
				assert.Empty(t, of.like("gbg_request"))
				for _, series := range []string{`gbg_reads_total{source="gbg"}`, `gbg_request_duration_seconds{result="ok",step="token"}`} {
					assert.Equal(t, 1, int(node.metrics().of("stays")[series]), "of a connection that is there, if not in memory: %s", series)
				}
			})
		})
	}
}
