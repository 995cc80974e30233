package gbgauth_test

import (
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

func revocationRequest(at string) gbgauth.Revocation {
	return gbgauth.Revocation{
		URL: at, ClientID: fakeID, ClientSecret: gbgauth.NewSecret(fakeSecret), Token: gbgauth.NewSecret(fakeToken),
	}
}

// The body of a successful response is ignored (RFC 7009 section 2.2).
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

// FuzzRevocationResponse tests that every response is a success or an *Error that is safe
// to show.
func FuzzRevocationResponse(f *testing.F) {
	for _, seed := range []struct {
		status uint16
		header string
		body   string
	}{
		{200, "", ""},
		{200, fakeToken, "<html>"},
		{302, "", "moved"},
		{400, fakeSecret, `{"error":"unsupported_token_type","error_description":"` + fakeToken + `"}`},
		{401, "", `{"error":"invalid_client","error_description":"` + fakeSecret + `"}`},
		{503, "", `{"errors":[{"name":"` + fakeToken + `","problem":"` + fakeSecret + `"}]}`},
	} {
		f.Add(seed.status, seed.header, []byte(seed.body))
	}
	request := revocationRequest("https://fake.example/as/revoke_token.oauth2")

	f.Fuzz(func(t *testing.T, status uint16, header string, content []byte) {
		client, transport := newFakeClient(int(status), header, content)
		err := request.Send(t.Context(), client)
		require.Equal(t, 1, transport.requests)
		require.True(t, transport.body.closed)
		if err == nil {
			require.Less(t, transport.status, 400)
			require.False(t, transport.status >= 300, "a redirect is not a success")
			return
		}
		requireSafe(t, asError(t, err).Error(), fakeSecret, fakeToken)
	})
}

// A revocation contains a secret and a token, so it is not redirected either.
func TestRevocationRedirect(t *testing.T) {
	t.Parallel()
	var there atomic.Int32
	other := serve(t, func(http.ResponseWriter, *http.Request) { there.Add(1) })
	here := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other, http.StatusTemporaryRedirect)
	})
	err := gbgauth.Revocation{URL: here, ClientID: fakeID, ClientSecret: gbgauth.NewSecret(fakeSecret), Token: gbgauth.NewSecret(fakeToken)}.
		Send(t.Context(), newClient(t, ""))
	require.Equal(t, gbgauth.NotAToken, asError(t, err).Kind)
	require.Zero(t, there.Load())
}
