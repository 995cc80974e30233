package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// shellAs returns a function that runs a command line in a folder with certain policies
// only, and the folder.
func (m *mount) shellAs(policies ...string) (run func(line string) (output string, err error), dir string) {
	m.t.Helper()
	dir = m.t.TempDir()
	limited := m.as(policies...).client
	return func(line string) (string, error) {
		cmd := exec.CommandContext(m.t.Context(), "bash", "-euo", "pipefail", "-c", line)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir, "PATH="+filepath.Dir(suite.vault)+":"+os.Getenv("PATH"),
			"VAULT_ADDR="+limited.Address(), "VAULT_TOKEN="+limited.Token())
		out, err := cmd.CombinedOutput()
		return string(out), err
	}, dir
}

// examplePolicy stores a policy of the examples for the mount, and returns its name.
func (m *mount) examplePolicy(file string) (name string) {
	m.t.Helper()
	policy, err := os.ReadFile(filepath.Join("../examples/policies", file))
	require.NoError(m.t, err)
	name = m.path + "-" + strings.TrimSuffix(file, ".hcl")
	require.NoError(m.t, m.client.Sys().PutPolicyWithContext(m.t.Context(), name, strings.ReplaceAll(string(policy), `"gbg/`, `"`+m.path+"/")))
	return name
}

