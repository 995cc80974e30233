package e2e

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// newRaftServer starts a server of the test's own on integrated storage, which
// knows the plugin.
func newRaftServer(t *testing.T, pluginDir string) *vaultserver.Server {
	t.Helper()
	server := startRaftServer(t, pluginDir)
	require.NoError(t, server.Register(t.Context()))
	return server
}

// startRaftServer starts one that knows no plugin yet.
func startRaftServer(t *testing.T, pluginDir string) *vaultserver.Server {
	t.Helper()
	log := &vaultserver.Output{}
	server, err := vaultserver.Start(t.Context(), vaultserver.Options{
		Binary: suite.vault, PluginDir: pluginDir, DataDir: t.TempDir(), Log: log, Env: []string{"HOME=" + suite.dir},
	})
	require.NoError(t, err, log)
	t.Cleanup(func() { assert.NoError(t, server.Stop()) })
	return server
}

// rotatedOnce is a mount whose active client is the second one.
func rotatedOnce(t *testing.T, server *vaultserver.Server, g *gbg) *mount {
	t.Helper()
	m := newMount(t, server)
	m.write("config", g.pair())
	m.write("config/team-a", map[string]any{"token_url": g.tokenURL(), "client_id": g.a.ID, "client_secret": g.a.Secret})
	m.write("rotate", map[string]any{"client_secret": g.regenerate(t, "client-b")})
	return m
}

func TestRestartKeepsConfigurationAndActiveSide(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	server := newRaftServer(t, suite.pluginDir)
	m := rotatedOnce(t, server, g)
	config, status := m.read("config").Data, m.read("status").Data

	require.NoError(t, server.Restart(t.Context()))
	assert.Equal(t, config, m.read("config").Data)
	assertSameRotation(t, status, m.read("status").Data)
	d := m.read("creds").Data
	assert.Equal(t, "client-b", d["client_id"])
	ok, err := g.call(t.Context(), d["access_token"].(string))
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "client-a", m.read("creds/team-a").Data["client_id"])
}

func TestReloadOntoANewBinaryKeepsConfigurationAndActiveSide(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, buildPlugin(t.Context(), dir, "v0.0.1"))
	server := newRaftServer(t, dir)
	m := rotatedOnce(t, server, g)
	config, status := m.read("config").Data, m.read("status").Data
	assert.Equal(t, "v0.0.1", runningVersion(t, m))

	require.NoError(t, buildPlugin(t.Context(), dir, "v0.0.2"))
	require.NoError(t, server.Register(t.Context()))
	// The plugin reports its version, so Vault pins the mount to it.
	require.NoError(t, m.client.Sys().TuneMountAllowNilWithContext(t.Context(), m.path, api.TuneMountConfigInput{PluginVersion: new("v0.0.2")}))
	_, err = m.client.Sys().ReloadPluginWithContext(t.Context(), &api.ReloadPluginInput{Plugin: vaultserver.PluginName})
	require.NoError(t, err)
	assert.Equal(t, "v0.0.2", runningVersion(t, m))
	assert.Equal(t, config, m.read("config").Data)
	assertSameRotation(t, status, m.read("status").Data)
	assert.Equal(t, "client-b", m.read("creds").Data["client_id"])
	assert.Equal(t, "client-a", m.write("rotate", map[string]any{"client_id": "client-a"}).Data["active_client_id"])
}

// runningVersion is what "vault secrets list -detailed" shows.
func runningVersion(t *testing.T, m *mount) string {
	t.Helper()
	mounts, err := m.client.Sys().ListMountsWithContext(t.Context())
	require.NoError(t, err)
	return mounts[m.path+"/"].RunningVersion
}

// assertSameRotation compares what a status says of the pair. The token in
// memory may be another.
func assertSameRotation(t *testing.T, want, got map[string]any) {
	t.Helper()
	for _, key := range []string{
		"active_client_id", "standby_client_id", "active_secret_set_time", "standby_secret_set_time",
		"last_rotation_time", "last_rotation_cause", "regenerate_after",
	} {
		assert.Equal(t, want[key], got[key], key)
	}
}
