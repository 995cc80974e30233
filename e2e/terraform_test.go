package e2e

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What Terraform declares stays as declared: after a second apply and after a
// rotation. The calls and the comparison are those of the Vault provider's
// vault_generic_endpoint with ignore_absent_fields: write, read, and of what was
// read only the declared fields.
func TestDeclaredConfigurationStaysAsDeclared(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := newMount(t, suite.server)
	_, root := selfSigned(t, []string{"gbg.test"})
	declared := g.pair()
	maps.Copy(declared, map[string]any{
		"scope": "gbg.token", "ca_pem": string(root), "refresh_before": 120, "request_timeout": 5,
		"failover": true, "max_secret_age": 7776000,
	})
	for _, name := range []string{"", "/team-a"} {
		requireNoDrift := func() {
			t.Helper()
			read := m.read("config" + name).Data
			for field, value := range declared {
				if !strings.HasSuffix(field, "_secret") {
					require.Equal(t, asJSON(t, value), asJSON(t, read[field]), field)
				}
			}
		}
		m.write("config"+name, declared)
		requireNoDrift()
		asked := g.Stats().TokenRequests.Total
		m.write("config"+name, declared)
		requireNoDrift()
		assert.Equal(t, asked, g.Stats().TokenRequests.Total, "a second apply changes nothing, so GBG is not asked")

		m.write("rotate"+name, map[string]any{"client_id": "client-b"})
		requireNoDrift()
		m.write("config"+name, declared)
		requireNoDrift()
		assert.Equal(t, "client-b", m.read("creds" + name).Data["client_id"], "applying again does not rotate back")

		m.write("rotate"+name, map[string]any{"client_secret": g.regenerate(t, "client-a")})
		requireNoDrift()
		status, text := m.refused("config"+name, declared)
		assert.Equal(t, http.StatusBadRequest, status, "the declared secret is the one of before, and GBG refuses it")
		assert.Contains(t, text, "invalid_client")
		assert.Equal(t, "client-a", m.read("creds" + name).Data["client_id"])
		declared["client_secret"] = g.regenerate(t, "client-a")
	}
}

// asJSON is a value as the provider compares it.
func asJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	require.NoError(t, err)
	return string(text)
}

// The example, applied by OpenTofu with the Vault provider. make test-terraform
// builds both and runs this.
func TestTerraformExample(t *testing.T) {
	tofu, provider := os.Getenv("TOFU"), os.Getenv("TERRAFORM_PROVIDER_VAULT")
	if tofu == "" || provider == "" {
		t.Skip("make test-terraform runs this")
	}
	g := newGBG(t, time.Hour)
	_, root := selfSigned(t, []string{"gbg.test"})
	x := newTerraform(t, tofu, provider)
	out, err := x.run("plan", "-var-file=terraform.tfvars.example", "-input=false", "-no-color")
	require.NoError(t, err, out)
	m := &mount{t: t, path: "gbg-terraform", client: newMount(t, suite.server).client}
	t.Cleanup(func() { _ = m.client.Sys().Unmount(m.path) })
	connection := map[string]any{
		"client_id": g.a.ID, "paired_client_id": g.b.ID, "token_url": g.tokenURL(),
		"max_secret_age": 7776000, "failover": true, "ca_pem": string(root),
	}
	x.set("mount", m.path)
	x.set("connections", map[string]any{"team-a": connection})
	secrets := map[string]string{g.a.ID: g.a.Secret, g.b.ID: g.b.Secret}
	x.set("client_secrets", secrets)

	assert.Contains(t, x.apply(), "4 added, 0 changed, 0 destroyed")
	x.requireNoChanges()
	assert.Contains(t, x.apply(), "0 added, 0 changed, 0 destroyed")
	assert.Contains(t, x.state(), g.a.Secret, "as variables.tf warns")

	reader := m.as(m.path + "-read-team-a")
	assert.Equal(t, "client-a", reader.read("creds/team-a").Data["client_id"])
	status, _ := reader.refusedRead("status/team-a")
	assert.Equal(t, http.StatusForbidden, status)

	operator := m.as(m.path + "-operate-team-a")
	assert.Equal(t, "client-b", operator.write("rotate/team-a", map[string]any{"client_secret": g.regenerate(t, "client-b")}).Data["active_client_id"])
	assert.Equal(t, "client-b", operator.read("status/team-a").Data["active_client_id"])
	x.requireNoChanges()

	// Without the secrets the next apply takes them out of the state, and nothing
	// else.
	x.set("client_secrets", map[string]string{})
	assert.Contains(t, x.apply(), "0 added, 1 changed, 0 destroyed")
	for _, secret := range secrets {
		assert.NotContains(t, x.state(), secret)
	}
	x.requireNoChanges()

	// A setting changes, and the secret that the rotation brought stays.
	connection["max_secret_age"] = 86400
	x.set("connections", map[string]any{"team-a": connection})
	assert.Contains(t, x.apply(), "0 added, 1 changed, 0 destroyed")
	x.requireNoChanges()
	d := m.read("config/team-a").Data
	assert.Equal(t, "86400", number(t, d["max_secret_age"]))
	assert.Equal(t, "client-b", d["active_client_id"])
	assert.Equal(t, "client-b", reader.read("creds/team-a").Data["client_id"])

	// What somebody changed by hand shows.
	m.write("config/team-a", map[string]any{"max_secret_age": 3600})
	changes, _ := x.plan()
	assert.True(t, changes)
	assert.Contains(t, x.apply(), "0 added, 1 changed, 0 destroyed")
	x.requireNoChanges()

	// A secret that is given replaces the one of that client, and GBG says whether
	// it is right before it is stored.
	x.set("client_secrets", map[string]string{g.a.ID: "fake-wrong-secret"})
	out, err = x.run("apply", "-auto-approve", "-input=false", "-no-color")
	require.Error(t, err)
	assert.Contains(t, out, "invalid_client")
	x.set("client_secrets", map[string]string{g.a.ID: g.regenerate(t, "client-a")})
	assert.Contains(t, x.apply(), "0 added, 1 changed, 0 destroyed")
	assert.Equal(t, "client-a", m.write("rotate/team-a", map[string]any{"client_id": "client-a"}).Data["active_client_id"])

	_, err = x.run("destroy", "-auto-approve", "-input=false", "-no-color")
	require.NoError(t, err)
	mounts, err := m.client.Sys().ListMountsWithContext(t.Context())
	require.NoError(t, err)
	assert.NotContains(t, mounts, m.path+"/")
}

