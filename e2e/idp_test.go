package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The clients of the identity provider.
const (
	idpA = "idp-client-a"
	idpB = "idp-client-b"
)

// idp is an OAuth server that is not ours: see scripts/idp.
type idp struct {
	URL     string            `json:"url"`
	Secrets map[string]string `json:"secrets"`
}

// startIDP starts one whose tokens live as long as lifetime.
func startIDP(t *testing.T, lifetime time.Duration) *idp {
	t.Helper()
	binary, err := filepath.Abs("../bin/idp")
	require.NoError(t, err)
	cmd := exec.Command(binary, "-clients", idpA+","+idpB, "-lifetime", lifetime.String())
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start(), "run: make bin/idp")
	t.Cleanup(func() {
		assert.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		assert.NoError(t, cmd.Wait())
	})
	p := &idp{}
	require.NoError(t, json.NewDecoder(bufio.NewReader(stdout)).Decode(p))
	return p
}

func (p *idp) tokenURL() string { return p.URL + "/oauth2/token" }

// renew gives a client a new secret; the old one is dead.
func (p *idp) renew(t *testing.T, client string) (secret string) {
	t.Helper()
	resp, err := http.Post(p.URL+"/clients/"+client+"/renew", "", http.NoBody)
	require.NoError(t, err)
	defer resp.Body.Close()
	var answer struct {
		Secret string `json:"client_secret"`
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	require.NotEmpty(t, answer.Secret)
	return answer.Secret
}

// m2m is a configuration whose pair lives at an identity provider.
func (g *gbg) m2m(p *idp) map[string]any {
	return map[string]any{
		"grant_type": "id_auth", "token_url": g.identityURL(), "idp_token_url": p.tokenURL(), "idp_scope": "api",
		"client_id": idpA, "client_secret": p.Secrets[idpA],
		"paired_client_id": idpB, "paired_client_secret": p.Secrets[idpB],
	}
}

// setKeys makes a client one that authenticates with keys that are read at a URL.
func (p *idp) setKeys(t *testing.T, client, url, algorithm string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"jwks_uri": url, "token_endpoint_auth_signing_alg": algorithm})
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, p.URL+"/clients/"+client+"/keys", bytes.NewReader(body))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusNoContent, resp.StatusCode)
}
