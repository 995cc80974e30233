package gbgsim_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func TestStats(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	got := send(t, simulator, http.MethodGet, "/portal/stats", "")
	require.JSONEq(t, `{
		"token_requests": {"total": 0, "issued": 0, "refused": 0, "faulted": 0},
		"token_requests_by_client": {},
		"identity": {
			"token_requests": {"total": 0, "issued": 0, "refused": 0, "faulted": 0},
			"token_requests_by_client": {}
		},
		"idp": {
			"token_requests": {"total": 0, "issued": 0, "refused": 0, "faulted": 0},
			"token_requests_by_client": {}
		},
		"revocations": {
			"token_requests": {"total": 0, "issued": 0, "refused": 0, "faulted": 0},
			"token_requests_by_client": {}
		},
		"api_calls": {"accepted": 0, "refused": 0},
		"tls_connections": {"total": 0, "faulted": 0}
	}`, got.body)

	client := createClient(t, simulator, "client-a")
	granted := getToken(t, simulator, client.ID, client.Secret)
	do(t, simulator, tokenRequest(t, validForm(client.ID, "wrong")))
	do(t, simulator, tokenRequest(t, validForm("nobody", "wrong")))
	do(t, simulator, tokenRequest(t, validForm("", "")))
	idToken := getTokenAt(t, simulator, gbgsim.IDPTokenPath, idpForm(createIDPClient(t, simulator, "idp-a"))).AccessToken
	getTokenAt(t, simulator, gbgsim.IdentityTokenPath, exchangeForm(idToken))
	do(t, simulator, formRequest(t, gbgsim.IdentityTokenPath, exchangeForm("unknown")))
	callAPI(t, simulator, "Bearer "+granted.AccessToken)
	callAPI(t, simulator, "")
	require.NoError(t, simulator.SetFault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 500, Requests: 1}))
	do(t, simulator, tokenRequest(t, validForm("nobody", "wrong")))

	got = send(t, simulator, http.MethodGet, "/portal/stats", "")
	require.Equal(t, http.StatusOK, got.status)
	require.JSONEq(t, `{
		"token_requests": {"total": 5, "issued": 1, "refused": 3, "faulted": 1},
		"token_requests_by_client": {
			"client-a": {"total": 2, "issued": 1, "refused": 1, "faulted": 0},
			"nobody": {"total": 2, "issued": 0, "refused": 1, "faulted": 1}
		},
		"identity": {
			"token_requests": {"total": 2, "issued": 1, "refused": 1, "faulted": 0},
			"token_requests_by_client": {"ro.client": {"total": 2, "issued": 1, "refused": 1, "faulted": 0}}
		},
		"idp": {
			"token_requests": {"total": 1, "issued": 1, "refused": 0, "faulted": 0},
			"token_requests_by_client": {"idp-a": {"total": 1, "issued": 1, "refused": 0, "faulted": 0}}
		},
		"revocations": {
			"token_requests": {"total": 0, "issued": 0, "refused": 0, "faulted": 0},
			"token_requests_by_client": {}
		},
		"api_calls": {"accepted": 1, "refused": 1},
		"tls_connections": {"total": 0, "faulted": 0}
	}`, got.body)
}

func TestStatsAreACopy(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})

	stats := simulator.Stats()
	for _, counts := range []gbgsim.EndpointCounts{stats.EndpointCounts, stats.Identity, stats.IDP} {
		counts.ByClient["client-a"] = gbgsim.RequestCounts{Total: 1}
	}

	stats = simulator.Stats()
	for _, counts := range []gbgsim.EndpointCounts{stats.EndpointCounts, stats.Identity, stats.IDP} {
		require.Empty(t, counts.ByClient)
	}
}

// This test is for the race detector.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	const callers = 8
	simulator := gbgsim.New(gbgsim.Options{})
	client, idpClient := createClient(t, simulator, "client-a"), createIDPClient(t, simulator, "idp-a")
	idToken := getTokenAt(t, simulator, gbgsim.IDPTokenPath, idpForm(idpClient)).AccessToken

	var group sync.WaitGroup
	for range callers {
		token := tokenRequest(t, validForm(client.ID, client.Secret))
		fromIDP := formRequest(t, gbgsim.IDPTokenPath, idpForm(idpClient))
		exchange := formRequest(t, gbgsim.IdentityTokenPath, exchangeForm(idToken))
		call := httptest.NewRequestWithContext(t.Context(), http.MethodGet, gbgsim.APIPath, nil)
		group.Go(func() {
			simulator.ServeHTTP(httptest.NewRecorder(), token)
			simulator.ServeHTTP(httptest.NewRecorder(), fromIDP)
			simulator.ServeHTTP(httptest.NewRecorder(), exchange)
			simulator.ServeHTTP(httptest.NewRecorder(), call)
			_, _ = simulator.Regenerate(client.ID)
			_ = simulator.SetRoles(client.ID)
			_ = simulator.Clients()
			_, _ = simulator.RegenerateIDP(idpClient.ID)
			_ = simulator.IDPClients()
			_ = simulator.LastExchange()
			_ = simulator.Stats()
		})
	}
	group.Wait()

	stats := simulator.Stats()
	require.Equal(t, callers, stats.TokenRequests.Total)
	require.Equal(t, callers, stats.TokenRequests.Issued+stats.TokenRequests.Refused)
	require.Equal(t, callers, stats.Identity.TokenRequests.Issued)
	require.Equal(t, 1+callers, stats.IDP.TokenRequests.Total)
	require.Equal(t, gbgsim.CallCounts{Refused: callers}, stats.APICalls)
}
