package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Somebody who types what docs/teams.md says, in order, gets what it promises.
func TestTeamsPageAsWritten(t *testing.T) {
	production, test := newGBG(t, time.Hour), newGBG(t, time.Hour)
	proxy := newProxy(t, map[string]http.Handler{
		"api.auth.gbgplc.com":   production.Simulator,
		"auth.gbg-test.example": test.Simulator,
	})
	admin, server := newReader(t, proxy, suite.pluginDir)
	for _, name := range []string{"team-a-1", "team-a-2", "team-b", "fraud", "lending"} {
		admin.write(name+".secret", production.client(t, "go-api-"+name).Secret+"\n")
	}
	admin.write("test.secret", test.client(t, "go-api-test").Secret+"\n")
	for _, name := range []string{"ann", "bob"} {
		admin.write(name+".password", "fake-password-of-"+name)
	}
	require.NoError(t, server.Register(t.Context()))
	require.NoError(t, server.Enable(t.Context(), "gbg"))
	client, err := server.Client("")
	require.NoError(t, err)
	m := &mount{t: t, path: "gbg", client: client}

	var token string
	var teamA *mount
	admin.env = append(admin.env, "AUDIT_DIRECTORY="+admin.dir)
	output := admin.follow("../docs/teams.md", map[string]func(){
		"Audit log: who read which token": func() {
			token = m.read("creds/team-b").Data["access_token"].(string)
			admin.write("found.token", token+"\n")
		},
		"Revoke access": func() {
			teamA = m.as("gbg-team-a")
			assert.Equal(t, "team-a", teamA.read("creds/team-a").Data["connection"])
		},
	})

	assert.Contains(t, output["One connection per team"], "team-a\nteam-b\n")
	assert.Contains(t, output["The policies"], "read\ndeny\n")
	assert.Regexp(t, `rotated +true`, output["Assign policies to people"])
	assert.Regexp(t, `last_rotation_cause +rotate`, output["Assign policies to people"])
	assert.Regexp(t, `connection +team-b`, output["One policy for all teams"])
	assert.Contains(t, output["One policy for all teams"], "deny\n")
	assert.Equal(t, "go-api-lending", m.read("creds/lending").Data["client_id"])

	role, err := client.Logical().ReadWithContext(t.Context(), "auth/approle/role/team-a-app")
	require.NoError(t, err)
	assert.Equal(t, []any{"gbg-team-a"}, role.Data["token_policies"])

	tester := (&mount{t: t, path: "gbg-test", client: client}).as("gbg-test-team-a")
	_, issued := test.TokenClient(tester.read("creds/team-a").Data["access_token"].(string))
	assert.True(t, issued, "the test environment's token comes from its own GBG")
	tester.path = "gbg"
	status, _ := tester.refusedRead("creds/team-b")
	assert.Equal(t, http.StatusForbidden, status, "and opens nothing in production")

	status, _ = teamA.refusedRead("creds/team-a")
	assert.Equal(t, http.StatusForbidden, status, "a Vault token from before the policy was deleted")
	assert.Nil(t, m.read("config/team-a"))

	shown := readsInAudit(t, output["Audit log: who read which token"], "gbg/creds/team-b")
	require.Len(t, shown, 3, "a request and its response, and the response once more by the token's HMAC")
	for _, b := range blocks(t, "../docs/teams.md") {
		if b.language == "json" {
			var example map[string]any
			require.NoError(t, json.Unmarshal([]byte(b.text), &example))
			assertAsInExample(t, "", example, shown[1])
			assertAsInExample(t, "", example, shown[2])
		}
	}
	m.read("creds/team-b")
	audit, err := os.ReadFile(filepath.Join(admin.dir, "vault-audit.log"))
	require.NoError(t, err)
	assert.NotContains(t, string(audit), token)
	all := readsInAudit(t, string(audit), "gbg/creds/team-b")
	data := all[len(all)-1]["response"].(map[string]any)["data"].(map[string]any)
	assert.Equal(t, "go-api-team-b", data["client_id"], "in clear, as tuned")
	assert.Contains(t, data["access_token"], "hmac-sha256:")
}

// readsInAudit gives the entries of an audit log that are about a path.
func readsInAudit(t *testing.T, log, path string) []map[string]any {
	t.Helper()
	var entries []map[string]any
	for line := range strings.Lines(log) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var entry map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &entry))
		if entry["request"].(map[string]any)["path"] == path {
			entries = append(entries, entry)
		}
	}
	return entries
}

// assertAsInExample asserts that an example is a shortened form of what really
// came: the same texts at the same places, an HMAC where it has an HMAC, a
// number where it has a number.
func assertAsInExample(t *testing.T, place string, example, got any) {
	t.Helper()
	switch example := example.(type) {
	case map[string]any:
		fields, ok := got.(map[string]any)
		require.True(t, ok, place)
		for key, value := range example {
			assertAsInExample(t, place+"/"+key, value, fields[key])
		}
	case float64:
		assert.IsType(t, example, got, place)
	case string:
		const hmac = "hmac-sha256:"
		switch {
		case strings.HasPrefix(example, hmac):
			assert.Contains(t, got, hmac, place)
		case place == "/time":
			assert.NotEmpty(t, got, place)
		default:
			assert.Equal(t, example, got, place)
		}
	default:
		assert.Equal(t, example, got, place)
	}
}
