package gbgauth_test

import (
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

func revocationRequest(at string) gbgauth.Revocation {
	return gbgauth.Revocation{
		URL: at, ClientID: fakeID, ClientSecret: gbgauth.NewSecret(fakeSecret), Token: gbgauth.NewSecret(fakeToken),
	}
}

// A success has no body that means anything (RFC 7009 section 2.2).
func TestRevocationForm(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "{}", "ok", "<html>"} {
		requests := make(chan receivedRequest, 10)
		err := revocationRequest(serve(t, func(w http.ResponseWriter, r *http.Request) {
			got, err := io.ReadAll(r.Body)
			requests <- receivedRequest{method: r.Method, uri: r.RequestURI, header: r.Header, body: string(got), err: err}
			_, _ = io.WriteString(w, body)
		})).Send(t.Context(), newClient(t, ""))
		require.NoError(t, err)
		require.Len(t, requests, 1)
		got := <-requests
		require.NoError(t, got.err)
		require.Equal(t, http.MethodPost, got.method)
		require.Equal(t, "application/x-www-form-urlencoded", got.header.Get("Content-Type"))
		require.Empty(t, got.header.Get("Authorization"))
		form, err := url.ParseQuery(got.body)
		require.NoError(t, err)
		require.Equal(t, url.Values{
			"token": {fakeToken}, "token_type_hint": {"access_token"}, "client_id": {fakeID}, "client_secret": {fakeSecret},
		}, form)
	}
}

func TestRevocationError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   string
		kind   gbgauth.Kind
		want   string
	}{
		{401, `{"error":"invalid_client","error_description":"Not ` + fakeSecret + `."}`, gbgauth.RefusedClient, "invalid_client: Not [redacted]."},
		{400, `{"error":"unsupported_token_type","error_description":"` + fakeToken + `"}`, gbgauth.RefusedRequest, "unsupported_token_type: [redacted]"},
		{503, ``, gbgauth.ServerError, "the error response has no description"},
		{302, ``, gbgauth.NotAToken, "the endpoint answered with a redirect, which is never followed"},
	} {
		at := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			respond(c.status, "application/json", c.body)(w, r)
		})
		failed := asError(t, revocationRequest(at).Send(t.Context(), newClient(t, "")))
		require.Equal(t, c.kind, failed.Kind)
		require.Contains(t, failed.Error(), c.want)
		requireSafe(t, failed.Error(), fakeSecret, fakeToken)
	}
	failed := asError(t, revocationRequest("http://127.0.0.1:1/revoke").Send(t.Context(), newClient(t, "")))
	require.Equal(t, gbgauth.Unreachable, failed.Kind)
	failed = asError(t, revocationRequest("http://127.0.0.1:-1/\x00").Send(t.Context(), newClient(t, "")))
	require.Equal(t, gbgauth.Unreachable, failed.Kind)
}
