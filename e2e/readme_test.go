package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// A newcomer who types what the README says, in order, gets what it promises.
// The commands run as written, GBG's own address included: a proxy leads it to
// the simulator, as a company's proxy would lead it out.
func TestREADMEAsWritten(t *testing.T) {
	g := newGBG(t, time.Hour)
	a, b, team := g.client(t, "go-api-a"), g.client(t, "go-api-b"), g.client(t, "go-api-team-a")
	proxy := newProxy(t, map[string]http.Handler{"api.auth.gbgplc.com": g.Simulator})

	plugins, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	newcomer, _ := newReader(t, proxy, plugins)
	newcomer.env = append(newcomer.env, "PLUGIN_DIRECTORY="+plugins)
	dir := newcomer.dir
	require.NoError(t, buildPlugin(t.Context(), filepath.Join(dir, "bin", "plugins"), "v0.2.0"))
	for file, client := range map[string]gbgsim.Client{"a.secret": a, "b.secret": b, "team-a.secret": team} {
		newcomer.write(file, client.Secret+"\n")
	}
	output := newcomer.follow("../README.md", map[string]func(){
		"Rotate a secret": func() { newcomer.write("b.secret", g.regenerate(t, "go-api-b")) },
	})

	assert.Contains(t, output["Install"], "Success! Enabled the vault-plugin-secrets-gbg secrets engine at: gbg/")
	assert.Contains(t, output["Configure"], "Success! Data written to: gbg/config")
	assert.Contains(t, output["Configure"], "https://api.auth.gbgplc.com/as/token.oauth2")
	assert.Contains(t, output["Read a token"], gbgsim.TokenPrefix)
	assert.Regexp(t, `rotated +true`, output["Rotate a secret"])
	assert.Regexp(t, `rotated +false`, output["Rotate a secret"], "the second rotation names the client that is active already")
	assert.Regexp(t, `active_client_id +go-api-b`, output["Rotate a secret"])
	assert.Regexp(t, `connection +team-a`, output["Teams and policies"])

	var rendered string
	require.Eventually(t, func() bool {
		content, err := os.ReadFile(filepath.Join(dir, "gbg.env"))
		rendered = string(content)
		return err == nil && rendered != ""
	}, 30*time.Second, 100*time.Millisecond, "Agent writes the token")
	owner, live := g.TokenClient(envToken(rendered))
	assert.True(t, live)
	assert.Equal(t, "go-api-team-a", owner)
}
