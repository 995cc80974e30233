package e2e

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// Somebody who types what docs/metrics.md says, in order, has a real Prometheus that
// scrapes the engine through Vault and finds everything that has happened, alerts
// that tell of it, and a dashboard that shows it.
func TestPrometheus(t *testing.T) {
	needs(t, "prometheus", "promtool", "curl")
	t.Parallel()
	w := newMonitored(t)

	requireLints(t, w.metrics())
	assert.NotContains(t, w.metrics(), "connection=", "nothing is configured")
	output := w.operator.follow("../docs/metrics.md", nil)
	assert.Contains(t, output["Read the metrics"], "gbg_build_info{")
	assert.Contains(t, output["Prometheus"], "SUCCESS: prometheus.yml is valid prometheus config file syntax")
	assert.Contains(t, output["Prometheus"], "SUCCESS: 13 rules found")
	assert.Contains(t, output["Alerts"], "SUCCESS")
	w.tokenOpensMetricsOnly()

	p := startPrometheus(t, w.operator.dir)
	w.isScraped(p)
	w.use()
	w.requireSeen(p)
	w.useAgain() // a rate wants two scrapes that differ
	w.requireSeen(p)

	text := w.metrics()
	requireLints(t, text)
	for _, secret := range []string{gbgsim.SecretPrefix, gbgsim.TokenPrefix, gbgsim.IDPTokenPrefix} {
		assert.NotContains(t, text, secret)
	}
	assertMetricsPage(t, text)
	w.assertCardinality(p)
	w.assertAlerts(p)
	assertDashboard(t, p)
}

// monitored is a mount at gbg/ that Prometheus is to watch.
type monitored struct {
	*mount
	operator *reader
	server   *vaultserver.Server
	gbg      *gbg
	lead     gbgsim.Client // the active client of the connection "leased"
	// What has been done, to be found in the metrics.
	leases, exchanges, failed int
}

func newMonitored(t *testing.T) *monitored {
	t.Helper()
	g := newGBG(t, time.Hour)
	operator, server, m := newReaderWithMount(t, newProxy(t, map[string]http.Handler{"api.auth.gbgplc.com": g.Simulator}))
	return &monitored{mount: m, operator: operator, server: server, gbg: g}
}

// scrape asks for the metrics as somebody with these headers.
func (w *monitored) scrape(header http.Header) (status int, contentType, text string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.server.Address()+"/v1/gbg/metrics", http.NoBody)
	require.NoError(w.t, err)
	req.Header = header
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(body)
}

// metrics gives them to somebody with all rights.
func (w *monitored) metrics() string {
	w.t.Helper()
	status, contentType, text := w.scrape(http.Header{"X-Vault-Token": {w.server.Token()}})
	require.Equal(w.t, http.StatusOK, status, text)
	assert.Equal(w.t, "text/plain; version=0.0.4; charset=utf-8", contentType)
	return text
}

// tokenOpensMetricsOnly asserts what the tokens in files are good for, and that
// nobody needs less.
func (w *monitored) tokenOpensMetricsOnly() {
	w.t.Helper()
	for _, file := range []string{"vault-token", "by-hand.token"} {
		content, err := os.ReadFile(filepath.Join(w.operator.dir, file))
		require.NoError(w.t, err)
		token := strings.TrimSpace(string(content))
		status, _, text := w.scrape(http.Header{"Authorization": {"Bearer " + token}})
		assert.Equal(w.t, http.StatusOK, status, text)

		client, err := w.server.Client(token)
		require.NoError(w.t, err)
		self, err := client.Auth().Token().LookupSelfWithContext(w.t.Context())
		require.NoError(w.t, err)
		assert.ElementsMatch(w.t, []any{"default", "gbg-monitoring"}, self.Data["policies"])
		assert.Equal(w.t, true, self.Data["renewable"])
		assert.NotEmpty(w.t, self.Data["period"])
		for _, path := range []string{"creds", "status", "config"} {
			status, _ := (&mount{t: w.t, path: "gbg", client: client}).refusedRead(path)
			assert.Equal(w.t, http.StatusForbidden, status, path)
		}
	}
	for name, header := range map[string]http.Header{
		"no token":    {},
		"wrong token": {"Authorization": {"Bearer fake-vault-token"}},
	} {
		status, _, text := w.scrape(header)
		assert.Equal(w.t, http.StatusForbidden, status, name)
		assert.NotContains(w.t, text, "gbg", name)
	}
}

