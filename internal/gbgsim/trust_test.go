package gbgsim_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

const otherIssuer = "https://idp.example"

func TestTokensOfTrustedIssuerAreExchanged(t *testing.T) {
	t.Parallel()

	for _, algorithm := range []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA} {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			simulator := gbgsim.New(gbgsim.Options{})
			other := newIssuer(t)
			idToken := sign(t, other.publish(t, algorithm), validClaims())
			requireRefusedIDToken(t, simulator, idToken, "The id_token is of an issuer that is not trusted here.")
			require.NoError(t, simulator.TrustIssuer(otherIssuer, other.url))

			granted := getTokenAt(t, simulator, gbgsim.IdentityTokenPath, exchangeForm(idToken))

			subject, ok := simulator.TokenClient(granted.AccessToken)
			require.True(t, ok)
			require.Equal(t, "app-1", subject)
			require.Equal(t, http.StatusOK, callAPI(t, simulator, "Bearer "+granted.AccessToken).status)

			idToken, err := simulator.IDToken("alice")
			require.NoError(t, err)
			getTokenAt(t, simulator, gbgsim.IdentityTokenPath, exchangeForm(idToken))
		})
	}
}

func TestTokensOfTrustedIssuerAreVerified(t *testing.T) {
	t.Parallel()

	claims := func(change func(*jwt.Claims)) jwt.Claims {
		changed := validClaims()
		change(&changed)

		return changed
	}
	// forge replaces one of the three parts of a JWT.
	forge := func(token string, part int, content string) string {
		parts := strings.Split(token, ".")
		parts[part] = base64.RawURLEncoding.EncodeToString([]byte(content))

		return strings.Join(parts, ".")
	}
	const (
		foreign    = "The id_token was not issued here."
		untrusted  = "The id_token is of an issuer that is not trusted here."
		unverified = "The id_token cannot be verified with the keys that its issuer publishes."
	)
	tests := map[string]struct {
		idToken     func(t *testing.T, key jose.JSONWebKey) string
		description string
	}{
		"no issuer": {
			func(t *testing.T, key jose.JSONWebKey) string {
				t.Helper()

				return sign(t, key, claims(func(c *jwt.Claims) { c.Issuer = "" }))
			}, untrusted,
		},
		"an issuer that looks alike": {
			func(t *testing.T, key jose.JSONWebKey) string {
				t.Helper()

				return sign(t, key, claims(func(c *jwt.Claims) { c.Issuer += "/" }))
			}, untrusted,
		},
		"the key of one issuer in the name of another": {
			func(t *testing.T, key jose.JSONWebKey) string {
				t.Helper()

				return sign(t, key, claims(func(c *jwt.Claims) { c.Issuer = gbgsim.IDPIssuer }))
			}, unverified,
		},
		"a key that is not published": {
			func(t *testing.T, _ jose.JSONWebKey) string {
				t.Helper()

				return sign(t, newKey(t, jose.ES256), validClaims())
			}, unverified,
		},
		"a key that pretends to be the published one": {
			func(t *testing.T, key jose.JSONWebKey) string {
				t.Helper()
				forged := newKey(t, jose.ES256)
				forged.KeyID = key.KeyID

				return sign(t, forged, validClaims())
			}, unverified,
		},
		"claims that were not signed": {
			func(t *testing.T, key jose.JSONWebKey) string {
				t.Helper()

				return forge(sign(t, key, validClaims()), 1, `{"iss":"`+otherIssuer+`","sub":"root","exp":99999999999}`)
			}, unverified,
		},
		"claims that are none": {
			func(t *testing.T, key jose.JSONWebKey) string {
				t.Helper()

				return forge(sign(t, key, validClaims()), 1, `"alice"`)
			}, foreign,
		},
		"no signature": {
			func(t *testing.T, key jose.JSONWebKey) string {
				t.Helper()

				return forge(forge(sign(t, key, validClaims()), 0, `{"alg":"none"}`), 2, "")
			}, foreign,
		},
		"a shared secret": {
			func(t *testing.T, _ jose.JSONWebKey) string {
				t.Helper()

				return sign(t, jose.JSONWebKey{Key: make([]byte, 32), Algorithm: string(jose.HS256)}, validClaims())
			}, foreign,
		},
		"an exp in the past": {
			func(t *testing.T, key jose.JSONWebKey) string {
				t.Helper()

				return sign(t, key, claims(func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(time.Now().Add(-time.Minute)) }))
			}, "The id_token has expired.",
		},
		"no exp": {
			func(t *testing.T, key jose.JSONWebKey) string {
				t.Helper()

				return sign(t, key, claims(func(c *jwt.Claims) { c.Expiry = nil }))
			}, "The id_token has expired.",
		},
		"no sub": {
			func(t *testing.T, key jose.JSONWebKey) string {
				t.Helper()

				return sign(t, key, claims(func(c *jwt.Claims) { c.Subject = "" }))
			}, "The id_token has no subject.",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			simulator := gbgsim.New(gbgsim.Options{})
			other := newIssuer(t)
			key := other.publish(t, jose.ES256)
			require.NoError(t, simulator.TrustIssuer(otherIssuer, other.url))

			requireRefusedIDToken(t, simulator, test.idToken(t, key), test.description)
		})
	}
}

