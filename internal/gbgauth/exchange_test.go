package gbgauth_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// fakeJWT has the form of a JWT and no claims.
var fakeJWT = strings.Join([]string{"ZmFrZS1oZWFkZXI", strings.Repeat("ZmFrZS1jbGFpbXMt", 4), strings.Repeat("ZmFrZS1zaWduYXR1cmUt", 2)}, ".")

// exchangeRequest returns a request as GBG Identity Solution documents it.
func exchangeRequest(tokenURL string) gbgauth.Exchange {
	return gbgauth.Exchange{
		TokenURL:     tokenURL,
		ClientID:     gbgauth.DefaultExchangeClientID,
		ClientSecret: gbgauth.NewSecret(gbgauth.DefaultExchangeClientSecret),
		IDToken:      gbgauth.NewSecret(fakeJWT),
	}
}

func TestExchangeForm(t *testing.T) {
	t.Parallel()
	documented := url.Values{
		"grant_type":    {"id_auth"},
		"client_id":     {"ro.client"},
		"client_secret": {"secret"},
		"id_token":      {fakeJWT},
	}
	withScope := url.Values{"scope": {"journey documents"}}
	for name, values := range documented {
		withScope[name] = values
	}
	for _, c := range []struct {
		name, scope string
		want        url.Values
	}{
		{"as documented", "", documented},
		{"a scope", " journey  documents", withScope},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			requests := make(chan receivedRequest, 10)
			request := exchangeRequest(serve(t, recordRequests(requests)))
			request.Scope = c.scope
			token, err := request.Fetch(t.Context(), newClient(t, ""))
			require.NoError(t, err)
			require.Equal(t, fakeToken, token.AccessToken.Reveal())

			require.Len(t, requests, 1, "the request is sent once")
			got := <-requests
			require.NoError(t, got.err)
			require.Equal(t, http.MethodPost, got.method)
			require.Equal(t, "application/x-www-form-urlencoded", got.header.Get("Content-Type"))
			require.Empty(t, got.header.Get("Authorization"))
			form, err := url.ParseQuery(got.body)
			require.NoError(t, err)
			require.Equal(t, c.want, form)
		})
	}
}

// In the example of GBG's documentation all fields are null.
func TestExchangeResponseWithoutToken(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"null":    `{"access_token":null,"expires_in":null,"token_type":null}`,
		"empty":   `{"access_token":"","expires_in":3600,"token_type":"Bearer"}`,
		"nothing": `{}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := exchangeRequest(serve(t, respond(http.StatusOK, "application/json", body))).Fetch(t.Context(), newClient(t, ""))
			failed := asError(t, err)
			require.Equal(t, gbgauth.NotAToken, failed.Kind)
		})
	}
}

// An error description may quote the token, or a part of it.
func TestExchangeErrorRedactsIDToken(t *testing.T) {
	t.Parallel()
	parts := strings.Split(fakeJWT, ".")
	for _, quoted := range append([]string{fakeJWT, url.QueryEscape(fakeJWT)}, parts[1:]...) {
		body := fmt.Sprintf(`{"error":"invalid_grant","error_description":"The token %s has expired."}`, quoted)
		_, err := exchangeRequest(serve(t, respond(http.StatusBadRequest, "application/json", body))).Fetch(t.Context(), newClient(t, ""))
		failed := asError(t, err)
		require.Equal(t, gbgauth.RefusedRequest, failed.Kind)
		require.Equal(t, "invalid_grant", failed.Code)
		require.Equal(t, "The token [redacted] has expired.", failed.Description)
	}
}

// The client secret that GBG documents is not redacted, a different one is.
func TestExchangeErrorRedactsClientSecret(t *testing.T) {
	t.Parallel()
	for secret, want := range map[string]string{
		gbgauth.DefaultExchangeClientSecret: "Wrong secret.",
		"fake-exchange-secret":              "Wrong [redacted].",
	} {
		request := exchangeRequest(serve(t, respond(http.StatusUnauthorized, "application/json",
			`{"error":"invalid_client","error_description":"Wrong `+secret+`."}`)))
		request.ClientSecret = gbgauth.NewSecret(secret)
		_, err := request.Fetch(t.Context(), newClient(t, ""))
		failed := asError(t, err)
		require.Equal(t, gbgauth.RefusedClient, failed.Kind)
		require.Equal(t, want, failed.Description)
	}
}

// FuzzExchangeResponse is FuzzTokenResponse for GBG Identity Solution's endpoint.
func FuzzExchangeResponse(f *testing.F) {
	parts := strings.Split(fakeJWT, ".")
	for _, seed := range []struct {
		status uint16
		header string
		body   string
	}{
		{200, "", tokenResponse},
		{200, fakeJWT, `{"access_token":"` + fakeToken + `","token_type":"` + fakeJWT + `","scope":"` + parts[1] + `"}`},
		{200, "", `{"access_token":null,"expires_in":null,"token_type":null}`},
		{400, parts[2], `{"error":"invalid_grant","error_description":"The token ` + fakeJWT + ` has expired."}`},
		{400, "", `{"errors":[{"name":"` + parts[1] + `","problem":"` + fakeSecret + `"}]}`},
		{500, "text/html", "<html>" + fakeJWT + "</html>"},
	} {
		f.Add(seed.status, seed.header, []byte(seed.body))
	}
	request := exchangeRequest("https://fake.example/authenticate/v1/connect/token")
	request.ClientSecret = gbgauth.NewSecret(fakeSecret)

	f.Fuzz(func(t *testing.T, status uint16, header string, content []byte) {
		client, transport := newFakeClient(int(status), header, content)
		got, err := request.Fetch(t.Context(), client)
		require.Equal(t, 1, transport.requests)
		require.True(t, transport.body.closed)
		if err == nil {
			requireValidToken(t, transport.status, got)
			requireSafe(t, "type "+got.Type+", scope "+got.Scope, fakeSecret, parts[1], parts[2])
			return
		}
		require.Nil(t, got)
		requireSafe(t, asError(t, err).Error(), fakeSecret, parts[1], parts[2])
	})
}
