package gbgsim_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func TestAPIAcceptsValidToken(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	client := createClient(t, simulator, "client-a")
	granted := getToken(t, simulator, client.ID, client.Secret)

	for _, scheme := range []string{"Bearer ", "bearer ", "BEARER  "} {
		got := callAPI(t, simulator, scheme+granted.AccessToken)

		require.Equal(t, http.StatusOK, got.status, got.body)
		require.JSONEq(t, `{"client_id":"client-a","department":"Fraud","result":"ok"}`, got.body)
		require.NotEmpty(t, got.header.Get("X-Request-ID"))
	}
	require.Equal(t, gbgsim.CallCounts{Accepted: 3}, simulator.Stats().APICalls)
}

func TestAPIRefuses(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		// change happens after the token was issued.
		change func(t *testing.T, simulator *gbgsim.Simulator)
		// header stands for the Authorization header with the token.
		header  func(accessToken string) string
		status  int
		code    string
		name    string
		problem string
	}{
		"no header": {
			header: func(string) string { return "" },
			status: 401, code: "4011", name: "MISSING_TOKEN", problem: "no bearer token",
		},
		"another scheme": {
			header: func(accessToken string) string { return "Basic " + accessToken },
			status: 401, code: "4011", name: "MISSING_TOKEN", problem: "no bearer token",
		},
		"a scheme without a token": {
			header: func(string) string { return "Bearer " },
			status: 401, code: "4011", name: "MISSING_TOKEN", problem: "no bearer token",
		},
		"a token from elsewhere": {
			header: func(accessToken string) string { return "Bearer " + accessToken + "x" },
			status: 401, code: "4012", name: "UNKNOWN_TOKEN", problem: "not issued here",
		},
		"an expired token": {
			change: func(*testing.T, *gbgsim.Simulator) { time.Sleep(time.Hour) },
			status: 401, code: "4013", name: "EXPIRED_TOKEN", problem: "expired",
		},
		"a deleted client, another one in its place": {
			change: func(t *testing.T, simulator *gbgsim.Simulator) {
				t.Helper()
				require.NoError(t, simulator.DeleteClient("client-a"))
				createClient(t, simulator, "client-a")
			},
			status: 401, code: "4014", name: "DELETED_CLIENT", problem: "deleted",
		},
		"a client without the role": {
			change: func(t *testing.T, simulator *gbgsim.Simulator) {
				t.Helper()
				require.NoError(t, simulator.SetRoles("client-a", "Another Role"))
			},
			status: 403, code: "4031", name: "MISSING_ROLE", problem: gbgsim.RoleGoAPIAccess,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				simulator := gbgsim.New(gbgsim.Options{})
				client := createClient(t, simulator, "client-a")
				granted := getToken(t, simulator, client.ID, client.Secret)
				if test.change != nil {
					test.change(t, simulator)
				}
				header := "Bearer " + granted.AccessToken
				if test.header != nil {
					header = test.header(granted.AccessToken)
				}

				got := callAPI(t, simulator, header)

				require.Equal(t, test.status, got.status, got.body)
				require.NotEmpty(t, got.header.Get("X-Request-ID"))
				require.Equal(t, test.status == 401, got.header.Get("WWW-Authenticate") == "Bearer")
				var refused struct {
					Errors []struct {
						Code     string `json:"code"`
						Name     string `json:"name"`
						Location string `json:"location"`
						Problem  string `json:"problem"`
						Action   string `json:"action"`
					} `json:"errors"`
				}
				got.decode(t, &refused)
				require.Len(t, refused.Errors, 1)
				require.Equal(t, test.code, refused.Errors[0].Code)
				require.Equal(t, test.name, refused.Errors[0].Name)
				require.Equal(t, "Authorization", refused.Errors[0].Location)
				require.Contains(t, refused.Errors[0].Problem, test.problem)
				require.NotEmpty(t, refused.Errors[0].Action)
				require.NotContains(t, got.body, granted.AccessToken)
				require.Equal(t, gbgsim.CallCounts{Refused: 1}, simulator.Stats().APICalls)
			})
		})
	}
}
