package e2e

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// Somebody who types what docs/identity-solution.md says, in order, gets what it
// promises: with an identity provider that is not ours, and with Vault's own
// identity tokens.
func TestIdentityPageAsWritten(t *testing.T) {
	p := startIDP(t, time.Minute)
	g := newIdentityGBG(t, time.Hour, p)
	idpURL, err := url.Parse(p.URL)
	require.NoError(t, err)
	someone, server := newReader(t, newProxy(t, map[string]http.Handler{
		"api.gbgplc.com":    g.Simulator,
		"login.idp.example": httputil.NewSingleHostReverseProxy(idpURL),
		"keys.idp.example":  g.Simulator,
	}), suite.pluginDir)
	require.NoError(t, server.Register(t.Context()))
	require.NoError(t, server.Enable(t.Context(), "gbg"))
	// What a person would have told GBG.
	require.NoError(t, g.TrustIssuer(server.Address()+"/v1/identity/oidc", server.Address()+"/v1/identity/oidc/.well-known/keys"))

	// Where a person would publish the keys, and what they would tell this provider.
	published := httptest.NewServer(http.FileServer(http.Dir(someone.dir)))
	t.Cleanup(published.Close)
	for _, id := range []string{idpA, idpB} {
		_, err := g.CreateIDPClient(id)
		require.NoError(t, err)
		require.NoError(t, g.SetIDPKeys(id, gbgsim.IDPKeys{JWKSURL: published.URL + "/jwks.json"}))
	}

	someone.write("a.secret", p.Secrets[idpA]+"\n")
	someone.write("b.secret", p.Secrets[idpB]+"\n")
	someone.write("ann.password", "fake-password-of-ann")
	idToken, err := g.IDToken("alice@example.com")
	require.NoError(t, err)
	someone.write("token.jwt", idToken+"\n")

	output := someone.follow("../docs/identity-solution.md", nil)
	machine := output["Programs: machine to machine"]
	assert.Contains(t, machine, "Success! Data written to: gbg/config/journeys")
	assert.Regexp(t, `client_id +`+idpA, machine)
	assert.Regexp(t, `active_client_id +`+idpB, machine)
	assert.Regexp(t, `last_rotation_cause +rotate`, machine)
	keys := output["Keys instead of secrets"]
	assert.Contains(t, keys, "-----BEGIN CERTIFICATE-----")
	assert.Regexp(t, `access_token +`+gbgsim.TokenPrefix, keys)
	assert.Regexp(t, `active_client_id +`+idpB, keys)
	assert.Regexp(t, `active_client_id +`+idpA, output["Rotate keys"])
	assert.Regexp(t, `active_client_id +`+idpB, output["Publish the keys"])
	person := output["People: exchange your own token"]
	assert.Regexp(t, `client_id +ro\.client`, person)
	// By -field alone, from a file; by -field alone, wrapped.
	assert.Regexp(t, gbgsim.TokenPrefix+`\w+`+gbgsim.TokenPrefix+`\w+$`, person)
	assert.Regexp(t, `access_token +`+gbgsim.TokenPrefix, output["Where the id_token comes from"])
}
