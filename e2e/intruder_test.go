package e2e

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// trap is a server of somebody who wants what is not theirs: it takes every
// request and answers with a token.
type trap struct {
	url string

	mu     sync.Mutex
	caught []string
}

func newTrap(t *testing.T) *trap {
	t.Helper()
	c := &trap{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		c.mu.Lock()
		c.caught = append(c.caught, r.Method+" "+r.URL.Path+" "+r.Form.Encode()+" "+r.Header.Get("Authorization"))
		c.mu.Unlock()
		_, _ = w.Write([]byte(`{"access_token":"sim-token-of-the-trap","expires_in":3600}`))
	}))
	t.Cleanup(server.Close)
	c.url = server.URL + "/token"
	return c
}

// requests are those that were caught so far.
func (c *trap) requests() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.caught
}

// Somebody who may change a connection, and knows none of its secrets, cannot have
// them sent anywhere, whatever they write, rotate, read or revoke.
func TestIntruderMayConfigure(t *testing.T) {
	g := newGBG(t, time.Hour)
	p := startIDP(t, time.Hour)
	require.NoError(t, g.TrustIssuer(p.URL, p.URL+"/jwks"))
	admin := newMount(t, suite.server)
	c := newTrap(t)
	leased := with(with(g.pair(), "lease", true), "revoke_url", g.url+gbgsim.RevokePath)
	m2m := with(g.m2m(p), "exchange_client_secret", "fake-secret-of-the-exchange")
	sso := map[string]any{"grant_type": "id_auth", "token_url": g.identityURL(), "exchange_client_secret": "fake-secret-of-the-exchange"}
	connections := map[string]map[string]any{"config": g.pair(), "config/leased": leased, "config/m2m": m2m, "config/sso": sso}
	for path, data := range connections {
		admin.write(path, with(data, "verify_connection", false))
	}
	require.NoError(t, admin.client.Sys().PutPolicyWithContext(t.Context(), "intruder", `
		path "`+admin.path+`/*" { capabilities = ["create", "read", "update", "list"] }`))
	intruder := admin.as("intruder")

	change := func(path string, data map[string]any) {
		for _, verify := range []bool{true, false} {
			_, _ = intruder.client.Logical().WriteWithContext(t.Context(), intruder.path+"/"+path, with(data, "verify_connection", verify))
		}
	}
	for path := range connections {
		for _, setting := range []string{"token_url", "idp_token_url", "revoke_url"} {
			change(path, map[string]any{setting: c.url})
			for _, more := range []map[string]any{
				{"client_secret": "fake"},
				{"paired_client_secret": "fake"},
				{"client_secret": "", "paired_client_secret": ""},
				{"client_secret": nil, "paired_client_secret": nil, "exchange_client_secret": nil},
				{"grant_type": "id_auth"},
				{"grant_type": "client_credentials"},
				{"paired_client_id": ""},
				{"client_id": "fake", "client_secret": "fake"},
				{"lease": true},
			} {
				change(path, with(more, setting, c.url))
			}
			change(path, map[string]any{"token_url": c.url, "idp_token_url": c.url, "revoke_url": c.url})
		}
		name := strings.TrimPrefix(strings.TrimPrefix(path, "config"), "/")
		for _, use := range []string{"rotate/" + name, "creds/" + name} {
			_, _ = intruder.client.Logical().WriteWithContext(t.Context(), strings.TrimSuffix(intruder.path+"/"+use, "/"), map[string]any{"id_token": "fake"})
			_, _ = intruder.client.Logical().ReadWithContext(t.Context(), strings.TrimSuffix(intruder.path+"/"+use, "/"))
		}
	}
	require.NoError(t, admin.client.Sys().RevokePrefixWithContext(t.Context(), admin.path+"/creds"))
	for _, request := range c.requests() {
		for _, stored := range []string{gbgsim.SecretPrefix, gbgsim.TokenPrefix, "fake-secret-of-the-exchange", "eyJ"} {
			assert.NotContains(t, request, stored, "what the intruder did not know")
		}
	}

	// Who knows the secrets of both clients may move them.
	everything := with(with(g.pair(), "token_url", c.url), "verify_connection", false)
	admin.write("config/known", with(g.pair(), "verify_connection", false))
	admin.write("config/known", everything)
	before := len(c.requests())
	admin.read("creds/known")
	assert.Len(t, c.requests(), before+1, "the trap works")
}

