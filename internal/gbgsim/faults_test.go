package gbgsim_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func TestSetFaultRefuses(t *testing.T) {
	t.Parallel()

	gbgError := gbgsim.GBGError{Name: "DOWN"}
	tests := map[string]struct {
		fault gbgsim.Fault
		want  string
	}{
		"no kind":                    {gbgsim.Fault{}, `kind "" is not one of status, body, null_token, `},
		"an unknown kind":            {gbgsim.Fault{Kind: "explode"}, `kind "explode" is not one of`},
		"a bad client id":            {gbgsim.Fault{Kind: gbgsim.FaultHang, ClientID: "ä"}, "not printable ASCII"},
		"an unknown endpoint":        {gbgsim.Fault{Kind: gbgsim.FaultHang, Endpoint: "go"}, `endpoint "go" is not one of identity, idp, revoke; without one it is /as/token.oauth2`},
		"requests below zero":        {gbgsim.Fault{Kind: gbgsim.FaultHang, Requests: -1}, "requests -1 is negative"},
		"a delay below zero":         {gbgsim.Fault{Kind: gbgsim.FaultClose, Delay: -1}, "delay -1ns is negative"},
		"a delay without one":        {gbgsim.Fault{Kind: gbgsim.FaultDelay}, "delay is missing"},
		"a delay before a hang":      {gbgsim.Fault{Kind: gbgsim.FaultHang, Delay: 1}, `delay has no meaning for a fault of kind "hang"`},
		"a status of success":        {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 200}, "status 200 is not an error status"},
		"no status":                  {gbgsim.Fault{Kind: gbgsim.FaultStatus}, "status 0 is not an error status"},
		"a status beyond":            {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 600}, "status 600 is not an error status"},
		"a description alone":        {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 400, ErrorDescription: "x"}, "without error"},
		"two errors":                 {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 400, Error: "x", GBGError: gbgError}, "error and gbg_error exclude"},
		"two Retry-After":            {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 429, RetryAfter: "1", RetryAfterDate: 1}, "exclude each other"},
		"a body with status 204":     {gbgsim.Fault{Kind: gbgsim.FaultBody, Status: 204}, "status 204 has no body"},
		"a body with status 101":     {gbgsim.Fault{Kind: gbgsim.FaultBody, Status: 101}, "status 101 is not from 200 to 599"},
		"a redirect to nowhere":      {gbgsim.Fault{Kind: gbgsim.FaultRedirect}, "location is missing"},
		"a redirect to nonsense":     {gbgsim.Fault{Kind: gbgsim.FaultRedirect, Location: "http://[x"}, "is not a URL or a path"},
		"a redirect that is none":    {gbgsim.Fault{Kind: gbgsim.FaultRedirect, Status: 304, Location: "/"}, "status 304 is not a redirect"},
		"a size too small":           {gbgsim.Fault{Kind: gbgsim.FaultOversize, Size: 1023}, "size 1023 is not from 1024 to 67108864 bytes"},
		"a size too large":           {gbgsim.Fault{Kind: gbgsim.FaultOversize, Size: 64<<20 + 1}, "is not from"},
		"expires_in that is no JSON": {gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, ExpiresIn: "soon"}, `expires_in "soon" is not JSON`},
		"no scope":                   {gbgsim.Fault{Kind: gbgsim.FaultScope}, "scope is missing"},
		"a certificate for a client": {gbgsim.Fault{Kind: gbgsim.FaultExpiredCertificate, ClientID: "a"}, "client_id has no meaning"},
		"a certificate somewhere":    {gbgsim.Fault{Kind: gbgsim.FaultExpiredCertificate, Endpoint: gbgsim.EndpointIDP}, "endpoint has no meaning"},
		"a late certificate":         {gbgsim.Fault{Kind: gbgsim.FaultUntrustedCertificate, Delay: 1}, "delay has no meaning"},
		"error":                      {gbgsim.Fault{Kind: gbgsim.FaultHang, Error: "x"}, "error has no meaning"},
		"error_description":          {gbgsim.Fault{Kind: gbgsim.FaultHang, ErrorDescription: "x"}, "error_description has no meaning"},
		"gbg_error":                  {gbgsim.Fault{Kind: gbgsim.FaultHang, GBGError: gbgError}, "gbg_error has no meaning"},
		"request_id":                 {gbgsim.Fault{Kind: gbgsim.FaultHang, RequestID: "x"}, "request_id has no meaning"},
		"retry_after":                {gbgsim.Fault{Kind: gbgsim.FaultHang, RetryAfter: "1"}, "retry_after has no meaning"},
		"retry_after_date":           {gbgsim.Fault{Kind: gbgsim.FaultHang, RetryAfterDate: 1}, "retry_after_date has no meaning"},
		"status":                     {gbgsim.Fault{Kind: gbgsim.FaultHang, Status: 500}, "status has no meaning"},
		"body":                       {gbgsim.Fault{Kind: gbgsim.FaultHang, Body: "x"}, "body has no meaning"},
		"content_type":               {gbgsim.Fault{Kind: gbgsim.FaultHang, ContentType: "x"}, "content_type has no meaning"},
		"location":                   {gbgsim.Fault{Kind: gbgsim.FaultHang, Location: "/"}, "location has no meaning"},
		"size":                       {gbgsim.Fault{Kind: gbgsim.FaultHang, Size: 2000}, "size has no meaning"},
		"expires_in":                 {gbgsim.Fault{Kind: gbgsim.FaultHang, ExpiresIn: "1"}, "expires_in has no meaning"},
		"scope":                      {gbgsim.Fault{Kind: gbgsim.FaultHang, Scope: "x"}, "scope has no meaning"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			simulator := gbgsim.New(gbgsim.Options{})

			require.ErrorContains(t, simulator.SetFault(test.fault), test.want)

			require.Equal(t, []gbgsim.Fault{}, simulator.Faults())
		})
	}
}

