package gbgauth_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-gbg/internal/gbgauth"
	"vault-plugin-secrets-gbg/internal/memnet"
)

// gbgAddress is where the tests' token endpoint is, on a network in memory.
const gbgAddress = "example.com:443"

// patience bounds one try of these tests, by the bubble's clock.
const patience = 5 * time.Second

// endpoint is a token endpoint that speaks TLS on a network in memory.
type endpoint struct {
	network *memnet.Network
	server  *httptest.Server
	client  *gbgauth.Client
}

// newEndpoint starts one. It must be called in a bubble.
func newEndpoint(t *testing.T, http2 bool, handler http.HandlerFunc) *endpoint {
	t.Helper()
	e := &endpoint{network: &memnet.Network{}}
	e.server = newServer(t, handler)
	e.server.Listener.Close()
	e.server.Listener = e.network.Listen(gbgAddress)
	e.server.EnableHTTP2 = http2
	e.server.StartTLS()
	t.Cleanup(e.server.CloseClientConnections)
	var err error
	e.client, err = gbgauth.NewClient(gbgauth.ClientOptions{
		Roots:       string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.server.Certificate().Raw})),
		DialContext: e.network.DialContext,
	})
	require.NoError(t, err)
	t.Cleanup(e.client.CloseIdleConnections)
	return e
}

// fetch makes one try.
func (e *endpoint) fetch(t *testing.T, limit time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	_, err := ask("https://"+gbgAddress+tokenPath).Fetch(ctx, e.client)
	return err
}

// protocols are whether a server speaks HTTP/2, by name.
var protocols = map[string]bool{"HTTP1.1": false, "HTTP2": true}

func good(w http.ResponseWriter, r *http.Request) {
	reply(http.StatusOK, "application/json", goodAnswer)(w, r)
}

// A connection that has gone silent is left after one try.
func TestSilentConnectionIsLeft(t *testing.T) {
	for name, http2 := range protocols {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var protocol atomic.Int32
				e := newEndpoint(t, http2, func(w http.ResponseWriter, r *http.Request) {
					protocol.Store(int32(r.ProtoMajor))
					good(w, r)
				})
				require.NoError(t, e.fetch(t, patience))
				require.NoError(t, e.fetch(t, patience))
				require.Equal(t, 1, e.network.Dials(gbgAddress), "the connection is used again")
				want := int32(1)
				if http2 {
					want = 2
				}
				require.Equal(t, want, protocol.Load())

				e.network.DropTraffic()
				failed := asError(t, e.fetch(t, patience))
				require.Equal(t, gbgauth.Unreachable, failed.Kind)
				require.Equal(t, "no answer in the time allowed", failed.Description)
				require.NoError(t, e.fetch(t, patience))
				require.Equal(t, 2, e.network.Dials(gbgAddress))
			})
		})
	}
}

// So is one whose answer stops in the middle.
func TestSilenceInAnAnswer(t *testing.T) {
	for name, http2 := range protocols {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requests atomic.Int32
				e := newEndpoint(t, http2, func(w http.ResponseWriter, r *http.Request) {
					if requests.Add(1) > 1 {
						good(w, r)
						return
					}
					_, _ = io.WriteString(w, goodAnswer[:10])
					w.(http.Flusher).Flush()
					<-r.Context().Done()
				})
				require.Equal(t, gbgauth.Unreachable, asError(t, e.fetch(t, patience)).Kind)
				require.NoError(t, e.fetch(t, patience))
				require.Equal(t, 2, e.network.Dials(gbgAddress))
			})
		})
	}
}

// A caller who leaves before a silent connection shows itself leaves it for all.
func TestSilentConnectionAndImpatientCallers(t *testing.T) {
	for name, http2 := range protocols {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEndpoint(t, http2, good)
				require.NoError(t, e.fetch(t, patience))
				e.network.DropTraffic()
				ctx, leave := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, leave)
				_, err := ask("https://"+gbgAddress+tokenPath).Fetch(ctx, e.client)
				require.ErrorIs(t, err, context.Canceled)
				require.NoError(t, e.fetch(t, patience))
			})
		})
	}
}

