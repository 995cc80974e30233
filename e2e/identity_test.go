package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

func (g *gbg) identityURL() string { return g.url + gbgsim.IdentityTokenPath }

// newIdentityGBG starts a simulated GBG that trusts an identity provider.
func newIdentityGBG(t *testing.T, lifetime time.Duration, p *idp) *gbg {
	t.Helper()
	g := newGBG(t, lifetime)
	require.NoError(t, g.TrustIssuer(p.URL, p.URL+"/jwks"))
	return g
}

// A person's token is exchanged, by the command that the documentation shows,
// and shows up nowhere.
func TestIdentityOwnToken(t *testing.T) {
	g := newGBG(t, time.Hour)
	log := &vaultserver.Output{}
	server := newTalkingServer(t, log)
	m := newMount(t, server)
	audit := filepath.Join(t.TempDir(), "audit.log")
	require.NoError(t, m.client.Sys().EnableAuditWithOptionsWithContext(t.Context(), "file", &api.EnableAuditOptions{
		Type: "file", Options: map[string]string{"file_path": audit},
	}))
	m.write("config/sso", map[string]any{"grant_type": "id_auth", "token_url": g.identityURL()})

	idToken, err := g.IDToken("alice@example.com")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token.jwt"), []byte(idToken+"\n"), 0o600))
	cmd := exec.CommandContext(t.Context(), suite.vault, "write", "-field=access_token", m.path+"/creds/sso", "id_token=@token.jwt")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "VAULT_ADDR="+server.Address(), "VAULT_TOKEN="+server.Token(), "HOME="+dir)
	out, err := cmd.Output()
	require.NoError(t, err)
	first := strings.TrimSpace(string(out))
	g.mustAccept(t, first, "alice@example.com")

	second := m.write("creds/sso", map[string]any{"id_token": idToken})
	assert.NotEqual(t, first, second.Data["access_token"], "each answer is its caller's alone")
	assert.Equal(t, "ro.client", second.Data["client_id"])
	assert.Empty(t, second.LeaseID)

	status, text := m.refused("creds/sso", map[string]any{"id_token": "fake." + idToken})
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Contains(t, text, "GBG refused to exchange the id_token: invalid_grant")
	status, text = m.refusedRead("creds/sso")
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Contains(t, text, "vault write "+m.path+"/creds/sso id_token=@FILE")

	// GBG's documentation shows an answer of nulls: an error, and a 503 by the
	// time that request_timeout is over.
	m.write("config/sso", map[string]any{"request_timeout": "1s"})
	require.NoError(t, g.SetFault(gbgsim.Fault{Kind: gbgsim.FaultNullToken, Endpoint: gbgsim.EndpointIdentity}))
	client, err := m.client.Clone()
	require.NoError(t, err)
	client.SetToken(m.client.Token())
	client.SetMaxRetries(0)
	impatient := &mount{t: t, path: m.path, client: client}
	status, text = impatient.refused("creds/sso", map[string]any{"id_token": idToken})
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Contains(t, text, "no usable access_token")
	g.ClearFaults()

	said, err := os.ReadFile(audit)
	require.NoError(t, err)
	assert.Contains(t, string(said), m.path+"/creds/sso")
	for name, text := range map[string]string{"audit log": string(said), "Vault's log": log.String()} {
		for _, secret := range append(strings.Split(idToken, ".")[1:], gbgsim.TokenPrefix) {
			assert.NotContains(t, text, secret, name)
		}
	}
}

// With response wrapping the token passes through hands that may not see it.
func TestIdentityOwnTokenWrapped(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := newMount(t, suite.server)
	m.write("config/sso", map[string]any{"grant_type": "id_auth", "token_url": g.identityURL()})
	idToken, err := g.IDToken("alice@example.com")
	require.NoError(t, err)

	client, err := m.client.Clone()
	require.NoError(t, err)
	client.SetToken(m.client.Token())
	client.SetWrappingLookupFunc(func(string, string) string { return "5m" })
	wrapped, err := client.Logical().WriteWithContext(t.Context(), m.path+"/creds/sso", map[string]any{"id_token": idToken})
	require.NoError(t, err)
	require.NotNil(t, wrapped.WrapInfo)
	assert.Empty(t, wrapped.Data)

	unwrapped, err := m.client.Logical().UnwrapWithContext(t.Context(), wrapped.WrapInfo.Token)
	require.NoError(t, err)
	g.mustAccept(t, unwrapped.Data["access_token"].(string), "alice@example.com")
	_, err = m.client.Logical().UnwrapWithContext(t.Context(), wrapped.WrapInfo.Token)
	assertStatus(t, http.StatusBadRequest, err)
}

// mustAccept checks that GBG's API accepts a token, as this owner's.
func (g *gbg) mustAccept(t *testing.T, token, owner string) {
	t.Helper()
	ok, err := g.call(t.Context(), token)
	require.NoError(t, err)
	assert.True(t, ok)
	got, _ := g.TokenClient(token)
	assert.Equal(t, owner, got)
}

