package gbgsim_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// result is the part of an HTTP response that tests check.
type result struct {
	status int
	header http.Header
	body   string
}

// decode decodes the body as JSON without members unknown to value.
func (a result) decode(t *testing.T, value any) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(a.body))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(value), a.body)
}

func do(t *testing.T, handler http.Handler, request *http.Request) result {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	response := recorder.Result()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())

	return result{status: response.StatusCode, header: response.Header, body: string(body)}
}

// send sends a request with a JSON body, or without a body if it is empty.
func send(t *testing.T, handler http.Handler, method, path, body string) result {
	t.Helper()

	return do(t, handler, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
}

// validForm returns a token request as GBG documents it.
func validForm(clientID, secret string) url.Values {
	return url.Values{
		"grant_type":    {"client_credentials"},
		"client_id":     {clientID},
		"client_secret": {secret},
		"scope":         {"gbg.token"},
	}
}

func tokenRequest(t *testing.T, form url.Values) *http.Request {
	t.Helper()

	return formRequest(t, gbgsim.TokenPath, form)
}

func formRequest(t *testing.T, path string, form url.Values) *http.Request {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(form.Encode()))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")

	return request
}

// exchangeForm returns a request to GBG Identity Solution as GBG documents it.
func exchangeForm(idToken string) url.Values {
	return url.Values{
		"grant_type":    {"id_auth"},
		"client_id":     {"ro.client"},
		"client_secret": {"secret"},
		"scope":         {"api api2"},
		"id_token":      {idToken},
	}
}

// idpForm returns a request to the identity provider.
func idpForm(client gbgsim.Client) url.Values {
	return url.Values{
		"grant_type":    {"client_credentials"},
		"client_id":     {client.ID},
		"client_secret": {client.Secret},
	}
}

type tokenResponse struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
}

// oauthError is an OAuth error response.
type oauthError struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// getToken requests a token and requires success.
func getToken(t *testing.T, simulator *gbgsim.Simulator, clientID, secret string) tokenResponse {
	t.Helper()

	return getTokenAt(t, simulator, gbgsim.TokenPath, validForm(clientID, secret))
}

// getTokenAt requests a token at an endpoint and requires success.
func getTokenAt(t *testing.T, simulator *gbgsim.Simulator, path string, form url.Values) tokenResponse {
	t.Helper()
	got := do(t, simulator, formRequest(t, path, form))
	require.Equal(t, http.StatusOK, got.status, got.body)
	var granted tokenResponse
	got.decode(t, &granted)

	return granted
}

// createClient creates a client that may call the API.
func createClient(t *testing.T, simulator *gbgsim.Simulator, id string) gbgsim.Client {
	t.Helper()
	client, err := simulator.CreateClient(gbgsim.NewClient{
		ID:         id,
		Department: "Fraud",
		Roles:      []string{gbgsim.RoleGoAPIAccess},
	})
	require.NoError(t, err)

	return client
}

func createIDPClient(t *testing.T, simulator *gbgsim.Simulator, id string) gbgsim.Client {
	t.Helper()
	client, err := simulator.CreateIDPClient(id)
	require.NoError(t, err)

	return client
}

func callAPI(t *testing.T, simulator *gbgsim.Simulator, authorization string) result {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, gbgsim.APIPath, nil)
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}

	return do(t, simulator, request)
}
