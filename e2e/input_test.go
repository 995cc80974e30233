package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A misspelt field changes nothing, and what Vault itself adds to a request is no field.
func TestUnknownFieldsAreRefused(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	before := m.read("config").Data
	for path, want := range map[string]string{
		"config": `unknown field "clientid": did you mean "client_id"?`,
		"rotate": `unknown field "clientid": did you mean "client_id"?`,
		"creds":  `unknown field "clientid": the fields are id_token, min_ttl, newer_than`,
	} {
		status, text := m.refused(path, map[string]any{"clientid": "client-b"})
		assert.Equal(t, http.StatusBadRequest, status, path)
		assert.Equal(t, want, text)
	}
	assert.Equal(t, before, m.read("config").Data)

	for _, c := range []struct {
		operation, path string
		status          int
		text            string
	}{
		{"read", "creds?min-ttl=10m", 400, `unknown field "min-ttl": did you mean "min_ttl"?`},
		{"read", "creds?min_ttl=", 400, "min_ttl is empty: give a value or leave the field out"},
		{"read", "creds?min_ttl=1m&min_ttl=2m", 400, `min_ttl must be a duration such as "90s" or "5m", or a number of seconds, and not negative`},
		{"read", "status?verbose=true", 400, `unknown field "verbose": this path has no fields`},
		{"read", "metrics?format=prometheus", 400, `unknown field "format": the field is summary`},
		{"read", "config?verify=", 400, `unknown field "verify": did you mean "verify_connection"?`},
		{"list", "config?after=a", 400, `unknown field "after": this path has no fields`},
		{"delete", "config/default?fail-over=x", 400, `unknown field "fail-over": did you mean "failover"?`},
		{"read", "config?list=true", 200, ""},
		{"read", "config?list=false", 200, ""},
		{"read", "status?list=true", 200, ""},
		{"read", "creds?help=1", 200, ""},
		{"read", "creds?help=false", 200, ""},
	} {
		got := m.ask(c.operation, c.path, nil)
		assert.Equal(t, c.status, got.status, "%s %s: %s", c.operation, c.path, got.text)
		if c.status == http.StatusBadRequest {
			assert.Equal(t, c.text, got.text, "%s %s", c.operation, c.path)
		}
	}
}

// An unset variable switches nothing off.
func TestEmptyValuesAreRefused(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	before := m.read("config").Data
	for _, field := range []string{"failover", "verify_connection", "refresh_before", "max_secret_age", "lease", "client_id", "client_secret", "paired_client_secret"} {
		status, text := m.refused("config", map[string]any{field: ""})
		assert.Equal(t, http.StatusBadRequest, status)
		assert.Equal(t, field+" is empty: give a value or leave the field out", text)
		m.write("config", map[string]any{field: nil})
	}
	assert.Equal(t, before, m.read("config").Data)
}

// With an unset variable in place of a name the path ends in a slash. Vault's command
// strips it, so that the path is that of the connection "default".
func TestPathsWithoutTheirName(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	for _, path := range []string{"config/", "config//", "creds/", "rotate/", "status/"} {
		for operation, want := range map[string]int{"read": 404, "delete": 404, "patch": 400, "update": 400} {
			got := m.ask(operation, path, map[string]any{"client_id": "client-b"})
			assert.Equal(t, want, got.status, "%s %s: %s", operation, path, got.text)
		}
	}

	const missing = `name is missing; to delete the connection "default", write it out: vault delete `
	got := m.ask("delete", "config", nil)
	assert.Equal(t, http.StatusBadRequest, got.status)
	assert.Equal(t, missing+m.path+"/config/default", got.text)
	cmd := exec.CommandContext(t.Context(), suite.vault, "delete", m.path+"/config/")
	cmd.Env = append(os.Environ(), "VAULT_ADDR="+m.client.Address(), "VAULT_TOKEN="+m.client.Token())
	said, err := cmd.CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(said), missing+m.path+"/config/default")

	assert.Equal(t, "client-a", m.read("config").Data["client_id"], "nothing of it did anything")
	m.delete("config/default")
	assert.Equal(t, http.StatusNotFound, m.ask("read", "config", nil).status)
}

// Whoever writes a client in place of another is told what is lost.
func TestReplacedClientIsWarnedOf(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	c := g.client(t, "client-c")
	s := m.write("config", map[string]any{"paired_client_id": c.ID, "paired_client_secret": c.Secret})
	assert.Equal(t, []string{`paired_client_id was "client-b" and is now "client-c": the secret of client "client-b" is no longer stored`}, s.Warnings)
}
