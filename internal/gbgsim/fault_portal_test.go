package gbgsim_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func TestPortalFaults(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	got := send(t, simulator, http.MethodGet, "/portal/faults", "")
	require.Equal(t, http.StatusOK, got.status)
	require.JSONEq(t, `{"faults":[]}`, got.body)

	got = send(t, simulator, http.MethodPut, "/portal/faults", `{"kind":"status","status":503,"requests":2}`)
	require.Equal(t, http.StatusOK, got.status, got.body)
	require.JSONEq(t, `{"faults":[{"kind":"status","status":503,"requests":2}]}`, got.body)
	got = do(t, simulator, tokenRequest(t, validForm("client-a", "any")))
	require.Equal(t, http.StatusServiceUnavailable, got.status)
	got = send(t, simulator, http.MethodGet, "/portal/faults", "")
	require.JSONEq(t, `{"faults":[{"kind":"status","status":503,"requests":1}]}`, got.body)

	got = send(t, simulator, http.MethodDelete, "/portal/faults", "")
	require.Equal(t, http.StatusNoContent, got.status, got.body)
	require.Empty(t, simulator.Faults())
}

func TestPortalFaultsRoundTrip(t *testing.T) {
	t.Parallel()

	tests := map[string]gbgsim.Fault{
		`{"kind":"hang","client_id":"client-a"}`:  {Kind: gbgsim.FaultHang, ClientID: "client-a"},
		`{"kind":"delay","delay":"1.5s"}`:         {Kind: gbgsim.FaultDelay, Delay: 1500 * time.Millisecond},
		`{"kind":"oversize","size":2048}`:         {Kind: gbgsim.FaultOversize, Size: 2048},
		`{"kind":"scope","scope":"gbg.less"}`:     {Kind: gbgsim.FaultScope, Scope: "gbg.less"},
		`{"kind":"expires_in"}`:                   {Kind: gbgsim.FaultExpiresIn},
		`{"kind":"expires_in","expires_in":null}`: {Kind: gbgsim.FaultExpiresIn, ExpiresIn: "null"},
		`{"kind":"expires_in","expires_in":0}`:    {Kind: gbgsim.FaultExpiresIn, ExpiresIn: "0"},
		`{"kind":"expires_in","expires_in":"1"}`:  {Kind: gbgsim.FaultExpiresIn, ExpiresIn: `"1"`},
		`{"kind":"close","endpoint":"identity"}`:  {Kind: gbgsim.FaultClose, Endpoint: gbgsim.EndpointIdentity},
		`{"kind":"expired_certificate"}`:          {Kind: gbgsim.FaultExpiredCertificate},
		`{"kind":"redirect","status":307,"location":"/a"}`: {
			Kind: gbgsim.FaultRedirect, Status: 307, Location: "/a",
		},
		`{"kind":"body","status":502,"body":"<p>","content_type":"text/html"}`: {
			Kind: gbgsim.FaultBody, Status: 502, Body: "<p>", ContentType: "text/html",
		},
		`{"kind":"status","status":429,"retry_after":"30","error":"slow_down","error_description":"Wait."}`: {
			Kind: gbgsim.FaultStatus, Status: 429, RetryAfter: "30", Error: "slow_down", ErrorDescription: "Wait.",
		},
		`{"kind":"status","status":503,"retry_after_date":"-30s","request_id":"r-1","gbg_error":{"code":"1","name":"n","location":"l","problem":"p","action":"a"}}`: {
			Kind: gbgsim.FaultStatus, Status: 503, RetryAfterDate: -30 * time.Second, RequestID: "r-1",
			GBGError: gbgsim.GBGError{Code: "1", Name: "n", Location: "l", Problem: "p", Action: "a"},
		},
	}
	for body, want := range tests {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			simulator := gbgsim.New(gbgsim.Options{})

			got := send(t, simulator, http.MethodPut, "/portal/faults", body)

			require.Equal(t, http.StatusOK, got.status, got.body)
			require.Equal(t, []gbgsim.Fault{want}, simulator.Faults())
			require.JSONEq(t, `{"faults":[`+body+`]}`, got.body)
		})
	}
}

func TestPortalRefusesFaults(t *testing.T) {
	t.Parallel()

	for body, want := range map[string]string{
		``:                                                      "not the JSON expected",
		`{}`:                                                    `kind "" is not one of status, `,
		`{"kind":"hang","delai":"1s"}`:                          `unknown field "delai"`,
		`{"kind":"delay","delay":"soon"}`:                       `delay "soon" is not a duration such as "1.5s"`,
		`{"kind":"delay","delay":1.5}`:                          "delay of type string",
		`{"kind":"delay","delay":"-1s"}`:                        "delay -1s is negative",
		`{"kind":"hang","requests":"two"}`:                      "requests of type int",
		`{"kind":"status","status":"500"}`:                      "status of type int",
		`{"kind":"hang","expires_in":0}`:                        "expires_in has no meaning",
		`{"kind":"status","status":99}`:                         "status 99 is not an error status",
		`{"kind":"hang"} {"kind":"hang"}`:                       "more than one JSON value",
		`[{"kind":"hang"}]`:                                     "not the JSON expected",
		`{"kind":"null_token","scope":"x"}`:                     "scope has no meaning",
		`{"kind":"hang","client_id":"\u0007"}`:                  "not printable ASCII",
		`{"kind":"status","status":429,"retry_after_date":"x"}`: `retry_after_date "x" is not a duration`,
	} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			simulator := gbgsim.New(gbgsim.Options{})

			got := send(t, simulator, http.MethodPut, "/portal/faults", body)

			require.Equal(t, http.StatusBadRequest, got.status, got.body)
			var refused struct {
				Error string `json:"error"`
			}
			got.decode(t, &refused)
			require.Contains(t, refused.Error, want)
			require.Empty(t, simulator.Faults())
		})
	}
}

func TestHelpListsEveryFault(t *testing.T) {
	t.Parallel()

	help := send(t, gbgsim.New(gbgsim.Options{}), http.MethodGet, "/", "").body

	for _, kind := range []gbgsim.FaultKind{
		gbgsim.FaultStatus, gbgsim.FaultBody, gbgsim.FaultNullToken, gbgsim.FaultRedirect, gbgsim.FaultClose,
		gbgsim.FaultReset, gbgsim.FaultDelay, gbgsim.FaultHang, gbgsim.FaultTruncate, gbgsim.FaultOversize,
		gbgsim.FaultExpiresIn, gbgsim.FaultScope, gbgsim.FaultExpiredCertificate, gbgsim.FaultUntrustedCertificate,
	} {
		require.Contains(t, help, "\n"+string(kind)+" ")
	}
	for _, method := range []string{"GET   ", "PUT   ", "DELETE"} {
		require.Contains(t, help, "\n"+method+" /portal/faults ")
	}
	require.Contains(t, help, "takes endpoint, client_id, delay, status, location\n")
}