// GBG that has been taken over, or a proxy on the way, can send the engine away;
// it does not go.
func TestIntruderRedirects(t *testing.T) {
	g := newGBG(t, time.Hour)
	c := newTrap(t)
	m := newMount(t, suite.server)
	m.write("config", with(with(g.pair(), "request_timeout", "2s"), "verify_connection", false))
	client, err := m.client.Clone()
	require.NoError(t, err)
	client.SetToken(m.client.Token())
	client.SetMaxRetries(0)
	m.client = client
	for _, status := range []int{301, 302, 303, 307, 308} {
		require.NoError(t, g.SetFault(gbgsim.Fault{Kind: gbgsim.FaultRedirect, Status: status, Location: c.url}))
		got, text := m.refusedRead("creds")
		assert.Equal(t, http.StatusServiceUnavailable, got)
		assert.Contains(t, text, "redirect, which is never followed")
		assert.NotContains(t, text, c.url)
	}
	assert.Empty(t, c.requests())
}

// Without a Vault token nothing is told, not even what is there.
func TestIntruderWithoutAToken(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	nobody, err := m.client.Clone()
	require.NoError(t, err)
	nobody.SetToken("")
	stranger, err := m.client.Clone()
	require.NoError(t, err)
	stranger.SetToken("hvs.fake-token-of-nobody")
	asked := g.Stats().TokenRequests.Total
	for _, who := range []*mount{{t: t, path: m.path, client: nobody}, {t: t, path: m.path, client: stranger}} {
		told := map[string]bool{}
		for _, path := range []string{"config", "config/", "config/nothing", "creds", "creds/nothing", "rotate", "rotate/nothing", "status", "status/nothing", "nothing"} {
			for _, operation := range []string{"read", "update", "delete", "list", "patch"} {
				if strings.HasSuffix(path, "/") && (operation == "update" || operation == "patch") {
					continue // Vault itself refuses a write to a path like that
				}
				got := who.ask(operation, path, map[string]any{"client_secret": "fake", "id_token": "fake"})
				assert.Equal(t, http.StatusForbidden, got.status, "%s %s", operation, path)
				told[strings.TrimSpace(got.text)] = true
			}
		}
		assert.Len(t, told, 1, "the same to all: %v", told)
	}
	assert.Equal(t, asked, g.Stats().TokenRequests.Total)
}

// Names that want to be something else reach no other connection, and no path that
// a policy has not allowed.
func TestIntruderNames(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	m.write("config/team-b", with(g.pair(), "verify_connection", false))
	require.NoError(t, m.client.Sys().PutPolicyWithContext(t.Context(), "team-a-names", `
		path "`+m.path+`/creds/team-a" { capabilities = ["read"] }
		path "`+m.path+`/creds/team-a/*" { capabilities = ["read"] }
		path "`+m.path+`/config/team-a" { capabilities = ["create", "update"] }
		path "`+m.path+`/config/team-a/*" { capabilities = ["create", "update"] }`))
	limited := m.as("team-a-names")
	for _, name := range []string{
		"..%2fteam-b", "%2e%2e%2fteam-b", "team-a%2f..%2fteam-b", "team-a/../team-b", "team-a/..%2fteam-b", "team-a%00", "team-a%00/team-b",
		"team-b%20", "%20team-b", "team-b%0a", "TEAM-B", "team-b.", ".team-b", "-team-b", "team%2db", "team-b%3fx", "team-b;x", "team-b%23",
		"%e2%80%8bteam-b", "ｔeam-b", "team-b\\", "*", "+", "team-b*", strings.Repeat("a", 5000),
	} {
		for who, caller := range map[string]*mount{"admin": m, "limited": limited} {
			got := caller.ask("read", "creds/"+name, nil)
			assert.NotEqual(t, http.StatusInternalServerError, got.status, "%s: %.60q: %.200s", who, name, got.text)
			if who == "limited" {
				assert.Empty(t, got.data["access_token"], "%.60q", name)
			}
		}
		got := limited.ask("update", "config/"+name, map[string]any{"client_id": "x", "client_secret": "fake", "verify_connection": false})
		assert.NotEqual(t, http.StatusInternalServerError, got.status, "%.60q: %.200s", name, got.text)
	}
	for _, path := range []string{"config", "config/team-b"} {
		assert.Equal(t, "client-a", m.read(path).Data["client_id"])
	}
}
