package gbgauth_test

import (
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
	"gbg.example/vault-plugin-secrets-gbg/internal/memnet"
)

// gbgAddress is the address of the token endpoint in memory.
const gbgAddress = "example.com:443"

// fetchTimeout is the timeout of a request, by the clock of the synctest bubble.
const fetchTimeout = 5 * time.Second

// tlsEndpoint is a token endpoint with TLS on a network in memory, and a client for it.
type tlsEndpoint struct {
	network *memnet.Network
	server  *httptest.Server
	client  *gbgauth.Client
}

// newTLSEndpoint starts an endpoint. It must be called in a synctest bubble.
func newTLSEndpoint(t *testing.T, http2 bool, handler http.HandlerFunc) *tlsEndpoint {
	t.Helper()
	e := &tlsEndpoint{network: &memnet.Network{}}
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

// fetch requests a token.
func (e *tlsEndpoint) fetch(t *testing.T, limit time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	_, err := clientCredentials("https://"+gbgAddress+tokenPath).Fetch(ctx, e.client)
	return err
}

// protocols maps the names of the HTTP versions to whether it is HTTP/2.
var protocols = map[string]bool{"HTTP1.1": false, "HTTP2": true}

func serveToken(w http.ResponseWriter, r *http.Request) {
	respond(http.StatusOK, "application/json", tokenResponse)(w, r)
}

// After a timeout on a silent connection the next request uses a new one.
func TestSilentConnectionNotReused(t *testing.T) {
	for name, http2 := range protocols {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var protocol atomic.Int32
				e := newTLSEndpoint(t, http2, func(w http.ResponseWriter, r *http.Request) {
					protocol.Store(int32(r.ProtoMajor))
					serveToken(w, r)
				})
				require.NoError(t, e.fetch(t, fetchTimeout))
				require.NoError(t, e.fetch(t, fetchTimeout))
				require.Equal(t, 1, e.network.Dials(gbgAddress), "the connection is reused")
				want := int32(1)
				if http2 {
					want = 2
				}
				require.Equal(t, want, protocol.Load())

				e.network.DropTraffic()
				failed := asError(t, e.fetch(t, fetchTimeout))
				require.Equal(t, gbgauth.Unreachable, failed.Kind)
				require.Equal(t, "no answer in the time allowed", failed.Description)
				require.NoError(t, e.fetch(t, fetchTimeout))
				require.Equal(t, 2, e.network.Dials(gbgAddress))
			})
		})
	}
}

// The same applies if the response stops in the middle.
func TestSilentConnectionDuringResponse(t *testing.T) {
	for name, http2 := range protocols {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requests atomic.Int32
				e := newTLSEndpoint(t, http2, func(w http.ResponseWriter, r *http.Request) {
					if requests.Add(1) > 1 {
						serveToken(w, r)
						return
					}
					_, _ = io.WriteString(w, tokenResponse[:10])
					w.(http.Flusher).Flush()
					<-r.Context().Done()
				})
				require.Equal(t, gbgauth.Unreachable, asError(t, e.fetch(t, fetchTimeout)).Kind)
				require.NoError(t, e.fetch(t, fetchTimeout))
				require.Equal(t, 2, e.network.Dials(gbgAddress))
			})
		})
	}
}

// The same applies if the caller cancels the request before its timeout.
func TestSilentConnectionNotReusedAfterCancel(t *testing.T) {
	for name, http2 := range protocols {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newTLSEndpoint(t, http2, serveToken)
				require.NoError(t, e.fetch(t, fetchTimeout))
				e.network.DropTraffic()
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				_, err := clientCredentials("https://"+gbgAddress+tokenPath).Fetch(ctx, e.client)
				require.ErrorIs(t, err, context.Canceled)
				require.NoError(t, e.fetch(t, fetchTimeout))
			})
		})
	}
}

