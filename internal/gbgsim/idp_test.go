package gbgsim_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func TestIDPGrants(t *testing.T) {
	t.Parallel()

	basic := func(request *http.Request, client gbgsim.Client) {
		request.SetBasicAuth(url.QueryEscape(client.ID), url.QueryEscape(client.Secret))
	}
	tests := map[string]struct {
		form func(client gbgsim.Client) url.Values
		auth func(request *http.Request, client gbgsim.Client)
	}{
		"client_secret_post": {form: idpForm},
		"HTTP Basic": {
			form: func(gbgsim.Client) url.Values { return url.Values{"grant_type": {"client_credentials"}} },
			auth: basic,
		},
		"HTTP Basic and the same client id in the form": {
			form: func(client gbgsim.Client) url.Values {
				return url.Values{"grant_type": {"client_credentials"}, "client_id": {client.ID}}
			},
			auth: basic,
		},
		"any scope": {
			form: func(client gbgsim.Client) url.Values {
				form := idpForm(client)
				form.Set("scope", "https://gbg.example/.default other")

				return form
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			simulator := gbgsim.New(gbgsim.Options{})
			client := createIDPClient(t, simulator, `idp a+b%3A:&="~`)
			require.True(t, strings.HasPrefix(client.Secret, gbgsim.SecretPrefix), client.Secret)
			request := formRequest(t, gbgsim.IDPTokenPath, test.form(client))
			if test.auth != nil {
				test.auth(request, client)
			}

			got := do(t, simulator, request)

			require.Equal(t, http.StatusOK, got.status, got.body)
			require.Equal(t, "no-store", got.header.Get("Cache-Control"))
			var granted tokenResponse
			got.decode(t, &granted)
			require.True(t, strings.HasPrefix(granted.AccessToken, gbgsim.IDPTokenPrefix), granted.AccessToken)
			require.Equal(t, "Bearer", granted.TokenType)
			require.Equal(t, 300, granted.ExpiresIn)
			counts := gbgsim.RequestCounts{Total: 1, Issued: 1}
			require.Equal(t, gbgsim.EndpointCounts{
				TokenRequests: counts,
				ByClient:      map[string]gbgsim.RequestCounts{client.ID: counts},
			}, simulator.Stats().IDP)
		})
	}
}

func TestIDPRefuses(t *testing.T) {
	t.Parallel()

	set := func(name string, values ...string) func(url.Values) {
		return func(form url.Values) { form[name] = values }
	}
	grantTypeOnly := func(form url.Values) {
		form.Del("client_id")
		form.Del("client_secret")
	}
	tests := map[string]struct {
		change         func(url.Values)
		user, password string // of a Basic header, if there is a user
		status         int
		code           string
		description    string
	}{
		"unknown client":           {change: set("client_id", "nobody"), status: 401, code: "invalid_client", description: "Invalid client"},
		"client of GBG GO":         {change: set("client_id", "client-a"), status: 401, code: "invalid_client", description: "Invalid client"},
		"wrong secret":             {change: set("client_secret", "wrong"), status: 401, code: "invalid_client", description: "Invalid client"},
		"no client":                {change: grantTypeOnly, status: 401, code: "invalid_client", description: "Invalid client"},
		"wrong secret in Basic":    {change: grantTypeOnly, user: "idp-a", password: "wrong", status: 401, code: "invalid_client", description: "Invalid client"},
		"two ways at once":         {user: "idp-a", password: "wrong", status: 400, code: "invalid_request", description: "both in the form and in a Basic header"},
		"two clients at once":      {change: set("client_secret"), user: "idp-b", password: "wrong", status: 400, code: "invalid_request", description: "The client ids in the form and in the Basic header differ."},
		"id that is not encoded":   {change: grantTypeOnly, user: "idp%", password: "x", status: 400, code: "invalid_request", description: "not form-encoded"},
		"secret that is not":       {change: grantTypeOnly, user: "idp-a", password: "x%", status: 400, code: "invalid_request", description: "not form-encoded"},
		"no grant type, but Basic": {change: func(form url.Values) { clear(form) }, user: "idp-a", password: "x", status: 400, code: "invalid_request", description: "grant_type is missing"},
		"grant type id_auth":       {change: set("grant_type", "id_auth"), status: 400, code: "unsupported_grant_type", description: "client_credentials"},
		"repeated scope":           {change: set("scope", "a", "b"), status: 400, code: "invalid_request", description: "more than once"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			simulator := gbgsim.New(gbgsim.Options{})
			createClient(t, simulator, "client-a")
			client := createIDPClient(t, simulator, "idp-a")
			form := idpForm(client)
			if test.change != nil {
				test.change(form)
			}
			request := formRequest(t, gbgsim.IDPTokenPath, form)
			if test.user != "" {
				request.SetBasicAuth(test.user, test.password)
			}

			got := do(t, simulator, request)

			require.Equal(t, test.status, got.status, got.body)
			require.Equal(t, test.user != "" && test.status == 401, got.header.Get("WWW-Authenticate") != "")
			var refused oauthError
			got.decode(t, &refused)
			require.Equal(t, test.code, refused.Error)
			require.Contains(t, refused.Description, test.description)
			require.NotContains(t, got.body, client.Secret)
			require.Equal(t, gbgsim.RequestCounts{Total: 1, Refused: 1}, simulator.Stats().IDP.TokenRequests)
		})
	}
}

