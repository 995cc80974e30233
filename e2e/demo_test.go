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

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// demo returns the command that make demo runs, on binaries built here and on the server
// of this suite.
func demo(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return demoOnInstalled(t, append([]string{"-vault", suite.vault}, args...)...)
}

// demoOnInstalled is demo without a server: it looks for an installed one.
func demoOnInstalled(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	for _, pkg := range []string{"../scripts/demo", "../cmd/gbg-simulator"} {
		out, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", pkg).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	args = append([]string{"-plugins", suite.pluginDir, "-simulator", filepath.Join(dir, "gbg-simulator")}, args...)
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "demo"), args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	return cmd
}

// The demo uses an installed server and says which, whatever the settings of the person
// who runs it.
func TestDemo(t *testing.T) {
	installed := installedServer(t)
	cmd := demoOnInstalled(t)
	cmd.Env = append(cmd.Env, "PATH="+installed+":"+pathWithoutServers(),
		"VAULT_NAMESPACE=team", "VAULT_FORMAT=json", "VAULT_ADDR=http://127.0.0.1:1", "BAO_ADDR=http://127.0.0.1:1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Regexp(t, `Starting Vault v\S+ \(`+regexp.QuoteMeta(filepath.Join(installed, "vault"))+`\) and a simulated GBG`, string(out))
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
	out := &vaultserver.Output{}
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
	out := &vaultserver.Output{}
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

// installedServer returns a directory for PATH with the suite's server as vault.
func installedServer(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Symlink(suite.vault, filepath.Join(dir, "vault")))
	return dir
}

// pathWithoutServers returns PATH without the directories that have a vault or bao.
func pathWithoutServers() string {
	var dirs []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		_, noVault := os.Stat(filepath.Join(dir, "vault"))
		_, noBao := os.Stat(filepath.Join(dir, "bao"))
		if noVault != nil && noBao != nil {
			dirs = append(dirs, dir)
		}
	}
	return strings.Join(dirs, ":")
}

// make demo builds a server only if none is installed and VAULT is not set. make test
// does not look for installed ones.
func TestMakeDemoServer(t *testing.T) {
	installed, other := installedServer(t), t.TempDir()
	vault := filepath.Join(installed, "vault")
	require.NoError(t, os.WriteFile(filepath.Join(other, "vault"), []byte("#!/bin/sh\necho My Vault 3\n"), 0o755))
	for _, tc := range []struct {
		name, path string
		args       []string
		runs       string // a command in what make would run
		says       string
		builds     bool
	}{
		{name: "installed", path: installed, args: []string{"demo"}, runs: `bin/demo -vault "` + vault + `"`},
		{name: "installed, dev", path: installed, args: []string{"dev"}, runs: `bin/demo -vault "` + vault + `" -stay`},
		{name: "none", args: []string{"demo"}, runs: `bin/demo -vault "bin/vault"`, builds: true},
		{
			name: "another program", path: other, args: []string{"demo"}, runs: `bin/demo -vault "bin/vault"`, builds: true,
			says: "Not used: " + filepath.Join(other, "vault") + " is neither HashiCorp Vault nor OpenBao",
		},
		{name: "VAULT is a path", path: other, args: []string{"demo", "VAULT=" + vault}, runs: `bin/demo -vault "` + vault + `"`},
		{name: "VAULT is a name", path: installed, args: []string{"demo", "VAULT=vault"}, runs: `bin/demo -vault "` + vault + `"`},
		{name: "VAULT is missing", path: installed, args: []string{"demo", "VAULT=/no/vault"}, says: "VAULT=/no/vault cannot be used"},
		{name: "VAULT is another program", path: other, args: []string{"demo", "VAULT=vault"}, says: "VAULT=vault cannot be used"},
		{name: "test", path: installed, args: []string{"test"}, runs: `bin/vault" go test`, builds: true},
		{name: "test, VAULT is a name", path: installed, args: []string{"test", "VAULT=vault"}, runs: `VAULT="` + vault + `" go test`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// As if the server was not built yet.
			args := append([]string{"--no-print-directory", "-n", "-W", "scripts/vault/go.mod"}, tc.args...)
			cmd := exec.CommandContext(t.Context(), "make", args...)
			cmd.Dir = ".."
			cmd.Env = append(os.Environ(), "VAULT=", "MAKEFLAGS=", "PATH="+tc.path+":"+pathWithoutServers())
			out, err := cmd.CombinedOutput()
			assert.Equal(t, tc.runs == "", err != nil, "%s", out)
			assert.Contains(t, string(out), tc.runs)
			assert.Contains(t, string(out), tc.says)
			assert.Equal(t, tc.builds, strings.Contains(string(out), "go build -tags minimal"), "%s", out)
		})
	}
}

// A server that cannot be used is named.
func TestDemoOnAnotherProgram(t *testing.T) {
	cmd := demoOnInstalled(t, "-vault", "/bin/true")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "/bin/true is neither HashiCorp Vault nor OpenBao")
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
