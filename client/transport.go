package client

import (
	"errors"
	"io"
	"net/http"

	"golang.org/x/oauth2"
)

// Transport is an [http.RoundTripper] that adds an Authorization header with a token of
// a TokenSource. It is safe for concurrent use.
//
// If the answer is 401 (Unauthorized), it gets a newer token and repeats the request
// once; the second answer is the result, whatever it is. A request with a body is
// repeated only if it has GetBody, as the requests of [http.NewRequest] with a
// [bytes.Buffer], [bytes.Reader] or [strings.Reader] do.
//
// A request that follows a redirect carries the token only as long as scheme, host and
// port stay the same.
type Transport struct {
	// Source supplies the tokens.
	Source *TokenSource
	// Base makes the requests. Nil means http.DefaultTransport.
	Base http.RoundTripper
}

// RoundTrip sends a request with a token. It waits for a token until the request's
// context ends.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !sameOrigin(req) {
		return t.base().RoundTrip(req)
	}
	token, err := t.token(req)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	resp, err := t.base().RoundTrip(authorized(req, token))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	newer, err := t.Source.Renew(req.Context(), token)
	if err != nil {
		return resp, nil //nolint:nilerr // without a newer token, GBG's answer is the result
	}
	again := authorized(req, newer)
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			return resp, nil
		}
		if again.Body, err = req.GetBody(); err != nil {
			return resp, nil //nolint:nilerr // the request cannot be repeated
		}
	}
	// The connection can be used again once the answer has been read.
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
	return t.base().RoundTrip(again)
}

func (t *Transport) token(req *http.Request) (*oauth2.Token, error) {
	if t.Source == nil {
		return nil, errors.New("client: the Transport has no Source")
	}
	return t.Source.TokenContext(req.Context())
}

func (t *Transport) base() http.RoundTripper {
	if t.Base != nil {
		return t.Base
	}
	return http.DefaultTransport
}

// authorized returns a copy of a request with a token.
func authorized(req *http.Request, token *oauth2.Token) *http.Request {
	req = req.Clone(req.Context())
	token.SetAuthHeader(req)
	return req
}

// sameOrigin reports whether all requests that were redirected to this one had its
// scheme, host and port.
func sameOrigin(req *http.Request) bool {
	for req.Response != nil {
		from := req.Response.Request
		if from == nil || from.URL.Scheme != req.URL.Scheme || from.URL.Host != req.URL.Host {
			return false
		}
		req = from
	}
	return true
}
