package gbgauth_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

const (
	fakeUser     = "api.user@fake.example"
	fakePassword = "fake-password+/=&% 0001"
)

func passwordRequest(tokenURL string) gbgauth.Password {
	return gbgauth.Password{
		TokenURL: tokenURL,
		ClientID: fakeID, ClientSecret: gbgauth.NewSecret(fakeSecret),
		Username: fakeUser, Password: gbgauth.NewSecret(fakePassword),
	}
}

func TestPasswordForm(t *testing.T) {
	t.Parallel()
	for scope, want := range map[string]string{
		"":               "",
		"gbg.token more": "&scope=gbg.token+more",
	} {
		requests := make(chan receivedRequest, 10)
		request := passwordRequest(serve(t, recordRequests(requests)))
		request.Scope = scope
		token, err := request.Fetch(t.Context(), newClient(t, ""))
		require.NoError(t, err)
		require.Equal(t, fakeToken, token.AccessToken.Reveal())

		require.Len(t, requests, 1)
		got := <-requests
		require.Equal(t, "client_id=fake-client-a&client_secret=fake-secret-0001&grant_type=password"+
			"&password=fake-password%2B%2F%3D%26%25+0001"+want+"&username=api.user%40fake.example", got.body)
		require.Empty(t, got.header.Get("Authorization"))
	}
}

// invalid_grant is about the user, and the other codes are not.
func TestPasswordRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		code   string
		want   gbgauth.Kind
	}{
		{http.StatusBadRequest, "invalid_grant", gbgauth.RefusedUser},
		{http.StatusUnauthorized, "invalid_grant", gbgauth.RefusedUser}, // Keycloak
		{http.StatusUnauthorized, "invalid_client", gbgauth.RefusedClient},
		{http.StatusBadRequest, "unauthorized_client", gbgauth.RefusedClient},
		{http.StatusBadRequest, "invalid_scope", gbgauth.RefusedRequest},
		{http.StatusBadRequest, "unsupported_grant_type", gbgauth.RefusedRequest},
		{http.StatusServiceUnavailable, "invalid_grant", gbgauth.ServerError},
	} {
		request := passwordRequest(serve(t, respond(c.status, "application/json",
			`{"error":"`+c.code+`","error_description":"not with `+fakePassword+` nor fake-password%2B%2F%3D%26%25+0001"}`)))
		_, err := request.Fetch(t.Context(), newClient(t, ""))
		failed := asError(t, err)
		require.Equal(t, c.want, failed.Kind, c.code)
		require.Equal(t, c.want != gbgauth.ServerError, failed.Refused())
		require.Equal(t, "not with [redacted] nor [redacted]", failed.Description)
	}

	// In another grant it refuses the request: an id_token, or a code.
	require.Equal(t, gbgauth.RefusedRequest,
		fetchError(t, clientCredentials(serve(t, respond(http.StatusBadRequest, "application/json", `{"error":"invalid_grant"}`)))).Kind)
}
