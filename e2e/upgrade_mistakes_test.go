package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// A release whose file is not the registered one is not started, and the one before it
// goes on.
func TestUpgradeOntoAFileThatDoesNotMatch(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	dir := ownPlugins(t)
	newer := addRelease(t, dir, "v0.2.0")
	server := newRaftServer(t, dir)
	m := newMount(t, server)
	m.write("config", g.pair())
	newer.register(t, server)
	file := filepath.Join(dir, newer.file)
	binary, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, append(binary, 0), 0o755))
	m.tune(newer)
	_, err = m.client.Sys().ReloadPluginWithContext(t.Context(), &api.ReloadPluginInput{Plugin: vaultserver.PluginName})
	require.ErrorContains(t, err, "checksums did not match")
	assert.Equal(t, "client-a", m.read("creds").Data["client_id"])
	assert.Equal(t, "v0.0.1", runningVersion(t, m), "the older release goes on")
	m.write("config", map[string]any{"refresh_before": "90s"})
}
