package gbgauth

import (
	"fmt"
	"strings"
	"time"
)

// Kind is what went wrong with a token request, as far as it matters for what to do
// next.
type Kind int

const (
	// RefusedClient means that the endpoint does not accept this client (invalid_client,
	// unauthorized_client; RFC 6749 section 5.2). Another client may do better.
	RefusedClient Kind = iota + 1
	// RefusedRequest means that the endpoint understood the request and refused it for
	// another reason (invalid_scope, ...). Repeating it does not help.
	RefusedRequest
	// NotTokenEndpoint means a 4xx that has neither OAuth's nor GBG's words (the page of a
	// firewall, 404, an empty 401): no token endpoint has answered.
	NotTokenEndpoint
	// Unreachable means that no answer came (timeout, broken connection, TLS failure).
	Unreachable
	// NotSent means that there was no time to send the request.
	NotSent
	// ProxyError means that a proxy on the way failed or refused to connect (407, 403,
	// 502 of the proxy's own), or that its setting cannot be read.
	ProxyError
	// ServerError means that the endpoint failed (5xx, 408).
	ServerError
	// RateLimited means that the endpoint asked for fewer requests (429; RFC 6585
	// section 4).
	RateLimited
	// NotAToken means that the answer was neither a token nor a refusal (not JSON,
	// no access_token, too large, a redirect).
	NotAToken
)

// String returns the kind in a few words.
func (k Kind) String() string {
	switch k {
	case RefusedClient:
		return "client refused"
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

// Error is what came back instead of a token. Its text is one line without
// control characters and without the secrets of the request.
type Error struct {
	Kind Kind
	// URL is the token endpoint that was asked.
	URL string
	// Status is the HTTP status code; 0 if there was no answer.
	Status int
	// Code is the OAuth error code (RFC 6749 section 5.2), Okta's errorCode, or the
	// "name" of GBG GO's own error form; empty if the answer had none of them.
	Code string
	// Description is error_description, Okta's errorSummary, GBG's "problem", or what
	// happened on the way.
	Description string
	// RequestID is the answer's X-Request-ID, which GBG's support asks for.
	RequestID string
	// RetryAfter is how long the endpoint asks to be left alone (RFC 9110 section
	// 10.2.3), at most MaxRetryAfter; zero if it does not say.
	RetryAfter time.Duration

	cause error
}

// Error implements error: what the endpoint said, then where it said so.
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

// Unwrap gives the network or parse error behind it, if there is one. Its text
// is not cleaned: match it, do not print it.
func (e *Error) Unwrap() error { return e.cause }

// Temporary reports whether the same request may succeed later.
func (e *Error) Temporary() bool {
	return !e.Refused() && e.Kind != NotTokenEndpoint
}

// Refused reports whether the endpoint understood the request and said no.
func (e *Error) Refused() bool { return e.Kind == RefusedClient || e.Kind == RefusedRequest }

// NoAnswer reports whether the endpoint was asked and could not be reached.
func (e *Error) NoAnswer() bool {
	return e.Status == 0 && (e.Kind == Unreachable || e.Kind == ProxyError)
}
