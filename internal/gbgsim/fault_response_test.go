package gbgsim_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// The possible counts of a request with a fault.
var (
	faultedOnly    = gbgsim.RequestCounts{Total: 1, Faulted: 1}
	faultedIssued  = gbgsim.RequestCounts{Total: 1, Faulted: 1, Issued: 1}
	faultedRefused = gbgsim.RequestCounts{Total: 1, Faulted: 1, Refused: 1}
)

func TestFaultResponses(t *testing.T) {
	t.Parallel()

	gbgError := gbgsim.GBGError{Code: "5001", Name: "DOWN", Location: "Service", Problem: "It is down.", Action: "Wait."}
	type check = func(t *testing.T, got result, err error)
	header := func(name, value string, next check) check {
		return func(t *testing.T, got result, err error) {
			t.Helper()
			require.Equal(t, value, got.header.Get(name), name)
			next(t, got, err)
		}
	}
	status := func(status int, contentType, body string) check {
		return func(t *testing.T, got result, err error) {
			t.Helper()
			require.NoError(t, err)
			require.Equal(t, status, got.status)
			require.Equal(t, contentType, got.header.Get("Content-Type"))
			require.Equal(t, "no-store", got.header.Get("Cache-Control"))
			require.Equal(t, body, strings.TrimSpace(got.body))
		}
	}
	failure := func(want error) check {
		return func(t *testing.T, _ result, err error) {
			t.Helper()
			require.ErrorIs(t, err, want)
		}
	}
	// token checks a response with a token. expiresIn and scope are JSON; empty
	// means absent.
	token := func(expiresIn, scope string) check {
		return func(t *testing.T, got result, err error) {
			t.Helper()
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, got.status)
			var members map[string]json.RawMessage
			got.decode(t, &members)
			require.Contains(t, string(members["access_token"]), gbgsim.TokenPrefix)
			require.Equal(t, `"Bearer"`, string(members["token_type"]))
			require.Equal(t, expiresIn, string(members["expires_in"]))
			require.Equal(t, scope, string(members["scope"]))
		}
	}
	size := func(size int) check {
		return func(t *testing.T, got result, err error) {
			t.Helper()
			require.Len(t, got.body, size)
			token("3600", "")(t, got, err)
		}
	}
	const (
		html   = "text/html; charset=utf-8"
		plain  = "text/plain; charset=utf-8"
		asJSON = "application/json"
		login  = "<!DOCTYPE html><title>Sign in</title>"
	)

	tests := map[string]struct {
		fault gbgsim.Fault
		// secret replaces the valid secret, unless empty.
		secret string
		counts gbgsim.RequestCounts
		check  check
	}{
		"500 in HTML": {
			fault:  gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 500},
			counts: faultedOnly,
			check:  status(500, html, "<html><body><h1>500 Internal Server Error</h1></body></html>"),
		},
		"429 with Retry-After in seconds": {
			fault:  gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 429, RetryAfter: "30", Error: "slow_down"},
			counts: faultedOnly,
			check:  header("Retry-After", "30", status(429, asJSON, `{"error":"slow_down"}`)),
		},
		"401 invalid_client": {
			fault: gbgsim.Fault{
				Kind: gbgsim.FaultStatus, Status: 401, Error: "invalid_client", ErrorDescription: "Locked.", RequestID: "r-1",
			},
			counts: faultedOnly,
			check:  header("X-Request-ID", "r-1", status(401, asJSON, `{"error":"invalid_client","error_description":"Locked."}`)),
		},
		"400 invalid_scope": {
			fault:  gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 400, Error: "invalid_scope"},
			counts: faultedOnly,
			check:  header("X-Request-ID", "", status(400, asJSON, `{"error":"invalid_scope"}`)),
		},
		"GBG's error format": {
			fault:  gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, GBGError: gbgError, RequestID: "r-2"},
			counts: faultedOnly,
			check: header("X-Request-ID", "r-2", status(503, asJSON, `{"errors":[{"code":"5001","name":"DOWN",`+
				`"location":"Service","problem":"It is down.","action":"Wait."}]}`)),
		},
		"GBG's error format with a generated request id": {
			fault:  gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, GBGError: gbgError},
			counts: faultedOnly,
			check: func(t *testing.T, got result, err error) {
				t.Helper()
				require.NoError(t, err)
				require.NotEmpty(t, got.header.Get("X-Request-ID"))
			},
		},
		"HTML instead of JSON": {
			fault:  gbgsim.Fault{Kind: gbgsim.FaultBody, Body: login},
			counts: faultedOnly,
			check:  status(200, html, login),
		},
		"empty": {
			fault:  gbgsim.Fault{Kind: gbgsim.FaultBody},
			counts: faultedOnly,
			check:  status(200, "", ""),
		},
		"JSON body": {
			fault:  gbgsim.Fault{Kind: gbgsim.FaultBody, Status: 400, Body: `{"error":5}`, ContentType: asJSON},
			counts: faultedOnly,
			check:  status(400, asJSON, `{"error":5}`),
		},
		"plain text": {
			fault:  gbgsim.Fault{Kind: gbgsim.FaultBody, Status: 502, Body: "upstream"},
			counts: faultedOnly,
			check:  status(502, plain, "upstream"),
		},
		"null token": {
			fault:  gbgsim.Fault{Kind: gbgsim.FaultNullToken},
			counts: faultedOnly,
			check:  status(200, asJSON, `{"access_token":null,"expires_in":null,"token_type":null}`),
		},
		"redirect": {
			fault:  gbgsim.Fault{Kind: gbgsim.FaultRedirect, Location: "https://192.0.2.1/login?a=b"},
			counts: faultedOnly,
			check:  header("Location", "https://192.0.2.1/login?a=b", status(302, "", "")),
		},
		"redirect that keeps the method": {
			fault:  gbgsim.Fault{Kind: gbgsim.FaultRedirect, Status: 307, Location: "/elsewhere"},
			counts: faultedOnly,
			check:  header("Location", "/elsewhere", status(307, "", "")),
		},
		"closed":                   {fault: gbgsim.Fault{Kind: gbgsim.FaultClose}, counts: faultedOnly, check: failure(io.EOF)},
		"reset":                    {fault: gbgsim.Fault{Kind: gbgsim.FaultReset}, counts: faultedOnly, check: failure(syscall.ECONNRESET)},
		"truncated":                {fault: gbgsim.Fault{Kind: gbgsim.FaultTruncate}, counts: faultedIssued, check: failure(io.ErrUnexpectedEOF)},
		"truncated error response": {fault: gbgsim.Fault{Kind: gbgsim.FaultTruncate}, secret: "wrong", counts: faultedRefused, check: failure(io.ErrUnexpectedEOF)},
		"oversize":                 {fault: gbgsim.Fault{Kind: gbgsim.FaultOversize}, counts: faultedIssued, check: size(1<<20 + 1)},
		"largest accepted size":    {fault: gbgsim.Fault{Kind: gbgsim.FaultOversize, Size: 1 << 20}, counts: faultedIssued, check: size(1 << 20)},
		"expires_in is missing":    {fault: gbgsim.Fault{Kind: gbgsim.FaultExpiresIn}, counts: faultedIssued, check: token("", "")},
		"expires_in is null":       {fault: gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, ExpiresIn: "null"}, counts: faultedIssued, check: token("null", "")},
		"expires_in is zero":       {fault: gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, ExpiresIn: "0"}, counts: faultedIssued, check: token("0", "")},
		"expires_in is negative":   {fault: gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, ExpiresIn: "-1"}, counts: faultedIssued, check: token("-1", "")},
		"expires_in is no number":  {fault: gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, ExpiresIn: `"soon"`}, counts: faultedIssued, check: token(`"soon"`, "")},
		"expires_in is a string":   {fault: gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, ExpiresIn: `"300"`}, counts: faultedIssued, check: token(`"300"`, "")},
		"expires_in is absurd":     {fault: gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, ExpiresIn: "1e400"}, counts: faultedIssued, check: token("1e400", "")},
		"expires_in is any number": {fault: gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, ExpiresIn: "42"}, counts: faultedIssued, check: token("42", "")},
		"scope":                    {fault: gbgsim.Fault{Kind: gbgsim.FaultScope, Scope: "gbg.less"}, counts: faultedIssued, check: token("3600", `"gbg.less"`)},
		"error response with a fault for tokens": {
			fault:  gbgsim.Fault{Kind: gbgsim.FaultExpiresIn},
			secret: "wrong",
			counts: faultedRefused,
			check:  status(401, asJSON, `{"error":"invalid_client","error_description":"Invalid client or client credentials."}`),
		},
	}
	for name, test := range tests {
		for _, secure := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " over TLS"}[secure], func(t *testing.T) {
				t.Parallel()
				simulator := gbgsim.New(gbgsim.Options{})
				client := createClient(t, simulator, "client-a")
				address, httpClient := startServer(t, simulator, secure)
				form := validForm(client.ID, client.Secret)
				if test.secret != "" {
					form.Set("client_secret", test.secret)
				}
				fault := test.fault
				fault.Requests = 1
				require.NoError(t, simulator.SetFault(fault))

				got, err := post(t, httpClient, address, form)

				test.check(t, got, err)
				require.Equal(t, test.counts, simulator.Stats().TokenRequests)
				require.Equal(t, test.counts, simulator.Stats().ByClient[client.ID])
				require.Empty(t, simulator.Faults())
				got, err = post(t, httpClient, address, validForm(client.ID, client.Secret))
				token("3600", "")(t, got, err)
			})
		}
	}
}

