package gbgsim

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// tokenRequest is a request to an OAuth endpoint.
type tokenRequest struct {
	// form is the part of the form that could be parsed. It is never nil and must
	// not be modified.
	form url.Values

	// clientID and clientSecret are as sent. Empty means not sent.
	clientID, clientSecret string

	// authenticated means that the client has authenticated by other means than
	// clientSecret.
	authenticated bool

	// url is the URL of the endpoint as the client sees it.
	url string
}

// isUser reports whether it is a user that asks for a token, and not a client.
func (r tokenRequest) isUser() bool { return r.form.Get("grant_type") == "password" }

// requester returns the id of the client or user that asks, as sent.
func (r tokenRequest) requester() string {
	if r.isUser() {
		return r.form.Get("username")
	}

	return r.clientID
}

// readTokenRequest parses a token or revocation request and rejects malformed ones
// (RFC 6749, sections 2.3 and 3.2). The client authenticates in the form, or in a
// Basic header if basic is true. The returned request is the part that could be
// parsed, also if there is an error.
func readTokenRequest(r *http.Request, basic bool) (tokenRequest, *oauthError) {
	form, refused := tokenForm(r)
	request := tokenRequest{
		form:         form,
		clientID:     form.Get("client_id"),
		clientSecret: form.Get("client_secret"),
		url:          endpointURL(r),
	}
	user, password, sent := r.BasicAuth()
	if !basic || !sent {
		return request, refused
	}

	// Both are form-encoded in the header (RFC 6749, section 2.3.1).
	id, idErr := url.QueryUnescape(user)
	secret, secretErr := url.QueryUnescape(password)
	switch {
	case refused != nil:
	case idErr != nil || secretErr != nil:
		refused = invalidRequest("The client id and secret in the Basic header are not form-encoded.")
	case request.clientID != "" && request.clientID != id:
		refused = invalidRequest("The client ids in the form and in the Basic header differ.")
	}
	request.clientID, request.clientSecret = id, secret

	return request, refused
}

// endpointURL returns the URL of a request without its query.
func endpointURL(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}

	return scheme + "://" + r.Host + r.URL.Path
}

// tokenForm returns the part of a request's form that could be parsed. It is never
// nil. Parameters in the URL are ignored.
func tokenForm(r *http.Request) (url.Values, *oauthError) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" {
		return url.Values{}, invalidRequest("The body must be application/x-www-form-urlencoded.")
	}
	if err := r.ParseForm(); err != nil {
		return r.PostForm, invalidRequest("The form cannot be read.")
	}

	form := r.PostForm
	for _, values := range form {
		if len(values) > 1 {
			return form, invalidRequest("A parameter occurs more than once.")
		}
	}
	if _, _, basic := r.BasicAuth(); basic && form.Get("client_secret") != "" {
		return form, invalidRequest("The client authenticates both in the form and in a Basic header.")
	}

	return form, nil
}

// requireParameters rejects a request that lacks one of the parameters. A parameter
// without a value counts as missing (RFC 6749, section 3.2).
func (r tokenRequest) requireParameters(names ...string) *oauthError {
	for _, name := range names {
		if r.form.Get(name) == "" {
			return invalidRequest("The parameter " + name + " is missing.")
		}
	}

	return nil
}

// checkGrantType rejects every grant type except the supported one.
func (r tokenRequest) checkGrantType(supported string) *oauthError {
	if r.form.Get("grant_type") == supported {
		return nil
	}

	return &oauthError{
		status:      http.StatusBadRequest,
		Code:        "unsupported_grant_type",
		Description: "Only the grant type " + supported + " is supported here.",
	}
}

// checkScope rejects scopes that are not allowed. If allowed is empty, all are.
func (r tokenRequest) checkScope(allowed []string) *oauthError {
	if len(allowed) == 0 {
		return nil
	}
	noun := "scope"
	if len(allowed) > 1 {
		noun = "scopes"
	}
	for scope := range strings.FieldsSeq(r.form.Get("scope")) {
		if !slices.Contains(allowed, scope) {
			return &oauthError{
				status:      http.StatusBadRequest,
				Code:        "invalid_scope",
				Description: "Only the " + noun + " " + strings.Join(allowed, " ") + " can be asked for.",
			}
		}
	}

	return nil
}

func invalidRequest(description string) *oauthError {
	return &oauthError{status: http.StatusBadRequest, Code: "invalid_request", Description: description}
}

func invalidClient() *oauthError {
	return &oauthError{
		status:      http.StatusUnauthorized,
		Code:        "invalid_client",
		Description: "Invalid client or client credentials.",
	}
}
