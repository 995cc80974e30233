package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// GBG takes a second to answer, tokens live nine, and readers read for three
// lifetimes: they notice nothing of either, and GBG is asked once for each token.
func TestFreshTokensUnderLoadWithASlowGBG(t *testing.T) {
	const lifetime, lifetimes = 9 * time.Second, 3
	const periods = lifetimes * 3 / 2 // a token is refreshed after two thirds of its life
	g := newGBG(t, lifetime)
	m := configured(t, g)
	require.NoError(t, g.SetFault(gbgsim.Fault{Kind: gbgsim.FaultDelay, Delay: time.Second}))
	asked := g.Stats().TokenRequests.Total

	load := startLoad(t, m, "creds", g, 16, nil)
	time.Sleep(lifetimes * lifetime)
	r := load.stop()
	asked = g.Stats().TokenRequests.Total - asked
	t.Log(r, "; token requests:", asked)
	assert.Empty(t, r.failures)
	assert.Empty(t, r.refused)
	assert.GreaterOrEqual(t, len(r.tokens), periods, "tokens in %d periods", periods)
	assert.LessOrEqual(t, asked, periods+2, "one request a token")
}

// A killed plugin process is started again by Vault, and goes on with the token
// that it had.
func TestFreshTokensAfterAKilledPlugin(t *testing.T) {
	g := newGBG(t, time.Hour)
	server := newDevServer(t)
	m := newMount(t, server)
	m.write("config", g.pair())
	before := m.read("creds").Data
	asked := g.Stats().TokenRequests.Total

	const readers, kills = 16, 5
	load := startLoad(t, m, "creds", g, readers, nil)
	for range kills {
		time.Sleep(time.Second)
		require.NoError(t, syscall.Kill(pluginProcess(t, server), syscall.SIGKILL))
	}
	time.Sleep(time.Second)
	r := load.stop()
	t.Log(r, "; kills:", kills)
	assert.LessOrEqual(t, len(r.failures), kills*readers, "only what was under way fails")
	assert.Empty(t, r.refused)
	assert.Len(t, r.tokens, 1)
	after := m.read("creds").Data
	delete(before, "ttl")
	delete(after, "ttl")
	assert.Equal(t, before, after)
	assert.Equal(t, asked, g.Stats().TokenRequests.Total, "GBG is not asked again")
}

// GBG is down while Vault restarts: readers get the token of before, the same in
// everything but ttl.
func TestFreshTokensAfterARestartWithoutGBG(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	server := newRaftServer(t, suite.pluginDir)
	m := newMount(t, server)
	m.write("config", g.pair())
	before := m.read("creds").Data
	require.NoError(t, g.SetFault(gbgsim.Fault{Kind: gbgsim.FaultClose}))
	asked := g.Stats().TokenRequests.Total

	began := time.Now()
	require.NoError(t, server.Restart(t.Context()))
	active := time.Now()
	after := m.read("creds").Data
	t.Logf("restart %s; the first token %s after that, GBG asked %d times",
		active.Sub(began).Round(time.Millisecond), time.Since(active).Round(time.Millisecond), g.Stats().TokenRequests.Total-asked)
	delete(before, "ttl")
	delete(after, "ttl")
	assert.Equal(t, before, after)
	assert.Equal(t, asked, g.Stats().TokenRequests.Total)
	ok, err := g.call(t.Context(), after["access_token"].(string))
	require.NoError(t, err)
	assert.True(t, ok)
}

// Somebody regenerates the secret of the active client. Readers notice nothing
// but a warning: the standby takes over.
func TestFailoverUnderLoad(t *testing.T) {
	g := newGBG(t, 9*time.Second)
	m := configured(t, g)
	load := startLoad(t, m, "creds", g, 16, nil)
	time.Sleep(time.Second)
	g.regenerate(t, "client-a")
	require.Eventually(t, func() bool { return m.read("status").Data["active_client_id"] == "client-b" },
		30*time.Second, 50*time.Millisecond)
	time.Sleep(7 * time.Second)
	r := load.stop()
	t.Log(r)
	assert.Empty(t, r.failures)
	assert.Empty(t, r.refused)
	require.Len(t, r.warnings, 1)
	for text, times := range r.warnings {
		assert.Contains(t, text, `GBG refused client "client-a" (invalid_client), so client "client-b" has taken over`)
		assert.Equal(t, 1, times, "one reader is told")
	}
	status := m.read("status").Data
	assert.Equal(t, "failover", status["last_rotation_cause"])
	assert.Equal(t, "client-a", status["standby_client_id"])

	// What the warning says to do, and back.
	m.write("config", map[string]any{"client_secret": g.regenerate(t, "client-a")})
	assert.Equal(t, "client-a", m.write("rotate", map[string]any{"client_id": "client-a"}).Data["active_client_id"])
}

// newDevServer starts a development server of the test's own.
func newDevServer(t *testing.T) *vaultserver.Server {
	t.Helper()
	return newTalkingServer(t, &vaultserver.Output{})
}

// newTalkingServer is newDevServer with a log that tells everything.
func newTalkingServer(t *testing.T, log *vaultserver.Output) *vaultserver.Server {
	t.Helper()
	server, err := vaultserver.Start(t.Context(), vaultserver.Options{
		Binary: suite.vault, PluginDir: ownPlugins(t), Log: log, Env: []string{"HOME=" + suite.dir, "VAULT_LOG_LEVEL=trace"},
	})
	require.NoError(t, err, log)
	t.Cleanup(func() { assert.NoError(t, server.Stop()) })
	require.NoError(t, server.Register(t.Context()))
	return server
}

// ownPlugins gives a plugin folder of the test's own, so that its processes can
// be told from others.
func ownPlugins(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	binary, err := os.ReadFile(filepath.Join(suite.pluginDir, vaultserver.PluginName))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, vaultserver.PluginName), binary, 0o755))
	return dir
}

// pluginProcess finds the plugin process of a server with plugins of its own.
func pluginProcess(t *testing.T, server *vaultserver.Server) (pid int) {
	t.Helper()
	want := filepath.Join(server.PluginDir(), vaultserver.PluginName)
	require.Eventually(t, func() bool {
		links, err := filepath.Glob("/proc/[0-9]*/exe")
		require.NoError(t, err)
		for _, link := range links {
			if exe, err := os.Readlink(link); err == nil && exe == want {
				pid, err = strconv.Atoi(strings.Split(link, "/")[2])
				return err == nil
			}
		}
		return false
	}, 10*time.Second, 10*time.Millisecond)
	return pid
}
