package gbgsim_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
	"gbg.example/vault-plugin-secrets-gbg/internal/memnet"
)

// startServer serves over a network, with TLS if secure, until the test ends.
func startServer(t *testing.T, simulator *gbgsim.Simulator, secure bool) (address string, httpClient *http.Client) {
	t.Helper()
	server := httptest.NewUnstartedServer(simulator)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		config, err := simulator.TLSConfig()
		require.NoError(t, err)
		server.TLS = config
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)

	return server.URL, newHTTPClient(t, simulator)
}

// startInMemory serves over a network in memory until the test ends, for tests in a
// testing/synctest bubble.
func startInMemory(t *testing.T, simulator *gbgsim.Simulator) (address string, httpClient *http.Client) {
	t.Helper()
	const host = "gbg.test:80"
	network := &memnet.Network{}
	listener := network.Listen(host)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- simulator.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-served)
	})
	httpClient = newHTTPClient(t, simulator)
	httpClient.Transport.(*http.Transport).DialContext = network.DialContext

	return "http://" + host, httpClient
}

// newHTTPClient returns a client that trusts the simulator's authority, follows no
// redirects and shares no connections.
func newHTTPClient(t *testing.T, simulator *gbgsim.Simulator) *http.Client {
	t.Helper()
	httpClient := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots(t, simulator)}, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(httpClient.CloseIdleConnections)

	return httpClient
}

func roots(t *testing.T, simulator *gbgsim.Simulator) *x509.CertPool {
	t.Helper()
	caPEM, err := simulator.CAPEM()
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(caPEM))

	return pool
}

// post requests a token. The error is that of the request or of reading the
// response.
func post(t *testing.T, httpClient *http.Client, address string, form url.Values) (result, error) {
	t.Helper()

	return postTo(t, httpClient, address+gbgsim.TokenPath, form)
}

// postTo is post for any endpoint.
func postTo(t *testing.T, httpClient *http.Client, endpoint string, form url.Values) (result, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := httpClient.Do(request)
	if err != nil {
		return result{}, err
	}
	body, err := io.ReadAll(response.Body)
	require.NoError(t, response.Body.Close())

	return result{status: response.StatusCode, header: response.Header, body: string(body)}, err
}
