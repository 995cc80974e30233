package gbgauth

import (
	"encoding/json"
	"net/http"
	"strings"
)

// errorResponse returns the error for a response with an error status or an error
// code: in the form of RFC 6749 section 5.2, of Okta, or of GBG GO's API.
func (r *request) errorResponse() *Error {
	code, description := r.oauthError()
	clientRefused := code == "invalid_client" || code == "unauthorized_client" ||
		r.identityProvider && r.status == http.StatusUnauthorized && code == "access_denied"
	if code == "" && description == "" {
		code, description = r.gbgError()
	}
	explained := code != "" || description != ""
	if !explained {
		description = "the error response has no description" + r.plainProxyNote()
	}
	if explained && !r.asserted.IsZero() {
		description += r.clockNote(r.asserted)
	}
	switch {
	case r.status == http.StatusProxyAuthRequired:
		proxy := "a proxy"
		if host := r.client.proxy.host(r.url); host != "" {
			proxy = "the proxy " + host
		}
		return r.error(ProxyError, "", proxy+" requires a user name and password", nil)
	case r.status >= 500, r.status == http.StatusRequestTimeout:
		return r.error(ServerError, code, description, nil)
	case r.status == http.StatusTooManyRequests:
		return r.error(RateLimited, code, description, nil)
	case clientRefused:
		return r.error(RefusedClient, code, description, nil)
	case r.user && code == "invalid_grant":
		return r.error(RefusedUser, code, description, nil)
	case explained:
		return r.error(RefusedRequest, code, description, nil)
	}
	description = "the answer does not come from a token endpoint: it is neither an OAuth error nor a GBG error"
	if r.contentType != "" {
		description += ", and its content type is " + r.contentType
	}
	return r.error(NotTokenEndpoint, "", description+r.plainProxyNote()+
		". Check the URL, and whether a proxy or a firewall answers in place of the endpoint", nil)
}

// plainProxyNote returns a note on the proxy that may have sent the response in place
// of the endpoint, and "" if none can have: a proxy cannot answer within TLS.
func (r *request) plainProxyNote() string {
	if host := r.client.proxy.host(r.url); host != "" && strings.HasPrefix(r.url, "http:") {
		return " (through the proxy " + host + ")"
	}
	return ""
}

// oauthError returns the fields of an OAuth error response, or those of Okta's own
// form if it has none.
func (r *response) oauthError() (code, description string) {
	code, description = r.oauthErrorCode(), r.text("error_description")
	if code == "" && description == "" {
		return errorCode(r.text("errorCode"), "_E0123456789"), r.text("errorSummary")
	}
	return code, description
}

// oauthErrorCode returns the error code of an OAuth error response.
func (r *response) oauthErrorCode() string { return errorCode(r.text("error"), "_") }

// errorCode returns code if it consists of at most 64 lower-case letters and
// characters of others, and "" if not: it may then be a secret, or a sentence.
func errorCode(code, others string) string {
	if len(code) > 64 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz"+others) != "" {
		return ""
	}
	return code
}

// gbgError returns the name and problem of the first error in an error response of
// GBG GO's API.
func (r *response) gbgError() (name, problem string) {
	var errs []struct {
		Name    string `json:"name"`
		Problem string `json:"problem"`
	}
	if json.Unmarshal(r.fields["errors"], &errs) != nil || len(errs) == 0 {
		return "", ""
	}
	return errs[0].Name, errs[0].Problem
}
