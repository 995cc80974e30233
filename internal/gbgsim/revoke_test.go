package gbgsim_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func revokeForm(clientID, secret, accessToken string) url.Values {
	return url.Values{"client_id": {clientID}, "client_secret": {secret}, "token": {accessToken}}
}

func revoke(t *testing.T, simulator *gbgsim.Simulator, form url.Values) result {
	t.Helper()

	return do(t, simulator, formRequest(t, gbgsim.RevokePath, form))
}

func TestRevokedTokenIsRefused(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	client := createClient(t, simulator, "client-a")
	accessToken := getToken(t, simulator, client.ID, client.Secret).AccessToken
	other := getToken(t, simulator, client.ID, client.Secret).AccessToken

	for range 2 {
		require.Equal(t, http.StatusOK, revoke(t, simulator, revokeForm(client.ID, client.Secret, accessToken)).status, "revoking again is fine")
		got := callAPI(t, simulator, "Bearer "+accessToken)
		require.Equal(t, http.StatusUnauthorized, got.status)
		require.Contains(t, got.body, "REVOKED_TOKEN")
	}
	require.Equal(t, http.StatusOK, callAPI(t, simulator, "Bearer "+other).status)
	owner, issued := simulator.TokenClient(accessToken)
	require.True(t, issued)
	require.Equal(t, "client-a", owner)
	require.Equal(t, gbgsim.RequestCounts{Total: 2, Issued: 2}, simulator.Stats().Revocations.TokenRequests)
}

func TestRevokeExchangedToken(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	idToken, err := simulator.IDToken("alice")
	require.NoError(t, err)
	accessToken := getTokenAt(t, simulator, gbgsim.IdentityTokenPath, exchangeForm(idToken)).AccessToken
	require.Equal(t, http.StatusOK, revoke(t, simulator, revokeForm("ro.client", "secret", accessToken)).status)
	require.Equal(t, http.StatusUnauthorized, callAPI(t, simulator, "Bearer "+accessToken).status)
}

func TestRevokeRefuses(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	client, other := createClient(t, simulator, "client-a"), createClient(t, simulator, "client-b")
	accessToken := getToken(t, simulator, client.ID, client.Secret).AccessToken
	for name, test := range map[string]struct {
		form   url.Values
		status int
		code   string
	}{
		"a wrong secret":       {revokeForm(client.ID, "x", accessToken), 401, "invalid_client"},
		"an unknown client":    {revokeForm("x", client.Secret, accessToken), 401, "invalid_client"},
		"another client":       {revokeForm(other.ID, other.Secret, accessToken), 400, "invalid_request"},
		"the exchange's":       {revokeForm("ro.client", "secret", accessToken), 400, "invalid_request"},
		"no token":             {revokeForm(client.ID, client.Secret, ""), 400, "invalid_request"},
		"no client":            {revokeForm("", client.Secret, accessToken), 400, "invalid_request"},
		"nothing":              {url.Values{}, 400, "invalid_request"},
		"a token of somewhere": {revokeForm(client.ID, client.Secret, "x"), 200, ""},
	} {
		got := revoke(t, simulator, test.form)
		require.Equal(t, test.status, got.status, name)
		require.Contains(t, got.body, test.code, name)
		require.NotContains(t, got.body, accessToken, name)
	}
	require.Equal(t, http.StatusOK, callAPI(t, simulator, "Bearer "+accessToken).status)
}

func TestRevokeFaults(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	client := createClient(t, simulator, "client-a")
	accessToken := getToken(t, simulator, client.ID, client.Secret).AccessToken
	require.NoError(t, simulator.SetFault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointRevoke, Status: 503, Requests: 1}))
	form := revokeForm(client.ID, client.Secret, accessToken)
	require.Equal(t, http.StatusServiceUnavailable, revoke(t, simulator, form).status)
	require.Equal(t, http.StatusOK, callAPI(t, simulator, "Bearer "+accessToken).status)
	require.Equal(t, http.StatusOK, revoke(t, simulator, form).status)
}
