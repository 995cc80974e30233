package gbgauth

import "net/http"

// NewClientWithTransport returns a client whose requests go through a transport of the
// test's.
func NewClientWithTransport(through http.RoundTripper) *Client {
	c, err := NewClient(ClientOptions{})
	if err != nil {
		panic(err) // there are no roots that could be refused
	}
	c.transports.newTransport = func() transport { return connections{through} }
	return c
}

// connections is a transport without connections of its own.
type connections struct{ http.RoundTripper }

func (connections) CloseIdleConnections() {}
