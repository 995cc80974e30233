package gbgsim_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// endpoint is a token endpoint with a valid request.
type endpoint struct {
	name     gbgsim.Endpoint
	path     string
	clientID string
	form     url.Values // of a valid request
	counts   func(gbgsim.Stats) gbgsim.EndpointCounts
}

func endpoints(t *testing.T, simulator *gbgsim.Simulator) []endpoint {
	t.Helper()
	client, idpClient := createClient(t, simulator, "client-a"), createIDPClient(t, simulator, "idp-a")
	idToken := getTokenAt(t, simulator, gbgsim.IDPTokenPath, idpForm(idpClient)).AccessToken

	return []endpoint{
		{
			name: gbgsim.EndpointGo, path: gbgsim.TokenPath, clientID: client.ID, form: validForm(client.ID, client.Secret),
			counts: func(stats gbgsim.Stats) gbgsim.EndpointCounts { return stats.EndpointCounts },
		},
		{
			name: gbgsim.EndpointIdentity, path: gbgsim.IdentityTokenPath, clientID: gbgsim.IdentityClientID, form: exchangeForm(idToken),
			counts: func(stats gbgsim.Stats) gbgsim.EndpointCounts { return stats.Identity },
		},
		{
			name: gbgsim.EndpointIDP, path: gbgsim.IDPTokenPath, clientID: idpClient.ID, form: idpForm(idpClient),
			counts: func(stats gbgsim.Stats) gbgsim.EndpointCounts { return stats.IDP },
		},
	}
}

// TestFaultResponses tests the faults in detail. This test checks that they apply at
// every endpoint, and only there, and that each endpoint has its own counts.
func TestFaultAppliesToItsEndpointOnly(t *testing.T) {
	t.Parallel()

	answered := func(status int, body string) func(*testing.T, result, error) {
		return func(t *testing.T, got result, err error) {
			t.Helper()
			require.NoError(t, err)
			require.Equal(t, status, got.status)
			require.Contains(t, got.body, body)
		}
	}
	failed := func(t *testing.T, _ result, err error) {
		t.Helper()
		require.Error(t, err)
	}
	only, issued := gbgsim.RequestCounts{Faulted: 1}, gbgsim.RequestCounts{Faulted: 1, Issued: 1}
	tests := map[gbgsim.FaultKind]struct {
		fault  gbgsim.Fault
		counts gbgsim.RequestCounts
		check  func(*testing.T, result, error)
	}{
		gbgsim.FaultStatus:    {gbgsim.Fault{Status: 401, Error: "invalid_client"}, only, answered(401, `{"error":"invalid_client"}`)},
		gbgsim.FaultBody:      {gbgsim.Fault{Status: 502, Body: "upstream"}, only, answered(502, "upstream")},
		gbgsim.FaultNullToken: {gbgsim.Fault{}, only, answered(200, `"access_token":null`)},
		gbgsim.FaultRedirect:  {gbgsim.Fault{Location: "/"}, only, answered(302, "")},
		gbgsim.FaultClose:     {gbgsim.Fault{}, only, failed},
		gbgsim.FaultReset:     {gbgsim.Fault{}, only, failed},
		gbgsim.FaultDelay:     {gbgsim.Fault{Delay: time.Minute}, issued, answered(200, "sim-")},
		gbgsim.FaultTruncate:  {gbgsim.Fault{}, issued, failed},
		gbgsim.FaultOversize:  {gbgsim.Fault{Size: 2000}, issued, answered(200, `"padding":"xxx`)},
		gbgsim.FaultExpiresIn: {gbgsim.Fault{ExpiresIn: "7"}, issued, answered(200, `"expires_in":7`)},
		gbgsim.FaultScope:     {gbgsim.Fault{Scope: "less"}, issued, answered(200, `"scope":"less"`)},
	}
	for kind, test := range tests {
		for faulty, path := range []string{gbgsim.TokenPath, gbgsim.IdentityTokenPath, gbgsim.IDPTokenPath} {
			t.Run(string(kind)+" at "+path, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					simulator := gbgsim.New(gbgsim.Options{})
					all := endpoints(t, simulator)
					address, httpClient := startInMemory(t, simulator)
					fault := test.fault
					fault.Kind, fault.Endpoint, fault.ClientID, fault.Requests = kind, all[faulty].name, all[faulty].clientID, 1
					require.NoError(t, simulator.SetFault(fault))

					for other := range all {
						before := all[other].counts(simulator.Stats()).TokenRequests
						got, err := postTo(t, httpClient, address+all[other].path, all[other].form)
						after := all[other].counts(simulator.Stats())
						want := gbgsim.RequestCounts{Issued: 1}
						if other == faulty {
							test.check(t, got, err)
							want = test.counts
						} else {
							answered(200, `"access_token":"sim-`)(t, got, err)
						}
						require.Equal(t, gbgsim.RequestCounts{
							Total:   before.Total + 1,
							Issued:  before.Issued + want.Issued,
							Refused: before.Refused,
							Faulted: want.Faulted,
						}, after.TokenRequests, all[other].path)
						require.Equal(t, after.TokenRequests, after.ByClient[all[other].clientID], all[other].path)
					}
					require.Empty(t, simulator.Faults())
				})
			})
		}
	}
}

