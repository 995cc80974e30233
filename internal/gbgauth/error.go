package gbgauth

import (
	"fmt"
	"strings"
	"time"
)

// Kind classifies errors by what a caller can do about them.
type Kind int

const (
	// RefusedClient means that the endpoint does not accept the client (invalid_client,
	// unauthorized_client; RFC 6749 section 5.2). Another client may succeed.
	RefusedClient Kind = iota + 1
	// RefusedUser means that the endpoint does not accept the user of a request with a
	// password (invalid_grant). Another user may succeed.
	RefusedUser
	// RefusedRequest means that the endpoint refused the request for another reason
	// (invalid_scope, ...). A retry does not help.
	RefusedRequest
	// NotTokenEndpoint means that the response has a 4xx status and is neither an OAuth
	// error nor a GBG error (the page of a firewall, 404, an empty 401): it does not
	// come from a token endpoint.
	NotTokenEndpoint
	// Unreachable means that there is no complete response (timeout, connection error,
	// TLS error).
	Unreachable
	// NotSent means that the request was not sent: the time allowed was over before, or
	// no client assertion could be signed.
	NotSent
	// ProxyError means that a proxy failed or refused to connect to the endpoint (403,
	// 407, 502, ... from the proxy), or that a proxy variable is not a usable URL.
	ProxyError
	// ServerError means that the endpoint failed (5xx, 408).
	ServerError
	// RateLimited means that the endpoint asked for fewer requests (429; RFC 6585
	// section 4).
	RateLimited
	// NotAToken means that the response is neither a token nor an error response (not
	// JSON, no access_token, too large, a redirect).
	NotAToken
)

// String returns a short name, such as "client refused".
func (k Kind) String() string {
	switch k {
	case RefusedClient:
		return "client refused"
	case RefusedUser:
		return "user refused"
	case RefusedRequest:
		return "request refused"
	case NotTokenEndpoint:
		return "not a token endpoint"
	case Unreachable:
		return "no answer"
	case NotSent:
		return "not sent"
	case ProxyError:
		return "proxy error"
	case ServerError:
		return "server error"
	case RateLimited:
		return "rate limited"
	case NotAToken:
		return "not a token"
	default:
		return "unknown"
	}
}

// Error is the error of a request. Its text is a single line without control
// characters and without the secrets of the request.
type Error struct {
	Kind Kind
	// URL is the URL of the endpoint.
	URL string
	// Status is the HTTP status code; 0 means that there is no response.
	Status int
	// Code is the OAuth error code (RFC 6749 section 5.2), Okta's errorCode, or the
	// name in an error of GBG GO's API; empty if the response has none of them.
	Code string
	// Description is error_description, Okta's errorSummary, the problem in an error of
	// GBG GO's API, or a description of the failure if the response has none of them.
	Description string
	// RequestID is the X-Request-ID header of the response, which GBG's support asks
	// for.
	RequestID string
	// RetryAfter is how long the endpoint asks to wait before a retry (RFC 9110 section
	// 10.2.3), at most MaxRetryAfter; zero if the response does not say.
	RetryAfter time.Duration

	cause error
}

// Error returns the code and the description, then the status, URL and request ID.
func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.Code != "" && e.Description != "":
		b.WriteString(e.Code + ": " + e.Description)
	case e.Code != "":
		b.WriteString(e.Code)
	default:
		b.WriteString(e.Description)
	}
	b.WriteString(" (")
	if e.Status != 0 {
		fmt.Fprintf(&b, "HTTP %d from ", e.Status)
	}
	b.WriteString(printable(e.URL))
	if e.RequestID != "" {
		b.WriteString(", request id " + e.RequestID)
	}
	b.WriteString(")")
	return b.String()
}

// Unwrap returns the network error that caused e, or nil. Its text is not sanitized and
// must not be printed.
func (e *Error) Unwrap() error { return e.cause }

// Temporary reports whether the same request may succeed later.
func (e *Error) Temporary() bool {
	return !e.Refused() && e.Kind != NotTokenEndpoint
}

// Refused reports whether the endpoint refused the client, the user or the request.
func (e *Error) Refused() bool {
	return e.Kind == RefusedClient || e.Kind == RefusedUser || e.Kind == RefusedRequest
}

// NoAnswer reports whether the request was tried and got no response.
func (e *Error) NoAnswer() bool {
	return e.Status == 0 && (e.Kind == Unreachable || e.Kind == ProxyError)
}