func TestRetryAfterDateIsRelativeToResponse(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		date time.Duration
		want string
	}{
		"ahead":       {90 * time.Second, "Sat, 01 Jan 2000 00:02:30 GMT"},
		"in the past": {-time.Minute, "Sat, 01 Jan 2000 00:00:00 GMT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				simulator := gbgsim.New(gbgsim.Options{})
				fault := gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusServiceUnavailable, RetryAfterDate: test.date, Delay: time.Minute}
				require.NoError(t, simulator.SetFault(fault))

				got := do(t, simulator, tokenRequest(t, validForm("client-a", "any")))

				require.Equal(t, http.StatusServiceUnavailable, got.status)
				require.Equal(t, test.want, got.header.Get("Retry-After"))
			})
		})
	}
}

// The fault changes only expires_in: the token expires at the usual time.
func TestExpiresInFaultKeepsLifetime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		simulator := gbgsim.New(gbgsim.Options{})
		client := createClient(t, simulator, "client-a")
		require.NoError(t, simulator.SetFault(gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, ExpiresIn: strconv.Itoa(24 * 3600)}))
		granted := getToken(t, simulator, client.ID, client.Secret)
		require.Equal(t, 24*3600, granted.ExpiresIn)

		require.Equal(t, http.StatusOK, callAPI(t, simulator, "Bearer "+granted.AccessToken).status)
		time.Sleep(time.Hour)
		require.Equal(t, http.StatusUnauthorized, callAPI(t, simulator, "Bearer "+granted.AccessToken).status)
	})
}

// A ResponseWriter without a connection can only be aborted.
func TestResetWithoutConnection(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	require.NoError(t, simulator.SetFault(gbgsim.Fault{Kind: gbgsim.FaultReset}))

	require.PanicsWithValue(t, http.ErrAbortHandler, func() {
		do(t, simulator, tokenRequest(t, validForm("client-a", "any")))
	})
}
