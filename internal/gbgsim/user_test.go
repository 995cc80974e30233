package gbgsim_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// passwordForm returns a token request with a user's password as GBG documents it.
func passwordForm(client gbgsim.Client, username, password string) url.Values {
	return url.Values{
		"grant_type":    {"password"},
		"client_id":     {client.ID},
		"client_secret": {client.Secret},
		"username":      {username},
		"password":      {password},
	}
}

// A user is created with a temporary password, which must be changed before use.
func TestPortalUserLifecycle(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	client := createClient(t, simulator, "organization")
	get := func(password string) result {
		return do(t, simulator, tokenRequest(t, passwordForm(client, "user a", password)))
	}

	got := send(t, simulator, http.MethodPost, "/portal/users", `{"username":"user a"}`)
	require.Equal(t, http.StatusCreated, got.status, got.body)
	var user gbgsim.User
	got.decode(t, &user)
	require.True(t, user.Temporary)
	require.True(t, strings.HasPrefix(user.Password, gbgsim.SecretPrefix))
	got = get(user.Password)
	require.Equal(t, http.StatusBadRequest, got.status)
	require.JSONEq(t, `{"error":"invalid_grant","error_description":"Account is not fully set up"}`, got.body)

	got = send(t, simulator, http.MethodPut, "/portal/users/user%20a/password", `{"password":"chosen"}`)
	require.Equal(t, http.StatusOK, got.status, got.body)
	require.JSONEq(t, `{"username":"user a","password":"chosen","temporary":false}`, got.body)
	require.Equal(t, http.StatusBadRequest, get(user.Password).status)
	got = get("chosen")
	require.Equal(t, http.StatusOK, got.status, got.body)
	var issued tokenResponse
	got.decode(t, &issued)
	owner, ok := simulator.TokenClient(issued.AccessToken)
	require.True(t, ok)
	require.Equal(t, "user a", owner)
	require.Equal(t, http.StatusOK, callAPI(t, simulator, "Bearer "+issued.AccessToken).status)
	require.Equal(t, gbgsim.RequestCounts{Total: 3, Issued: 1, Refused: 2}, simulator.Stats().ByClient["user a"])

	password, err := simulator.SetPassword("user a", "")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, get(password).status)
	require.JSONEq(t, `{"users":[{"username":"user a","temporary":false}]}`, send(t, simulator, http.MethodGet, "/portal/users", "").body)

	require.Equal(t, http.StatusNoContent, send(t, simulator, http.MethodDelete, "/portal/users/user%20a", "").status)
	require.Equal(t, http.StatusBadRequest, get(password).status)
	require.Empty(t, simulator.Users())
}

func TestPortalUserRefuses(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	_, err := simulator.CreateUser("taken")
	require.NoError(t, err)
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodPost, "/portal/users", `{"username":"taken"}`, http.StatusConflict},
		{http.MethodPost, "/portal/users", `{}`, http.StatusBadRequest},
		{http.MethodPost, "/portal/users", `{"username":"a\u0000"}`, http.StatusBadRequest},
		{http.MethodPost, "/portal/users", `no JSON`, http.StatusBadRequest},
		{http.MethodPut, "/portal/users/nobody/password", `{}`, http.StatusNotFound},
		{http.MethodPut, "/portal/users/taken/password", `no JSON`, http.StatusBadRequest},
		{http.MethodDelete, "/portal/users/nobody", "", http.StatusNotFound},
	} {
		require.Equal(t, c.status, send(t, simulator, c.method, c.path, c.body).status, "%s %s", c.path, c.body)
	}
}

func TestPasswordGrantRefuses(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	client := createClient(t, simulator, "organization")
	_, err := simulator.CreateUser("user")
	require.NoError(t, err)
	password, err := simulator.SetPassword("user", "")
	require.NoError(t, err)
	for _, c := range []struct {
		field, value string
		status       int
		code         string
	}{
		{"client_secret", "wrong", http.StatusUnauthorized, "invalid_client"},
		{"client_id", "nobody", http.StatusUnauthorized, "invalid_client"},
		{"username", "nobody", http.StatusBadRequest, "invalid_grant"},
		{"password", "wrong", http.StatusBadRequest, "invalid_grant"},
		{"username", "", http.StatusBadRequest, "invalid_request"},
		{"password", "", http.StatusBadRequest, "invalid_request"},
		{"scope", "other", http.StatusBadRequest, "invalid_scope"},
	} {
		form := passwordForm(client, "user", password)
		form.Set(c.field, c.value)
		got := do(t, simulator, tokenRequest(t, form))
		require.Equal(t, c.status, got.status)
		var refused oauthError
		got.decode(t, &refused)
		require.Equal(t, c.code, refused.Error, "%s=%s", c.field, c.value)
	}
}
