package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// users creates two API users and is a configuration write with both. Client A is the
// organization's.
func (g *gbg) users(t *testing.T) map[string]any {
	t.Helper()
	data := map[string]any{"grant_type": "password", "token_url": g.tokenURL(), "client_id": g.a.ID, "client_secret": g.a.Secret}
	for field, user := range map[string]string{"username": apiUserA, "paired_username": apiUserB} {
		_, err := g.CreateUser(user)
		require.NoError(t, err)
		data[field] = user
	}
	data["password"], data["paired_password"] = g.changePassword(t, apiUserA), g.changePassword(t, apiUserB)
	return data
}

func (g *gbg) changePassword(t *testing.T, user string) string {
	t.Helper()
	password, err := g.SetPassword(user, "")
	require.NoError(t, err)
	return password
}

// Readers notice neither refreshes, nor a rotation with a new password, nor that the
// active user's password is changed without notice, nor that the organization's secret
// is renewed and written.
func TestPasswordGrantUnderLoad(t *testing.T) {
	const lifetime = 9 * time.Second
	g := newGBG(t, lifetime)
	m := newMount(t, suite.server)
	m.write("config/users", g.users(t))
	first := m.read("creds/users").Data
	assert.Equal(t, apiUserA, first["username"])
	g.mustAccept(t, first["access_token"].(string), apiUserA)
	before := g.Stats().TokenRequests.Total

	load := startLoad(t, m, "creds/users", g, 16, nil)
	time.Sleep(2 * lifetime)
	asked := g.Stats().TokenRequests.Total - before

	rotated := m.write("rotate/users", map[string]any{"username": apiUserB, "password": g.changePassword(t, apiUserB)}).Data
	assert.Equal(t, []any{apiUserB, apiUserA}, []any{rotated["active_username"], rotated["standby_username"]})
	g.mustAccept(t, m.read("creds/users").Data["access_token"].(string), apiUserB)

	changed := g.changePassword(t, apiUserB)
	require.Eventually(t, func() bool { return m.read("status/users").Data["active_username"] == apiUserA }, 30*time.Second, 50*time.Millisecond)

	m.write("config/users", map[string]any{"paired_password": changed})
	secret := g.regenerate(t, g.a.ID)
	m.write("config/users", map[string]any{"client_secret": secret})
	time.Sleep(lifetime)
	r := load.stop()
	t.Log(r, "; token requests in two lifetimes:", asked)
	assert.Empty(t, r.failures)
	assert.Empty(t, r.refused)
	assert.LessOrEqual(t, asked, 4, "one request a token")
	assert.Equal(t, map[string]int{
		`GBG refused user "api-user-b" (invalid_grant), so user "api-user-a" has taken over. Renew user "api-user-b": vault write ` + m.path + `/rotate/users username=api-user-b password=@FILE`: 1,
	}, r.warnings, "one reader is told")
	assert.Equal(t, apiUserB, m.write("rotate/users", map[string]any{"username": apiUserB}).Data["active_username"])
}

// The same with clients that authenticate in a Basic header, at a server that is not
// ours, with a parameter that it checks.
func TestBasicAuthAndParamsUnderLoad(t *testing.T) {
	const lifetime = 9 * time.Second
	p := startIDP(t, time.Minute)
	g := newIdentityGBG(t, lifetime, p)
	m := newMount(t, suite.server)
	basic := with(g.m2m(p), "idp_auth_method", "client_secret_basic")
	_, text := m.refused("config/basic", with(basic, "idp_params", map[string]any{"audience": "https://other.example"}))
	assert.Contains(t, text, `the identity provider refused client "`+idpA+`": invalid_request`)
	m.write("config/basic", with(basic, "idp_params", map[string]any{"audience": "https://api.gbg.example"}))
	assert.Equal(t, map[string]any{"audience": "https://api.gbg.example"}, m.read("config/basic").Data["idp_params"])
	before := g.Stats().Identity.TokenRequests.Total

	load := startLoad(t, m, "creds/basic", g, 16, nil)
	time.Sleep(lifetime)
	asked := g.Stats().Identity.TokenRequests.Total - before
	assert.Equal(t, idpB, m.write("rotate/basic", map[string]any{"client_secret": p.renew(t, idpB)}).Data["active_client_id"])
	p.renew(t, idpB)
	require.Eventually(t, func() bool { return m.read("status/basic").Data["active_client_id"] == idpA }, 30*time.Second, 50*time.Millisecond)
	time.Sleep(time.Second)
	r := load.stop()
	t.Log(r, "; exchanges in a lifetime:", asked)
	assert.Empty(t, r.failures)
	assert.Empty(t, r.refused)
	assert.LessOrEqual(t, asked, 2, "one exchange a token")
	assert.Len(t, r.warnings, 1)
}
