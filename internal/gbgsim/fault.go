package gbgsim

import "time"

// FaultKind says what a [Fault] does. Which parameters each takes is in the
// help that GET / answers.
type FaultKind string

// The kinds of faults. Those that answer by themselves decide nothing about
// the request: it may come from anyone, and no token is issued.
const (
	// FaultStatus answers with an HTTP error status: as an HTML page, unless
	// [Fault.Error] or [Fault.GBGError] is set.
	FaultStatus FaultKind = "status"

	// FaultBody answers with a body as it is given, which is how to get HTML,
	// or nothing at all, with status 200.
	FaultBody FaultKind = "body"

	// FaultNullToken answers as the example in GBG's documentation does, with
	// status 200 and null for all of access_token, expires_in and token_type.
	FaultNullToken FaultKind = "null_token"

	// FaultRedirect answers with a redirect.
	FaultRedirect FaultKind = "redirect"

	// FaultClose closes the connection without an answer.
	FaultClose FaultKind = "close"

	// FaultReset resets the connection (TCP RST) without an answer.
	FaultReset FaultKind = "reset"

	// FaultDelay answers as usual, but late.
	FaultDelay FaultKind = "delay"

	// FaultHang does not answer until the client gives up, or the fault is
	// cleared; then it answers as usual.
	FaultHang FaultKind = "hang"

	// FaultTruncate decides as usual and sends half of the answer, with the
	// Content-Length of the whole, and closes the connection. A token that is
	// lost like this was issued nevertheless.
	FaultTruncate FaultKind = "truncate"

	// FaultOversize decides as usual and makes the answer larger with a member
	// that means nothing. It is valid otherwise.
	FaultOversize FaultKind = "oversize"

	// FaultExpiresIn decides as usual and replaces, or leaves out, the
	// expires_in of a token. The token lives as long as ever.
	FaultExpiresIn FaultKind = "expires_in"

	// FaultScope decides as usual and adds a scope to the answer with a token.
	FaultScope FaultKind = "scope"

	// FaultExpiredCertificate shows a TLS client a certificate of the right
	// authority that has expired.
	FaultExpiredCertificate FaultKind = "expired_certificate"

	// FaultUntrustedCertificate shows a TLS client a certificate of another
	// authority than that of [Simulator.CAPEM].
	FaultUntrustedCertificate FaultKind = "untrusted_certificate"
)

// Fault is something that goes wrong at a token endpoint, or before it when
// a TLS client connects. The zero value is none. A parameter that the kind
// does not take must be zero.
type Fault struct {
	Kind FaultKind `json:"kind"`

	// Endpoint is the token endpoint whose requests it hits. Empty is GBG GO's.
	// It must be empty for a certificate, which all of them share.
	Endpoint Endpoint `json:"endpoint,omitempty"`

	// ClientID is the client id that the requests name which it hits, known or
	// not. At [EndpointIdentity] that is [IdentityClientID] for everybody. Empty is every request, one that names no client included. It must
	// be empty for a certificate, which is shown before anyone is named.
	ClientID string `json:"client_id,omitempty"`

	// Requests is how many requests it hits, the next ones; for a certificate,
	// how many TLS connections. Zero is all until it is cleared.
	Requests int `json:"requests,omitempty"`

	// Delay is how long a request waits before the fault does anything.
	// [FaultDelay] needs it.
	Delay time.Duration `json:"-"`

	// Status is the HTTP status: from 400 to 599 for [FaultStatus], which
	// needs it; 301, 302, 303, 307 or 308 for [FaultRedirect], zero is 302; any
	// that has a body, from 200 to 599, for [FaultBody], zero is 200.
	Status int `json:"status,omitempty"`

	// Error and ErrorDescription are those of an OAuth error answer (RFC 6749,
	// section 5.2), for [FaultStatus]. Without a description there is none in
	// the answer; without an error there must be no description.
	Error            string `json:"error,omitempty"`
	ErrorDescription string `json:"error_description,omitempty"`

	// GBGError makes [FaultStatus] answer as GBG GO's API does. The zero value
	// does not. It excludes Error.
	GBGError GBGError `json:"gbg_error,omitzero"`

	// RequestID is the header X-Request-ID of [FaultStatus]. Empty is a random
	// one with GBGError, and none otherwise.
	RequestID string `json:"request_id,omitempty"`

	// RetryAfter is the header Retry-After of [FaultStatus], sent as it is so
	// that odd ones can be tried: a number of seconds or an HTTP date by rights.
	// Empty is none.
	RetryAfter string `json:"retry_after,omitempty"`

	// RetryAfterDate is how far the HTTP date in the header Retry-After of
	// [FaultStatus] is ahead of the time at which it answers; negative is in
	// the past. Zero is none. It excludes RetryAfter.
	RetryAfterDate time.Duration `json:"-"`

	// Body is the body of [FaultBody]. Empty is empty.
	Body string `json:"body,omitempty"`

	// ContentType is the media type of Body. Empty is a guess from the body.
	ContentType string `json:"content_type,omitempty"`

	// Location is where [FaultRedirect] points: a URL or a path. It needs one.
	Location string `json:"location,omitempty"`

	// Size is how large [FaultOversize] makes the answer, in bytes: from 1024
	// to 64 MiB. Zero is one byte more than 1 MiB.
	Size int `json:"size,omitempty"`

	// ExpiresIn is the value of expires_in for [FaultExpiresIn] as JSON text:
	// "0", "-1", "1e300", "null", `"300"`, `"soon"`. Empty leaves it out.
	ExpiresIn string `json:"-"`

	// Scope is the scope for [FaultScope], which needs one.
	Scope string `json:"scope,omitempty"`
}
