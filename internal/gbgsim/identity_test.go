package gbgsim_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func TestIdentityExchangesTokenOfIDPClient(t *testing.T) {
	t.Parallel()

	for name, scope := range map[string][]string{
		"documented scopes":     {"api api2"},
		"one scope":             {"api2"},
		"no scope":              nil,
		"scope without a value": {""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			simulator := gbgsim.New(gbgsim.Options{})
			client := createIDPClient(t, simulator, "idp-a")
			form := exchangeForm(getTokenAt(t, simulator, gbgsim.IDPTokenPath, idpForm(client)).AccessToken)
			form["scope"] = scope

			got := do(t, simulator, formRequest(t, gbgsim.IdentityTokenPath, form))

			require.Equal(t, http.StatusOK, got.status, got.body)
			require.Equal(t, "no-store", got.header.Get("Cache-Control"))
			require.Equal(t, "application/json", got.header.Get("Content-Type"))
			var granted tokenResponse // and no scope
			got.decode(t, &granted)
			require.True(t, strings.HasPrefix(granted.AccessToken, gbgsim.TokenPrefix), granted.AccessToken)
			require.Equal(t, "Bearer", granted.TokenType)
			require.Equal(t, 3600, granted.ExpiresIn)

			subject, ok := simulator.TokenClient(granted.AccessToken)
			require.True(t, ok)
			require.Equal(t, client.ID, subject)
			got = callAPI(t, simulator, "Bearer "+granted.AccessToken)
			require.Equal(t, http.StatusOK, got.status, got.body)
			require.JSONEq(t, `{"client_id":"idp-a","department":"","result":"ok"}`, got.body)
		})
	}
}

func TestIdentityRefuses(t *testing.T) {
	t.Parallel()

	set := func(name string, values ...string) func(url.Values) {
		return func(form url.Values) { form[name] = values }
	}
	type before = func(t *testing.T, simulator *gbgsim.Simulator)
	tests := map[string]struct {
		change func(url.Values)
		// before happens after the id_token was issued.
		before      before
		basic       bool
		contentType string
		status      int
		code        string
		description string
	}{
		"grant type of GBG GO":     {change: set("grant_type", "client_credentials"), status: 400, code: "unsupported_grant_type", description: "id_auth"},
		"grant type without token": {change: func(form url.Values) { form.Set("grant_type", "password"); form.Del("id_token") }, status: 400, code: "unsupported_grant_type", description: "id_auth"},
		"no grant type":            {change: set("grant_type"), status: 400, code: "invalid_request", description: "grant_type is missing"},
		"another client":           {change: set("client_id", "idp-a"), status: 401, code: "invalid_client", description: "Invalid client or client credentials."},
		"wrong secret":             {change: set("client_secret", "wrong"), status: 401, code: "invalid_client", description: "Invalid client or client credentials."},
		"no client":                {change: set("client_id"), status: 400, code: "invalid_request", description: "client_id is missing"},
		"no secret":                {change: set("client_secret"), status: 400, code: "invalid_request", description: "client_secret is missing"},
		"Basic header only":        {change: func(form url.Values) { form.Del("client_id"); form.Del("client_secret") }, basic: true, status: 400, code: "invalid_request", description: "client_id is missing"},
		"Basic header as well":     {basic: true, status: 400, code: "invalid_request", description: "both in the form and in a Basic header"},
		"no id_token":              {change: set("id_token"), status: 400, code: "invalid_request", description: "id_token is missing"},
		"id_token without a value": {change: set("id_token", ""), status: 400, code: "invalid_request", description: "id_token is missing"},
		"repeated id_token":        {change: set("id_token", "a", "b"), status: 400, code: "invalid_request", description: "more than once"},
		"unknown id_token":         {change: set("id_token", gbgsim.IDPTokenPrefix+"unknown"), status: 400, code: "invalid_grant", description: "The id_token was not issued here."},
		"expired id_token": {
			before: func(*testing.T, *gbgsim.Simulator) { time.Sleep(5 * time.Minute) },
			status: 400, code: "invalid_grant", description: "The id_token has expired.",
		},
		"deleted IdP client, another one in its place": {
			before: func(t *testing.T, simulator *gbgsim.Simulator) {
				t.Helper()
				require.NoError(t, simulator.DeleteIDPClient("idp-a"))
				createIDPClient(t, simulator, "idp-a")
			},
			status: 400, code: "invalid_grant", description: "The id_token was issued to a client that has been deleted.",
		},
		"scope of GBG GO":    {change: set("scope", "gbg.token"), status: 400, code: "invalid_scope", description: "Only the scopes api api2 can be asked for."},
		"one scope too many": {change: set("scope", "api api2 api3"), status: 400, code: "invalid_scope", description: "Only the scopes api api2 can be asked for."},
		"JSON":               {contentType: "application/json", status: 400, code: "invalid_request", description: "x-www-form-urlencoded"},
		"too large":          {change: set("id_token", strings.Repeat("x", 1<<20)), status: 400, code: "invalid_request", description: "cannot be read"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				simulator := gbgsim.New(gbgsim.Options{})
				client := createIDPClient(t, simulator, "idp-a")
				form := exchangeForm(getTokenAt(t, simulator, gbgsim.IDPTokenPath, idpForm(client)).AccessToken)
				if test.before != nil {
					test.before(t, simulator)
				}
				if test.change != nil {
					test.change(form)
				}
				request := formRequest(t, gbgsim.IdentityTokenPath, form)
				if test.basic {
					request.SetBasicAuth(gbgsim.IdentityClientID, gbgsim.IdentityClientSecret)
				}
				if test.contentType != "" {
					request.Header.Set("Content-Type", test.contentType)
				}

				got := do(t, simulator, request)

				require.Equal(t, test.status, got.status, got.body)
				require.Equal(t, "no-store", got.header.Get("Cache-Control"))
				var refused oauthError
				got.decode(t, &refused)
				require.Equal(t, test.code, refused.Error)
				require.Contains(t, refused.Description, test.description)
				require.NotContains(t, got.body, gbgsim.IDPTokenPrefix)
				require.Equal(t, gbgsim.RequestCounts{Total: 1, Refused: 1}, simulator.Stats().Identity.TokenRequests)
			})
		})
	}
}

