package gbgsim_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func TestTokenEndpointGrants(t *testing.T) {
	t.Parallel()

	for name, scope := range map[string][]string{
		"documented scope":      {"gbg.token"},
		"no scope":              nil,
		"scope without a value": {""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			simulator := gbgsim.New(gbgsim.Options{})
			client := createClient(t, simulator, "client-a")
			form := validForm(client.ID, client.Secret)
			form["scope"] = scope

			got := do(t, simulator, tokenRequest(t, form))

			require.Equal(t, http.StatusOK, got.status, got.body)
			require.Equal(t, "no-store", got.header.Get("Cache-Control"))
			require.Equal(t, "application/json", got.header.Get("Content-Type"))
			var granted tokenResponse
			got.decode(t, &granted)
			require.True(t, strings.HasPrefix(granted.AccessToken, gbgsim.TokenPrefix), granted.AccessToken)
			require.Equal(t, "Bearer", granted.TokenType)
			require.Equal(t, 3600, granted.ExpiresIn)
		})
	}
}

func TestTokenEndpointRefuses(t *testing.T) {
	t.Parallel()

	set := func(name string, values ...string) func(url.Values) {
		return func(form url.Values) { form[name] = values }
	}
	basicOnly := func(form url.Values) {
		form.Del("client_id")
		form.Del("client_secret")
	}
	tests := map[string]struct {
		change      func(url.Values)
		basic       bool
		contentType string
		status      int
		code        string
		description string
	}{
		"unknown client":         {change: set("client_id", "nobody"), status: 401, code: "invalid_client", description: "Invalid client or client credentials."},
		"wrong secret":           {change: set("client_secret", "wrong"), status: 401, code: "invalid_client", description: "Invalid client or client credentials."},
		"no secret":              {change: set("client_secret"), status: 401, code: "invalid_client", description: "Invalid client or client credentials."},
		"no client":              {change: set("client_id"), status: 401, code: "invalid_client", description: "Invalid client or client credentials."},
		"Basic header only":      {change: basicOnly, basic: true, status: 401, code: "invalid_client", description: "Invalid client or client credentials."},
		"wrong secret and scope": {change: func(form url.Values) { form.Set("client_secret", "wrong"); form.Set("scope", "other") }, status: 401, code: "invalid_client", description: "Invalid client or client credentials."},
		"Basic header as well":   {basic: true, status: 400, code: "invalid_request", description: "both in the form and in a Basic header"},
		"grant type implicit":    {change: set("grant_type", "implicit"), status: 400, code: "unsupported_grant_type", description: "client_credentials"},
		"no grant type":          {change: set("grant_type"), status: 400, code: "invalid_request", description: "grant_type is missing"},
		"other scope":            {change: set("scope", "openid"), status: 400, code: "invalid_scope", description: "Only the scope gbg.token can be asked for."},
		"one scope too many":     {change: set("scope", "gbg.token openid"), status: 400, code: "invalid_scope", description: "Only the scope gbg.token can be asked for."},
		"repeated parameter":     {change: set("client_secret", "a", "b"), status: 400, code: "invalid_request", description: "more than once"},
		"JSON":                   {contentType: "application/json", status: 400, code: "invalid_request", description: "x-www-form-urlencoded"},
		"too large":              {change: set("padding", strings.Repeat("x", 1<<20)), status: 400, code: "invalid_request", description: "cannot be read"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			simulator := gbgsim.New(gbgsim.Options{})
			client := createClient(t, simulator, "client-a")
			form := validForm(client.ID, client.Secret)
			if test.change != nil {
				test.change(form)
			}
			request := tokenRequest(t, form)
			if test.basic {
				request.SetBasicAuth(client.ID, client.Secret)
			}
			if test.contentType != "" {
				request.Header.Set("Content-Type", test.contentType)
			}

			got := do(t, simulator, request)

			require.Equal(t, test.status, got.status, got.body)
			require.Equal(t, "no-store", got.header.Get("Cache-Control"))
			require.Equal(t, test.basic && test.status == 401, got.header.Get("WWW-Authenticate") != "")
			var refused oauthError
			got.decode(t, &refused)
			require.Equal(t, test.code, refused.Error)
			require.Contains(t, refused.Description, test.description)
			require.NotContains(t, got.body, client.Secret)
			require.Equal(t, gbgsim.RequestCounts{Total: 1, Refused: 1}, simulator.Stats().TokenRequests)
		})
	}
}

func TestTokenEndpointIgnoresURLParameters(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	client := createClient(t, simulator, "client-a")
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost,
		gbgsim.TokenPath+"?"+validForm(client.ID, client.Secret).Encode(), nil)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")

	require.Equal(t, http.StatusBadRequest, do(t, simulator, request).status)
}

func TestTokenEndpointAcceptsAnyPrintableClientID(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	client := createClient(t, simulator, `a b+c%3A:&="~`)

	clientID, ok := simulator.TokenClient(getToken(t, simulator, client.ID, client.Secret).AccessToken)

	require.True(t, ok)
	require.Equal(t, client.ID, clientID)
}

func TestBeforeTokenBlocksRequest(t *testing.T) {
	t.Parallel()
	arrived, gate := make(chan string), make(chan struct{})
	simulator := gbgsim.New(gbgsim.Options{BeforeToken: func(_ context.Context, clientID string) {
		arrived <- clientID
		<-gate
	}})
	client := createClient(t, simulator, "client-a")
	request := tokenRequest(t, validForm(client.ID, client.Secret))
	answered := make(chan int)
	go func() {
		recorder := httptest.NewRecorder()
		simulator.ServeHTTP(recorder, request)
		answered <- recorder.Code
	}()

	require.Equal(t, client.ID, <-arrived)
	require.Equal(t, gbgsim.RequestCounts{Total: 1}, simulator.Stats().TokenRequests)
	_, err := simulator.Regenerate(client.ID)
	require.NoError(t, err)
	close(gate)

	require.Equal(t, http.StatusUnauthorized, <-answered)
	require.Equal(t, gbgsim.RequestCounts{Total: 1, Refused: 1}, simulator.Stats().TokenRequests)
}

func TestCanceledRequestGetsNoToken(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{BeforeToken: func(ctx context.Context, _ string) {
		<-ctx.Done()
	}})
	client := createClient(t, simulator, "client-a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	got := do(t, simulator, tokenRequest(t, validForm(client.ID, client.Secret)).WithContext(ctx))

	require.Equal(t, http.StatusServiceUnavailable, got.status)
	require.NotContains(t, got.body, gbgsim.TokenPrefix)
	require.Equal(t, gbgsim.RequestCounts{Total: 1}, simulator.Stats().TokenRequests)
}