// terraform is a working copy of the example with a state of its own.
type terraform struct {
	t         *testing.T
	tofu, dir string
	variables map[string]any
}

func newTerraform(t *testing.T, tofu, provider string) *terraform {
	t.Helper()
	x := &terraform{t: t, tofu: tofu, dir: t.TempDir(), variables: map[string]any{}}
	require.NoError(t, os.CopyFS(x.dir, os.DirFS("../examples/terraform")))
	// The provider is the one that was built, and nothing is downloaded.
	cli := "provider_installation {\n  dev_overrides {\n    \"hashicorp/vault\" = \"" + filepath.Dir(provider) + "\"\n  }\n}\n"
	require.NoError(t, os.WriteFile(filepath.Join(x.dir, "cli.tfrc"), []byte(cli), 0o600))
	return x
}

// set gives a variable its value.
func (x *terraform) set(variable string, value any) {
	x.t.Helper()
	x.variables[variable] = value
	content, err := json.Marshal(x.variables)
	require.NoError(x.t, err)
	require.NoError(x.t, os.WriteFile(filepath.Join(x.dir, "terraform.tfvars.json"), content, 0o600))
}

func (x *terraform) run(args ...string) (string, error) {
	cmd := exec.CommandContext(x.t.Context(), x.tofu, args...)
	cmd.Dir = x.dir
	cmd.Env = append(os.Environ(), "HOME="+x.dir, "TF_CLI_CONFIG_FILE="+filepath.Join(x.dir, "cli.tfrc"),
		"VAULT_ADDR="+suite.server.Address(), "VAULT_TOKEN="+suite.server.Token())
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (x *terraform) apply() string {
	x.t.Helper()
	out, err := x.run("apply", "-auto-approve", "-input=false", "-no-color")
	require.NoError(x.t, err, out)
	return out
}

// plan says whether a plan finds something to change, and shows it.
func (x *terraform) plan() (changes bool, out string) {
	x.t.Helper()
	out, err := x.run("plan", "-detailed-exitcode", "-input=false", "-no-color")
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 2 {
		return true, out
	}
	require.NoError(x.t, err, out)
	return false, out
}

func (x *terraform) requireNoChanges() {
	x.t.Helper()
	changes, out := x.plan()
	require.False(x.t, changes, out)
}

func (x *terraform) state() string {
	x.t.Helper()
	content, err := os.ReadFile(filepath.Join(x.dir, "terraform.tfstate"))
	require.NoError(x.t, err)
	return string(content)
}
