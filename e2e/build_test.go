package e2e

import (
	"debug/buildinfo"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// Whoever builds the plugin from the same source with the same Go gets the same
// bytes, wherever it lies. make test-release says so of everything in a release.
func TestBuildIsReproducible(t *testing.T) {
	var sums []string
	for _, folder := range []string{"here", "some/where/else"} {
		dir := filepath.Join(t.TempDir(), folder)
		copySource(t, dir)
		cmd := exec.CommandContext(t.Context(), "make", "build")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		plugin := filepath.Join(dir, "bin", "plugins", vaultserver.PluginName)
		requireTracelessBuild(t, plugin, dir)
		requireStatic(t, plugin)
		sum, err := vaultserver.SHA256(plugin)
		require.NoError(t, err)
		sums = append(sums, sum)
	}
	assert.Equal(t, sums[0], sums[1])
}

// copySource copies what git knows or would add, as it is in the working tree.
func copySource(t *testing.T, to string) {
	t.Helper()
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = ".."
	out, err := list.Output()
	require.NoError(t, err)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join("..", name))
		if os.IsNotExist(err) {
			continue // removed, and not committed yet
		}
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Join(to, filepath.Dir(name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(to, name), content, 0o644))
	}
}

// requireTracelessBuild is that a binary does not tell where it was built: neither
// the folder of the source nor where the go command keeps things.
func requireTracelessBuild(t *testing.T, binary, dir string) map[string]string {
	t.Helper()
	info, err := buildinfo.ReadFile(binary)
	require.NoError(t, err)
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
		assert.NotContains(t, s.Key, "vcs", "a tag would change the binary")
	}
	assert.Equal(t, "true", settings["-trimpath"])
	assert.Equal(t, "0", settings["CGO_ENABLED"])
	content, err := os.ReadFile(binary)
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT", "GOMODCACHE", "GOCACHE").Output()
	require.NoError(t, err)
	for _, path := range append(strings.Fields(string(out)), dir) {
		if strings.Contains(string(content), path) { // an assertion would print the binary
			t.Errorf("%s holds %s", filepath.Base(binary), path)
		}
	}
	return settings
}

// requireStatic is that a program needs no library of the system's.
func requireStatic(t *testing.T, binary string) {
	t.Helper()
	file, err := elf.Open(binary)
	require.NoError(t, err)
	defer file.Close()
	for _, part := range file.Progs {
		assert.NotContains(t, []elf.ProgType{elf.PT_INTERP, elf.PT_DYNAMIC}, part.Type)
	}
}
