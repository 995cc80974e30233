package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ids and secrets whose characters mean something in a header, a form or a shell
// (RFC 6749, section 2.3.1).
const (
	oddA      = `batch a+%41:&=/?"'~`
	oddB      = `batch b+%42:&=/?"'~`
	oddSecret = `fake: +%2B&=;"'\~<> `
)

// basicClient returns a client with a secret.
func basicClient(id, secret string) oidcClient {
	return oidcClient{ID: id, AuthMethod: "client_secret_basic", Secret: secret}
}

// withBasic is a configuration of two clients that send their secrets in a header.
func (g *gbg) withBasic(p *oidcProvider) map[string]any {
	return map[string]any{
		"grant_type": "id_auth", "token_url": g.identityURL(), "idp_token_url": p.tokenURL(),
		"idp_scope": "api", "idp_params": map[string]string{"resource": resource},
		"idp_auth_method": "client_secret_basic",
		"client_id":       oddA, "client_secret": oddSecret + "a",
		"paired_client_id": oddB, "paired_client_secret": oddSecret + "b",
	}
}

func basicClients() []oidcClient {
	return []oidcClient{basicClient(oddA, oddSecret+"a"), basicClient(oddB, oddSecret+"b")}
}

// Another server reads the header and the resource as they are meant, and what it does
// not accept is not stored.
func TestOIDCProviderBasic(t *testing.T) {
	p := startOIDCProvider(t, oidcOptions{Clients: basicClients()})
	g := newGBG(t, time.Hour)
	g.trustProvider(t, p)
	m := newMount(t, suite.server)
	for name, c := range map[string]struct {
		field string
		value any
		want  string
	}{
		"wrong secret":     {"client_secret", oddSecret + "c", `": invalid_client`},
		"wrong method":     {"idp_auth_method", "private_key_jwt", "client_secret"},
		"unknown resource": {"idp_params", map[string]string{"resource": "https://other.example"}, `": invalid_target`},
		"no resource":      {"idp_params", map[string]string{}, "GBG refused to exchange the identity provider's token"},
	} {
		status, text := m.refused("config/basic", with(g.withBasic(p), c.field, c.value))
		assert.Equal(t, http.StatusBadRequest, status, name)
		assert.Contains(t, text, c.want, name)
	}
	m.write("config/basic", g.withBasic(p))
	g.mustAccept(t, m.read("creds/basic").Data["access_token"].(string), oddA)
	assert.Equal(t, oddB, m.write("rotate/basic", map[string]any{"client_id": oddB}).Data["active_client_id"])
	g.mustAccept(t, m.read("creds/basic").Data["access_token"].(string), oddB)

	// The server accepts the secret in the form too.
	m.write("config/basic", map[string]any{"idp_auth_method": "client_secret_post"})
}

// Readers notice neither refreshes, nor a rotation onto a new secret or key, nor that
// the active client's is replaced at the identity provider. There is one request of
// each of the two steps for each token.
func TestOIDCProviderUnderLoad(t *testing.T) {
	p := startOIDCProvider(t, oidcOptions{Clients: basicClients()})
	t.Run("client_secret_basic", func(t *testing.T) {
		g, m := newGBG(t, loadLifetime), newMount(t, suite.server)
		g.trustProvider(t, p)
		m.write("config/load", g.withBasic(p))
		underLoad(t, p, g, m, oddA, oddB, func() map[string]any {
			p.setClient(t, basicClient(oddB, oddSecret+"new"))
			return map[string]any{"client_id": oddB, "client_secret": oddSecret + "new"}
		}, func() { p.setClient(t, basicClient(oddB, oddSecret+"newer")) })
	})
	for _, algorithm := range []string{"RS256", "PS256", "ES256"} {
		t.Run(algorithm, func(t *testing.T) {
			g, m := newGBG(t, loadLifetime), newMount(t, suite.server)
			g.trustProvider(t, p)
			m.write("config/load", g.withOIDCKeys(p, algorithm))
			before := m.read("keys/load")
			p.registerKeys(t, algorithm, before)
			m.write("verify/load", nil) // the standby's key is then replaced by a new one
			underLoad(t, p, g, m, idpA, idpB, func() map[string]any {
				p.setClient(t, keyClient(idpB, algorithm, m.write("keys/load", map[string]any{"client_id": idpB})))
				return map[string]any{"client_id": idpB}
			}, func() { p.setClient(t, keyClient(idpB, algorithm, before)) })
		})
	}
}

// loadLifetime is how long GBG's tokens are valid under load.
const loadLifetime = 6 * time.Second

