package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A newcomer who types what docs/simulator.md says, in order, sees what it shows.
func TestSimulatorPageAsWritten(t *testing.T) {
	t.Parallel()
	someone, _, _ := newReaderWithMount(t, newProxy(t, map[string]http.Handler{"api.auth.gbgplc.com": http.NotFoundHandler()}))
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(someone.dir, "bin", "gbg-simulator"), "../cmd/gbg-simulator")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := free.Addr().(*net.TCPAddr).Port
	require.NoError(t, free.Close())
	someone.env = append(someone.env, fmt.Sprintf("GBG=http://127.0.0.1:%d", port))
	someone.follow("../docs/simulator.md", nil)
}
