package gbgauth

import "net/http"

// NewClientWithTransport returns a client that sends its requests over rt.
func NewClientWithTransport(rt http.RoundTripper) *Client {
	c, err := NewClient(ClientOptions{})
	if err != nil {
		panic(err) // cannot happen without roots
	}
	c.transports.newTransport = func() transport { return roundTripper{rt} }
	return c
}

// roundTripper is a transport without connections.
type roundTripper struct{ http.RoundTripper }

func (roundTripper) CloseIdleConnections() {}
