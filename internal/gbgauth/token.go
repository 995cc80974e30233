package gbgauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// ClientCredentials is a request for a token under the client credentials grant
// (RFC 6749 section 4.4). Two requests that compare equal ask the same thing.
type ClientCredentials struct {
	// TokenURL is the endpoint.
	TokenURL string
	// ClientID and ClientSecret are sent in the form body, as GBG GO documents,
	// never in a Basic header.
	ClientID     string
	ClientSecret Secret
	// Scope is a space-separated list. Empty sends no scope at all.
	Scope string
	// IdentityProvider is set if the endpoint is a customer's identity provider, where
	// 401 with access_denied refuses the client, too (Auth0).
	IdentityProvider bool
}

// Token is an access token as an endpoint issued it.
type Token struct {
	// AccessToken is never empty and has only visible ASCII characters and
	// spaces (RFC 6749 appendix A.12).
	AccessToken Secret
	// Type is token_type; "Bearer" if the endpoint named none.
	Type string
	// Scope is the scope granted, if the endpoint named it; empty means the
	// scope asked for (RFC 6749 section 5.1).
	Scope string
	// Lifetime is expires_in, between a second and MaxLifetime. It counts from
	// the moment the request was sent, which the caller knows.
	Lifetime time.Duration
	// LifetimeAssumed says that the endpoint named no lifetime and Lifetime is
	// AssumedLifetime.
	LifetimeAssumed bool
}

// Fetch asks for a token, once. The error is an *Error, except when ctx was
// cancelled: then it is ctx's cause. A deadline that passes, or that is the
// cause of a cancellation, is an *Error.
func (r ClientCredentials) Fetch(ctx context.Context, client *Client) (*Token, error) {
	return fetch(ctx, client, clientcredentials.Config{
		ClientID:     r.ClientID,
		ClientSecret: r.ClientSecret.Reveal(),
		TokenURL:     r.TokenURL,
		Scopes:       strings.Fields(r.Scope),
	}, &answer{secrets: []Secret{r.ClientSecret}, identityProvider: r.IdentityProvider})
}

// fetch does a token request, whose answer got is to hold.
func fetch(ctx context.Context, client *Client, config clientcredentials.Config, got *answer) (*Token, error) {
	config.AuthStyle = oauth2.AuthStyleInParams
	got.url, got.token = config.TokenURL, true
	token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, got.do(client)))
	if err != nil {
		return nil, got.explain(ctx, err)
	}
	return got.checked(token)
}

// checked checks what x/oauth2 took for a token.
func (a *answer) checked(t *oauth2.Token) (*Token, error) {
	if len(t.AccessToken) >= minPiece {
		a.secrets = append(a.secrets, NewSecret(t.AccessToken))
	}
	switch string(a.fields["error"]) {
	case "", "null", `""`:
	default: // x/oauth2 has refused what has the form of an error code
		return nil, a.fail(NotAToken, answerError("the answer has an error beside its access_token"))
	}
	lifetime, assumed, err := a.lifetime()
	if err != nil {
		return nil, a.fail(NotAToken, err)
	}
	for _, c := range []byte(t.AccessToken) {
		if c < 0x20 || c > 0x7e {
			return nil, a.fail(NotAToken, answerError("access_token has characters that no token may have"))
		}
	}
	// A short secret is left: a scope that happens to hold its letters would come
	// out as another one.
	long := slices.DeleteFunc(a.secrets, func(s Secret) bool { return len(s.Reveal()) < minPiece })
	typ := sanitize(t.TokenType, long...)
	if typ == "" {
		typ = "Bearer"
	}
	return &Token{
		AccessToken:     NewSecret(t.AccessToken),
		Type:            typ,
		Scope:           printable(a.scope(), long...),
		Lifetime:        lifetime,
		LifetimeAssumed: assumed,
	}, nil
}

// explain turns what x/oauth2 and the network said into an *Error.
func (a *answer) explain(ctx context.Context, err error) error {
	gone := context.Cause(ctx)
	late := errors.Is(gone, context.DeadlineExceeded)
	if gone != nil && !late {
		return gone
	}
	if late {
		return a.fail(Unreachable, lateError{})
	}
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		return a.refusal()
	}
	var notToken answerError
	if errors.As(err, &notToken) {
		return a.fail(NotAToken, notToken)
	}
	if a.fields != nil {
		// A 2xx whose JSON x/oauth2 could not use; its own text may quote it.
		return a.fail(NotAToken, answerError("the answer has no usable access_token"))
	}
	return a.fail(Unreachable, err)
}

