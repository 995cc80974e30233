package e2e

import (
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// Network connections to GBG go silent, without being closed, and new ones work: the
// next read that needs GBG gets its token all the same, whatever the protocol, and so
// does every other connection that shares the network connections.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP2=%t", http2), func(t *testing.T) {
			t.Parallel()
			g := newGBG(t, time.Hour)
			var protocol atomic.Int32
			secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				protocol.Store(int32(r.ProtoMajor))
				g.ServeHTTP(w, r)
			}))
			secure.EnableHTTP2 = http2
			secure.StartTLS()
			t.Cleanup(secure.Close)
			way := newRelay(t, secure.Listener.Addr().String())
			ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
			m := newMount(t, suite.server)
			settings := g.pair()
			settings["token_url"] = "https://" + way.address() + gbgsim.TokenPath
			settings["ca_pem"], settings["request_timeout"], settings["lease"] = string(ca), 4, true
			m.write("config", settings)
			m.readLive(g, "creds")
			require.Equal(t, http2, protocol.Load() == 2)
			for round := range 3 {
				way.silence()
				before := way.accepted.Load()
				m.readLive(g, "creds")
				require.Greater(t, way.accepted.Load(), before, "round "+strconv.Itoa(round))
			}
		})
	}
}

// relay passes TCP connections on to a server.
type relay struct {
	listener net.Listener
	accepted atomic.Int32

	mu sync.Mutex
	// generation goes up with each silence: what belongs to an older one is dropped.
	generation int
	conns      []net.Conn
}

func newRelay(t *testing.T, upstream string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{listener: listener}
	t.Cleanup(r.close)
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			r.accepted.Add(1)
			to, err := net.Dial("tcp", upstream)
			if err != nil {
				from.Close()
				continue
			}
			generation := r.add(from, to)
			go r.pass(to, from, generation)
			go r.pass(from, to, generation)
		}
	}()
	return r
}

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) add(conns ...net.Conn) (generation int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(r.conns, conns...)
	return r.generation
}

// silence makes all connections that exist go silent, without closing them.
func (r *relay) silence() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.generation++
}

func (r *relay) silenced(generation int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.generation != generation
}

func (r *relay) pass(to io.Writer, from io.Reader, generation int) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if r.silenced(generation) {
			if err != nil {
				return // nobody is told
			}
			continue
		}
		if _, writeErr := to.Write(buffer[:n]); err != nil || writeErr != nil {
			if c, ok := to.(net.Conn); ok {
				c.Close()
			}
			return
		}
	}
}

func (r *relay) close() {
	r.listener.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
}
