package gbgauth_test

import (
	"bytes"
	"io"
	"net/http"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// fakeTransport is a RoundTripper that returns the same response to all requests.
type fakeTransport struct {
	status      int
	contentType string
	body        *body
	requests    int
}

type body struct {
	io.Reader
	closed bool
}

func (b *body) Close() error { b.closed = true; return nil }

func (c *fakeTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	c.requests++

	return &http.Response{
		StatusCode: c.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Content-Type": {c.contentType},
			"X-Request-Id": {c.contentType},
			"Location":     {"https://fake.example/elsewhere"},
		},
		Body: c.body, ContentLength: -1,
		Request: r,
	}, nil
}

// newFakeClient returns a client with a fakeTransport.
func newFakeClient(status int, header string, content []byte) (*gbgauth.Client, *fakeTransport) {
	transport := &fakeTransport{
		status:      status % 1000, // net/http accepts three digits
		contentType: header,
		body:        &body{Reader: bytes.NewReader(content)},
	}
	return gbgauth.NewClientWithTransport(transport), transport
}