func TestFaultOrder(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	status := func(clientID string, status, requests int) gbgsim.Fault {
		return gbgsim.Fault{Kind: gbgsim.FaultStatus, ClientID: clientID, Status: status, Requests: requests}
	}
	for _, fault := range []gbgsim.Fault{
		status("", 500, 0),
		status("client-a", 501, 1),
		status("client-b", 502, 0),
		status("", 503, 2),
		status("client-a", 504, 1),
	} {
		require.NoError(t, simulator.SetFault(fault))
	}

	require.Equal(t, []gbgsim.Fault{
		status("client-a", 504, 1),
		status("client-b", 502, 0),
		status("client-a", 501, 1),
		status("", 503, 2),
		status("", 500, 0),
	}, simulator.Faults())

	for _, next := range []struct {
		clientID string
		status   int
	}{
		{"client-a", 504},
		{"client-b", 502},
		{"client-a", 501},
		{"client-a", 503},
		{"client-b", 502},
	} {
		got := do(t, simulator, tokenRequest(t, validForm(next.clientID, "any")))
		require.Equal(t, next.status, got.status, next.clientID)
	}
	require.Equal(t, []gbgsim.Fault{
		status("client-b", 502, 0),
		status("", 503, 1),
		status("", 500, 0),
	}, simulator.Faults())

	// Faults for all clients apply to requests without a client id.
	for _, status := range []int{503, 500, 500} {
		require.Equal(t, status, do(t, simulator, tokenRequest(t, validForm("", "any"))).status)
	}
	simulator.ClearFaults()
	require.Empty(t, simulator.Faults())
	require.Equal(t, http.StatusUnauthorized, do(t, simulator, tokenRequest(t, validForm("client-a", "any"))).status)
	require.Equal(t, gbgsim.RequestCounts{Total: 9, Refused: 1, Faulted: 8}, simulator.Stats().TokenRequests)
	require.Equal(t, gbgsim.RequestCounts{Total: 4, Refused: 1, Faulted: 3}, simulator.Stats().ByClient["client-a"])
}

func TestFaultsAreACopy(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	require.NoError(t, simulator.SetFault(gbgsim.Fault{Kind: gbgsim.FaultHang}))

	simulator.Faults()[0].Kind = gbgsim.FaultClose

	require.Equal(t, gbgsim.FaultHang, simulator.Faults()[0].Kind)
}

func TestFaultsAffectTokenEndpointOnly(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	client := createClient(t, simulator, "client-a")
	granted := getToken(t, simulator, client.ID, client.Secret)
	require.NoError(t, simulator.SetFault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 500}))

	require.Equal(t, http.StatusOK, callAPI(t, simulator, "Bearer "+granted.AccessToken).status)
	require.Equal(t, http.StatusOK, send(t, simulator, http.MethodGet, "/portal/clients", "").status)
	require.Equal(t, http.StatusMethodNotAllowed, send(t, simulator, http.MethodGet, gbgsim.TokenPath, "").status)
	require.Equal(t, gbgsim.RequestCounts{Total: 1, Issued: 1}, simulator.Stats().TokenRequests)
}

// Besides checking the count, this test is for the race detector.
func TestConcurrentRequestsShareAFault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const callers, faulted = 16, 5
		simulator := gbgsim.New(gbgsim.Options{})
		client := createClient(t, simulator, "client-a")
		require.NoError(t, simulator.SetFault(gbgsim.Fault{
			Kind: gbgsim.FaultStatus, Status: 503, Requests: faulted, Delay: time.Millisecond,
		}))

		statuses := make([]int, callers)
		var group sync.WaitGroup
		for caller := range callers {
			answered := startRequest(t, t.Context(), simulator, client)
			group.Go(func() {
				_ = simulator.Faults()
				statuses[caller] = <-answered
			})
		}
		group.Wait()

		counts := map[int]int{}
		for _, status := range statuses {
			counts[status]++
		}
		require.Equal(t, map[int]int{http.StatusOK: callers - faulted, http.StatusServiceUnavailable: faulted}, counts)
		require.Equal(t, gbgsim.RequestCounts{Total: callers, Issued: callers - faulted, Faulted: faulted}, simulator.Stats().TokenRequests)
	})
}