// A timeout over HTTP/2 does not end other requests on the same connection.
func TestSlowResponseDoesNotAffectOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int32
		e := newTLSEndpoint(t, true, func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(time.Duration(requests.Add(1)) * 2 * time.Second):
				serveToken(w, r)
			case <-r.Context().Done():
			}
		})
		require.NoError(t, e.fetch(t, fetchTimeout)) // opens the connection
		other := make(chan error)
		go func() { other <- e.fetch(t, time.Minute) }()
		synctest.Wait()
		require.Error(t, e.fetch(t, time.Second))
		require.NoError(t, e.fetch(t, time.Minute), "on a new connection")
		require.NoError(t, <-other)
		require.Equal(t, 2, e.network.Dials(gbgAddress))
		require.EqualValues(t, 4, requests.Load(), "no request is retried")
	})
}

// A TLS handshake has a timeout, independent of the request's context.
func TestTLSHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &memnet.Network{}
		listener := network.Listen(gbgAddress)
		t.Cleanup(func() { listener.Close() })
		go func() {
			if conn, err := listener.Accept(); err == nil {
				_, _ = io.Copy(io.Discard, conn)
				conn.Close()
			}
		}()
		client, err := gbgauth.NewClient(gbgauth.ClientOptions{ConnectTimeout: 2 * time.Second, DialContext: network.DialContext})
		require.NoError(t, err)
		start := time.Now()
		_, err = clientCredentials("https://"+gbgAddress+tokenPath).Fetch(t.Context(), client)
		failed := asError(t, err)
		require.Equal(t, gbgauth.Unreachable, failed.Kind)
		require.Contains(t, failed.Description, "TLS handshake timeout")
		require.Equal(t, 2*time.Second, time.Since(start))
	})
}

// So has connecting.
func TestConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &memnet.Network{}
		listener := network.Listen(gbgAddress) // never accepts
		t.Cleanup(func() { listener.Close() })
		client, err := gbgauth.NewClient(gbgauth.ClientOptions{ConnectTimeout: 2 * time.Second, DialContext: network.DialContext})
		require.NoError(t, err)
		start := time.Now()
		_, err = clientCredentials("https://"+gbgAddress+tokenPath).Fetch(t.Context(), client)
		failed := asError(t, err)
		require.Equal(t, gbgauth.Unreachable, failed.Kind)
		require.Equal(t, "connecting to "+gbgAddress+" took longer than 2s", failed.Description)
		require.Equal(t, 2*time.Second, time.Since(start))
	})
}

// A peer that has lost its connections resets each of them only when it is used. After
// the first reset, no request uses the others.
func TestResetConnectionsNotReused(t *testing.T) {
	for name, http2 := range protocols {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newTLSEndpoint(t, http2, func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(time.Second)
					serveToken(w, r)
				})
				var together sync.WaitGroup
				for range 3 {
					together.Go(func() { assert.NoError(t, e.fetch(t, fetchTimeout)) })
				}
				together.Wait()
				opened := e.network.Dials(gbgAddress)
				require.NoError(t, e.fetch(t, fetchTimeout))
				require.Equal(t, opened, e.network.Dials(gbgAddress), "the connections are reused")

				e.network.ResetOnWrite()
				failed := asError(t, e.fetch(t, fetchTimeout))
				require.Equal(t, gbgauth.Unreachable, failed.Kind)
				require.NotErrorIs(t, failed, context.DeadlineExceeded)
				require.NoError(t, e.fetch(t, fetchTimeout))
			})
		})
	}
}

// A connection that is not reused is closed when the last request on it ends.
func TestReplacedConnectionClosed(t *testing.T) {
	for name, http2 := range protocols {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requests atomic.Int32
				answer := make(chan struct{})
				e := newTLSEndpoint(t, http2, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body) // over HTTP/1.1 the server detects a disconnect only after that
					if requests.Add(1) == 1 {
						<-answer
						serveToken(w, r)
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
