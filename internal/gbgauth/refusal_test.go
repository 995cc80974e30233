package gbgauth_test

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

func TestRefusal(t *testing.T) {
	t.Parallel()

	const unexplained = "an error without an explanation that could be read"
	cases := []struct {
		name        string
		status      int
		contentType string
		requestID   string
		body        string

		kind              gbgauth.Kind
		code, description string
		text              string // of Error(), up to the bracket
	}{
		// Another client may do better.
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

		// Another client would be told the same.
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
			name: "a code nobody knows", status: 400,
			body: `{"error":"INVALID_CLIENT"}`,
			kind: gbgauth.RefusedRequest,
			code: "INVALID_CLIENT",
			text: "INVALID_CLIENT",
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
			kind: gbgauth.RefusedRequest, description: unexplained,
			text: unexplained,
		},
		{
			name: "GBG GO's own form, errors not a list", status: 400,
			body: `{"errors":{"name":"BadRequest"}}`,
			kind: gbgauth.RefusedRequest, description: unexplained,
			text: unexplained,
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
			kind: gbgauth.RefusedRequest, description: unexplained,
			text: unexplained,
		},
		{
			name: "400 form", status: 400, contentType: "application/x-www-form-urlencoded",
			body: `error=invalid_client`,
			kind: gbgauth.RefusedRequest, description: unexplained,
			text: unexplained,
		},
		{
			name: "400 JSON list", status: 400,
			body: `["invalid_client"]`,
			kind: gbgauth.RefusedRequest, description: unexplained,
			text: unexplained,
		},
		{
			name: "403 empty", status: 403,
			kind: gbgauth.RefusedRequest, description: unexplained,
			text: unexplained,
		},
		{
			name: "404 text", status: 404, contentType: "text/plain",
			body: "404 page not found",
			kind: gbgauth.RefusedRequest, description: unexplained,
			text: unexplained,
		},
		{
			name: "a token with a 4xx is no token", status: 400,
			body: goodAnswer,
			kind: gbgauth.RefusedRequest, description: unexplained,
			text: unexplained,
		},

		// Not now.
		{
			name: "408", status: 408,
			kind: gbgauth.Unreachable, description: unexplained,
			text: unexplained,
		},
		{
			name: "429", status: 429, requestID: "fake-request-4",
			body: `{"error":"slow_down","error_description":"Too many requests."}`,
			kind: gbgauth.Unreachable,
			code: "slow_down", description: "Too many requests.",
			text: "slow_down: Too many requests.",
		},
		{
			name: "429 with invalid_client", status: 429,
			body: `{"error":"invalid_client"}`,
			kind: gbgauth.Unreachable,
			code: "invalid_client",
			text: "invalid_client",
		},
		{
			name: "500", status: 500,
			body: `{"error":"server_error","error_description":"Try again."}`,
			kind: gbgauth.Unreachable,
			code: "server_error", description: "Try again.",
			text: "server_error: Try again.",
		},
		{
			name: "500 in GBG GO's own form", status: 500, requestID: "fake-request-5",
			body: `{"errors":[{"name":"InternalServerError","problem":"Something broke."}]}`,
			kind: gbgauth.Unreachable,
			code: "InternalServerError", description: "Something broke.",
			text: "InternalServerError: Something broke.",
		},
		{
			name: "502 HTML", status: 502, contentType: "text/html",
			body: `<html><h1>502 Bad Gateway</h1></html>`,
			kind: gbgauth.Unreachable, description: unexplained,
			text: unexplained,
		},
		{
			name: "503 with invalid_client", status: 503,
			body: `{"error":"invalid_client","error_description":"The directory is down."}`,
			kind: gbgauth.Unreachable,
			code: "invalid_client", description: "The directory is down.",
			text: "invalid_client: The directory is down.",
		},
		{
			name: "504 empty", status: 504,
			kind: gbgauth.Unreachable, description: unexplained,
			text: unexplained,
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
				reply(c.status, contentType, c.body)(w, r)
			})

			got := fetchError(t, ask(url))
			require.Equal(t, gbgauth.Error{
				Kind: c.kind, URL: url, Status: c.status,
				Code: c.code, Description: c.description, RequestID: c.requestID,
			}, *got)
			require.Equal(t, c.kind == gbgauth.Unreachable, got.Temporary())

			where := " (HTTP " + strconv.Itoa(c.status) + " from " + url
			if c.requestID != "" {
				where += ", request id " + c.requestID
			}
			require.Equal(t, c.text+where+")", got.Error())
		})
	}
}

func TestKindNames(t *testing.T) {
	t.Parallel()

	for kind, want := range map[gbgauth.Kind]string{
		gbgauth.RefusedClient:  "client refused",
		gbgauth.RefusedRequest: "request refused",
		gbgauth.Unreachable:    "no answer",
		gbgauth.NotAToken:      "not a token",
		gbgauth.Kind(0):        "unknown",
	} {
		require.Equal(t, want, kind.String())
	}
}
