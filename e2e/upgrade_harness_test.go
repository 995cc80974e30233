package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// release is a build of the plugin in a server's plugin folder, in a file of its
// own.
type release struct {
	version, file string
}

// addRelease builds a release into a plugin folder, with further flags for go build.
func addRelease(t *testing.T, pluginDir, version string, flags ...string) release {
	t.Helper()
	r := release{version: version, file: vaultserver.PluginName + "_" + version}
	built := t.TempDir()
	require.NoError(t, buildPlugin(t.Context(), built, version, flags...))
	binary, err := os.ReadFile(filepath.Join(built, vaultserver.PluginName))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(pluginDir, r.file), binary, 0o755))
	return r
}

// register makes a release known to a server beside those it knows.
func (r release) register(t *testing.T, server *vaultserver.Server) {
	t.Helper()
	sum, err := vaultserver.SHA256(filepath.Join(server.PluginDir(), r.file))
	require.NoError(t, err)
	client, err := server.Client("")
	require.NoError(t, err)
	require.NoError(t, client.Sys().RegisterPluginWithContext(t.Context(), &api.RegisterPluginInput{
		Name: vaultserver.PluginName, Type: api.PluginTypeSecrets, Version: r.version, Command: r.file, SHA256: sum,
	}))
}

// tune says which release the mount is to run after its next reload.
func (m *mount) tune(r release) {
	m.t.Helper()
	require.NoError(m.t, m.client.Sys().TuneMountAllowNilWithContext(m.t.Context(), m.path, api.TuneMountConfigInput{PluginVersion: &r.version}))
}

// reload has Vault start the plugin's mounts anew, on all nodes.
func (m *mount) reload() {
	m.t.Helper()
	_, err := m.client.Sys().ReloadPluginWithContext(m.t.Context(), &api.ReloadPluginInput{Plugin: vaultserver.PluginName, Scope: "global"})
	require.NoError(m.t, err)
}

// change moves the mount onto another release.
func (m *mount) change(to release) {
	m.t.Helper()
	m.tune(to)
	m.reload()
	require.Equal(m.t, to.version, runningVersion(m.t, m))
}

// withoutTTL is an answer without the one key that differs while the token is the
// same.
func withoutTTL(s *api.Secret) map[string]any {
	delete(s.Data, "ttl")
	return s.Data
}

// pathLoad is readers that read several paths as fast as they can.
type pathLoad struct {
	stopped atomic.Bool
	group   sync.WaitGroup

	mu    sync.Mutex
	paths map[string]*pathTraffic
}

// pathTraffic is what the readers of one path saw.
type pathTraffic struct {
	traffic
	tokens map[any]bool
}

// startPathLoad starts so many readers of each path.
func startPathLoad(t *testing.T, client *api.Client, readers int, paths ...string) *pathLoad {
	t.Helper()
	l := &pathLoad{paths: map[string]*pathTraffic{}}
	for _, path := range paths {
		seen := &pathTraffic{tokens: map[any]bool{}}
		l.paths[path] = seen
		for range readers {
			own, err := client.Clone()
			require.NoError(t, err)
			own.SetToken(client.Token())
			l.group.Go(func() {
				for !l.stopped.Load() {
					l.once(t.Context(), own, path, seen)
				}
			})
		}
	}
	t.Cleanup(func() { l.stop() })
	return l
}

func (l *pathLoad) once(ctx context.Context, client *api.Client, path string, seen *pathTraffic) {
	began := time.Now()
	s, err := read(ctx, client, path)
	l.mu.Lock()
	defer l.mu.Unlock()
	seen.note(began, err)
	if err == nil {
		seen.tokens[s.Data["access_token"]] = true
	}
}

// stop ends the readers, each after its read, and gives what they saw, by path.
func (l *pathLoad) stop() map[string]*pathTraffic {
	l.stopped.Store(true)
	l.group.Wait()
	return l.paths
}

// newerEntries gives the flags that build a release whose connections are stored
// in a newer form than this one's, which it reads too.
func newerEntries(t *testing.T) []string {
	t.Helper()
	const source = "../backend/connection/entry.go"
	path, err := filepath.Abs(source)
	require.NoError(t, err)
	code, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, was := range []string{"entryVersion1 = 1\n", "entryVersion2 = 2\n"} {
		require.Equal(t, 1, strings.Count(string(code), was), source)
	}
	higher := strings.NewReplacer("entryVersion1 = 1\n", "entryVersion1 = 3\n", "entryVersion2 = 2\n", "entryVersion2 = 3\n")
	dir := t.TempDir()
	newer, overlay := filepath.Join(dir, "entry.go"), filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(newer, []byte(higher.Replace(string(code))), 0o600))
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{path: newer}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(overlay, replace, 0o600))
	return []string{"-overlay", overlay}
}
