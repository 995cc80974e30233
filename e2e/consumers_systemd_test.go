package e2e

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// The unit of examples/systemd is one that systemd accepts.
func TestSystemdUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd-analyze on this machine")
	}
	unit, err := os.ReadFile("../examples/systemd/gbg-agent.service")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "gbg-agent.service")
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(string(unit), "/usr/bin/vault", suite.vault)), 0o600))
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Empty(t, string(out))
}

// Agent starts as the unit starts it, with the configuration beside it, tells systemd that
// it is ready, and writes the token.
func TestSystemdAgent(t *testing.T) {
	t.Parallel()
	w := newAgents(t)
	g := newGBG(t, time.Hour)
	w.configure("team-a", g, nil)
	dir := t.TempDir()
	place := strings.NewReplacer("/etc/gbg-agent", dir, "/run/gbg", dir, "/usr/bin/vault", suite.vault,
		"https://vault.example.com:8200", w.server.Address())
	example := func(name string) string {
		content, err := os.ReadFile(filepath.Join("../examples", name))
		require.NoError(t, err)
		return place.Replace(string(content))
	}
	for name, content := range map[string]string{
		"role-id":       w.role("team-a", example("policies/team-reader.hcl"), nil),
		"secret-id":     w.secretID("team-a"),
		"gbg-agent.hcl": example("systemd/gbg-agent.hcl"),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	_, start, found := strings.Cut(example("systemd/gbg-agent.service"), "\nExecStart=")
	require.True(t, found)
	start, _, _ = strings.Cut(start, "\n")

	socket := filepath.Join(dir, "notify")
	notified, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: socket})
	require.NoError(t, err)
	defer notified.Close()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	arguments := strings.Fields(start)
	cmd := exec.CommandContext(ctx, arguments[0], arguments[1:]...)
	stopGently(cmd)
	cmd.Dir = "/"
	// systemd sets HOME of the unit's user, a directory that need not exist.
	cmd.Env = []string{"NOTIFY_SOCKET=" + socket, "HOME=/nonexistent"}
	log := &vaultserver.Output{}
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})

	message := make([]byte, 100)
	require.NoError(t, notified.SetReadDeadline(time.Now().Add(time.Minute)))
	n, err := notified.Read(message)
	require.NoError(t, err, log)
	assert.Equal(t, "READY=1", string(message[:n]))
	file := filepath.Join(dir, "token")
	require.Eventually(t, func() bool {
		token, err := os.ReadFile(file)
		return err == nil && len(token) > 0
	}, time.Minute, 50*time.Millisecond)
	token, err := os.ReadFile(file)
	require.NoError(t, err)
	g.mustAccept(t, string(token), g.a.ID)
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode())
}