// underLoad reads creds/load with 16 readers through refreshes, a rotation onto a
// renewed standby and a failover from it. renew renews the standby and returns what to
// rotate with; replace makes the identity provider refuse it.
func underLoad(t *testing.T, p *oidcProvider, g *gbg, m *mount, active, standby string, renew func() map[string]any, replace func()) {
	t.Helper()
	g.mustAccept(t, m.read("creds/load").Data["access_token"].(string), active)
	exchanged, issued := g.Stats().Identity.TokenRequests.Total, p.issued()

	began := time.Now()
	load := startLoad(t, m, "creds/load", g, 16, nil)
	time.Sleep(loadLifetime * 5 / 3) // two refreshes
	rotated := m.write("rotate/load", renew()).Data
	assert.Equal(t, standby, rotated["active_client_id"])
	g.mustAccept(t, m.read("creds/load").Data["access_token"].(string), standby)
	replace()
	require.Eventually(t, func() bool { return m.read("status/load").Data["active_client_id"] == active }, 30*time.Second, 50*time.Millisecond)
	time.Sleep(loadLifetime)
	r := load.stop()

	exchanged = g.Stats().Identity.TokenRequests.Total - exchanged
	issued = p.issued() - issued
	t.Logf("%s; %d tokens of the identity provider, %d exchanges", r, issued, exchanged)
	assert.Empty(t, r.failures)
	assert.Empty(t, r.refused)
	assert.Equal(t, exchanged, issued)
	// The first token was there before; the rotation may have overtaken a refresh.
	assert.LessOrEqual(t, exchanged, len(r.tokens), "one request of each step a token")
	assert.LessOrEqual(t, len(r.tokens), int(time.Since(began)/(loadLifetime/2))+3, "the first, the rotation's and the failover's")
	require.Len(t, r.warnings, 1)
	for text, times := range r.warnings {
		assert.Contains(t, text, "the identity provider refused client ")
		assert.Contains(t, text, "has taken over")
		assert.Equal(t, 1, times, "one reader is told")
	}
}

// Another server refuses a key that is not registered and an assertion for another
// audience. It accepts its issuer as audience.
func TestOIDCProviderRefusesKeys(t *testing.T) {
	const algorithm = "ES256"
	p := startOIDCProvider(t, oidcOptions{})
	g := newGBG(t, time.Hour)
	g.trustProvider(t, p)
	m := newMount(t, suite.server)

	m.write("config/key", g.withOIDCKeys(p, algorithm))
	m.write("config/other", g.withOIDCKeys(p, algorithm))
	p.registerKeys(t, algorithm, m.read("keys/other"))
	status, text := m.refusedRead("creds/key")
	assert.Equal(t, http.StatusBadGateway, status)
	assert.Contains(t, text, `the identity provider refused client "`+idpA+`": invalid_client`)
	assert.Contains(t, text, "vault read "+m.path+"/keys/key")
	g.mustAccept(t, m.read("creds/other").Data["access_token"].(string), idpA)

	m.write("config/audience", with(g.withOIDCKeys(p, algorithm), "idp_audience", "https://other.example/token"))
	p.registerKeys(t, algorithm, m.read("keys/audience"))
	status, text = m.refusedRead("creds/audience")
	assert.Equal(t, http.StatusBadGateway, status)
	assert.Contains(t, text, `the identity provider refused client "`+idpA+`": invalid_client`)
	assert.Contains(t, text, "accepts the connection's idp_audience")

	strict := startOIDCProvider(t, oidcOptions{AudIsIssuer: true})
	g.trustProvider(t, strict)
	for name, audience := range map[string]string{"issuer": strict.issuer, "endpoint": ""} {
		m.write("config/"+name, with(g.withOIDCKeys(strict, algorithm), "idp_audience", audience))
		strict.registerKeys(t, algorithm, m.read("keys/"+name))
		if audience == "" {
			status, _ = m.refusedRead("creds/" + name)
			assert.Equal(t, http.StatusBadGateway, status)
			continue
		}
		g.mustAccept(t, m.read("creds/" + name).Data["access_token"].(string), idpA)
	}
}

// Another server accepts an assertion once. Answers that get lost cost nothing: each
// try has an assertion with a jti of its own.
func TestOIDCProviderAcceptsAnAssertionOnce(t *testing.T) {
	const algorithm = "ES256"
	p := startOIDCProvider(t, oidcOptions{})
	g := newGBG(t, time.Hour)
	g.trustProvider(t, p)
	m := newMount(t, suite.server)
	m.write("config/once", g.withOIDCKeys(p, algorithm))
	p.registerKeys(t, algorithm, m.read("keys/once"))
	first := m.read("creds/once").Data

	resp, err := http.PostForm(p.tokenURL(), p.seen()[0].form)
	require.NoError(t, err)
	defer resp.Body.Close()
	var refused map[string]string
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&refused))
	assert.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	assert.Equal(t, "invalid_client", refused["error"])

	const lost = 2
	before := len(p.seen())
	p.dropAnswers(lost)
	second := m.readNewer("creds/once", first["last_vault_rotation"].(string)).Data
	assert.NotEqual(t, first["access_token"], second["access_token"])
	g.mustAccept(t, second["access_token"].(string), idpA)
	ids := map[string]bool{}
	for _, request := range p.seen()[before:] {
		assert.Equal(t, http.StatusOK, request.status)
		ids[jti(t, request.form)] = true
	}
	assert.Len(t, ids, lost+1)
	assert.Equal(t, idpA, m.read("status/once").Data["active_client_id"])
}

