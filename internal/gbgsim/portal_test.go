package gbgsim_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func TestPortalClientLifecycle(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})

	got := send(t, simulator, http.MethodGet, "/portal/clients", "")
	require.Equal(t, http.StatusOK, got.status)
	require.JSONEq(t, `{"clients":[]}`, got.body)

	got = send(t, simulator, http.MethodPost, "/portal/clients",
		`{"client_id":"client a/b","name":"Payments","department":"Fraud","roles":[]}`)
	require.Equal(t, http.StatusCreated, got.status, got.body)
	require.Equal(t, "no-store", got.header.Get("Cache-Control"))
	var client gbgsim.Client
	got.decode(t, &client)
	require.Equal(t, gbgsim.Client{
		ID:         "client a/b",
		Secret:     client.Secret,
		Name:       "Payments",
		Department: "Fraud",
		Roles:      []string{},
	}, client)
	header := "Bearer " + getToken(t, simulator, client.ID, client.Secret).AccessToken

	got = send(t, simulator, http.MethodPut, "/portal/clients/client%20a%2Fb/roles", `{"roles":["Go API Access"]}`)
	require.Equal(t, http.StatusNoContent, got.status, got.body)
	require.Equal(t, http.StatusOK, callAPI(t, simulator, header).status)

	got = send(t, simulator, http.MethodPost, "/portal/clients/client%20a%2Fb/regenerate", "")
	require.Equal(t, http.StatusOK, got.status, got.body)
	var regenerated struct {
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
	}
	got.decode(t, &regenerated)
	require.Equal(t, client.ID, regenerated.ClientID)
	require.NotEqual(t, client.Secret, regenerated.ClientSecret)
	getToken(t, simulator, client.ID, regenerated.ClientSecret)

	got = send(t, simulator, http.MethodGet, "/portal/clients", "")
	require.JSONEq(t,
		`{"clients":[{"client_id":"client a/b","name":"Payments","department":"Fraud","roles":["Go API Access"]}]}`, got.body)

	got = send(t, simulator, http.MethodDelete, "/portal/clients/client%20a%2Fb", "")
	require.Equal(t, http.StatusNoContent, got.status, got.body)
	require.Empty(t, simulator.Clients())
}

func TestPortalSettings(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	client := createClient(t, simulator, "client-a")

	got := send(t, simulator, http.MethodGet, "/portal/settings", "")
	require.Equal(t, http.StatusOK, got.status)
	require.JSONEq(t, `{"token_lifetime":"1h0m0s"}`, got.body)

	got = send(t, simulator, http.MethodPut, "/portal/settings", `{"token_lifetime":"300s"}`)
	require.Equal(t, http.StatusOK, got.status, got.body)
	require.JSONEq(t, `{"token_lifetime":"5m0s"}`, got.body)
	require.Equal(t, 300, getToken(t, simulator, client.ID, client.Secret).ExpiresIn)
}

func TestPortalRefuses(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		method, path, body string
		status             int
		want               string
	}{
		"create: taken id":          {"POST", "/portal/clients", `{"client_id":"client-a"}`, 409, "taken"},
		"create: bad id":            {"POST", "/portal/clients", `{"client_id":"\u0000"}`, 400, "printable ASCII"},
		"create: no JSON":           {"POST", "/portal/clients", `name=x`, 400, "not the JSON expected"},
		"create: no body":           {"POST", "/portal/clients", ``, 400, "not the JSON expected"},
		"create: misspelt member":   {"POST", "/portal/clients", `{"departement":"x"}`, 400, `unknown field "departement"`},
		"create: two values":        {"POST", "/portal/clients", `{} {}`, 400, "more than one JSON value"},
		"create: too large":         {"POST", "/portal/clients", `{"name":"` + strings.Repeat("x", 1<<20) + `"}`, 400, "too large"},
		"regenerate: unknown":       {"POST", "/portal/clients/nobody/regenerate", ``, 404, `no such client: "nobody"`},
		"roles: unknown":            {"PUT", "/portal/clients/nobody/roles", `{"roles":[]}`, 404, "no such client"},
		"roles: left out":           {"PUT", "/portal/clients/client-a/roles", `{}`, 400, "roles is missing"},
		"roles: without a name":     {"PUT", "/portal/clients/client-a/roles", `{"roles":[""]}`, 400, "no name"},
		"roles: no JSON":            {"PUT", "/portal/clients/client-a/roles", `[`, 400, "not the JSON expected"},
		"delete: unknown":           {"DELETE", "/portal/clients/nobody", ``, 404, "no such client"},
		"IdP create: taken id":      {"POST", "/idp/clients", `{"client_id":"idp-a"}`, 409, "taken"},
		"IdP create: with roles":    {"POST", "/idp/clients", `{"roles":[]}`, 400, `unknown field "roles"`},
		"IdP regenerate: unknown":   {"POST", "/idp/clients/client-a/regenerate", ``, 404, `no such client: "client-a"`},
		"IdP delete: unknown":       {"DELETE", "/idp/clients/client-a", ``, 404, "no such client"},
		"settings: not a duration":  {"PUT", "/portal/settings", `{"token_lifetime":"soon"}`, 400, `token_lifetime "soon" is not a duration`},
		"settings: left out":        {"PUT", "/portal/settings", `{}`, 400, `token_lifetime "" is not a duration`},
		"settings: not positive":    {"PUT", "/portal/settings", `{"token_lifetime":"0s"}`, 400, "whole seconds"},
		"settings: no JSON":         {"PUT", "/portal/settings", ``, 400, "not the JSON expected"},
		"settings: not text at all": {"PUT", "/portal/settings", `{"token_lifetime":300}`, 400, "not the JSON expected"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			simulator := gbgsim.New(gbgsim.Options{})
			createClient(t, simulator, "client-a")
			createIDPClient(t, simulator, "idp-a")
			before, idpBefore := simulator.Clients(), simulator.IDPClients()

			got := send(t, simulator, test.method, test.path, test.body)

			require.Equal(t, test.status, got.status, got.body)
			var refused struct {
				Error string `json:"error"`
			}
			got.decode(t, &refused)
			require.Contains(t, refused.Error, test.want)
			require.Equal(t, before, simulator.Clients())
			require.Equal(t, idpBefore, simulator.IDPClients())
		})
	}
}