// The identity provider's tokens are not valid at GBG, and GBG's tokens cannot be
// exchanged.
func TestTokensAreValidOnlyAtTheirServer(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	client := createClient(t, simulator, "client-a")
	fromGo := getToken(t, simulator, client.ID, client.Secret).AccessToken
	fromIDP := getTokenAt(t, simulator, gbgsim.IDPTokenPath, idpForm(createIDPClient(t, simulator, "idp-a"))).AccessToken

	require.Equal(t, http.StatusBadRequest, do(t, simulator, formRequest(t, gbgsim.IdentityTokenPath, exchangeForm(fromGo))).status)
	require.Equal(t, http.StatusUnauthorized, callAPI(t, simulator, "Bearer "+fromIDP).status)
	_, ok := simulator.TokenClient(fromIDP)
	require.False(t, ok)
}

// The GBG token has GBG's lifetime, independent of the token exchanged for it.
func TestExchangedTokenOutlivesIDToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		simulator := gbgsim.New(gbgsim.Options{TokenLifetime: time.Minute, IDPTokenLifetime: 10 * time.Second})
		client := createIDPClient(t, simulator, "idp-a")
		fromIDP := getTokenAt(t, simulator, gbgsim.IDPTokenPath, idpForm(client))
		require.Equal(t, 10, fromIDP.ExpiresIn)
		time.Sleep(10*time.Second - time.Nanosecond)
		granted := getTokenAt(t, simulator, gbgsim.IdentityTokenPath, exchangeForm(fromIDP.AccessToken))
		require.Equal(t, 60, granted.ExpiresIn)
		require.NoError(t, simulator.DeleteIDPClient(client.ID))

		time.Sleep(time.Minute - time.Nanosecond)
		require.Equal(t, http.StatusOK, callAPI(t, simulator, "Bearer "+granted.AccessToken).status)
		time.Sleep(time.Nanosecond)
		require.Equal(t, http.StatusUnauthorized, callAPI(t, simulator, "Bearer "+granted.AccessToken).status)
	})
}

func TestLastExchange(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	require.Nil(t, simulator.LastExchange())
	do(t, simulator, tokenRequest(t, validForm("client-a", "any")))
	require.Nil(t, simulator.LastExchange(), "a request to GBG GO is not an exchange")

	form := exchangeForm("not-a-token")
	form.Set("unexpected", "1")
	form["scope"] = []string{"a", "b"}
	do(t, simulator, formRequest(t, gbgsim.IdentityTokenPath, form))
	require.Equal(t, form, simulator.LastExchange())
	simulator.LastExchange()["scope"][0] = "changed by the caller"
	simulator.LastExchange().Del("id_token")
	require.Equal(t, form, simulator.LastExchange())

	require.NoError(t, simulator.SetFault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 500, Endpoint: gbgsim.EndpointIdentity}))
	do(t, simulator, formRequest(t, gbgsim.IdentityTokenPath, exchangeForm("another")))
	require.Equal(t, exchangeForm("another"), simulator.LastExchange(), "also with a fault")

	request := formRequest(t, gbgsim.IdentityTokenPath, form)
	request.Header.Set("Content-Type", "application/json")
	do(t, simulator, request)
	require.Equal(t, url.Values{}, simulator.LastExchange(), "not a form")
}