// jti returns the id of a request's assertion.
func jti(t *testing.T, form url.Values) string {
	t.Helper()
	assertion, err := jwt.ParseSigned(form.Get("client_assertion"), []jose.SignatureAlgorithm{jose.ES256})
	require.NoError(t, err)
	var claims jwt.Claims
	require.NoError(t, assertion.UnsafeClaimsWithoutVerification(&claims))
	return claims.ID
}

// readNewer reads a token newer than the one fetched at a time.
func (m *mount) readNewer(path, than string) *api.Secret {
	m.t.Helper()
	s, err := m.client.Logical().ReadWithDataWithContext(m.t.Context(), m.path+"/"+path, url.Values{"newer_than": {than}})
	require.NoError(m.t, err)
	return s
}

// A clock that is a minute off is survived where the server allows for it. Where it
// does not, both clients are refused: nothing flips, readers get the current token, and
// the error shows the difference.
func TestOIDCProviderClocks(t *testing.T) {
	const algorithm = "ES256"
	tolerant, strict := startOIDCProvider(t, oidcOptions{}), startOIDCProvider(t, oidcOptions{ClockTolerance: new(int)})
	g := newGBG(t, time.Hour)
	m := newMount(t, suite.server)
	for name, p := range map[string]*oidcProvider{"tolerant": tolerant, "strict": strict} {
		g.trustProvider(t, p)
		m.write("config/"+name, g.withOIDCKeys(p, algorithm))
		p.registerKeys(t, algorithm, m.read("keys/"+name))
		m.write("rotate/"+name, map[string]any{"client_id": idpB})
		m.write("rotate/"+name, map[string]any{"client_id": idpA})
	}
	active := idpA
	for _, ahead := range []int{60, -60} {
		tolerant.setClock(t, ahead)
		active = map[string]string{idpA: idpB, idpB: idpA}[active]
		assert.Equal(t, active, m.write("rotate/tolerant", map[string]any{"client_id": active}).Data["active_client_id"])
		g.mustAccept(t, m.read("creds/tolerant").Data["access_token"].(string), active)
	}

	token := m.read("creds/strict").Data
	strict.setClock(t, 60)
	status, text := m.refused("rotate/strict", map[string]any{"client_id": idpB})
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Regexp(t, `the endpoint's clock is (59s|1m0s|1m1s) ahead of this host's`, text)
	served := m.readNewer("creds/strict", token["last_vault_rotation"].(string))
	assert.Equal(t, token["access_token"], served.Data["access_token"])
	assert.NotEmpty(t, served.Warnings)
	assert.Equal(t, idpA, m.read("status/strict").Data["active_client_id"])

	strict.setClock(t, 0)
	assert.Equal(t, idpB, m.write("rotate/strict", map[string]any{"client_id": idpB}).Data["active_client_id"])
}

// With a JWK Set that the identity provider reads itself, a rotation is two commands:
// one that makes the key and whose answer is published, and the flip. A server that has
// read the set within the last minute refuses the flip, which can be repeated.
func TestOIDCProviderReadsTheKeys(t *testing.T) {
	const algorithm = "RS256"
	published := newPublisher(t)
	client := func(id string) oidcClient {
		return oidcClient{ID: id, AuthMethod: "private_key_jwt", Algorithm: algorithm, JWKSURI: published.URL}
	}
	p := startOIDCProvider(t, oidcOptions{Clients: []oidcClient{client(idpA), client(idpB)}})
	g := newGBG(t, loadLifetime)
	g.trustProvider(t, p)
	m := newMount(t, suite.server)
	m.write("config/load", g.withOIDCKeys(p, algorithm))
	published.publish(m.read("keys/load"))
	for _, checked := range m.write("verify/load", nil).Data["clients"].([]any) {
		assert.Equal(t, "ok", checked.(map[string]any)["result"])
	}
	g.mustAccept(t, m.read("creds/load").Data["access_token"].(string), idpA)

	load := startLoad(t, m, "creds/load", g, 16, nil)
	published.publish(m.write("keys/load", map[string]any{"client_id": idpB}))
	status, text := m.refused("rotate/load", map[string]any{"client_id": idpB})
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Contains(t, text, "Nothing has changed")
	p.setClock(t, 61) // a minute later
	assert.Equal(t, idpB, m.write("rotate/load", map[string]any{"client_id": idpB}).Data["active_client_id"])
	time.Sleep(loadLifetime)

	published.publish(m.write("keys/load", map[string]any{"client_id": idpA}))
	assert.Equal(t, idpA, m.write("rotate/load", map[string]any{"client_id": idpA}).Data["active_client_id"])
	time.Sleep(loadLifetime)
	r := load.stop()
	t.Log(r)
	assert.Empty(t, r.failures)
	assert.Empty(t, r.refused)
}
