package gbgauth_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

func TestErrorResponse(t *testing.T) {
	t.Parallel()

	const noDescription = "the error response has no description"
	notTokenEndpoint := func(contentType string) string {
		return "the answer does not come from a token endpoint: it is neither an OAuth error nor a GBG error, and its content type is " +
			contentType + ". Check the URL, and whether a proxy or a firewall answers in place of the endpoint"
	}
	cases := []struct {
		name        string
		status      int
		contentType string
		requestID   string
		body        string

		kind              gbgauth.Kind
		code, description string
		text              string // of Error(), without the part in parentheses
	}{
		// Another client may succeed.
		{
			name: "invalid_client 401", status: 401,
			body: `{"error":"invalid_client","error_description":"Invalid client or client credentials."}`,
			kind: gbgauth.RefusedClient,
			code: "invalid_client", description: "Invalid client or client credentials.",
			text: "invalid_client: Invalid client or client credentials.",
		},
		{
			name: "invalid_client 400", status: 400,
			body: `{"error":"invalid_client","error_description":"Unknown client."}`,
			kind: gbgauth.RefusedClient,
			code: "invalid_client", description: "Unknown client.",
			text: "invalid_client: Unknown client.",
		},
		{
			name: "invalid_client without a description", status: 401,
			body: `{"error":"invalid_client"}`,
			kind: gbgauth.RefusedClient,
			code: "invalid_client",
			text: "invalid_client",
		},
		{
			name: "invalid_client with a request id and an error_uri", status: 401, requestID: "fake-request-1",
			body: `{"error":"invalid_client","error_description":null,"error_uri":"https://fake.example/help"}`,
			kind: gbgauth.RefusedClient,
			code: "invalid_client",
			text: "invalid_client",
		},
		{
			name: "invalid_client 403", status: 403,
			body: `{"error":"invalid_client"}`,
			kind: gbgauth.RefusedClient,
			code: "invalid_client",
			text: "invalid_client",
		},
		{
			name: "invalid_client as text/html", status: 401, contentType: "text/html",
			body: `{"error":"invalid_client"}`,
			kind: gbgauth.RefusedClient,
			code: "invalid_client",
			text: "invalid_client",
		},
		{
			name: "unauthorized_client", status: 400,
			body: `{"error":"unauthorized_client","error_description":"Not for this grant."}`,
			kind: gbgauth.RefusedClient,
			code: "unauthorized_client", description: "Not for this grant.",
			text: "unauthorized_client: Not for this grant.",
		},
		{
			name: "Keycloak", status: 401,
			body: `{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}`,
			kind: gbgauth.RefusedClient,
			code: "unauthorized_client", description: "Invalid client or Invalid client credentials",
			text: "unauthorized_client: Invalid client or Invalid client credentials",
		},

		// Another client would get the same response.
		{
			name: "invalid_scope", status: 400,
			body: `{"error":"invalid_scope","error_description":"The scope is not known."}`,
			kind: gbgauth.RefusedRequest,
			code: "invalid_scope", description: "The scope is not known.",
			text: "invalid_scope: The scope is not known.",
		},
		{
			name: "unsupported_grant_type", status: 400,
			body: `{"error":"unsupported_grant_type"}`,
			kind: gbgauth.RefusedRequest,
			code: "unsupported_grant_type",
			text: "unsupported_grant_type",
		},
		{
			name: "invalid_request", status: 400,
			body: `{"error":"invalid_request","error_description":"grant_type is missing"}`,
			kind: gbgauth.RefusedRequest,
			code: "invalid_request", description: "grant_type is missing",
			text: "invalid_request: grant_type is missing",
		},
		{
			name: "unknown code", status: 400,
			body: `{"error":"no_such_code"}`,
			kind: gbgauth.RefusedRequest,
			code: "no_such_code",
			text: "no_such_code",
		},
		{
			name: "an error that is no code", status: 400,
			body: `{"error":"INVALID_CLIENT"}`,
			kind: gbgauth.NotTokenEndpoint, description: notTokenEndpoint("application/json"),
			text: notTokenEndpoint("application/json"),
		},
		{
			name: "an error longer than any code", status: 400,
			body: `{"error":"` + strings.Repeat("a", 65) + `"}`,
			kind: gbgauth.NotTokenEndpoint, description: notTokenEndpoint("application/json"),
			text: notTokenEndpoint("application/json"),
		},
		{
			name: "a web framework's error", status: 404,
			body: `{"timestamp":1,"status":404,"error":"Not Found","path":"/as/token"}`,
			kind: gbgauth.NotTokenEndpoint, description: notTokenEndpoint("application/json"),
			text: notTokenEndpoint("application/json"),
		},
		{
			name: "Okta's form", status: 401,
			body: `{"errorCode":"invalid_client","errorSummary":"Invalid value for 'client_id' parameter.","errorLink":"invalid_client","errorId":"oae1","errorCauses":[]}`,
			kind: gbgauth.RefusedClient,
			code: "invalid_client", description: "Invalid value for 'client_id' parameter.",
			text: "invalid_client: Invalid value for 'client_id' parameter.",
		},
		{
			name: "Okta's form, another code", status: 403,
			body: `{"errorCode":"E0000006","errorSummary":"You do not have permission."}`,
			kind: gbgauth.RefusedRequest,
			code: "E0000006", description: "You do not have permission.",
			text: "E0000006: You do not have permission.",
		},
		{
			name: "access_denied of GBG", status: 401,
			body: `{"error":"access_denied","error_description":"Unauthorized"}`,
			kind: gbgauth.RefusedRequest,
			code: "access_denied", description: "Unauthorized",
			text: "access_denied: Unauthorized",
		},
		{
			name: "a byte order mark", status: 401,
			body: "\ufeff" + `{"error":"invalid_client"}`,
			kind: gbgauth.RefusedClient,
			code: "invalid_client",
			text: "invalid_client",
		},
		{
			name: "names in another case", status: 401,
			body: `{"Error":"invalid_client"}`,
			kind: gbgauth.NotTokenEndpoint, description: notTokenEndpoint("application/json"),
			text: notTokenEndpoint("application/json"),
		},
		{
			name: "407", status: 407, contentType: "text/html",
			body: `<html>Proxy Authentication Required</html>`,
			kind: gbgauth.ProxyError, description: "a proxy requires a user name and password",
			text: "a proxy requires a user name and password",
		},
		{
			name: "GBG GO's own form", status: 401, requestID: "fake-request-2",
			body: `{"errors":[{"code":"401","name":"Unauthorized","location":"body",` +
				`"problem":"The client is not known.","action":"Check the client."},` +
				`{"name":"Second","problem":"Not shown."}]}`,
			kind: gbgauth.RefusedRequest,
			code: "Unauthorized", description: "The client is not known.",
			text: "Unauthorized: The client is not known.",
		},
		{
			name: "GBG GO's own form, name only", status: 400,
			body: `{"errors":[{"name":"BadRequest"}]}`,
			kind: gbgauth.RefusedRequest,
			code: "BadRequest",
			text: "BadRequest",
		},
		{
			name: "GBG GO's own form, problem only", status: 400,
			body: `{"errors":[{"problem":"The body is empty."}]}`,
			kind: gbgauth.RefusedRequest, description: "The body is empty.",
			text: "The body is empty.",
		},
		{
			name: "GBG GO's own form, no errors", status: 400,
			body: `{"errors":[]}`,
			kind: gbgauth.NotTokenEndpoint, description: notTokenEndpoint("application/json"),
			text: notTokenEndpoint("application/json"),
		},
		{
			name: "GBG GO's own form, errors not a list", status: 400,
			body: `{"errors":{"name":"BadRequest"}}`,
			kind: gbgauth.NotTokenEndpoint, description: notTokenEndpoint("application/json"),
			text: notTokenEndpoint("application/json"),
		},
		{
			name: "both forms", status: 400,
			body: `{"error":"invalid_scope","errors":[{"name":"BadRequest","problem":"Not shown."}]}`,
			kind: gbgauth.RefusedRequest,
			code: "invalid_scope",
			text: "invalid_scope",
		},
		{
			name: "401 HTML", status: 401, contentType: "text/html", requestID: "fake-request-3",
			body: `<html><h1>invalid_client</h1></html>`,
			kind: gbgauth.NotTokenEndpoint, description: notTokenEndpoint("text/html"),
			text: notTokenEndpoint("text/html"),
		},
		{
			name: "400 form", status: 400, contentType: "application/x-www-form-urlencoded",
			body: `error=invalid_client`,
			kind: gbgauth.NotTokenEndpoint, description: notTokenEndpoint("application/x-www-form-urlencoded"),
			text: notTokenEndpoint("application/x-www-form-urlencoded"),
		},
		{
			name: "400 JSON list", status: 400,
			body: `["invalid_client"]`,
			kind: gbgauth.NotTokenEndpoint, description: notTokenEndpoint("application/json"),
			text: notTokenEndpoint("application/json"),
		},
		{
			name: "403 empty", status: 403,
			kind: gbgauth.NotTokenEndpoint, description: notTokenEndpoint("application/json"),
			text: notTokenEndpoint("application/json"),
		},
		{
			name: "404 text", status: 404, contentType: "text/plain",
			body: "404 page not found",
			kind: gbgauth.NotTokenEndpoint, description: notTokenEndpoint("text/plain"),
			text: notTokenEndpoint("text/plain"),
		},
		{
			name: "a token with a 4xx is no token", status: 400,
			body: tokenResponse,
			kind: gbgauth.NotTokenEndpoint, description: notTokenEndpoint("application/json"),
			text: notTokenEndpoint("application/json"),
		},

		// A retry may succeed.
		{
			name: "408", status: 408,
			kind: gbgauth.ServerError, description: noDescription,
			text: noDescription,
		},
		{
			name: "429", status: 429, requestID: "fake-request-4",
			body: `{"error":"slow_down","error_description":"Too many requests."}`,
			kind: gbgauth.RateLimited,
			code: "slow_down", description: "Too many requests.",
			text: "slow_down: Too many requests.",
		},
		{
			name: "429 with invalid_client", status: 429,
			body: `{"error":"invalid_client"}`,
			kind: gbgauth.RateLimited,
			code: "invalid_client",
			text: "invalid_client",
		},
		{
			name: "500", status: 500,
			body: `{"error":"server_error","error_description":"Try again."}`,
			kind: gbgauth.ServerError,
			code: "server_error", description: "Try again.",
			text: "server_error: Try again.",
		},
		{
			name: "500 in GBG GO's own form", status: 500, requestID: "fake-request-5",
			body: `{"errors":[{"name":"InternalServerError","problem":"Something broke."}]}`,
			kind: gbgauth.ServerError,
			code: "InternalServerError", description: "Something broke.",
			text: "InternalServerError: Something broke.",
		},
		{
			name: "502 HTML", status: 502, contentType: "text/html",
			body: `<html><h1>502 Bad Gateway</h1></html>`,
			kind: gbgauth.ServerError, description: noDescription,
			text: noDescription,
		},
		{
			name: "503 with invalid_client", status: 503,
			body: `{"error":"invalid_client","error_description":"The directory is down."}`,
			kind: gbgauth.ServerError,
			code: "invalid_client", description: "The directory is down.",
			text: "invalid_client: The directory is down.",
		},
		{
			name: "504 empty", status: 504,
			kind: gbgauth.ServerError, description: noDescription,
			text: noDescription,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			contentType := c.contentType
			if contentType == "" {
				contentType = "application/json"
			}
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if c.requestID != "" {
					w.Header().Set("X-Request-ID", c.requestID)
				}
				respond(c.status, contentType, c.body)(w, r)
			})

			got := fetchError(t, clientCredentials(url))
			require.Equal(t, gbgauth.Error{
				Kind: c.kind, URL: url, Status: c.status,
				Code: c.code, Description: c.description, RequestID: c.requestID,
			}, *got)
			require.Equal(t, slices.Contains([]gbgauth.Kind{gbgauth.ServerError, gbgauth.RateLimited, gbgauth.ProxyError}, c.kind), got.Temporary())
			require.Equal(t, slices.Contains([]gbgauth.Kind{gbgauth.RefusedClient, gbgauth.RefusedRequest}, c.kind), got.Refused())

			where := " (HTTP " + strconv.Itoa(c.status) + " from " + url
			if c.requestID != "" {
				where += ", request id " + c.requestID
			}
			require.Equal(t, c.text+where+")", got.Error())
		})
	}
}

// An identity provider may refuse a client with access_denied (Auth0).
func TestIdentityProviderAccessDenied(t *testing.T) {
	t.Parallel()
	const auth0 = `{"error":"access_denied","error_description":"Unauthorized"}`
	for status, want := range map[int]gbgauth.Kind{401: gbgauth.RefusedClient, 403: gbgauth.RefusedRequest, 503: gbgauth.ServerError} {
		request := clientCredentials(serve(t, respond(status, "application/json", auth0)))
		request.IdentityProvider = true
		require.Equal(t, want, fetchError(t, request).Kind, status)
	}
}

func TestErrorResponseMalformedFields(t *testing.T) {
	for _, rest := range []string{`"expires_in":0.5`, `"error_description":["no"]`, `"error_uri":{}`, `"token_type":1`} {
		got := fetchError(t, clientCredentials(serve(t, respond(401, "application/json", `{"error":"invalid_client",`+rest+`}`))))
		require.Equal(t, gbgauth.RefusedClient, got.Kind, rest)
	}
	got := fetchError(t, clientCredentials(serve(t, respond(400, "application/json", `{"error_description":"why"}`))))
	require.Equal(t, "why", got.Description)
}