// lateError means that the time of a request's context was up.
type lateError struct{}

func (lateError) Error() string { return "no answer in the time allowed" }

func (lateError) Unwrap() error { return context.DeadlineExceeded }

// quotation is what net/http quotes of an answer that it cannot read. That may be
// the rest of the answer before it on the same connection, with a secret of another
// request in it.
var quotation = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// fail returns an *Error for an answer, or the lack of one, that is no refusal.
func (a *answer) fail(kind Kind, err error) *Error {
	text := err.Error()
	var urlErr *url.Error
	var badCert *tls.CertificateVerificationError
	var unknownCA x509.UnknownAuthorityError
	switch {
	case errors.As(err, &unknownCA):
		text = err.Error()
		if errors.As(err, &badCert) {
			text = badCert.Error()
		}
		text += "; if the endpoint's certificate comes from a private CA, set ca_pem"
	case errors.As(err, &urlErr):
		text = urlErr.Err.Error()
	}
	if kind == Unreachable {
		if failed := a.client.proxy.failure(a.url, err); failed != "" {
			kind, text = ProxyError, failed
		} else if through := a.client.proxy.host(a.url); through != "" {
			text += " (through the proxy " + through + ")"
		}
	}
	if strings.Contains(text, "malformed ") {
		text = quotation.ReplaceAllLiteralString(text, `"..."`)
	}
	return a.error(kind, "", text, err)
}

// error returns an *Error for the answer so far.
func (a *answer) error(kind Kind, code, description string, cause error) *Error {
	return &Error{
		Kind:        kind,
		URL:         a.url,
		Status:      a.status,
		Code:        sanitize(code, a.secrets...),
		Description: sanitize(description, a.secrets...),
		RequestID:   sanitize(a.requestID, a.secrets...),
		RetryAfter:  a.retryAfter,
		cause:       cause,
	}
}

// refusal reads an error answer: by RFC 6749 section 5.2, in Okta's form, or in GBG
// GO's own.
func (a *answer) refusal() *Error {
	code, description := errorCode(a.text("error"), "_"), a.text("error_description")
	if code == "" && description == "" {
		code, description = errorCode(a.text("errorCode"), "_E0123456789"), a.text("errorSummary")
	}
	clientRefused := code == "invalid_client" || code == "unauthorized_client" ||
		a.identityProvider && a.status == http.StatusUnauthorized && code == "access_denied"
	if code == "" && description == "" {
		code, description = a.gbgError()
	}
	explained := code != "" || description != ""
	if !explained {
		description = "an error without an explanation that could be read" + a.relay()
	}
	switch {
	case a.status == http.StatusProxyAuthRequired:
		through := "a proxy on the way"
		if host := a.client.proxy.host(a.url); host != "" {
			through = "the proxy " + host
		}
		return a.error(ProxyError, "", through+" asks for a user name and password", nil)
	case a.status >= 500, a.status == http.StatusRequestTimeout:
		return a.error(ServerError, code, description, nil)
	case a.status == http.StatusTooManyRequests:
		return a.error(RateLimited, code, description, nil)
	case clientRefused:
		return a.error(RefusedClient, code, description, nil)
	case explained:
		return a.error(RefusedRequest, code, description, nil)
	}
	description = "the answer does not come from a token endpoint: it has neither OAuth's nor GBG's words"
	if a.contentType != "" {
		description += ", and its type is " + a.contentType
	}
	description += a.relay()
	return a.error(ForeignAnswer, "", description+". Is the address right, and is there a proxy or a firewall on the way?", nil)
}

// relay returns a note on the proxy that may have answered in the endpoint's place; ""
// if none can have: through TLS a proxy has no say.
func (a *answer) relay() string {
	if host := a.client.proxy.host(a.url); host != "" && strings.HasPrefix(a.url, "http:") {
		return " (through the proxy " + host + ")"
	}
	return ""
}

// gbgError reads the error form of GBG GO's API: a list of errors of which the
// first is shown.
func (a *answer) gbgError() (name, problem string) {
	var errs []struct {
		Name    string `json:"name"`
		Problem string `json:"problem"`
	}
	if json.Unmarshal(a.fields["errors"], &errs) != nil || len(errs) == 0 {
		return "", ""
	}
	return errs[0].Name, errs[0].Problem
}
