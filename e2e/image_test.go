package e2e

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// image returns the checksum of each file of the release's image, which is an OCI
// layout.
func (r *builtRelease) image(t *testing.T) map[string]string {
	t.Helper()
	sums := map[string]string{}
	root := filepath.Join(r.dist, "image")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		sum, err := vaultserver.SHA256(path)
		sums[strings.TrimPrefix(path, root)] = sum
		return err
	})
	require.NoError(t, err)
	return sums
}

// runImage pushes the image to a registry on loopback, pulls it with another tool, and
// runs the binary in a real Vault.
func (r *builtRelease) runImage(t *testing.T) {
	repository := newRegistry(t) + "/" + vaultserver.PluginName
	push := exec.CommandContext(t.Context(), "make", "push-image", "IMAGE="+repository)
	push.Dir = r.dir
	out, err := push.CombinedOutput()
	require.NoError(t, err, "%s", out)
	digest := regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(string(out))

	for _, tag := range []string{r.version, "v" + r.version} {
		assert.Equal(t, digest, crane(t, "digest", repository+":"+tag))
	}
	for _, arch := range []string{"amd64", "arm64"} {
		name := vaultserver.PluginName + "_" + r.version + "_linux_" + arch
		var config struct {
			Architecture string
			Config       struct{ Entrypoint []string }
		}
		require.NoError(t, json.Unmarshal([]byte(crane(t, "config", "--platform=linux/"+arch, repository+":"+r.version)), &config))
		assert.Equal(t, arch, config.Architecture)
		assert.Equal(t, []string{"/" + vaultserver.PluginName}, config.Config.Entrypoint)

		plugins := pullBinary(t, repository+":"+r.version, arch)
		sum, err := vaultserver.SHA256(filepath.Join(plugins, vaultserver.PluginName))
		require.NoError(t, err)
		assert.Equal(t, r.sums[name], sum, name)
		if arch == runtime.GOARCH && runtime.GOOS == "linux" {
			r.requireRuns(t, plugins)
		}
	}
}

// newRegistry starts a registry on loopback and returns its address.
func newRegistry(t *testing.T) string {
	t.Helper()
	log := &vaultserver.Output{}
	cmd := exec.CommandContext(t.Context(), "../bin/crane", "registry", "serve", "--address", "127.0.0.1:0")
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	port := regexp.MustCompile(`serving on port (\d+)`)
	require.Eventually(t, func() bool { return port.MatchString(log.String()) }, 10*time.Second, 20*time.Millisecond)
	return "127.0.0.1:" + port.FindStringSubmatch(log.String())[1]
}

// crane runs a command of crane and returns what it prints.
func crane(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../bin/crane", args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.TrimSpace(string(out))
}

// pullBinary pulls an image and returns a plugin directory with the file in its root. It
// requires that this is the plugin and that there is no other one.
func pullBinary(t *testing.T, image, arch string) (dir string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	exported := filepath.Join(t.TempDir(), "image.tar")
	crane(t, "export", "--platform=linux/"+arch, image, exported)
	file, err := os.Open(exported)
	require.NoError(t, err)
	defer file.Close()
	archive := tar.NewReader(file)
	var root []string
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if strings.HasPrefix(header.Name, "licenses/") {
			continue
		}
		root = append(root, header.Name)
		content, err := io.ReadAll(archive)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(header.Name)), content, header.FileInfo().Mode()))
	}
	require.Equal(t, []string{vaultserver.PluginName}, root)
	return dir
}

// requireRuns mounts the plugin of a directory in a real Vault.
func (r *builtRelease) requireRuns(t *testing.T, plugins string) {
	t.Helper()
	log := &vaultserver.Output{}
	server, err := vaultserver.Start(t.Context(), vaultserver.Options{
		Binary: suite.vault, PluginDir: plugins, Log: log, Env: []string{"HOME=" + suite.dir},
	})
	require.NoError(t, err, log)
	defer func() { assert.NoError(t, server.Stop()) }()
	require.NoError(t, server.Register(t.Context()))
	require.NoError(t, server.Enable(t.Context(), "gbg"))
	client, err := server.Client("")
	require.NoError(t, err)
	mounts, err := client.Sys().ListMountsWithContext(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "v"+r.version, mounts["gbg/"].RunningVersion)
}
