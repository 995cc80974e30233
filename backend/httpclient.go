package backend

import (
	"sync"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// minConnectTimeout is the minimum timeout for connecting to one address, and for a
// TLS handshake.
const minConnectTimeout = time.Second

// connectTimeout returns the timeout for connecting to one address, and for a TLS
// handshake: a quarter of request_timeout.
func connectTimeout(s connection.Settings) time.Duration {
	return max(s.WithDefaults().RequestTimeout/4, minConnectTimeout)
}

// httpClients holds the clients that all connections without ca_pem share, one for
// each connectTimeout. It is safe for concurrent use.
type httpClients struct {
	// options are common to all clients; Roots and ConnectTimeout are not set.
	options gbgauth.ClientOptions

	mu     sync.Mutex
	shared map[time.Duration]*gbgauth.Client
}

// client returns the client for a connection's requests. It is that of st, which may
// be nil, if the settings allow it.
func (h *httpClients) client(conn *connection.Connection, st *state) (*gbgauth.Client, error) {
	options := h.options
	options.Roots, options.ConnectTimeout = conn.Settings.CAPEM, connectTimeout(conn.Settings)
	if options.Roots != "" {
		if st != nil && st.conn.Settings.CAPEM == options.Roots && connectTimeout(st.conn.Settings) == options.ConnectTimeout {
			return st.http, nil
		}
		return gbgauth.NewClient(options)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.shared[options.ConnectTimeout]; c != nil {
		return c, nil
	}
	c, err := gbgauth.NewClient(options)
	if err != nil {
		return nil, err
	}
	if h.shared == nil {
		h.shared = make(map[time.Duration]*gbgauth.Client)
	}
	h.shared[options.ConnectTimeout] = c
	return c, nil
}

// closeIdle closes idle network connections.
func (h *httpClients) closeIdle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.shared {
		c.CloseIdleConnections()
	}
}