// isScraped waits until Prometheus has the mount among its targets and finds it
// healthy.
func (w *monitored) isScraped(p *prometheusServer) {
	w.t.Helper()
	p.sees(`up{job="gbg", mount="gbg"} == 1`)
	targets, err := p.api.Targets(w.t.Context())
	require.NoError(w.t, err)
	require.Len(w.t, targets.Active, 1)
	assert.Equal(w.t, promv1.HealthGood, targets.Active[0].Health)
	assert.Empty(w.t, targets.Active[0].LastError)
	assert.Equal(w.t, w.server.Address()+"/v1/gbg/metrics", targets.Active[0].ScrapeURL)
}

// use makes connections of every kind, and has everything happen to them that can.
func (w *monitored) use() {
	w.t.Helper()
	g := w.gbg
	w.write("config", with(g.pair(), "max_secret_age", "90d"))
	w.read("creds")
	// From storage, unless a scrape comes between and takes it from there first.
	require.Eventually(w.t, func() bool {
		_, err := w.client.Sys().ReloadPluginWithContext(w.t.Context(), &api.ReloadPluginInput{Plugin: vaultserver.PluginName})
		require.NoError(w.t, err)
		w.read("creds")
		return strings.Contains(w.metrics(), `gbg_reads_total{connection="default",source="storage"} 1`)
	}, time.Minute, time.Millisecond)
	w.write("rotate", map[string]any{"client_secret": g.regenerate(w.t, g.b.ID)})
	w.read("creds") // from memory

	one := func(id, secret string) map[string]any {
		return map[string]any{"token_url": g.tokenURL(), "client_id": id, "client_secret": secret, "verify_connection": false}
	}
	w.write("config/cold", one("go-api-cold", g.client(w.t, "go-api-cold").Secret))
	w.read("creds/cold") // from GBG
	w.write("config/refused", one("go-api-refused", "fake-wrong-secret"))
	w.write("config/down", with(with(one("go-api-down", "fake-secret"), "token_url", nowhere), "request_timeout", "1s"))

	w.lead = g.client(w.t, "go-api-leased-a")
	second := g.client(w.t, "go-api-leased-b")
	w.write("config/leased", map[string]any{
		"token_url": g.tokenURL(), "lease": true, "revoke_url": g.url + gbgsim.RevokePath,
		"client_id": w.lead.ID, "client_secret": w.lead.Secret,
		"paired_client_id": second.ID, "paired_client_secret": second.Secret,
	})
	w.write("config/sso", map[string]any{"grant_type": "id_auth", "token_url": g.identityURL()})
	w.write("config/scheduled", with(with(map[string]any{
		"token_url": g.tokenURL(),
		"client_id": "go-api-scheduled-a", "client_secret": g.client(w.t, "go-api-scheduled-a").Secret,
		"paired_client_id": "go-api-scheduled-b", "paired_client_secret": g.client(w.t, "go-api-scheduled-b").Secret,
	}, "rotation_period", 10), "standby_check", 10)) // rotated once, and then due without a new secret
	idpClient, err := g.CreateIDPClient("idp-client")
	require.NoError(w.t, err)
	w.write("config/m2m", map[string]any{
		"grant_type": "id_auth", "token_url": g.identityURL(), "idp_token_url": g.url + gbgsim.IDPTokenPath,
		"client_id": idpClient.ID, "client_secret": idpClient.Secret, "verify_connection": false,
	})
	w.read("creds/m2m")
	w.useOnce()
	g.regenerate(w.t, w.lead.ID)
	assert.Equal(w.t, second.ID, w.lease().Data["client_id"], "the standby takes over")
}

// useAgain has some of it happen once more.
func (w *monitored) useAgain() {
	w.t.Helper()
	w.useOnce()
	w.read("creds")
	w.read("creds/cold")
	// A write that changes a secret verifies it.
	renewed, err := w.gbg.RegenerateIDP("idp-client")
	require.NoError(w.t, err)
	w.write("config/m2m", map[string]any{"client_secret": renewed})
}