// metricsText returns what the mount's metrics path answers.
func (m *mount) metricsText() string {
	m.t.Helper()
	resp, err := m.client.Logical().ReadRawWithContext(m.t.Context(), m.path+"/metrics")
	require.NoError(m.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(m.t, err)
	return string(text)
}

// detailedStatus returns what the detailed list has of the connection "default".
func (m *mount) detailedStatus() map[string]any {
	m.t.Helper()
	s, err := m.client.Logical().ListWithContext(m.t.Context(), m.path+"/status")
	require.NoError(m.t, err)
	require.Contains(m.t, s.Data, "key_info")
	return s.Data["key_info"].(map[string]any)["default"].(map[string]any)
}

// Somebody regenerates the standby's secret at GBG and does not say so. It is told
// everywhere within one period, and who follows next_step literally mends it.
func TestStandbyRegeneratedBehindVaultsBack(t *testing.T) {
	t.Parallel()
	const period = 10 * time.Second
	const standby = "go-api-regenerated"
	g := newGBG(t, time.Hour)
	m := newMount(t, suite.server)
	m.write("config", map[string]any{
		"token_url": g.tokenURL(), "client_id": g.a.ID, "client_secret": g.a.Secret,
		"paired_client_id": standby, "paired_client_secret": g.client(t, standby).Secret,
		"standby_check": "10s",
	})
	token := m.read("creds").Data["access_token"]
	assert.Equal(t, "ok", m.read("status").Data["state"])
	assert.Equal(t, "ok", m.detailedStatus()["state"])

	regenerated := time.Now()
	secret := g.regenerate(t, standby)
	var status map[string]any
	require.Eventually(t, func() bool {
		status = m.read("status").Data
		return status["standby_error"] != nil
	}, time.Minute, 100*time.Millisecond)
	told, err := time.Parse(time.RFC3339, fmt.Sprint(status["standby_error_time"]))
	require.NoError(t, err)
	assert.WithinRange(t, told, regenerated.Add(-time.Second), regenerated.Add(period+2*time.Second), "one period, and what two requests take")
	assert.Equal(t, "standby_refused", status["state"])
	assert.Contains(t, status["standby_error"], `GBG refused client "`+standby+`": invalid_client`)
	assert.Equal(t, g.a.ID, status["active_client_id"])
	assert.NotContains(t, status, "last_error")

	list := m.detailedStatus()
	assert.Equal(t, []any{"standby_refused", "client_refused"}, []any{list["state"], list["error"]})
	metrics := m.metricsText()
	for _, series := range []string{
		`gbg_standby_refused_timestamp_seconds{client_id="` + standby + `",connection="default"} `,
		`gbg_connection_state{connection="default",state="standby_refused"} 1`,
		`gbg_standby_checks_total{connection="default",result="refused"} `,
	} {
		assert.Contains(t, metrics, series)
	}
	require.Eventually(t, func() bool {
		return regexp.MustCompile(`\[WARN\].* standby refused: .*` + standby).MatchString(suite.serverLog.String())
	}, time.Minute, 20*time.Millisecond)
	assert.Equal(t, token, m.read("creds").Data["access_token"], "readers notice nothing")

	_, command, found := strings.Cut(fmt.Sprint(status["next_step"]), ", then: ")
	require.True(t, found, status["next_step"])
	run, dir := m.shellAs(m.examplePolicy("operator.hcl"))
	file := regexp.MustCompile(`client_secret=@(\S+)`).FindStringSubmatch(command)
	require.NotNil(t, file, command)
	require.NoError(t, os.WriteFile(filepath.Join(dir, file[1]), []byte(secret+"\n"), 0o600))
	out, err := run(command)
	require.NoError(t, err, out)
	requirePrints(t, "active_client_id..."+standby+"\nrotated...true", out)

	// Everything is well again, after the next checks too.
	checks := regexp.MustCompile(`gbg_standby_checks_total\{connection="default",result="ok"\} [1-9]`)
	require.Eventually(t, func() bool { return checks.MatchString(m.metricsText()) }, time.Minute, 100*time.Millisecond)
	status = m.read("status").Data
	assert.Equal(t, "ok", status["state"])
	assert.NotContains(t, status, "standby_error")
	assert.Equal(t, []any{"ok", "-"}, []any{m.detailedStatus()["state"], m.detailedStatus()["error"]})
	assert.NotContains(t, m.metricsText(), "gbg_standby_refused_timestamp_seconds{")
	m.readLive(g, "creds")
}

// A rotation that GBG refuses is recorded as a refused check is.
func TestRotateRefusedIsInTheStatus(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	g.regenerate(t, "client-b")
	code, text := m.refused("rotate", map[string]any{"client_id": "client-b"})
	assert.Equal(t, http.StatusBadRequest, code)
	assert.Contains(t, text, "Nothing has changed")
	status := m.read("status").Data
	assert.Equal(t, "standby_refused", status["state"])
	assert.Contains(t, status["standby_error"], "invalid_client")
	assert.Equal(t, "standby_refused", m.detailedStatus()["state"])
}

// verifyReport verifies, and returns what was reported of each client.
func (m *mount) verifyReport() (clients map[string]map[string]any) {
	m.t.Helper()
	clients = map[string]map[string]any{}
	for _, client := range m.write("verify", nil).Data["clients"].([]any) {
		client := client.(map[string]any)
		clients[fmt.Sprint(client["client_id"])] = client
	}
	return clients
}

// The report has a client that works, one that is refused and one that gets no
// answer; an operator and an auditor get it, and a reader does not.
func TestVerifyReport(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	token := m.read("creds").Data["access_token"]
	config := m.read("config").Data
	operator, auditor := m.as(m.examplePolicy("operator.hcl")), m.as(m.examplePolicy("auditor.hcl"))

	clients := operator.verifyReport()
	for id, active := range map[string]bool{"client-a": true, "client-b": false} {
		assert.Equal(t, "3600", number(t, clients[id]["lifetime"]))
		delete(clients[id], "lifetime")
		assert.Equal(t, map[string]any{"client_id": id, "active": active, "result": "ok", "scope": "gbg.token"}, clients[id])
	}

	g.regenerate(t, "client-b")
	clients = auditor.verifyReport()
	assert.Equal(t, "ok", clients["client-a"]["result"])
	assert.Equal(t, "refused", clients["client-b"]["result"])
	assert.Contains(t, clients["client-b"]["error"], `GBG refused client "client-b": invalid_client`)
	assert.Equal(t, "standby_refused", m.read("status").Data["state"])

	require.NoError(t, g.SetFault(gbgsim.Fault{Kind: gbgsim.FaultClose, ClientID: "client-b"}))
	m.write("config", map[string]any{"request_timeout": "2s"})
	clients = operator.verifyReport()
	assert.Equal(t, "ok", clients["client-a"]["result"])
	assert.Equal(t, "unreachable", clients["client-b"]["result"])
	assert.Contains(t, clients["client-b"]["error"], `no token for client "client-b"`)

	g.ClearFaults()
	g.regenerate(t, "client-a")
	clients = operator.verifyReport()
	assert.Equal(t, "refused", clients["client-a"]["result"])
	assert.Equal(t, "refused", clients["client-b"]["result"])
	status := m.read("status").Data
	assert.Contains(t, status["last_error"], `GBG refused client "client-a"`)
	assert.Equal(t, "client-a", status["active_client_id"], "nothing flips")
	assert.NotContains(t, status, "last_rotation_time")
	assert.Equal(t, token, m.read("creds").Data["access_token"], "the current token is served")
	delete(config, "request_timeout")
	after := m.read("config").Data
	delete(after, "request_timeout")
	assert.Equal(t, config, after)

	for _, policy := range []string{"default-reader.hcl", "team-reader.hcl", "monitoring.hcl"} {
		code, _ := m.as(m.examplePolicy(policy)).refused("verify", nil)
		assert.Equal(t, http.StatusForbidden, code, policy)
	}
}
