package e2e

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// publisher serves JWK Sets that identity providers read.
type publisher struct {
	*httptest.Server

	mu   sync.Mutex
	jwks string
}

func newPublisher(t *testing.T) *publisher {
	t.Helper()
	p := &publisher{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(p.jwks))
	}))
	t.Cleanup(p.Close)
	return p
}

// publish replaces the set by the one of an answer.
func (p *publisher) publish(answer *api.Secret) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jwks = answer.Data["jwks"].(string)
}

// withKeys is a configuration of two clients that have keys, at an OAuth server that is
// not ours.
func (g *gbg) withKeys(p *idp, algorithm string) map[string]any {
	return map[string]any{
		"grant_type": "id_auth", "token_url": g.identityURL(), "idp_token_url": p.tokenURL(),
		"idp_auth_method": "private_key_jwt", "key_algorithm": algorithm,
		"client_id": idpA, "paired_client_id": idpB, "verify_connection": false,
	}
}

// Readers notice neither refreshes, nor a rotation onto a new key that the identity
// provider reads itself, nor that it stops accepting the active client's key.
func TestKeysUnderLoad(t *testing.T) {
	const algorithm = "RS256"
	const lifetime = 9 * time.Second
	p, published := startIDP(t, time.Minute), newPublisher(t)
	g := newIdentityGBG(t, lifetime, p)
	m := newMount(t, suite.server)
	m.write("config/signed", g.withKeys(p, algorithm))
	published.publish(m.read("keys/signed"))
	p.setKeys(t, idpA, published.URL, algorithm)
	p.setKeys(t, idpB, published.URL, algorithm)
	g.mustAccept(t, m.read("creds/signed").Data["access_token"].(string), idpA)
	before := g.Stats().Identity.TokenRequests.Total

	load := startLoad(t, m, "creds/signed", g, 16, nil)
	time.Sleep(2 * lifetime)
	asked := g.Stats().Identity.TokenRequests.Total - before

	// Two commands and no portal.
	published.publish(m.write("keys/signed", map[string]any{"client_id": idpB}))
	rotated := m.write("rotate/signed", map[string]any{"client_id": idpB}).Data
	assert.Equal(t, idpB, rotated["active_client_id"])
	g.mustAccept(t, m.read("creds/signed").Data["access_token"].(string), idpB)

	p.setKeys(t, idpB, published.URL, "ES512") // it refuses assertions of any other algorithm
	require.Eventually(t, func() bool { return m.read("status/signed").Data["active_client_id"] == idpA }, 30*time.Second, 50*time.Millisecond)
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

	// The refused client gets a new key, and takes over again.
	published.publish(m.write("keys/signed", map[string]any{"client_id": idpB}))
	p.setKeys(t, idpB, published.URL, algorithm)
	assert.Equal(t, idpB, m.write("rotate/signed", map[string]any{"client_id": idpB}).Data["active_client_id"])
}

// An OAuth server that is not ours accepts every algorithm.
func TestKeysOfEveryAlgorithm(t *testing.T) {
	p, published := startIDP(t, time.Minute), newPublisher(t)
	g := newIdentityGBG(t, time.Hour, p)
	m := newMount(t, suite.server)
	for _, algorithm := range []string{"RS256", "PS256", "ES256"} {
		m.write("config/"+algorithm, g.withKeys(p, algorithm))
		published.publish(m.read("keys/" + algorithm))
		p.setKeys(t, idpA, published.URL, algorithm)
		p.setKeys(t, idpB, published.URL, algorithm)
		g.mustAccept(t, m.read("creds/" + algorithm).Data["access_token"].(string), idpA)
		assert.Equal(t, idpB, m.write("rotate/"+algorithm, map[string]any{"client_id": idpB}).Data["active_client_id"])
	}
}

// An OAuth server that is not ours refuses what is not for it.
func TestKeysAreRefusedElsewhere(t *testing.T) {
	p, published := startIDP(t, time.Minute), newPublisher(t)
	g := newIdentityGBG(t, time.Hour, p)
	m := newMount(t, suite.server)
	m.write("config/audience", with(g.withKeys(p, "ES256"), "idp_audience", "https://other.example/token"))
	published.publish(m.read("keys/audience"))
	p.setKeys(t, idpA, published.URL, "ES256")
	status, text := m.refusedRead("creds/audience")
	assert.Equal(t, http.StatusBadGateway, status)
	assert.Contains(t, text, `the identity provider refused client "`+idpA+`": invalid_client`)

	other := newPublisher(t)
	m.write("config/key", g.withKeys(p, "ES256"))
	other.publish(m.read("keys/audience")) // another connection's key
	p.setKeys(t, idpA, other.URL, "ES256")
	status, text = m.refusedRead("creds/key")
	assert.Equal(t, http.StatusBadGateway, status)
	assert.Contains(t, text, `the identity provider refused client "`+idpA+`": invalid_request`)
	assert.Contains(t, text, "vault read "+m.path+"/keys/key")

	other.publish(m.read("keys/key"))
	m.write("rotate/key", map[string]any{"client_id": idpA}) // ends the pause
	g.mustAccept(t, m.read("creds/key").Data["access_token"].(string), idpA)
}