func TestHangEndsWhenClearedAtEveryEndpoint(t *testing.T) {
	t.Parallel()

	for index, path := range []string{gbgsim.TokenPath, gbgsim.IdentityTokenPath, gbgsim.IDPTokenPath} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				simulator := gbgsim.New(gbgsim.Options{})
				hanging := endpoints(t, simulator)[index]
				require.NoError(t, simulator.SetFault(gbgsim.Fault{Kind: gbgsim.FaultHang, Endpoint: hanging.name}))
				request := formRequest(t, hanging.path, hanging.form)
				go func() {
					synctest.Wait()
					simulator.ClearFaults()
				}()

				require.Equal(t, http.StatusOK, do(t, simulator, request).status)
			})
		})
	}
}

func TestBeforeTokenGetsClientIDAtEveryEndpoint(t *testing.T) {
	t.Parallel()
	var clientIDs []string // needs no lock: do waits for the response
	simulator := gbgsim.New(gbgsim.Options{BeforeToken: func(_ context.Context, clientID string) {
		clientIDs = append(clientIDs, clientID)
	}})
	for _, endpoint := range endpoints(t, simulator) {
		do(t, simulator, formRequest(t, endpoint.path, endpoint.form))
	}
	withBasic := formRequest(t, gbgsim.IDPTokenPath, url.Values{"grant_type": {"client_credentials"}})
	withBasic.SetBasicAuth("idp%20b", "any")
	do(t, simulator, withBasic)
	// This endpoint does not read the Basic header.
	withBasic = formRequest(t, gbgsim.IdentityTokenPath, url.Values{"grant_type": {"id_auth"}})
	withBasic.SetBasicAuth(gbgsim.IdentityClientID, "any")
	do(t, simulator, withBasic)

	require.Equal(t, []string{"idp-a", "client-a", gbgsim.IdentityClientID, "idp-a", "idp b", ""}, clientIDs)
}

func TestTokenEndpointsAcceptOnlyPOST(t *testing.T) {
	t.Parallel()

	for _, path := range []string{gbgsim.TokenPath, gbgsim.IdentityTokenPath, gbgsim.IDPTokenPath} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			simulator := gbgsim.New(gbgsim.Options{})
			none := simulator.Stats()

			got := send(t, simulator, method, path, "")

			require.Equal(t, http.StatusMethodNotAllowed, got.status, method, path)
			require.Equal(t, http.MethodPost, got.header.Get("Allow"), method, path)
			require.Equal(t, none, simulator.Stats(), method, path)
		}
	}
}
