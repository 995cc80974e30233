package consumers

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// consul-template writes each token once, and reads once for it. The token in the file is
// valid at any time.
func TestConsulTemplate(t *testing.T) {
	const lifetime, tokens = 12 * time.Second, 5
	w := newWorld(t, lifetime)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "consul-template.hcl"), []byte(w.example("consumers/consul-template.hcl")), 0o600))
	cmd := exec.CommandContext(t.Context(), buildTool(t, "github.com/hashicorp/consul-template"), "-config=consul-template.hcl")
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "VAULT_ADDR=" + w.vault.Address(), "VAULT_TOKEN=" + w.reader()}
	start(t, cmd)

	var seen []string
	require.Eventually(t, func() bool {
		token, err := os.ReadFile(filepath.Join(dir, "gbg-token"))
		if err != nil {
			return false
		}
		_, live := w.gbg.TokenClient(string(token))
		assert.True(t, live, "GBG refuses the token in the file")
		if len(seen) == 0 || seen[len(seen)-1] != string(token) {
			seen = append(seen, string(token))
		}
		return len(seen) == tokens
	}, 2*time.Minute, 100*time.Millisecond)
	reads := w.reads()
	t.Logf("%d tokens, %d reads", len(seen), reads)
	assert.InDelta(t, tokens, reads, 1)
	info, err := os.Stat(filepath.Join(dir, "gbg-token"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
}