// One slow answer over HTTP/2 does not cost the others on its connection theirs.
func TestSlowAnswerBesideOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int32
		e := newEndpoint(t, true, func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(time.Duration(requests.Add(1)) * 2 * time.Second):
				good(w, r)
			case <-r.Context().Done():
			}
		})
		require.NoError(t, e.fetch(t, patience)) // opens the connection
		other := make(chan error)
		go func() { other <- e.fetch(t, time.Minute) }()
		synctest.Wait()
		require.Error(t, e.fetch(t, time.Second))
		require.NoError(t, e.fetch(t, time.Minute), "on a new connection")
		require.NoError(t, <-other)
		require.Equal(t, 2, e.network.Dials(gbgAddress))
		require.EqualValues(t, 4, requests.Load(), "no request was repeated")
	})
}

// A handshake that hangs ends by itself, before the try does.
func TestTLSHandshakeHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &memnet.Network{}
		listener := network.Listen(gbgAddress)
		t.Cleanup(func() { listener.Close() })
		go func() {
			if conn, err := listener.Accept(); err == nil {
				_, _ = io.Copy(io.Discard, conn)
			}
		}()
		client, err := gbgauth.NewClient(gbgauth.ClientOptions{ConnectTimeout: 2 * time.Second, DialContext: network.DialContext})
		require.NoError(t, err)
		began := time.Now()
		_, err = ask("https://"+gbgAddress+tokenPath).Fetch(t.Context(), client)
		failed := asError(t, err)
		require.Equal(t, gbgauth.Unreachable, failed.Kind)
		require.Contains(t, failed.Description, "TLS handshake timeout")
		require.Equal(t, 2*time.Second, time.Since(began))
	})
}

// So does connecting.
func TestConnectingHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &memnet.Network{}
		listener := network.Listen(gbgAddress) // nobody accepts
		t.Cleanup(func() { listener.Close() })
		client, err := gbgauth.NewClient(gbgauth.ClientOptions{ConnectTimeout: 2 * time.Second, DialContext: network.DialContext})
		require.NoError(t, err)
		began := time.Now()
		_, err = ask("https://"+gbgAddress+tokenPath).Fetch(t.Context(), client)
		failed := asError(t, err)
		require.Equal(t, gbgauth.Unreachable, failed.Kind)
		require.Equal(t, "connecting to "+gbgAddress+" took longer than 2s", failed.Description)
		require.Equal(t, 2*time.Second, time.Since(began))
	})
}

// proxyAddress is where HTTPS_PROXY points in these tests.
const proxyAddress = "proxy.test:3128"

// throughProxy sets the environment, which names a user, too.
func throughProxy(t *testing.T) {
	t.Helper()
	t.Setenv("HTTPS_PROXY", "http://fake-user:fake-password@"+proxyAddress)
	t.Setenv("NO_PROXY", "")
}

// listenAsProxy starts a proxy on a network. connect answers its CONNECT requests;
// nil connects.
func listenAsProxy(t *testing.T, network *memnet.Network, connect http.HandlerFunc) {
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

func TestSilentConnectionThroughAProxy(t *testing.T) {
	throughProxy(t)
	for name, http2 := range protocols {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEndpoint(t, http2, good)
				listenAsProxy(t, e.network, nil)
				require.NoError(t, e.fetch(t, patience))
				e.network.DropTraffic()
				failed := asError(t, e.fetch(t, patience))
				require.Equal(t, gbgauth.Unreachable, failed.Kind)
				require.Equal(t, "no answer in the time allowed (through the proxy "+proxyAddress+")", failed.Description)
				require.NoError(t, e.fetch(t, patience))
				require.Equal(t, 2, e.network.Dials(proxyAddress))
			})
		})
	}
}

// What a proxy says and does is not taken for GBG's.
func TestProxyRefuses(t *testing.T) {
	throughProxy(t)
	for _, status := range []int{403, 407, 502, 504} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEndpoint(t, true, good)
				var agent string
				listenAsProxy(t, e.network, func(w http.ResponseWriter, r *http.Request) {
					agent = r.UserAgent()
					reply(status, "application/json", `{"error":"invalid_client"}`)(w, r)
				})
				failed := asError(t, e.fetch(t, patience))
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

// Without TLS a proxy's answers look like the endpoint's: they name the proxy, unless
// they have words of a token endpoint.
func TestProxyAnswersWithoutTLS(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://fake-user:fake-password@"+proxyAddress)
	t.Setenv("NO_PROXY", "")
	for _, c := range []struct {
		name   string
		status int
		body   string
		kind   gbgauth.Kind
		want   string
	}{
		{"407", 407, "<html>", gbgauth.ProxyError, "the proxy " + proxyAddress + " asks for a user name and password"},
		{"502", 502, "<html>", gbgauth.ServerError, "an error without an explanation that could be read (through the proxy " + proxyAddress + ")"},
		{
			"403", 403, "<html>", gbgauth.ForeignAnswer, "the answer does not come from a token endpoint: it has neither OAuth's nor GBG's words" +
				", and its type is text/html (through the proxy " + proxyAddress + "). Is the address right, and is there a proxy or a firewall on the way?",
		},
		{"the endpoint's own", 401, `{"error":"invalid_client"}`, gbgauth.RefusedClient, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEndpoint(t, true, good)
				listenAsProxy(t, e.network, reply(c.status, "text/html", c.body))
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				_, err := ask("http://example.com/token").Fetch(ctx, e.client)
				failed := asError(t, err)
				require.Equal(t, c.kind, failed.Kind)
				require.Equal(t, c.want, failed.Description)
				requireSafe(t, failed.Error(), "fake-password")
			})
		})
	}
}

