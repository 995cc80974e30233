// Package e2e tests the plugin as people meet it: the real binary, in a real
// Vault server process, asked through Vault's API and command line. Only GBG
// is played, by the simulator.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// suite is what all tests share: one development server, the plugin binary.
var suite struct {
	vault     string // the vault executable
	dir       string
	pluginDir string
	server    *vaultserver.Server
	serverLog *vaultserver.Output
}

// waitForLine waits until a process has printed a text: what it prints comes a
// little after what it does.
func waitForLine(t *testing.T, log *vaultserver.Output, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(log.String(), text) }, time.Minute, 20*time.Millisecond,
		"the log has no line with %q", text)
}

func TestMain(m *testing.M) {
	if address := os.Getenv(programEnv); address != "" {
		runProgram(address) // a child of this test's own Vault Agent
		return
	}
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		if code == 0 {
			code = 1
		}
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (code int, err error) {
	ctx := context.Background()
	if suite.vault, err = findVault(ctx); err != nil {
		return 1, err
	}
	if suite.dir, err = os.MkdirTemp("", "gbg-e2e-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(suite.dir)
	if suite.dir, err = filepath.EvalSymlinks(suite.dir); err != nil {
		return 1, err
	}
	suite.pluginDir = filepath.Join(suite.dir, "plugins")
	if err := buildPlugin(ctx, suite.pluginDir, "v0.0.1"); err != nil {
		return 1, err
	}
	suite.serverLog = &vaultserver.Output{}
	suite.server, err = vaultserver.Start(ctx, vaultserver.Options{
		Binary: suite.vault, PluginDir: suite.pluginDir, Log: suite.serverLog,
		Env: []string{"HOME=" + suite.dir, "VAULT_LOG_LEVEL=trace"},
	})
	if err != nil {
		return 1, fmt.Errorf("%w\n%s", err, suite.serverLog)
	}
	defer func() { err = errors.Join(err, suite.server.Stop()) }()
	if err := suite.server.Register(ctx); err != nil {
		return 1, err
	}
	// One mount that stays: Vault then keeps one plugin process for all tests
	// instead of starting one for each.
	if err := suite.server.Enable(ctx, "gbg-stays"); err != nil {
		return 1, err
	}
	code = m.Run()
	if strings.Contains(suite.serverLog.String(), "WARNING: DATA RACE") {
		return 1, errors.New("the race detector found something in the plugin; see Vault's log:\n" + suite.serverLog.String())
	}
	return code, nil
}

// findVault returns the path of the server: VAULT, which is a path or a name in PATH, or
// what make vault built.
func findVault(ctx context.Context) (string, error) {
	name := os.Getenv("VAULT")
	if name == "" {
		name = "../bin/vault"
	}
	binary, err := vaultserver.FindBinary(ctx, name)
	if err != nil {
		return "", fmt.Errorf("no server to test on: %w (make vault builds one)", err)
	}
	return binary.Path, nil
}

// buildPlugin builds the plugin into a folder, with further flags for go build; and
// with the race detector if these tests run with it.
func buildPlugin(ctx context.Context, dir, version string, flags ...string) error {
	args := []string{"build", "-o", filepath.Join(dir, vaultserver.PluginName), "-ldflags", "-X main.version=" + version}
	if raceEnabled {
		args = append(args, "-race")
	}
	args = append(append(args, flags...), "../cmd/vault-plugin-secrets-gbg")
	out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("building the plugin: %w\n%s", err, out)
	}
	return nil
}
