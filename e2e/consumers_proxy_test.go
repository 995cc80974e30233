package e2e

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// startVaultProxy starts examples/consumers/vault-proxy.hcl with an AppRole for a
// connection, listening on another port, and returns its address.
func (w *agents) startVaultProxy(connection, more string) string {
	w.t.Helper()
	dir := w.t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	address := listener.Addr().String()
	require.NoError(w.t, listener.Close())
	policy, err := os.ReadFile("../examples/policies/team-reader.hcl")
	require.NoError(w.t, err)
	config, err := os.ReadFile("../examples/consumers/vault-proxy.hcl")
	require.NoError(w.t, err)
	for name, content := range map[string]string{
		"role-id":         w.role(connection, strings.ReplaceAll(string(policy), "team-a", connection), nil),
		"secret-id":       w.secretID(connection),
		"vault-proxy.hcl": strings.ReplaceAll(string(config), "127.0.0.1:8100", address) + more,
	} {
		require.NoError(w.t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	log := &vaultserver.Output{}
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	cmd := exec.CommandContext(ctx, suite.vault, "proxy", "-config=vault-proxy.hcl")
	stopGently(cmd)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "VAULT_ADDR="+w.server.Address(), "VAULT_TOKEN=")
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(w.t, cmd.Start())
	w.t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if w.t.Failed() {
			w.t.Log(log)
		}
	})
	waitForLine(w.t, log, "Vault Proxy started!")
	waitForLine(w.t, log, "authentication successful")
	// Proxy uses the token a little later than it says so.
	proxy := "http://" + address
	require.Eventually(w.t, func() bool {
		status, _ := viaProxy(w.t, proxy, "auth/token/lookup-self", askedViaProxy)
		return status == http.StatusOK
	}, 10*time.Second, 50*time.Millisecond)
	return proxy
}

// askedViaProxy is the header without which Proxy refuses a request.
var askedViaProxy = http.Header{"X-Vault-Request": {"true"}}

// viaProxy reads a path without a Vault token.
func viaProxy(t *testing.T, proxy, path string, header http.Header) (status int, data map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, proxy+"/v1/"+path, http.NoBody)
	require.NoError(t, err)
	req.Header = header
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var answer struct{ Data map[string]any }
	_ = json.NewDecoder(resp.Body).Decode(&answer)
	return resp.StatusCode, answer.Data
}

// Applications without a Vault token read through Vault Proxy, and get what its policy
// allows, with the query they send. The token script works through it, too.
func TestVaultProxy(t *testing.T) {
	t.Parallel()
	w := newAgents(t)
	g := newGBG(t, time.Hour)
	w.configure("team-a", g, nil)
	w.configure("team-b", g, nil)
	proxy := w.startVaultProxy("team-a", "")

	status, data := viaProxy(t, proxy, "gbg/creds/team-a?min_ttl=30m", askedViaProxy)
	require.Equal(t, http.StatusOK, status)
	g.mustAccept(t, data["access_token"].(string), g.a.ID)
	_, again := viaProxy(t, proxy, "gbg/creds/team-a", askedViaProxy)
	assert.Equal(t, data["access_token"], again["access_token"])

	status, _ = viaProxy(t, proxy, "gbg/creds/team-a?min_ttl=50m", askedViaProxy)
	assert.Equal(t, http.StatusBadRequest, status, "the query arrives")
	status, _ = viaProxy(t, proxy, "gbg/creds/team-b", askedViaProxy)
	assert.Equal(t, http.StatusForbidden, status)
	status, _ = viaProxy(t, proxy, "gbg/creds/team-a", http.Header{})
	assert.Equal(t, http.StatusPreconditionFailed, status, "the header is missing")

	token, messages, err := newTokenScript(t, proxy, "gbg/creds/team-a").run()
	require.NoError(t, err, messages)
	assert.Equal(t, data["access_token"], token)
}

// A cache changes nothing: Proxy keeps neither answers without a lease nor leases that
// cannot be renewed.
func TestVaultProxyWithCache(t *testing.T) {
	t.Parallel()
	w := newAgents(t)
	g := newGBG(t, time.Hour)
	w.configure("team-a", g, nil)
	w.configure("team-b", g, map[string]any{"lease": true})
	for connection, tokens := range map[string]int{"team-a": 1, "team-b": 3} {
		proxy := w.startVaultProxy(connection, "\ncache {}\n")
		seen := map[any]bool{}
		for range 3 {
			status, data := viaProxy(t, proxy, "gbg/creds/"+connection, askedViaProxy)
			require.Equal(t, http.StatusOK, status)
			seen[data["access_token"]] = true
		}
		assert.Len(t, seen, tokens, connection)
		reads, _ := w.reads(&agent{connection: connection})
		assert.Equal(t, 3, reads, connection)
	}
}