func TestProxyIsNotThere(t *testing.T) {
	throughProxy(t)
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(t, true, good)
		failed := asError(t, e.fetch(t, patience))
		require.Equal(t, gbgauth.ProxyError, failed.Kind)
		require.Equal(t, "cannot connect to the proxy "+proxyAddress+": dial tcp: connection refused", failed.Description)
	})
}

// A setting that cannot be read is not a wish to go without a proxy. It may hold a
// password, so it is not shown.
func TestProxySettingThatCannotBeRead(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "")
	t.Setenv("https_proxy", "::fake-password")
	synctest.Test(t, func(t *testing.T) {
		failed := asError(t, newEndpoint(t, true, good).fetch(t, patience))
		require.Contains(t, failed.Description, "the proxy setting https_proxy ")
	})
	for _, setting := range []string{"::fake-password", "http://", "ftp://fake-password@proxy.test", "http://fake-password:x:y", "%zz"} {
		t.Run("setting", func(t *testing.T) {
			t.Setenv("HTTPS_PROXY", setting)
			t.Setenv("NO_PROXY", "spared.example.com")
			synctest.Test(t, func(t *testing.T) {
				e := newEndpoint(t, true, good)
				failed := asError(t, e.fetch(t, patience))
				require.Equal(t, gbgauth.ProxyError, failed.Kind)
				require.Equal(t, "the proxy setting HTTPS_PROXY in the environment of Vault's process is not a URL that can be used", failed.Description)
				require.Zero(t, e.network.Dials(gbgAddress))

				listener := e.network.Listen("spared.example.com:443")
				t.Cleanup(func() { listener.Close() })
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := ask("https://spared.example.com/token").Fetch(ctx, e.client)
				require.Equal(t, gbgauth.Unreachable, asError(t, err).Kind, "NO_PROXY spares it")
			})
		})
	}
}

// A peer that has lost its connections says so only when one is used. One of them is
// enough to leave them all.
func TestLostConnectionsAreLeft(t *testing.T) {
	for name, http2 := range protocols {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEndpoint(t, http2, func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(time.Second)
					good(w, r)
				})
				var together sync.WaitGroup
				for range 3 {
					together.Go(func() { assert.NoError(t, e.fetch(t, patience)) })
				}
				together.Wait()
				opened := e.network.Dials(gbgAddress)
				require.NoError(t, e.fetch(t, patience))
				require.Equal(t, opened, e.network.Dials(gbgAddress), "the connections are used again")

				e.network.ResetOnWrite()
				failed := asError(t, e.fetch(t, patience))
				require.Equal(t, gbgauth.Unreachable, failed.Kind)
				require.NotErrorIs(t, failed, context.DeadlineExceeded)
				require.NoError(t, e.fetch(t, patience))
			})
		})
	}
}

// Connections that are not used again are closed as soon as the last request on them
// has ended.
func TestRetiredConnectionIsClosed(t *testing.T) {
	for name, http2 := range protocols {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requests atomic.Int32
				answer := make(chan struct{})
				e := newEndpoint(t, http2, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body) // only then HTTP/1.1 sees the client leave
					if requests.Add(1) == 1 {
						<-answer
						good(w, r)
						return
					}
					<-r.Context().Done()
				})
				first := make(chan error, 1)
				go func() { first <- e.fetch(t, time.Minute) }()
				synctest.Wait()
				assert.Error(t, e.fetch(t, time.Second))
				close(answer)
				require.NoError(t, <-first)
				synctest.Wait()
				require.Zero(t, e.network.OpenConns())
			})
		})
	}
}
