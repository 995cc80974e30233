package gbgsim_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func TestIDTokenIsSignedWithPublishedKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		simulator := gbgsim.New(gbgsim.Options{IDPTokenLifetime: 9 * time.Second})

		var keys jose.JSONWebKeySet
		got := send(t, simulator, http.MethodGet, "/idp/jwks", "")
		require.Equal(t, http.StatusOK, got.status, got.body)
		got.decode(t, &keys)
		require.Len(t, keys.Keys, 1)
		require.True(t, keys.Keys[0].IsPublic())

		var ids []string
		for range 2 {
			idToken, err := simulator.IDToken("alice")
			require.NoError(t, err)
			signed, err := jwt.ParseSigned(idToken, []jose.SignatureAlgorithm{jose.ES256})
			require.NoError(t, err)
			require.Equal(t, keys.Keys[0].KeyID, signed.Headers[0].KeyID)
			var claims jwt.Claims
			require.NoError(t, signed.Claims(keys, &claims))
			require.NotEmpty(t, claims.ID)
			ids = append(ids, claims.ID)
			claims.ID = ""
			require.Equal(t, jwt.Claims{
				Issuer:   gbgsim.IDPIssuer,
				Subject:  "alice",
				Audience: jwt.Audience{"gbg-simulator-application"},
				IssuedAt: jwt.NewNumericDate(time.Now()),
				Expiry:   jwt.NewNumericDate(time.Now().Add(9 * time.Second)),
			}, claims)
		}
		require.NotEqual(t, ids[0], ids[1])
	})
}

func TestIdentityExchangesIDTokenOfPerson(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		simulator := gbgsim.New(gbgsim.Options{IDPTokenLifetime: 9 * time.Second})
		got := send(t, simulator, http.MethodPost, "/idp/login", `{"subject":"alice"}`)
		require.Equal(t, http.StatusOK, got.status, got.body)
		var signedOn struct {
			IDToken string `json:"id_token"`
		}
		got.decode(t, &signedOn)

		time.Sleep(9*time.Second - time.Nanosecond)
		granted := getTokenAt(t, simulator, gbgsim.IdentityTokenPath, exchangeForm(signedOn.IDToken))
		require.Equal(t, 3600, granted.ExpiresIn)
		subject, ok := simulator.TokenClient(granted.AccessToken)
		require.True(t, ok)
		require.Equal(t, "alice", subject)
		require.Equal(t, http.StatusOK, callAPI(t, simulator, "Bearer "+granted.AccessToken).status)

		time.Sleep(time.Nanosecond)
		requireRefusedIDToken(t, simulator, signedOn.IDToken, "The id_token has expired.")
	})
}

func TestIDTokenNeedsASubject(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})

	_, err := simulator.IDToken("")
	require.EqualError(t, err, "subject is missing")
	for body, want := range map[string]string{`{}`: "subject is missing", ``: "not the JSON expected"} {
		got := send(t, simulator, http.MethodPost, "/idp/login", body)
		require.Equal(t, http.StatusBadRequest, got.status, got.body)
		require.Contains(t, got.body, want)
	}
}

// Each simulator has its own IdP.
func TestIDTokenOfAnotherSimulatorIsRefused(t *testing.T) {
	t.Parallel()
	idToken, err := gbgsim.New(gbgsim.Options{}).IDToken("alice")
	require.NoError(t, err)

	requireRefusedIDToken(t, gbgsim.New(gbgsim.Options{}), idToken,
		"The id_token cannot be verified with the keys that its issuer publishes.")
}

// requireRefusedIDToken requires an exchange to fail with a description.
func requireRefusedIDToken(t *testing.T, simulator *gbgsim.Simulator, idToken, description string) {
	t.Helper()
	got := do(t, simulator, formRequest(t, gbgsim.IdentityTokenPath, exchangeForm(idToken)))
	require.Equal(t, http.StatusBadRequest, got.status, got.body)
	var refused oauthError
	got.decode(t, &refused)
	require.Equal(t, oauthError{Error: "invalid_grant", Description: description}, refused)
}
