package consumers

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// The workflow is one that actionlint accepts.
func TestGitHubWorkflow(t *testing.T) {
	lint := exec.CommandContext(t.Context(), buildTool(t, "github.com/rhysd/actionlint/cmd/actionlint"),
		filepath.Join(repository, "examples/consumers/github-actions.yml"))
	out, err := lint.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// hashicorp/vault-action reads the token with the inputs of the workflow. VAULT_ACTION is
// the path of its dist/index.js.
func TestVaultAction(t *testing.T) {
	action := os.Getenv("VAULT_ACTION")
	if action == "" {
		t.Skip("VAULT_ACTION is not set")
	}
	w := newWorld(t, time.Hour)
	var workflow struct {
		Jobs map[string]struct {
			Steps []struct {
				With map[string]string `json:"with"`
			} `json:"steps"`
		} `json:"jobs"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(readExample(t, "consumers/github-actions.yml")), &workflow))
	inputs := workflow.Jobs["call-gbg"].Steps[0].With
	inputs["url"] = w.vault.Address()

	// GitHub's token service, which checks what it is asked for.
	login := w.letJobsIn()
	github := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		assert.Equal(t, vaultAddress, r.URL.Query().Get("audience"))
		_, _ = rw.Write([]byte(`{"value":"` + login + `"}`))
	}))
	t.Cleanup(github.Close)
	dir := t.TempDir()
	env, output := filepath.Join(dir, "env"), filepath.Join(dir, "output")
	for _, file := range []string{env, output} {
		require.NoError(t, os.WriteFile(file, nil, 0o600))
	}
	cmd := exec.CommandContext(t.Context(), "node", action)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "GITHUB_ENV=" + env, "GITHUB_OUTPUT=" + output,
		"ACTIONS_ID_TOKEN_REQUEST_URL=" + github.URL + "/?a=b", "ACTIONS_ID_TOKEN_REQUEST_TOKEN=fake-token",
	}
	for name, value := range inputs {
		cmd.Env = append(cmd.Env, "INPUT_"+strings.ToUpper(name)+"="+value)
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	content, err := os.ReadFile(env)
	require.NoError(t, err)
	token := w.token()
	assert.Contains(t, string(content), "GBG_TOKEN")
	assert.Contains(t, string(content), token)
	assert.Contains(t, string(out), "::add-mask::"+token)
	assert.Equal(t, 1, w.reads())
}
