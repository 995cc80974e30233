package consumers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gitlab.com/gitlab-org/gitlab-runner/helpers/vault/auth_methods"
	"gitlab.com/gitlab-org/gitlab-runner/helpers/vault/service"
	"sigs.k8s.io/yaml"
)

// gitlabJob is what a runner needs of a job in examples/consumers/gitlab-ci.yml.
type gitlabJob struct {
	Variables map[string]string `json:"variables"`
	Script    []string          `json:"script"`
	Secrets   map[string]struct {
		Vault gitlabSecret `json:"vault"`
	} `json:"secrets"`
}

// gitlabSecret is where the runner finds a secret.
type gitlabSecret struct {
	Engine struct {
		Name string `json:"name"`
		Path string `json:"path"`
	} `json:"engine"`
	Path  string `json:"path"`
	Field string `json:"field"`
}

func (s gitlabSecret) EngineName() string  { return s.Engine.Name }
func (s gitlabSecret) EnginePath() string  { return s.Engine.Path }
func (s gitlabSecret) SecretPath() string  { return s.Path }
func (s gitlabSecret) SecretField() string { return s.Field }

// gitlabLogin is how the runner logs in: GitLab makes it out of the job's variables.
type gitlabLogin struct {
	path string
	data auth_methods.Data
}

func (gitlabLogin) AuthName() string              { return "jwt" }
func (l gitlabLogin) AuthPath() string            { return l.path }
func (l gitlabLogin) AuthData() auth_methods.Data { return l.data }

func (w *world) gitlabJobs() map[string]gitlabJob {
	w.t.Helper()
	var jobs map[string]gitlabJob
	require.NoError(w.t, yaml.Unmarshal([]byte(w.example("consumers/gitlab-ci.yml")), &jobs))
	return jobs
}

// The script logs in with the job's ID token and reads the GBG token.
func TestGitLabScript(t *testing.T) {
	w := newWorld(t, time.Hour)
	job := w.gitlabJobs()["call-gbg"]
	assert.Equal(t, w.token(), w.runJob(strings.Join(job.Script, "\n"), "VAULT_ID_TOKEN="+w.letJobsIn(), "VAULT_ADDR="+job.Variables["VAULT_ADDR"], "CI_COMMIT_SHA=0"))
}

// runJob runs a job's shell script, whose program call-gbg notes what it is given, on
// standard input or as GBG_TOKEN. Nothing it prints holds the token.
func (w *world) runJob(script string, env ...string) (given string) {
	w.t.Helper()
	dir := w.t.TempDir()
	require.NoError(w.t, os.WriteFile(filepath.Join(dir, "call-gbg"), []byte("#!/bin/sh\nprintf %s \"${GBG_TOKEN:-$(cat)}\" >given\n"), 0o700))
	require.NoError(w.t, os.Symlink(suite.vault, filepath.Join(dir, "vault")))
	cmd := exec.CommandContext(w.t.Context(), "sh", "-ec", script)
	cmd.Dir = dir
	cmd.Env = append([]string{"HOME=" + dir, "PATH=" + dir + ":" + os.Getenv("PATH")}, env...)
	out, err := cmd.CombinedOutput()
	require.NoError(w.t, err, "%s", out)
	content, err := os.ReadFile(filepath.Join(dir, "given"))
	require.NoError(w.t, err)
	require.NotContains(w.t, string(out), string(content))
	return string(content)
}

// The runner's own code reads what the keyword secrets names. It cannot pass min_ttl.
func TestGitLabSecrets(t *testing.T) {
	w := newWorld(t, time.Hour)
	job := w.gitlabJobs()["call-gbg-with-secrets"]
	secret := job.Secrets["GBG_TOKEN"].Vault
	vault, err := service.NewVault(job.Variables["VAULT_SERVER_URL"], "", gitlabLogin{
		path: job.Variables["VAULT_AUTH_PATH"],
		data: auth_methods.Data{"jwt": w.letJobsIn(), "role": job.Variables["VAULT_AUTH_ROLE"]},
	})
	require.NoError(t, err)
	token, err := vault.GetField(secret, secret)
	require.NoError(t, err)
	assert.Equal(t, w.token(), token)

	withQuery := secret
	withQuery.Path += "?min_ttl=20m"
	_, err = vault.GetField(withQuery, withQuery)
	require.Error(t, err)
	t.Log(err)
}
