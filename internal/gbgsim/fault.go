package gbgsim

import "time"

// FaultKind is the kind of a [Fault]. The help at GET / lists the parameters of
// each kind.
type FaultKind string

// The kinds of faults. Those that replace the response ignore the request: its
// client may be unknown, and no token is issued.
const (
	// FaultStatus responds with an HTTP error status and an HTML page, unless
	// [Fault.Error] or [Fault.GBGError] is set.
	FaultStatus FaultKind = "status"

	// FaultBody responds with the given body, such as HTML or an empty body with
	// status 200.
	FaultBody FaultKind = "body"

	// FaultNullToken responds like the example in GBG's documentation, with status
	// 200 and null for access_token, expires_in and token_type.
	FaultNullToken FaultKind = "null_token"

	// FaultRedirect responds with a redirect.
	FaultRedirect FaultKind = "redirect"

	// FaultClose closes the connection without a response.
	FaultClose FaultKind = "close"

	// FaultReset resets the connection (TCP RST) without a response.
	FaultReset FaultKind = "reset"

	// FaultDelay responds as usual after a delay.
	FaultDelay FaultKind = "delay"

	// FaultHang does not respond until the client cancels the request, or until
	// the fault is cleared; then it responds as usual.
	FaultHang FaultKind = "hang"

	// FaultTruncate processes the request as usual, sends half of the response with
	// the Content-Length of all of it, and closes the connection. A token lost this
	// way has been issued.
	FaultTruncate FaultKind = "truncate"

	// FaultOversize processes the request as usual and adds a padding member to the
	// response, which is valid otherwise.
	FaultOversize FaultKind = "oversize"

	// FaultExpiresIn processes the request as usual and replaces, or omits, the
	// expires_in of a token. The token's real lifetime does not change.
	FaultExpiresIn FaultKind = "expires_in"

	// FaultScope processes the request as usual and adds a scope to the response
	// with a token.
	FaultScope FaultKind = "scope"

	// FaultExpiredCertificate sends TLS clients an expired certificate of the
	// authority of [Simulator.CAPEM].
	FaultExpiredCertificate FaultKind = "expired_certificate"

	// FaultUntrustedCertificate sends TLS clients a certificate of an authority
	// other than that of [Simulator.CAPEM].
	FaultUntrustedCertificate FaultKind = "untrusted_certificate"
)

// Fault is a failure of an OAuth endpoint, or of the TLS handshake before it. The
// zero value means no fault. A parameter that does not apply to the kind must be
// zero.
type Fault struct {
	Kind FaultKind `json:"kind"`

	// Endpoint is the endpoint that fails. Empty means GBG GO's token endpoint. It
	// must be empty for faults of the certificate, which all endpoints share.
	Endpoint Endpoint `json:"endpoint,omitempty"`

	// ClientID limits the fault to requests with this client id, which need not
	// exist. At [EndpointIdentity] all requests have [IdentityClientID]. Empty means
	// all requests, including those without a client id. It must be empty for faults
	// of the certificate.
	ClientID string `json:"client_id,omitempty"`

	// Requests is the number of requests that fail, or of TLS connections for faults
	// of the certificate. Zero means all until the fault is cleared.
	Requests int `json:"requests,omitempty"`

	// Delay is how long a request waits before the fault takes effect. [FaultDelay]
	// requires it.
	Delay time.Duration `json:"-"`

	// Status is the HTTP status. [FaultStatus] requires one from 400 to 599.
	// [FaultRedirect] accepts 301, 302, 303, 307 and 308; zero means 302.
	// [FaultBody] accepts any from 200 to 599 that allows a body; zero means 200.
	Status int `json:"status,omitempty"`

	// Error and ErrorDescription make [FaultStatus] respond with an OAuth error (RFC
	// 6749, section 5.2). An empty ErrorDescription is omitted. ErrorDescription
	// requires Error.
	Error            string `json:"error,omitempty"`
	ErrorDescription string `json:"error_description,omitempty"`

	// GBGError makes [FaultStatus] respond with an error in the format of GBG GO's
	// API, unless it is zero. It excludes Error.
	GBGError GBGError `json:"gbg_error,omitzero"`

	// RequestID is the header X-Request-ID of [FaultStatus]. Empty means a random id
	// with GBGError, and no header otherwise.
	RequestID string `json:"request_id,omitempty"`

	// RetryAfter is the header Retry-After of [FaultStatus], sent unchanged, so that
	// invalid values can be tested too. Empty means no header.
	RetryAfter string `json:"retry_after,omitempty"`

	// RetryAfterDate makes [FaultStatus] send the header Retry-After with an HTTP
	// date this long after the response; a negative value is in the past. Zero means
	// no header. It excludes RetryAfter.
	RetryAfterDate time.Duration `json:"-"`

	// Body is the body of [FaultBody], which may be empty.
	Body string `json:"body,omitempty"`

	// ContentType is the media type of Body. Empty means detect it from Body.
	ContentType string `json:"content_type,omitempty"`

	// Location is the target of [FaultRedirect], a URL or a path. It is required.
	Location string `json:"location,omitempty"`

	// Size is the size of the response of [FaultOversize] in bytes, from 1024 to
	// 64 MiB. Zero means one byte more than 1 MiB.
	Size int `json:"size,omitempty"`

	// ExpiresIn is the value of expires_in for [FaultExpiresIn] as JSON text:
	// "0", "-1", "1e300", "null", `"300"`, `"soon"`. Empty omits it.
	ExpiresIn string `json:"-"`

	// Scope is the scope of [FaultScope], which requires it.
	Scope string `json:"scope,omitempty"`
}
