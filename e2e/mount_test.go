package e2e

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// nowhere is a token endpoint that refuses connections.
const nowhere = "http://127.0.0.1:1/as/token.oauth2"

// gbg is a simulated GBG with two clients.
type gbg struct {
	*gbgsim.Simulator
	url  string
	a, b gbgsim.Client
}

// newGBG starts a simulated GBG whose tokens live as long as lifetime.
func newGBG(t *testing.T, lifetime time.Duration) *gbg {
	t.Helper()
	sim := gbgsim.New(gbgsim.Options{TokenLifetime: lifetime})
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	g := &gbg{Simulator: sim, url: server.URL}
	g.a, g.b = g.client(t, "client-a"), g.client(t, "client-b")
	return g
}

func (g *gbg) client(t *testing.T, id string) gbgsim.Client {
	t.Helper()
	c, err := g.CreateClient(gbgsim.NewClient{ID: id, Department: "e2e", Roles: []string{gbgsim.RoleGoAPIAccess}})
	require.NoError(t, err)
	return c
}

func (g *gbg) regenerate(t *testing.T, id string) string {
	t.Helper()
	secret, err := g.Regenerate(id)
	require.NoError(t, err)
	return secret
}

func (g *gbg) tokenURL() string { return g.url + gbgsim.TokenPath }

// call calls the protected endpoint and says whether the token was accepted.
func (g *gbg) call(ctx context.Context, token string) (ok bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+gbgsim.APIPath, http.NoBody)
	if err != nil {
		return false, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	return resp.StatusCode == http.StatusOK, resp.Body.Close()
}

// pair is a configuration write with both clients.
func (g *gbg) pair() map[string]any {
	return map[string]any{
		"token_url": g.tokenURL(),
		"client_id": g.a.ID, "client_secret": g.a.Secret,
		"paired_client_id": g.b.ID, "paired_client_secret": g.b.Secret,
	}
}

// mount is the plugin mounted for one test, as one caller sees it.
type mount struct {
	t      *testing.T
	path   string
	client *api.Client
}

// newMount mounts the plugin on a server at a path of the test's own.
func newMount(t *testing.T, server *vaultserver.Server) *mount {
	t.Helper()
	path := "gbg-" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	require.NoError(t, server.Enable(t.Context(), path))
	client, err := server.Client("")
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Sys().Unmount(path) })
	return &mount{t: t, path: path, client: client}
}

// configured mounts the plugin on the shared server with both clients of a GBG.
func configured(t *testing.T, g *gbg) *mount {
	t.Helper()
	m := newMount(t, suite.server)
	m.write("config", g.pair())
	return m
}

func (m *mount) write(path string, data map[string]any) *api.Secret {
	m.t.Helper()
	s, err := m.client.Logical().WriteWithContext(m.t.Context(), m.path+"/"+path, data)
	require.NoError(m.t, err)
	return s
}

func (m *mount) read(path string) *api.Secret {
	m.t.Helper()
	s, err := m.client.Logical().ReadWithContext(m.t.Context(), m.path+"/"+path)
	require.NoError(m.t, err)
	return s
}

// refused does a write and gives the status and text that Vault answered.
func (m *mount) refused(path string, data map[string]any) (status int, text string) {
	m.t.Helper()
	_, err := m.client.Logical().WriteWithContext(m.t.Context(), m.path+"/"+path, data)
	return failure(m.t, err)
}

// refusedRead does a read and gives the status and text that Vault answered.
func (m *mount) refusedRead(path string) (status int, text string) {
	m.t.Helper()
	_, err := m.client.Logical().ReadWithContext(m.t.Context(), m.path+"/"+path)
	return failure(m.t, err)
}

func failure(t *testing.T, err error) (status int, text string) {
	t.Helper()
	var answer *api.ResponseError
	require.ErrorAs(t, err, &answer, "want an answer of Vault's")
	return answer.StatusCode, strings.Join(answer.Errors, "\n")
}

// as gives the same mount to a caller with certain policies only.
func (m *mount) as(policies ...string) *mount {
	m.t.Helper()
	secret, err := m.client.Auth().Token().CreateWithContext(m.t.Context(), &api.TokenCreateRequest{Policies: policies, NoDefaultPolicy: true})
	require.NoError(m.t, err)
	client, err := m.client.Clone()
	require.NoError(m.t, err)
	client.SetToken(secret.Auth.ClientToken)
	return &mount{t: m.t, path: m.path, client: client}
}
