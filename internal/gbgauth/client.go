package gbgauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-cleanhttp"
)

const (
	// DefaultConnectTimeout bounds connecting to one address, and one TLS handshake.
	DefaultConnectTimeout = 2500 * time.Millisecond
	// DefaultUserAgent is the User-Agent of requests (RFC 9110 section 10.1.5).
	DefaultUserAgent = "vault-plugin-secrets-gbg"

	// maxHeaderBytes bounds an answer's header; GBG's are below 2 KiB.
	maxHeaderBytes = 64 << 10
	// pingAfter and pingTimeout find an HTTP/2 connection that has gone silent while
	// no request is under way on it.
	pingAfter   = 15 * time.Second
	pingTimeout = 5 * time.Second
	// maxHosts bounds the hosts whose connections are kept.
	maxHosts = 64
)

// ClientOptions configure a Client. The zero value is ready.
type ClientOptions struct {
	// Roots are the PEM certificates to trust; empty means the system's.
	Roots string
	// ConnectTimeout bounds connecting to one address of a host, and one TLS
	// handshake; zero means DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// UserAgent is what requests name themselves; empty means DefaultUserAgent.
	UserAgent string
	// DialContext connects to a host and port; nil means over TCP, to any address of
	// the host that answers.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client sends requests to token endpoints: over TLS 1.2 or newer, verified; without
// following redirects, which would carry a client's secret to an address nobody
// configured; through the environment's proxy (HTTPS_PROXY, NO_PROXY). It has no
// timeout of its own for a whole request: the request's context has one.
//
// Connections are kept for later requests to the same host, but not beyond a request
// that got no answer: that one and all that were open beside it are not used again,
// whatever their protocol. Requests under way on them are not disturbed.
//
// It is safe for concurrent use.
type Client struct {
	userAgent string
	proxy     proxy
	new       func() transport

	mu sync.Mutex
	// transports are by scheme and host.
	transports map[string]transport
}

// transport is the connections to one host.
type transport interface {
	http.RoundTripper
	CloseIdleConnections()
}

// NewClient returns a client. The error is that of the roots.
func NewClient(o ClientOptions) (*Client, error) {
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.Roots != "" {
		pool, err := certPool(o.Roots)
		if err != nil {
			return nil, err
		}
		tlsConfig.RootCAs = pool
	}
	connectTimeout := o.ConnectTimeout
	if connectTimeout == 0 {
		connectTimeout = DefaultConnectTimeout
	}
	c := &Client{userAgent: o.UserAgent, proxy: proxyFromEnvironment(), transports: make(map[string]transport)}
	if c.userAgent == "" {
		c.userAgent = DefaultUserAgent
	}
	through := newDialer(connectTimeout, o.DialContext)
	c.new = func() transport {
		t := cleanhttp.DefaultPooledTransport()
		t.Proxy = func(r *http.Request) (*url.URL, error) { return c.proxy.of(r.URL) }
		t.ProxyConnectHeader = http.Header{"User-Agent": {c.userAgent}}
		t.OnProxyConnectResponse = refusedByProxy
		t.DialContext = through.DialContext
		t.TLSClientConfig = tlsConfig.Clone()
		t.TLSHandshakeTimeout = connectTimeout
		t.MaxResponseHeaderBytes = maxHeaderBytes
		t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
		return t
	}
	return c, nil
}

// CloseIdleConnections closes the connections on which no request is under way.
func (c *Client) CloseIdleConnections() {
	c.mu.Lock()
	transports := slices.Collect(maps.Values(c.transports))
	c.mu.Unlock()
	closeIdle(transports)
}

// closeIdle may take as long as a connection takes to close: no lock may be held.
func closeIdle(transports []transport) {
	for _, t := range transports {
		t.CloseIdleConnections()
	}
}

// to returns the connections to a URL's host.
func (c *Client) to(u *url.URL) transport {
	var unused []transport
	defer func() { closeIdle(unused) }() // after c.mu is unlocked
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.transports[hostKey(u)]
	if t == nil {
		if len(c.transports) >= maxHosts {
			unused = slices.Collect(maps.Values(c.transports))
			clear(c.transports)
		}
		t = c.new()
		c.transports[hostKey(u)] = t
	}
	return t
}

// done ends a request to a URL's host on t. If it was not answered, later requests use
// new connections: one that has gone silent would be used again over HTTP/2, and those
// beside one that was reset may be as dead as it is. Connections that later requests do
// not use are closed once no request is under way on them.
func (c *Client) done(u *url.URL, t transport, answered bool) {
	c.mu.Lock()
	current := c.transports[hostKey(u)] == t
	if current && !answered {
		delete(c.transports, hostKey(u))
		current = false
	}
	c.mu.Unlock()
	if !current {
		t.CloseIdleConnections()
	}
}

func hostKey(u *url.URL) string { return u.Scheme + "://" + u.Host }

// certPool reads PEM certificates. Anything else in the text is an error, above
// all a private key, which would otherwise be stored and shown as if it were
// public.
func certPool(text string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	rest := []byte(text)
	found := 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("holds a PEM block %q where only CERTIFICATE is wanted", sanitize(block.Type))
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %s", found+1, sanitize(err.Error()))
		}
		pool.AddCert(cert)
		found++
	}
	if found == 0 {
		return nil, errors.New("holds no PEM certificate")
	}
	// pem.Decode passes over what it cannot read.
	if strings.Count(text, "-----BEGIN ") != found {
		return nil, errors.New("holds a PEM block that cannot be read")
	}
	return pool, nil
}
