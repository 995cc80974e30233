package gbgauth

import (
	"context"
	"crypto/x509"
	"errors"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// request is one request to an endpoint and, after send, the response to it.
//
// It does without golang.org/x/oauth2, which matches JSON names in any case, rejects
// a response because of an expires_in that Token can represent, and puts the response
// body into its errors.
type request struct {
	client *Client
	url    string
	form   url.Values
	// authorization is the Authorization header; empty means none.
	authorization string
	// secrets are the values that no error may contain.
	secrets []Secret
	// identityProvider is set for a request to a customer's identity provider; see
	// ClientCredentials.
	identityProvider bool
	// asserted is the time of the client assertion; zero if there is none.
	asserted time.Time
	// user is set for a request with a user's password.
	user bool

	response
}

// send sends the request once and reads the response. It returns nil if the status of
// the response is 2xx. Its errors are those of [ClientCredentials.Fetch].
func (r *request) send(ctx context.Context) error {
	var err error
	r.response, err = r.client.post(ctx, r.url, r.form, r.authorization)
	switch {
	case err != nil:
		return r.sendError(ctx, err)
	case r.isRedirect():
		return r.invalidResponse("the endpoint answered with a redirect, which is never followed")
	case len(r.body) > maxResponseBytes:
		return r.invalidResponse("the answer is larger than 1 MiB")
	case r.status < 200 || r.status > 299:
		return r.errorResponse()
	}
	return nil
}

// sendError returns the error for a request that got no response, or only a part of
// one, because of err: the cause of ctx if ctx was canceled, and an *Error otherwise.
func (r *request) sendError(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, context.DeadlineExceeded):
		err = deadlineError{}
	case cause != nil:
		return cause
	}
	if text := r.client.proxy.failure(r.url, err); text != "" {
		return r.error(ProxyError, "", text, err)
	}
	text := networkErrorText(err)
	if host := r.client.proxy.host(r.url); host != "" {
		text += " (through the proxy " + host + ")"
	}
	return r.error(Unreachable, "", text, err)
}

// invalidResponse returns the error for a response that is neither a token nor an
// error response.
func (r *request) invalidResponse(description string) *Error {
	return r.error(NotAToken, "", description, nil)
}

// error returns an *Error with the request's URL and what is known of the response.
func (r *request) error(kind Kind, code, description string, cause error) *Error {
	return &Error{
		Kind:        kind,
		URL:         r.url,
		Status:      r.status,
		Code:        sanitize(code, r.secrets...),
		Description: sanitize(description, r.secrets...),
		RequestID:   sanitize(r.requestID, r.secrets...),
		RetryAfter:  r.retryAfter,
		cause:       cause,
	}
}

// deadlineError reports that the deadline of a request's context has passed.
type deadlineError struct{}

func (deadlineError) Error() string { return "no answer in the time allowed" }

func (deadlineError) Unwrap() error { return context.DeadlineExceeded }

// quoted matches what net/http quotes of a response that it cannot parse. That may be
// left over from the previous response on the same connection and contain a secret of
// another request.
var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// networkErrorText returns the text of an error of net/http without the method and
// URL, and without quotations from the response.
func networkErrorText(err error) string {
	text := err.Error()
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		text = urlErr.Err.Error()
	}
	if strings.Contains(text, "malformed ") {
		text = quoted.ReplaceAllLiteralString(text, `"..."`)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		text += "; if the endpoint's certificate comes from a private CA, set ca_pem"
	}
	return text
}