// Machine to machine, with clients at an OAuth server that is not ours: readers
// notice neither refreshes, nor a rotation with a renewed secret, nor that the
// active client's secret is renewed behind everybody's back.
func TestIdentityM2MUnderLoad(t *testing.T) {
	const lifetime = 9 * time.Second
	p := startIDP(t, time.Minute)
	g := newIdentityGBG(t, lifetime, p)
	m := newMount(t, suite.server)
	m.write("config/m2m", g.m2m(p))
	first := m.read("creds/m2m").Data
	assert.Equal(t, idpA, first["client_id"])
	g.mustAccept(t, first["access_token"].(string), idpA)
	before := g.Stats().Identity.TokenRequests.Total

	load := startLoad(t, m, "creds/m2m", g, 16, nil)
	time.Sleep(2 * lifetime)
	asked := g.Stats().Identity.TokenRequests.Total - before

	rotated := m.write("rotate/m2m", map[string]any{"client_secret": p.renew(t, idpB)}).Data
	assert.Equal(t, idpB, rotated["active_client_id"])
	assert.NotEmpty(t, rotated["regenerate_after"])
	assert.Contains(t, rotated["next_step"], "at the identity provider")
	g.mustAccept(t, m.read("creds/m2m").Data["access_token"].(string), idpB)

	renewed := p.renew(t, idpB)
	require.Eventually(t, func() bool { return m.read("status/m2m").Data["active_client_id"] == idpA }, 30*time.Second, 50*time.Millisecond)
	time.Sleep(lifetime)
	r := load.stop()
	t.Log(r, "; exchanges in two lifetimes:", asked)
	assert.Empty(t, r.failures)
	assert.Empty(t, r.refused)
	assert.LessOrEqual(t, asked, 4, "one exchange a token")
	require.Len(t, r.warnings, 1)
	for text, times := range r.warnings {
		assert.Contains(t, text, `the identity provider refused client "`+idpB+`" (invalid_client), so client "`+idpA+`" has taken over`)
		assert.Equal(t, 1, times, "one reader is told")
	}

	// What the warning says to do, and back.
	m.write("config/m2m", map[string]any{"paired_client_secret": renewed})
	assert.Equal(t, idpB, m.write("rotate/m2m", map[string]any{"client_id": idpB}).Data["active_client_id"])
}

// A restart serves the token of before, while both GBG and the identity provider
// are away.
func TestIdentityM2MAfterARestart(t *testing.T) {
	t.Parallel()
	p := startIDP(t, time.Minute)
	g := newIdentityGBG(t, time.Hour, p)
	server := newRaftServer(t, suite.pluginDir)
	m := newMount(t, server)
	m.write("config/m2m", g.m2m(p))
	before := m.read("creds/m2m").Data
	require.NoError(t, g.SetFault(gbgsim.Fault{Kind: gbgsim.FaultClose, Endpoint: gbgsim.EndpointIdentity}))
	require.NoError(t, server.Restart(t.Context()))
	after := m.read("creds/m2m").Data
	delete(before, "ttl")
	delete(after, "ttl")
	assert.Equal(t, before, after)
	assert.Equal(t, 2, g.Stats().Identity.TokenRequests.Total)
}

// Errors say which of the two steps failed and at which address, and a write that
// does not work stores nothing.
func TestIdentityM2MConfig(t *testing.T) {
	p := startIDP(t, time.Minute)
	stranger := newGBG(t, time.Hour) // trusts nobody
	g := newIdentityGBG(t, time.Hour, p)
	m := newMount(t, suite.server)
	for name, c := range map[string]struct {
		data map[string]any
		want string
	}{
		"wrong secret":     {with(g.m2m(p), "client_secret", "fake"), `the identity provider refused client "` + idpA + `": invalid_client`},
		"wrong scope":      {with(g.m2m(p), "idp_scope", "fake"), `the identity provider refused client "` + idpA + `": invalid_scope`},
		"unknown issuer":   {stranger.m2m(p), `GBG refused to exchange the identity provider's token of client "` + idpA + `": invalid_grant`},
		"another grant's":  {with(g.pair(), "idp_token_url", p.tokenURL()), `idp_token_url is for grant_type "id_auth"; this connection's is "client_credentials"`},
		"nobody's secret":  {map[string]any{"grant_type": "id_auth", "client_id": "x"}, "client_id has no use without idp_token_url"},
		"a scope for none": {map[string]any{"grant_type": "id_auth", "idp_scope": "x"}, "idp_scope needs idp_token_url"},
	} {
		status, text := m.refused("config/m2m", c.data)
		assert.Equal(t, http.StatusBadRequest, status, name)
		assert.Contains(t, text, c.want, name)
	}
	_, text := m.refused("config/m2m", with(g.m2m(p), "client_secret", "fake"))
	assert.Contains(t, text, p.tokenURL())
	_, text = m.refused("config/m2m", stranger.m2m(p))
	assert.Contains(t, text, stranger.identityURL())
	nothing, err := m.client.Logical().ReadWithContext(t.Context(), m.path+"/config/m2m")
	require.NoError(t, err)
	assert.Nil(t, nothing)

	m.write("config/m2m", g.m2m(p))
	config := m.read("config/m2m").Data
	assert.Equal(t, p.tokenURL(), config["idp_token_url"])
	assert.NotContains(t, config, "exchange_client_secret")
	for field, value := range map[string]string{"grant_type": "client_credentials", "idp_token_url": ""} {
		status, text := m.refused("config/m2m", map[string]any{field: value})
		assert.Equal(t, http.StatusBadRequest, status)
		assert.Contains(t, text, "delete the connection and write it again")
	}
}

// with gives a copy with one more field, or another value.
func with(data map[string]any, field string, value any) map[string]any {
	more := map[string]any{field: value}
	for k, v := range data {
		if _, ok := more[k]; !ok {
			more[k] = v
		}
	}
	return more
}
