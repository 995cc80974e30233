package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// goToServerWithoutDirectory has the commands talk to a server without a plugin
// directory.
func (w *troubledWorld) goToServerWithoutDirectory() {
	server, err := vaultserver.Start(w.t.Context(), vaultserver.Options{Binary: suite.vault, Env: []string{"HOME=" + suite.dir}})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { assert.NoError(w.t, server.Stop()) })
	w.goTo(server)
}

// forbidStarting leaves the plugin's file as a download does, not executable.
func (w *troubledWorld) forbidStarting() {
	w.goToEmptyServer()
	require.NoError(w.t, os.Chmod(filepath.Join(w.plugins, vaultserver.PluginName), 0o644))
}

// replaceBinary puts a newer release where the registered one was, of which there is
// another mount.
func (w *troubledWorld) replaceBinary() {
	require.NoError(w.t, w.server.Enable(w.t.Context(), "gbg-other"))
	dir := w.t.TempDir()
	newer := addRelease(w.t, dir, "v0.2.0")
	require.NoError(w.t, os.Rename(filepath.Join(dir, newer.file), filepath.Join(w.plugins, vaultserver.PluginName)))
}

// goToServerWithoutPlugin has the commands talk to a server with the engine at gbg/ and
// the file of the plugin gone when it started.
func (w *troubledWorld) goToServerWithoutPlugin() {
	t := w.t
	if w.bare == nil {
		w.bareLog = &vaultserver.Output{}
		var err error
		w.bare, err = vaultserver.Start(t.Context(), vaultserver.Options{
			Binary: suite.vault, PluginDir: ownPlugins(t), DataDir: t.TempDir(), Log: w.bareLog, Env: []string{"HOME=" + suite.dir},
		})
		require.NoError(t, err, w.bareLog)
		t.Cleanup(func() { assert.NoError(t, w.bare.Stop()) })
		require.NoError(t, w.bare.Register(t.Context()))
		require.NoError(t, w.bare.Enable(t.Context(), "gbg"))
		client, err := w.bare.Client("")
		require.NoError(t, err)
		m := &mount{t: t, path: "gbg", client: client}
		w.bareGBG = newGBG(t, time.Hour)
		m.write("config", w.bareGBG.pair())
	}
	require.NoError(t, w.bare.Stop())
	file := filepath.Join(w.bare.PluginDir(), vaultserver.PluginName)
	require.NoError(t, os.MkdirAll(filepath.Join(w.dir, "bin", "plugins"), 0o755))
	binary, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "bin", "plugins", vaultserver.PluginName), binary, 0o755))
	require.NoError(t, os.Remove(file))
	require.NoError(t, w.bare.StartAgain(t.Context()))
	waitForLine(t, w.bareLog, "skipping plugin-based mount entry: path=gbg/")
	w.goTo(w.bare)
}

// goToServerWithPluginAgain has them talk to that server, with the file put back.
func (w *troubledWorld) goToServerWithPluginAgain() {
	w.goToServerWithoutPlugin()
	require.NoError(w.t, os.Rename(filepath.Join(w.dir, "bin", "plugins", vaultserver.PluginName), filepath.Join(w.bare.PluginDir(), vaultserver.PluginName)))
}

// killServer has the commands run where the process of a killed server's plugin is left.
func (w *troubledWorld) killServer() {
	t := w.t
	server, err := vaultserver.Start(t.Context(), vaultserver.Options{
		Binary: suite.vault, PluginDir: ownPlugins(t), DataDir: t.TempDir(), Log: &vaultserver.Output{}, Env: []string{"HOME=" + suite.dir},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Stop() }) // it has ended
	require.NoError(t, server.Register(t.Context()))
	require.NoError(t, server.Enable(t.Context(), "gbg"))
	plugin, err := lookAt(pluginProcess(t, server))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(plugin.parent, syscall.SIGKILL))
	require.Eventually(t, func() bool {
		orphan, err := lookAt(plugin.pid)
		return err == nil && orphan.parent != plugin.parent
	}, 10*time.Second, 10*time.Millisecond)
	w.goTo(server)
}

