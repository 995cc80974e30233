package consumers

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
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
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "ANSIBLE_LOCALHOST_WARNING=false")
	cmd.Env = append(cmd.Env, w.appRole()...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.NotContains(t, string(out), gbgsim.TokenPrefix)
	assert.Equal(t, 1, w.reads())
	calls := w.gbg.Stats().APICalls
	assert.Equal(t, 1, calls.Accepted)
	assert.Zero(t, calls.Refused)
}

// appRole returns the environment with which a job logs in by AppRole.
func (w *world) appRole() []string {
	w.t.Helper()
	require.NoError(w.t, w.client.Sys().EnableAuthWithOptionsWithContext(w.t.Context(), "approle", &api.EnableAuthOptions{Type: "approle"}))
	w.write("auth/approle/role/"+role, map[string]any{"token_policies": role})
	id, err := w.client.Logical().ReadWithContext(w.t.Context(), "auth/approle/role/"+role+"/role-id")
	require.NoError(w.t, err)
	secret := w.write("auth/approle/role/"+role+"/secret-id", nil)
	return []string{"VAULT_ROLE_ID=" + id.Data["role_id"].(string), "VAULT_SECRET_ID=" + secret.Data["secret_id"].(string)}
}