func TestTrustedIssuerIsUnreachable(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	other := newIssuer(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	idToken := sign(t, other.publish(t, jose.ES256), validClaims())
	require.NoError(t, simulator.TrustIssuer(otherIssuer, gone.URL), "its keys are not fetched yet")

	requireRefusedIDToken(t, simulator, idToken, "The id_token cannot be verified with the keys that its issuer publishes.")

	require.NoError(t, simulator.TrustIssuer(otherIssuer, other.url))
	getTokenAt(t, simulator, gbgsim.IdentityTokenPath, exchangeForm(idToken))
}

func TestPortalTrust(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	other := newIssuer(t)
	idToken := sign(t, other.publish(t, jose.ES256), validClaims())

	for body, want := range map[string]string{
		``: "not the JSON expected",
		`{"jwks_url":"https://idp.example/jwks"}`:                                              "issuer is missing",
		`{"issuer":"` + gbgsim.IDPIssuer + `","jwks_url":"` + other.url + `"}`:                 "is the simulator's own",
		`{"issuer":"` + otherIssuer + `"}`:                                                     "is not a URL with http or https",
		`{"issuer":"` + otherIssuer + `","jwks_url":"/jwks"}`:                                  "is not a URL with http or https",
		`{"issuer":"` + otherIssuer + `","jwks_url":"file:///jwks"}`:                           "is not a URL with http or https",
		`{"issuer":"` + otherIssuer + `","jwks_url":"ftp://idp.example/jwks"}`:                 "is not a URL with http or https",
		`{"issuer":"` + otherIssuer + `","jwks_url":"https://idp.example/%"}`:                  "is not a URL with http or https",
		`{"issuer":"` + otherIssuer + `","jwks_url":"https://idp.example/","audience":"none"}`: "unknown field",
	} {
		got := send(t, simulator, http.MethodPut, "/idp/trust", body)
		require.Equal(t, http.StatusBadRequest, got.status, body)
		require.Contains(t, got.body, want, body)
	}
	requireRefusedIDToken(t, simulator, idToken, "The id_token is of an issuer that is not trusted here.")

	got := send(t, simulator, http.MethodPut, "/idp/trust", `{"issuer":"`+otherIssuer+`","jwks_url":"`+other.url+`"}`)
	require.Equal(t, http.StatusNoContent, got.status, got.body)
	getTokenAt(t, simulator, gbgsim.IdentityTokenPath, exchangeForm(idToken))
}

// This test is for the race detector.
func TestConcurrentTrust(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	other := newIssuer(t)
	idToken := sign(t, other.publish(t, jose.ES256), validClaims())
	require.NoError(t, simulator.TrustIssuer(otherIssuer, other.url))

	const callers = 8
	errs := make([]error, callers)
	var group sync.WaitGroup
	for caller := range callers {
		request := formRequest(t, gbgsim.IdentityTokenPath, exchangeForm(idToken))
		group.Go(func() {
			errs[caller] = simulator.TrustIssuer(otherIssuer, other.url)
			_, err := simulator.IDToken("alice")
			if err != nil {
				errs[caller] = err
			}
			simulator.ServeHTTP(httptest.NewRecorder(), request)
		})
	}
	group.Wait()

	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Equal(t, gbgsim.RequestCounts{Total: callers, Issued: callers}, simulator.Stats().Identity.TokenRequests)
}
