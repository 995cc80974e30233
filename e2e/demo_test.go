package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// demo gives the command that make demo runs, on binaries built here.
func demo(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	for _, pkg := range []string{"../scripts/demo", "../cmd/gbg-simulator"} {
		out, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", pkg).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	args = append([]string{"-vault", suite.vault, "-plugins", suite.pluginDir, "-simulator", filepath.Join(dir, "gbg-simulator")}, args...)
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "demo"), args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	return cmd
}

func TestDemo(t *testing.T) {
	cmd := demo(t)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Regexp(t, `\d{2,} reads of gbg/creds: 0 failed. \d{2,} calls of GBG: 0 refused.`, string(out))
	assert.Regexp(t, `(?s)gbg/verify\n.*"result": "ok"`, string(out))
	assert.Contains(t, strings.Join(strings.Fields(string(out)), " "), `differ in the claims ["roles"]`)
	assert.Regexp(t, `(?s)vault read gbg/creds/users\n.*username +api-user-a\n.*password=@api-user-b.secret\n.*active_username +api-user-b\n`, string(out))
	assert.Regexp(t, `(?s)vault read gbg/creds/identity\n.*client_id +idp-a\n.*id_token=@token.jwt\n.*client_id +ro.client\n`, string(out))
	assert.NotContains(t, string(out), "\x1b", "no colours in a pipe")
	assertNothingLeft(t, cmd)
}

// make dev stays up until Ctrl-C, and what it prints is true.
func TestDevEndsWithCtrlC(t *testing.T) {
	cmd := demo(t, "-stay")
	out := &logBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "Press Ctrl-C to stop everything.") },
		time.Minute, 50*time.Millisecond)

	exports := regexp.MustCompile(`(?m)^(export .*|cd .*)$`).FindAllString(out.String(), -1)
	require.Len(t, exports, 3)
	read, err := exec.CommandContext(t.Context(), "bash", "-euc", strings.Join(exports, "\n")+"\nvault read -field=client_id gbg/creds").CombinedOutput()
	require.NoError(t, err, "%s", read)
	assert.Equal(t, "go-api-a", string(bytes.TrimSpace(read)))

	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.NoError(t, cmd.Wait())
	assertNothingLeft(t, cmd)
}

// An interrupt in the middle of the tour leaves nothing behind either.
func TestDemoInterrupted(t *testing.T) {
	cmd := demo(t)
	out := &logBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "Configure a connection") },
		time.Minute, time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	err := cmd.Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 130, exit.ExitCode())
	assertNothingLeft(t, cmd)
}

// assertNothingLeft looks for processes and files of a demo that has ended.
// Its children carry its TMPDIR in their environment.
func assertNothingLeft(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	dir := filepath.Dir(cmd.Path)
	left, err := filepath.Glob(filepath.Join(dir, "gbg-demo-*"))
	require.NoError(t, err)
	assert.Empty(t, left, "folders")
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	for _, path := range environments {
		environment, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		assert.NotContains(t, string(environment), "TMPDIR="+dir+"\x00", "process %s", path)
	}
}
