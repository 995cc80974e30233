package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// resource is the resource indicator (RFC 8707) that clients of an oidcProvider must
// name to get a token that GBG can verify.
const resource = "https://api.gbg.example"

// oidcOptions configure an oidcProvider.
type oidcOptions struct {
	Clients        []oidcClient `json:"clients"`
	Resources      []string     `json:"resources"`
	Lifetime       int          `json:"lifetime"`                  // of tokens, in seconds
	ClockTolerance *int         `json:"clock_tolerance,omitempty"` // in seconds; nil is the provider's default
	AudIsIssuer    bool         `json:"aud_is_issuer"`
}

// oidcClient is the metadata of a client as OpenID Connect names it.
type oidcClient struct {
	ID         string          `json:"client_id"`
	AuthMethod string          `json:"token_endpoint_auth_method"`
	Algorithm  string          `json:"token_endpoint_auth_signing_alg,omitempty"`
	Secret     string          `json:"client_secret,omitempty"`
	JWKS       json.RawMessage `json:"jwks,omitempty"`
	JWKSURI    string          `json:"jwks_uri,omitempty"`
}

// keyClient returns a client that authenticates with one of the keys of an answer.
func keyClient(id, algorithm string, keys *api.Secret) oidcClient {
	return oidcClient{ID: id, AuthMethod: "private_key_jwt", Algorithm: algorithm, JWKS: json.RawMessage(keys.Data["jwks"].(string))}
}

// oidcProvider is an OAuth server that is not ours, behind a proxy that records its
// token requests: see scripts/oidc-provider.
type oidcProvider struct {
	issuer string
	front  *httptest.Server

	mu       sync.Mutex
	requests []oidcRequest
	drop     int
}

// oidcRequest is a token request that the provider has answered.
type oidcRequest struct {
	form   url.Values
	status int
}

// startOIDCProvider starts a provider. It skips the test if the provider is not
// installed.
func startOIDCProvider(t *testing.T, options oidcOptions) *oidcProvider {
	t.Helper()
	dir, err := filepath.Abs("../bin/oidc-provider")
	require.NoError(t, err)
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err != nil {
		t.Skip("oidc-provider is not installed, which needs Node.js 20.20 or newer and npm: make bin/oidc-provider")
	}
	options.Resources = []string{resource}
	if options.Lifetime == 0 {
		options.Lifetime = 300
	}
	config, err := json.Marshal(options)
	require.NoError(t, err)
	log := &vaultserver.Output{}
	cmd := exec.Command("node", filepath.Join(dir, "server.mjs"), string(config))
	cmd.Stderr = log
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		assert.NoError(t, stdin.Close())
		assert.NoError(t, cmd.Wait(), log)
	})
	var announced struct{ URL string }
	require.NoError(t, json.NewDecoder(bufio.NewReader(stdout)).Decode(&announced), log)

	target, err := url.Parse(announced.URL)
	require.NoError(t, err)
	p := &oidcProvider{issuer: announced.URL}
	p.front = httptest.NewServer(p.record(httputil.NewSingleHostReverseProxy(target)))
	t.Cleanup(p.front.Close)
	return p
}

// record passes requests on and keeps them. Of those whose answer is to be dropped it
// closes the connection.
func (p *oidcProvider) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		form, _ := url.ParseQuery(string(body)) // what cannot be parsed is not compared
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		if p.answered(oidcRequest{form: form, status: answer.Code}) {
			panic(http.ErrAbortHandler)
		}
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}

// answered keeps a request and reports whether its answer must be dropped.
func (p *oidcProvider) answered(request oidcRequest) (drop bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, request)
	if p.drop == 0 {
		return false
	}
	p.drop--
	return true
}

// dropAnswers makes the next answers of the provider get lost.
func (p *oidcProvider) dropAnswers(count int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop = count
}

// seen returns the token requests so far.
func (p *oidcProvider) seen() []oidcRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// issued counts the tokens that the provider has issued.
func (p *oidcProvider) issued() (count int) {
	for _, request := range p.seen() {
		if request.status == http.StatusOK {
			count++
		}
	}
	return count
}

func (p *oidcProvider) tokenURL() string { return p.front.URL + "/token" }

// setClient replaces a client of the provider.
func (p *oidcProvider) setClient(t *testing.T, client oidcClient) {
	t.Helper()
	p.put(t, "/clients/"+url.PathEscape(client.ID), client)
}

// setClock sets the provider's clock a number of seconds ahead, or behind if negative.
func (p *oidcProvider) setClock(t *testing.T, ahead int) {
	t.Helper()
	p.put(t, "/clock", map[string]int{"ahead": ahead})
}

func (p *oidcProvider) put(t *testing.T, path string, value any) {
	t.Helper()
	body, err := json.Marshal(value)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, p.issuer+path, bytes.NewReader(body))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusNoContent, resp.StatusCode)
}

// trustProvider makes GBG accept the tokens of a provider.
func (g *gbg) trustProvider(t *testing.T, p *oidcProvider) {
	t.Helper()
	require.NoError(t, g.TrustIssuer(p.issuer, p.issuer+"/jwks"))
}

// withOIDCKeys is a configuration of two clients that have keys.
func (g *gbg) withOIDCKeys(p *oidcProvider, algorithm string) map[string]any {
	return map[string]any{
		"grant_type": "id_auth", "token_url": g.identityURL(), "idp_token_url": p.tokenURL(),
		"idp_scope": "api", "idp_params": map[string]string{"resource": resource},
		"idp_auth_method": "private_key_jwt", "key_algorithm": algorithm,
		"client_id": idpA, "paired_client_id": idpB, "verify_connection": false,
	}
}

// registerKeys registers the keys of a connection at both clients.
func (p *oidcProvider) registerKeys(t *testing.T, algorithm string, keys *api.Secret) {
	t.Helper()
	p.setClient(t, keyClient(idpA, algorithm, keys))
	p.setClient(t, keyClient(idpB, algorithm, keys))
}
