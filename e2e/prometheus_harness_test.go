package e2e

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	promapi "github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// prometheusServer is a running Prometheus.
type prometheusServer struct {
	t   *testing.T
	api promv1.API
}

// startPrometheus starts one with the prometheus.yml of a folder, which also gets
// its data. It scrapes each second, whatever the file says.
func startPrometheus(t *testing.T, dir string) *prometheusServer {
	t.Helper()
	file := filepath.Join(dir, "prometheus.yml")
	config, err := os.ReadFile(file)
	require.NoError(t, err)
	interval := regexp.MustCompile(`(?m)^  (scrape|evaluation)_interval: .*$`)
	require.Len(t, interval.FindAll(config, -1), 2)
	require.NoError(t, os.WriteFile(file, interval.ReplaceAll(config, []byte("  ${1}_interval: 1s")), 0o600))

	log := &vaultserver.Output{}
	cmd := exec.CommandContext(t.Context(), "prometheus", "--config.file="+file,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0")
	stopGently(cmd)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Wait() // its context has ended
		if t.Failed() {
			t.Log(log)
		}
	})
	waitForLine(t, log, "Server is ready to receive web requests.")
	waitForLine(t, log, "Listening on") // the port that the system gave it
	address := regexp.MustCompile(`Listening on.* address=(127\.0\.0\.1:\d+)`).FindStringSubmatch(log.String())
	require.NotNil(t, address, log)
	client, err := promapi.NewClient(promapi.Config{Address: "http://" + address[1]})
	require.NoError(t, err)
	return &prometheusServer{t: t, api: promv1.NewAPI(client)}
}

// query gives the result of an expression now.
func (p *prometheusServer) query(expression string) model.Vector {
	p.t.Helper()
	value, warnings, err := p.api.Query(p.t.Context(), expression, time.Time{})
	require.NoError(p.t, err, expression)
	assert.Empty(p.t, warnings, expression)
	require.IsType(p.t, model.Vector{}, value, expression)
	return value.(model.Vector)
}

// value gives that of an expression with one result.
func (p *prometheusServer) value(expression string) float64 {
	p.t.Helper()
	result := p.query(expression)
	require.Len(p.t, result, 1, expression)
	return float64(result[0].Value)
}

// sees waits until an expression has a result.
func (p *prometheusServer) sees(expression string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return len(p.query(expression)) > 0 }, time.Minute, 100*time.Millisecond, "%s", expression)
}

// numbers counts the samples of an expression's graph of the last minutes that are
// numbers.
func (p *prometheusServer) numbers(expression string) (count int) {
	p.t.Helper()
	now := time.Now()
	value, warnings, err := p.api.QueryRange(p.t.Context(), expression, promv1.Range{Start: now.Add(-5 * time.Minute), End: now, Step: time.Second})
	require.NoError(p.t, err, expression)
	assert.Empty(p.t, warnings, expression)
	require.IsType(p.t, model.Matrix{}, value, expression)
	for _, series := range value.(model.Matrix) {
		for _, sample := range series.Values {
			if !math.IsNaN(float64(sample.Value)) {
				count++
			}
		}
	}
	return count
}

// requireLints fails if promtool has anything to say about metrics.
func requireLints(t *testing.T, text string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(out))
}
