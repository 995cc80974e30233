package gbgauth

import "net/http"

// NewClientWithTransport returns a client whose requests go through a transport of the
// test's.
func NewClientWithTransport(through http.RoundTripper) *Client {
	c, err := NewClient(ClientOptions{})
	if err != nil {
		panic(err) // there are no roots that could be refused
	}
	c.transports.newTransport = func() transport { return roundTripper{through} }
	return c
}

// roundTripper is a transport without roundTripper of its own.
type roundTripper struct{ http.RoundTripper }

func (roundTripper) CloseIdleConnections() {}
