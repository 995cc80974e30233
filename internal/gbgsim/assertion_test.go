package gbgsim_test

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// idpTestURL is the URL of the IdP as requests in these tests have it.
const idpTestURL = "http://example.com" + gbgsim.IDPTokenPath

// assertionForm returns a request with an assertion.
func assertionForm(clientID, assertion string) url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID},
		"client_assertion_type": {gbgauth.AssertionType}, "client_assertion": {assertion},
	}
}

// assertionClaims returns valid claims.
func assertionClaims() jwt.Claims {
	now := time.Now()

	return jwt.Claims{
		Issuer: "idp-a", Subject: "idp-a", Audience: jwt.Audience{idpTestURL}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Minute)),
	}
}

func jwksOf(keys ...jose.JSONWebKey) (set gbgsim.IDPKeys) {
	for _, key := range keys {
		set.JWKS.Keys = append(set.JWKS.Keys, key.Public())
	}

	return set
}

func TestAssertionsAreAccepted(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	client := createIDPClient(t, simulator, "idp-a")
	first, second := newKey(t, jose.RS256), newKey(t, jose.ES256)
	require.NoError(t, simulator.SetIDPKeys(client.ID, jwksOf(first, second)))

	for _, key := range []jose.JSONWebKey{first, second} {
		granted := getTokenAt(t, simulator, gbgsim.IDPTokenPath, assertionForm(client.ID, sign(t, key, assertionClaims())))
		getTokenAt(t, simulator, gbgsim.IdentityTokenPath, exchangeForm(granted.AccessToken))
	}
	claims := assertionClaims()
	claims.Audience = jwt.Audience{gbgsim.IDPIssuer, "other"}
	getTokenAt(t, simulator, gbgsim.IDPTokenPath, assertionForm(client.ID, sign(t, first, claims)))

	require.Equal(t, http.StatusUnauthorized, do(t, simulator, formRequest(t, gbgsim.IDPTokenPath, idpForm(client))).status, "a secret is refused")
	require.NoError(t, simulator.SetIDPKeys(client.ID, gbgsim.IDPKeys{}))
	getTokenAt(t, simulator, gbgsim.IDPTokenPath, idpForm(client))
}

func TestAssertionsAreVerified(t *testing.T) {
	t.Parallel()
	key, other := newKey(t, jose.RS256), newKey(t, jose.RS256)
	other.KeyID = key.KeyID
	claims := func(change func(*jwt.Claims)) string {
		changed := assertionClaims()
		change(&changed)

		return sign(t, key, changed)
	}
	for name, test := range map[string]struct {
		assertion string
		why       string
	}{
		"another key":       {sign(t, other, assertionClaims()), "is not signed with a key that is registered for the client"},
		"an unknown kid":    {sign(t, newKey(t, jose.RS256), assertionClaims()), "is not signed with a key that is registered for the client"},
		"not a JWT":         {"x.y.z", "is not a JWT of type " + gbgauth.AssertionType},
		"another issuer":    {claims(func(c *jwt.Claims) { c.Issuer = "idp-b" }), "is not that of the client in iss, sub and client_id"},
		"another subject":   {claims(func(c *jwt.Claims) { c.Subject = "idp-b" }), "is not that of the client in iss, sub and client_id"},
		"another audience":  {claims(func(c *jwt.Claims) { c.Audience = jwt.Audience{"https://other.example/token"} }), "is for another audience"},
		"no exp":            {claims(func(c *jwt.Claims) { c.Expiry = nil }), "has expired"},
		"expired":           {claims(func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(time.Now().Add(-time.Second)) }), "has expired"},
		"exp too far ahead": {claims(func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(time.Now().Add(time.Hour)) }), "was issued in the future, or has an exp too far ahead"},
		"iat in the future": {claims(func(c *jwt.Claims) { c.IssuedAt = jwt.NewNumericDate(time.Now().Add(time.Minute)) }), "was issued in the future, or has an exp too far ahead"},
		"no jti":            {claims(func(c *jwt.Claims) { c.ID = "" }), "has no jti"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			simulator := gbgsim.New(gbgsim.Options{})
			createIDPClient(t, simulator, "idp-a")
			require.NoError(t, simulator.SetIDPKeys("idp-a", jwksOf(key)))

			got := do(t, simulator, formRequest(t, gbgsim.IDPTokenPath, assertionForm("idp-a", test.assertion)))

			require.Equal(t, http.StatusUnauthorized, got.status, got.body)
			var refused oauthError
			got.decode(t, &refused)
			require.Equal(t, oauthError{Error: "invalid_client", Description: "The client_assertion " + test.why + "."}, refused)
		})
	}
}

func TestAssertionsAreUsedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		simulator := gbgsim.New(gbgsim.Options{})
		createIDPClient(t, simulator, "idp-a")
		key := newKey(t, jose.ES256)
		require.NoError(t, simulator.SetIDPKeys("idp-a", jwksOf(key)))
		form := assertionForm("idp-a", sign(t, key, assertionClaims()))
		getTokenAt(t, simulator, gbgsim.IDPTokenPath, form)
		require.Contains(t, do(t, simulator, formRequest(t, gbgsim.IDPTokenPath, form)).body, "has been used before")
		time.Sleep(time.Minute)
		require.Contains(t, do(t, simulator, formRequest(t, gbgsim.IDPTokenPath, form)).body, "has expired")
	})
}

// A certificate is found by its thumbprint, whatever the kid.
func TestAssertionsOfACertificate(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	createIDPClient(t, simulator, "idp-a")
	key, err := gbgauth.NewKey(gbgauth.PS256, "idp-a", time.Now())
	require.NoError(t, err)
	body, err := json.Marshal(map[string]any{"certificates": []string{key.Certificate}})
	require.NoError(t, err)
	got := send(t, simulator, http.MethodPut, "/idp/clients/idp-a/keys", string(body))
	require.Equal(t, http.StatusNoContent, got.status, got.body)
	server := httptest.NewServer(simulator)
	t.Cleanup(server.Close)
	client, err := gbgauth.NewClient(gbgauth.ClientOptions{})
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	request := gbgauth.ClientCredentials{TokenURL: server.URL + gbgsim.IDPTokenPath, ClientID: "idp-a", Key: key, Audience: server.URL + gbgsim.IDPTokenPath}

	_, err = request.Fetch(t.Context(), client)

	require.NoError(t, err)
}

// Keys at a URL are fetched when an assertion names one that is not known yet.
func TestAssertionsOfAPublishedKey(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	createIDPClient(t, simulator, "idp-a")
	publisher := newIssuer(t)
	require.NoError(t, simulator.SetIDPKeys("idp-a", gbgsim.IDPKeys{JWKSURL: publisher.url}))
	for range 2 {
		key := publisher.publish(t, jose.ES256)
		getTokenAt(t, simulator, gbgsim.IDPTokenPath, assertionForm("idp-a", sign(t, key, assertionClaims())))
	}
	require.Equal(t, http.StatusUnauthorized,
		do(t, simulator, formRequest(t, gbgsim.IDPTokenPath, assertionForm("idp-a", sign(t, newKey(t, jose.ES256), assertionClaims())))).status)
}

func TestKeysAreChecked(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	createIDPClient(t, simulator, "idp-a")
	require.ErrorIs(t, simulator.SetIDPKeys("idp-b", gbgsim.IDPKeys{}), gbgsim.ErrUnknownClient)
	require.ErrorContains(t, simulator.SetIDPKeys("idp-a", gbgsim.IDPKeys{JWKS: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{newKey(t, jose.ES256)}}}), "not a public key")
	require.ErrorContains(t, simulator.SetIDPKeys("idp-a", gbgsim.IDPKeys{Certificates: []string{"x"}}), "not PEM")
	got := send(t, simulator, http.MethodPut, "/idp/clients/idp-b/keys", `{}`)
	require.Equal(t, http.StatusNotFound, got.status, got.body)

	// A client that is created again has no keys.
	require.NoError(t, simulator.SetIDPKeys("idp-a", jwksOf(newKey(t, jose.ES256))))
	require.NoError(t, simulator.DeleteIDPClient("idp-a"))
	getTokenAt(t, simulator, gbgsim.IDPTokenPath, idpForm(createIDPClient(t, simulator, "idp-a")))
}