// useOnce does what can be done to connections as often as one likes.
func (w *monitored) useOnce() {
	w.t.Helper()
	for _, name := range []string{"refused", "down"} {
		w.refusedRead("creds/" + name)
		w.failed++
	}
	lease := w.lease()
	require.NoError(w.t, w.client.Sys().RevokeWithOptionsWithContext(w.t.Context(), &api.RevokeOptions{LeaseID: lease.LeaseID, Sync: true}))
	idToken, err := w.gbg.IDToken("alice@example.com")
	require.NoError(w.t, err)
	w.write("creds/sso", map[string]any{"id_token": idToken})
	w.exchanges++
}

func (w *monitored) lease() *api.Secret {
	w.t.Helper()
	w.leases++
	return w.read("creds/leased")
}

// requireSeen waits until Prometheus has scraped all that has been done.
func (w *monitored) requireSeen(p *prometheusServer) {
	w.t.Helper()
	require.EventuallyWithT(w.t, func(c *assert.CollectT) {
		for expression, want := range map[string]int{
			`gbg_reads_total{connection="leased", source="gbg"}`:                                     w.leases,
			`sum(gbg_failed_reads_total)`:                                                            w.failed,
			`gbg_request_duration_seconds_count{connection="sso", step="own_exchange", result="ok"}`: w.exchanges,
			`gbg_request_duration_seconds_count{connection="leased", step="revoke", result="ok"}`:    w.exchanges,
			`gbg_reads_total{connection="default", source="storage"}`:                                1,
			`gbg_reads_total{connection="cold", source="gbg"}`:                                       1,
			`gbg_rotations_total{connection="default", cause="rotate"}`:                              1,
			`gbg_rotations_total{connection="leased", cause="failover"}`:                             1,
			`gbg_client_active{connection="default", client_id="client-b"}`:                          1,
			`gbg_client_active{connection="default", client_id="client-a"}`:                          0,
			`gbg_consecutive_failures{connection="default"}`:                                         0,
			`gbg_connection_state{connection="default", state="ok"}`:                                 1,
			`gbg_connection_state{connection="leased", state="standby_refused"}`:                     1,
			`count(gbg_standby_refused_timestamp_seconds)`:                                           1,
			`gbg_unreadable_connections`:                                                             0,
			`sum(gbg_build_info{version="v0.0.1"})`:                                                  1,
			`count(gbg_last_rotation_timestamp_seconds)`:                                             3,
			`gbg_rotations_total{connection="scheduled", cause="schedule"}`:                          1,
			`count(gbg_rotation_due_timestamp_seconds{reason="no_new_secret"})`:                      1,
			`gbg_connection_state{connection="scheduled", state="rotation_due"}`:                     1,
			`sum(gbg_standby_checks_total{connection="scheduled"} >= bool 1)`:                        1,
			`round((gbg_secret_due_timestamp_seconds - time()) / 86400)`:                             90,
			`round((gbg_token_expire_timestamp_seconds{connection="cold"} - time()) / 3600)`:         1,
			`absent(gbg_token_expire_timestamp_seconds{connection="leased"})`:                        1,
			`absent(gbg_reads_total{connection="sso"})`:                                              1,
			`absent(gbg_client_verified_timestamp_seconds{connection="refused"})`:                    1,
		} {
			got := p.query(expression)
			if assert.Len(c, got, 1, expression) {
				assert.Equal(c, want, int(got[0].Value), expression)
			}
		}
	}, time.Minute, 200*time.Millisecond, "Prometheus has seen everything")
}

// assertCardinality asserts the numbers of series that docs/metrics.md gives.
func (w *monitored) assertCardinality(p *prometheusServer) {
	w.t.Helper()
	const own = `{__name__=~"gbg_.+", __name__!~"gbg_request_.+", connection="default"}`
	assert.Equal(w.t, 20+2, int(p.value(`count(`+own+`)`)), "one that was rotated and has a max_secret_age")
	assert.Equal(w.t, 14, int(p.value(`max(count by (connection, step, result) ({__name__=~"gbg_request_.+"}))`)))
	process := p.value(`count({__name__=~"(go|process)_.+", job="gbg"})`)
	assert.InDelta(w.t, 45, process, 10)
	samples := p.value(`scrape_samples_scraped{job="gbg"}`)
	w.t.Logf("a scrape: %.0f samples, %.0f of them the process's, %d bytes, %.3f s", samples, process, len(w.metrics()), p.value(`scrape_duration_seconds{job="gbg"}`))
}
