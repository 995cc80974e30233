package gbgauth_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
	"gbg.example/vault-plugin-secrets-gbg/internal/memnet"
)

// proxyAddress is the address of the proxy in memory.
const proxyAddress = "proxy.test:3128"

// setProxy sets HTTPS_PROXY to proxyAddress, with a user name and password.
func setProxy(t *testing.T) {
	t.Helper()
	t.Setenv("HTTPS_PROXY", "http://fake-user:fake-password@"+proxyAddress)
	t.Setenv("NO_PROXY", "")
}

// startProxy starts a proxy. connect handles CONNECT requests; nil means that the proxy
// connects to the host.
func startProxy(t *testing.T, network *memnet.Network, connect http.HandlerFunc) {
	t.Helper()
	if connect == nil {
		connect = func(w http.ResponseWriter, r *http.Request) {
			to, err := network.DialContext(r.Context(), "tcp", r.Host)
			if err != nil {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			from, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
			pipe := func(a, b net.Conn) {
				_, _ = io.Copy(a, b)
				a.Close()
			}
			go pipe(to, from)
			go pipe(from, to)
		}
	}
	server := newServer(t, connect)
	server.Listener.Close()
	server.Listener = network.Listen(proxyAddress)
	server.Start()
}

func TestSilentConnectionThroughProxy(t *testing.T) {
	setProxy(t)
	for name, http2 := range protocols {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newTLSEndpoint(t, http2, serveToken)
				startProxy(t, e.network, nil)
				require.NoError(t, e.fetch(t, fetchTimeout))
				e.network.DropTraffic()
				failed := asError(t, e.fetch(t, fetchTimeout))
				require.Equal(t, gbgauth.Unreachable, failed.Kind)
				require.Equal(t, "no answer in the time allowed (through the proxy "+proxyAddress+")", failed.Description)
				require.NoError(t, e.fetch(t, fetchTimeout))
				require.Equal(t, 2, e.network.Dials(proxyAddress))
			})
		})
	}
}

// The response of a proxy to CONNECT is not that of the endpoint.
func TestProxyConnectError(t *testing.T) {
	setProxy(t)
	for _, status := range []int{403, 407, 502, 504} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newTLSEndpoint(t, true, serveToken)
				var agent string
				startProxy(t, e.network, func(w http.ResponseWriter, r *http.Request) {
					agent = r.UserAgent()
					respond(status, "application/json", `{"error":"invalid_client"}`)(w, r)
				})
				failed := asError(t, e.fetch(t, fetchTimeout))
				require.Equal(t, gbgauth.ProxyError, failed.Kind)
				require.True(t, failed.Temporary())
				require.Equal(t, fmt.Sprintf("the proxy %s refused to connect to %s: HTTP %d %s",
					proxyAddress, gbgAddress, status, http.StatusText(status)), failed.Description)
				require.Equal(t, gbgauth.DefaultUserAgent, agent)
				requireSafe(t, failed.Error(), "fake-password")
			})
		})
	}
}

// Without TLS the response of a proxy looks like that of the endpoint. The error names
// the proxy unless the response is an OAuth or GBG error.
func TestProxyResponseWithoutTLS(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://fake-user:fake-password@"+proxyAddress)
	t.Setenv("NO_PROXY", "")
	for _, c := range []struct {
		name   string
		status int
		body   string
		kind   gbgauth.Kind
		want   string
	}{
		{"407", 407, "<html>", gbgauth.ProxyError, "the proxy " + proxyAddress + " requires a user name and password"},
		{"502", 502, "<html>", gbgauth.ServerError, "the error response has no description (through the proxy " + proxyAddress + ")"},
		{
			"403", 403, "<html>", gbgauth.NotTokenEndpoint, "the answer does not come from a token endpoint: it is neither an OAuth error nor a GBG error" +
				", and its content type is text/html (through the proxy " + proxyAddress + "). Check the URL, and whether a proxy or a firewall answers in place of the endpoint",
		},
		{"the endpoint's own", 401, `{"error":"invalid_client"}`, gbgauth.RefusedClient, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newTLSEndpoint(t, true, serveToken)
				startProxy(t, e.network, respond(c.status, "text/html", c.body))
				ctx, cancel := context.WithTimeout(t.Context(), fetchTimeout)
				defer cancel()
				_, err := clientCredentials("http://example.com/token").Fetch(ctx, e.client)
				failed := asError(t, err)
				require.Equal(t, c.kind, failed.Kind)
				require.Equal(t, c.want, failed.Description)
				requireSafe(t, failed.Error(), "fake-password")
			})
		})
	}
}

func TestProxyUnreachable(t *testing.T) {
	setProxy(t)
	synctest.Test(t, func(t *testing.T) {
		e := newTLSEndpoint(t, true, serveToken)
		failed := asError(t, e.fetch(t, fetchTimeout))
		require.Equal(t, gbgauth.ProxyError, failed.Kind)
		require.Equal(t, "cannot connect to the proxy "+proxyAddress+": dial tcp "+proxyAddress+": connect: connection refused", failed.Description)
	})
}

// An unusable proxy variable does not mean that there is no proxy. Its value may contain
// a password and is not shown.
func TestInvalidProxySetting(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "")
	t.Setenv("https_proxy", "::fake-password")
	synctest.Test(t, func(t *testing.T) {
		failed := asError(t, newTLSEndpoint(t, true, serveToken).fetch(t, fetchTimeout))
		require.Contains(t, failed.Description, "the proxy setting https_proxy ")
	})
	for _, setting := range []string{"::fake-password", "http://", "ftp://fake-password@proxy.test", "http://fake-password:x:y", "%zz"} {
		t.Run("setting", func(t *testing.T) {
			t.Setenv("HTTPS_PROXY", setting)
			t.Setenv("NO_PROXY", "direct.example.com")
			synctest.Test(t, func(t *testing.T) {
				e := newTLSEndpoint(t, true, serveToken)
				failed := asError(t, e.fetch(t, fetchTimeout))
				require.Equal(t, gbgauth.ProxyError, failed.Kind)
				require.Equal(t, "the proxy setting HTTPS_PROXY in the environment of the Vault process is not a usable URL", failed.Description)
				require.Zero(t, e.network.Dials(gbgAddress))

				listener := e.network.Listen("direct.example.com:443")
				t.Cleanup(func() { listener.Close() })
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := clientCredentials("https://direct.example.com/token").Fetch(ctx, e.client)
				require.Equal(t, gbgauth.Unreachable, asError(t, err).Kind, "NO_PROXY applies")
			})
		})
	}
}