func TestIDPClientsAreSeparateFromGBGClients(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	createClient(t, simulator, "same")
	client := createIDPClient(t, simulator, "same")
	require.Equal(t, gbgsim.Client{ID: "same", Secret: client.Secret, Name: "same", Roles: []string{}}, client)

	require.Len(t, simulator.Clients(), 1)
	require.Equal(t, []gbgsim.Client{{ID: "same", Name: "same", Roles: []string{}}}, simulator.IDPClients())
	_, err := simulator.CreateIDPClient("same")
	require.ErrorIs(t, err, gbgsim.ErrClientExists)
	_, err = simulator.CreateIDPClient("ä")
	require.ErrorContains(t, err, "not printable ASCII")

	require.NoError(t, simulator.DeleteIDPClient("same"))
	require.Empty(t, simulator.IDPClients())
	require.Len(t, simulator.Clients(), 1)
	require.ErrorIs(t, simulator.DeleteIDPClient("same"), gbgsim.ErrUnknownClient)
	_, err = simulator.RegenerateIDP("same")
	require.ErrorIs(t, err, gbgsim.ErrUnknownClient)
}

func TestRegenerateIDPInvalidatesOldSecretOnly(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	client := createIDPClient(t, simulator, "idp-a")
	before := getTokenAt(t, simulator, gbgsim.IDPTokenPath, idpForm(client)).AccessToken

	secret, err := simulator.RegenerateIDP(client.ID)

	require.NoError(t, err)
	require.True(t, strings.HasPrefix(secret, gbgsim.SecretPrefix), secret)
	require.Equal(t, http.StatusUnauthorized, do(t, simulator, formRequest(t, gbgsim.IDPTokenPath, idpForm(client))).status)
	client.Secret = secret
	after := getTokenAt(t, simulator, gbgsim.IDPTokenPath, idpForm(client)).AccessToken
	for _, idToken := range []string{before, after} {
		getTokenAt(t, simulator, gbgsim.IdentityTokenPath, exchangeForm(idToken))
	}
}

func TestIDPTokenLifetimeIsWholeSeconds(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	client := createIDPClient(t, simulator, "idp-a")

	require.Panics(t, func() { gbgsim.New(gbgsim.Options{IDPTokenLifetime: time.Millisecond}) })
	require.ErrorContains(t, simulator.SetIDPTokenLifetime(0), "whole seconds")
	require.NoError(t, simulator.SetIDPTokenLifetime(9*time.Second))

	require.Equal(t, 9, getTokenAt(t, simulator, gbgsim.IDPTokenPath, idpForm(client)).ExpiresIn)
	require.Equal(t, time.Hour, simulator.TokenLifetime())
}

func TestIDPPortal(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})

	got := send(t, simulator, http.MethodPost, "/idp/clients", `{"client_id":"idp a/b"}`)
	require.Equal(t, http.StatusCreated, got.status, got.body)
	var client gbgsim.Client
	got.decode(t, &client)
	require.Equal(t, gbgsim.Client{ID: "idp a/b", Secret: client.Secret, Name: "idp a/b", Roles: []string{}}, client)
	getTokenAt(t, simulator, gbgsim.IDPTokenPath, idpForm(client))

	got = send(t, simulator, http.MethodGet, "/idp/clients", "")
	require.Equal(t, http.StatusOK, got.status, got.body)
	require.JSONEq(t, `{"clients":[{"client_id":"idp a/b","name":"idp a/b","department":"","roles":[]}]}`, got.body)

	got = send(t, simulator, http.MethodPost, "/idp/clients/idp%20a%2Fb/regenerate", "")
	require.Equal(t, http.StatusOK, got.status, got.body)
	var regenerated struct {
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
	}
	got.decode(t, &regenerated)
	require.Equal(t, client.ID, regenerated.ClientID)
	require.NotEqual(t, client.Secret, regenerated.ClientSecret)
	client.Secret = regenerated.ClientSecret
	getTokenAt(t, simulator, gbgsim.IDPTokenPath, idpForm(client))

	got = send(t, simulator, http.MethodDelete, "/idp/clients/idp%20a%2Fb", "")
	require.Equal(t, http.StatusNoContent, got.status, got.body)
	require.Empty(t, simulator.IDPClients())
}
