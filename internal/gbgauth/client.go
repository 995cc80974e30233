package gbgauth

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-cleanhttp"
)

const (
	// DefaultConnectTimeout is the default of ClientOptions.ConnectTimeout.
	DefaultConnectTimeout = 2500 * time.Millisecond
	// DefaultUserAgent is the default of ClientOptions.UserAgent.
	DefaultUserAgent = "vault-plugin-secrets-gbg"

	// maxHeaderBytes is the maximum size of a response header; GBG's are below 2 KiB.
	maxHeaderBytes = 64 << 10
	// An HTTP/2 connection on which nothing has arrived for pingAfter is pinged. It is
	// closed if no reply arrives within pingTimeout.
	pingAfter   = 15 * time.Second
	pingTimeout = 5 * time.Second
)

// ClientOptions are the options of a Client. The zero value has the default of each.
type ClientOptions struct {
	// Roots are the root certificates to trust, in PEM; empty means those of the
	// system.
	Roots string
	// ConnectTimeout is the maximum time for a TCP connection to one address of a
	// host, and for a TLS handshake; zero means DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// UserAgent is the User-Agent header of requests (RFC 9110 section 10.1.5); empty
	// means DefaultUserAgent.
	UserAgent string
	// Now returns the current time, by which client assertions are signed; nil means
	// time.Now.
	Now func() time.Time
	// DialContext connects to a host and port; nil means over TCP, to the first address
	// of the host that accepts.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client sends requests to token endpoints. It verifies certificates, requires TLS 1.2
// or later for https URLs, and uses the proxy of the environment (HTTPS_PROXY,
// HTTP_PROXY, NO_PROXY). It never follows a redirect, which would send the client
// secret to an address that is not configured. It has no timeout for a whole request;
// the request's context limits that.
//
// Connections are reused. After a request without a response, however, later requests
// to that host use new connections, over HTTP/1.1 and HTTP/2. Requests that are in
// flight on the old ones continue.
//
// A Client is safe for concurrent use.
type Client struct {
	userAgent  string
	now        func() time.Time
	proxy      proxy
	transports *transportPool
}

// NewClient returns a new Client. It returns an error if o.Roots is invalid.
func NewClient(o ClientOptions) (*Client, error) {
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.Roots != "" {
		pool, err := certPool(o.Roots)
		if err != nil {
			return nil, err
		}
		tlsConfig.RootCAs = pool
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = DefaultConnectTimeout
	}
	if o.UserAgent == "" {
		o.UserAgent = DefaultUserAgent
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Client{userAgent: o.UserAgent, now: o.Now, proxy: proxyFromEnvironment()}
	dialer := newDialer(o.ConnectTimeout, o.DialContext)
	c.transports = newTransportPool(func() transport {
		t := cleanhttp.DefaultPooledTransport()
		t.Proxy = func(r *http.Request) (*url.URL, error) { return c.proxy.forURL(r.URL) }
		t.ProxyConnectHeader = http.Header{"User-Agent": {o.UserAgent}}
		t.OnProxyConnectResponse = checkConnectResponse
		t.DialContext = dialer.DialContext
		t.TLSClientConfig = tlsConfig.Clone()
		t.TLSHandshakeTimeout = o.ConnectTimeout
		t.MaxResponseHeaderBytes = maxHeaderBytes
		t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
		return t
	})
	return c, nil
}

// CloseIdleConnections closes all connections on which no request is in flight.
func (c *Client) CloseIdleConnections() { c.transports.closeIdle() }

// post sends a form to a URL, with an Authorization header unless authorization is
// empty, and reads the response. If only a part of the response arrives, post returns
// that part along with the error.
func (c *Client) post(ctx context.Context, address string, form url.Values, authorization string) (response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return response{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	t := c.transports.get(req.URL)
	resp, err := do(req, t)
	c.transports.release(req.URL, t, err == nil)
	return resp, err
}

// do sends a request over t and reads the response.
func do(req *http.Request, t transport) (response, error) {
	client := http.Client{Transport: noRedirects{t}}
	resp, err := client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	r, err := readResponse(resp)
	if err == nil {
		// A server that sees a request canceled may end the body as if it were complete.
		err = req.Context().Err()
	}
	return r, err
}

// noRedirects is a RoundTripper that removes the Location header of responses, so that
// http.Client neither follows nor parses it: with http.ErrUseLastResponse, a Location
// that is not a URL would be an error in place of the response.
type noRedirects struct{ http.RoundTripper }

func (n noRedirects) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := n.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Header.Del("Location")
	}
	return resp, err
}
