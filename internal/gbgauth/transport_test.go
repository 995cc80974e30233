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

	"vault-plugin-secrets-gbg/internal/gbgauth"
	"vault-plugin-secrets-gbg/internal/memnet"
)

// gbgAddress is where the tests' token endpoint is, on a network in memory.
const gbgAddress = "example.com:443"

// fetchTimeout bounds one try of these tests, by the bubble's clock.
const fetchTimeout = 5 * time.Second

// tlsEndpoint is a token tlsEndpoint that speaks TLS on a network in memory.
type tlsEndpoint struct {
	network *memnet.Network
	server  *httptest.Server
	client  *gbgauth.Client
}

// newTLSEndpoint starts one. It must be called in a bubble.
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

// fetch makes one try.
func (e *tlsEndpoint) fetch(t *testing.T, limit time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	_, err := clientCredentials("https://"+gbgAddress+tokenPath).Fetch(ctx, e.client)
	return err
}

// protocols are whether a server speaks HTTP/2, by name.
var protocols = map[string]bool{"HTTP1.1": false, "HTTP2": true}

func serveToken(w http.ResponseWriter, r *http.Request) {
	respond(http.StatusOK, "application/json", tokenResponse)(w, r)
}

// A connection that has gone silent is left after one try.
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
				require.Equal(t, 1, e.network.Dials(gbgAddress), "the connection is used again")
				want := int32(1)
				if http2 {
					want = 2
				}
				require.Equal(t, want, protocol.Load())

				e.network.Silence()
				failed := asError(t, e.fetch(t, fetchTimeout))
				require.Equal(t, gbgauth.Unreachable, failed.Kind)
				require.Equal(t, "no answer in the time allowed", failed.Description)
				require.NoError(t, e.fetch(t, fetchTimeout))
				require.Equal(t, 2, e.network.Dials(gbgAddress))
			})
		})
	}
}

// So is one whose answer stops in the middle.
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

// A caller who leaves before a silent connection shows itself leaves it for all.
func TestSilentConnectionNotReusedAfterCancel(t *testing.T) {
	for name, http2 := range protocols {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newTLSEndpoint(t, http2, serveToken)
				require.NoError(t, e.fetch(t, fetchTimeout))
				e.network.Silence()
				ctx, leave := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, leave)
				_, err := clientCredentials("https://"+gbgAddress+tokenPath).Fetch(ctx, e.client)
				require.ErrorIs(t, err, context.Canceled)
				require.NoError(t, e.fetch(t, fetchTimeout))
			})
		})
	}
}

// One slow answer over HTTP/2 does not cost the others on its connection theirs.
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
		require.EqualValues(t, 4, requests.Load(), "no request was repeated")
	})
}

// A handshake that hangs ends by itself, before the try does.
func TestTLSHandshakeTimeout(t *testing.T) {
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
		_, err = clientCredentials("https://"+gbgAddress+tokenPath).Fetch(t.Context(), client)
		failed := asError(t, err)
		require.Equal(t, gbgauth.Unreachable, failed.Kind)
		require.Contains(t, failed.Description, "TLS handshake timeout")
		require.Equal(t, 2*time.Second, time.Since(began))
	})
}

// So does connecting.
func TestConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &memnet.Network{}
		listener := network.Listen(gbgAddress) // nobody accepts
		t.Cleanup(func() { listener.Close() })
		client, err := gbgauth.NewClient(gbgauth.ClientOptions{ConnectTimeout: 2 * time.Second, DialContext: network.DialContext})
		require.NoError(t, err)
		began := time.Now()
		_, err = clientCredentials("https://"+gbgAddress+tokenPath).Fetch(t.Context(), client)
		failed := asError(t, err)
		require.Equal(t, gbgauth.Unreachable, failed.Kind)
		require.Equal(t, "connecting to "+gbgAddress+" took longer than 2s", failed.Description)
		require.Equal(t, 2*time.Second, time.Since(began))
	})
}

// A peer that has lost its connections says so only when one is used. One of them is
// enough to leave them all.
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
				require.Equal(t, opened, e.network.Dials(gbgAddress), "the connections are used again")

				e.network.Lose()
				failed := asError(t, e.fetch(t, fetchTimeout))
				require.Equal(t, gbgauth.Unreachable, failed.Kind)
				require.NotErrorIs(t, failed, context.DeadlineExceeded)
				require.NoError(t, e.fetch(t, fetchTimeout))
			})
		})
	}
}

// Connections that are not used again are closed as soon as the last request on them
// has ended.
func TestReplacedConnectionClosed(t *testing.T) {
	for name, http2 := range protocols {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requests atomic.Int32
				answer := make(chan struct{})
				e := newTLSEndpoint(t, http2, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body) // only then HTTP/1.1 sees the client leave
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
				require.Zero(t, e.network.Open())
			})
		})
	}
}
