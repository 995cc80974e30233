package consumers

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func TestAnsible(t *testing.T) {
	ansible, err := exec.LookPath("ansible-playbook")
	if err != nil {
		t.Skip("no ansible-playbook on this machine")
	}
	w := newWorld(t, time.Hour)
	playbook := filepath.Join(t.TempDir(), "ansible.yml")
	require.NoError(t, os.WriteFile(playbook, []byte(w.example("consumers/ansible.yml")), 0o600))
	cmd := exec.CommandContext(t.Context(), ansible, "-v", "-e", "gbg_api="+w.url+gbgsim.APIPath, playbook)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "ANSIBLE_LOCALHOST_WARNING=false",
		"ANSIBLE_HASHI_VAULT_ADDR="+w.vault.Address(), "ANSIBLE_HASHI_VAULT_TOKEN="+w.reader(), "ANSIBLE_HASHI_VAULT_AUTH_METHOD=token")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.NotContains(t, string(out), gbgsim.TokenPrefix)
	assert.Equal(t, 1, w.reads())
	calls := w.gbg.Stats().APICalls
	assert.Equal(t, 1, calls.Accepted)
	assert.Zero(t, calls.Refused)
}