// linkOutside puts a link to a file elsewhere into the plugin directory.
func (w *troubledWorld) linkOutside() {
	w.goToEmptyServer()
	file := filepath.Join(w.t.TempDir(), vaultserver.PluginName)
	require.NoError(w.t, os.WriteFile(file, nil, 0o755))
	require.NoError(w.t, os.Symlink(file, filepath.Join(w.plugins, "vault-plugin-secrets-gbg_link")))
}

// leaseAway leaves leases at gbg/ whose tokens cannot be revoked.
func (w *troubledWorld) leaseAway() {
	w.goToEmptyServer()
	client, err := w.empty.Client("")
	require.NoError(w.t, err)
	m := &mount{t: w.t, path: "gbg", client: client}
	g := newGBG(w.t, time.Hour)
	m.write("config", with(with(g.pair(), "lease", true), "revoke_url", nowhere))
	for range 3 {
		m.read("creds")
	}
}

// rotateAfterSnapshot makes a snapshot, and then a rotation onto a new secret.
func (w *troubledWorld) rotateAfterSnapshot() {
	w.goTo(w.bare)
	out, err := w.run("vault operator raft snapshot save before-rotation.snap")
	require.NoError(w.t, err, out)
	client, err := w.bare.Client("")
	require.NoError(w.t, err)
	fresh := w.bareGBG.regenerate(w.t, "client-b")
	require.NoError(w.t, os.WriteFile(filepath.Join(w.dir, "client-b.secret"), []byte(fresh+"\n"), 0o600))
	m := &mount{t: w.t, path: "gbg", client: client}
	m.write("rotate", map[string]any{"client_id": "client-b", "client_secret": fresh})
}

// A mount that is moved keeps all it has, and is found at its new path only.
func TestMovedMount(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	before := withoutTTL(m.read("creds"))
	moved := &mount{t: t, path: m.path + "-moved", client: m.client}
	t.Cleanup(func() { _ = m.client.Sys().Unmount(moved.path) })
	require.NoError(t, m.client.Sys().RemountWithContext(t.Context(), m.path, moved.path))
	assert.Equal(t, before, withoutTTL(moved.read("creds")))
	moved.write("config", map[string]any{"refresh_before": "90s"})
	_, err := read(t.Context(), m.client, m.path+"/creds")
	require.ErrorContains(t, err, "no handler for route")
}

// A mount that was skipped when its node became active stays read-only after a reload:
// Vault holds back the storage of a mount until it has been set up. Everything that reads
// works, everything that stores fails.
func TestSkippedMountIsReadOnlyUntilItIsSetUpAgain(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	dir := ownPlugins(t)
	server := newRaftServer(t, dir)
	m := newMount(t, server)
	m.write("config", g.pair())
	file := filepath.Join(dir, vaultserver.PluginName)
	require.NoError(t, server.Stop())
	require.NoError(t, os.Rename(file, file+".away"))
	require.NoError(t, server.StartAgain(t.Context()))
	require.NoError(t, os.Rename(file+".away", file))
	_, err := read(t.Context(), m.client, m.path+"/creds")
	require.ErrorContains(t, err, "no handler for route")

	m.reload()
	assert.Equal(t, "client-a", m.read("creds").Data["client_id"])
	for path, data := range map[string]map[string]any{"config": {"refresh_before": "90s"}, "rotate": {"client_id": "client-b"}} {
		status, text := m.refused(path, data)
		assert.Equal(t, http.StatusInternalServerError, status)
		assert.Contains(t, text, "cannot write to storage during setup")
	}
	m.reload() // a second reload changes nothing
	status, text := m.refused("config", map[string]any{"refresh_before": "90s"})
	assert.Equal(t, http.StatusInternalServerError, status)
	assert.Contains(t, text, "cannot write to storage during setup")

	require.NoError(t, server.Restart(t.Context()))
	m.write("config", map[string]any{"refresh_before": "90s"})
	assert.Equal(t, true, m.write("rotate", map[string]any{"client_id": "client-b"}).Data["rotated"])
}
