package gbgauth_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

const fakeAudience = "https://idp.fake/token"

// withKey returns a request of a client that has a key.
func withKey(tokenURL string, key gbgauth.Key) gbgauth.ClientCredentials {
	return gbgauth.ClientCredentials{
		TokenURL: tokenURL, ClientID: fakeID, Key: key, Audience: fakeAudience, Scope: "api", IdentityProvider: true,
	}
}

func TestClientAssertion(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{gbgauth.RS256, gbgauth.PS256, gbgauth.ES256} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			requests := make(chan receivedRequest, 10)
			key := newKey(t, algorithm)
			public := publicKey(t, key)
			client, err := gbgauth.NewClient(gbgauth.ClientOptions{Now: func() time.Time { return keyNow }})
			require.NoError(t, err)
			t.Cleanup(client.CloseIdleConnections)
			request := withKey(serve(t, recordRequests(requests)), key)
			ids := map[string]bool{}
			for range 3 {
				_, err := request.Fetch(t.Context(), client)
				require.NoError(t, err)
				got := <-requests
				require.Empty(t, got.header.Get("Authorization"))
				form, err := url.ParseQuery(got.body)
				require.NoError(t, err)
				assertion := form.Get("client_assertion")
				form.Del("client_assertion")
				require.Equal(t, url.Values{
					"grant_type": {"client_credentials"}, "client_id": {fakeID}, "scope": {"api"},
					"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
				}, form)

				parsed, err := jwt.ParseSigned(assertion, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
				require.NoError(t, err)
				header := parsed.Headers[0]
				require.Equal(t, public.ID, header.KeyID)
				require.Equal(t, "JWT", header.ExtraHeaders["typ"])
				require.Equal(t, public.X5T, header.ExtraHeaders["x5t"])
				require.Equal(t, public.X5TS256, header.ExtraHeaders["x5t#S256"])
				var claims map[string]any
				require.NoError(t, parsed.Claims(public.JWK.Key, &claims))
				id := claims["jti"].(string)
				require.GreaterOrEqual(t, len(id), 20)
				require.False(t, ids[id], "every request has an assertion of its own")
				ids[id] = true
				delete(claims, "jti")
				require.Equal(t, map[string]any{
					"iss": fakeID, "sub": fakeID, "aud": fakeAudience,
					"iat": float64(keyNow.Unix()), "exp": float64(keyNow.Unix() + 60),
				}, claims)
			}
		})
	}
}

// A server that quotes the assertion in its error does not disclose it.
func TestClientAssertionIsRedacted(t *testing.T) {
	t.Parallel()
	request := withKey(serve(t, func(w http.ResponseWriter, r *http.Request) {
		respond(http.StatusUnauthorized, "application/json",
			`{"error":"invalid_client","error_description":"not accepted: `+r.PostFormValue("client_assertion")+`"}`)(w, r)
	}), newKey(t, gbgauth.ES256))
	failed := fetchError(t, request)
	require.Equal(t, gbgauth.RefusedClient, failed.Kind)
	require.Equal(t, "not accepted: [redacted]", failed.Description)
}

func TestClientAssertionClock(t *testing.T) {
	t.Parallel()
	for offset, note := range map[time.Duration]string{
		0:                "",
		10 * time.Second: "",
		-time.Minute:     " (the endpoint's clock is 1m0s behind this host's: assertions are valid for 1m0s)",
		90 * time.Second: " (the endpoint's clock is 1m30s ahead of this host's: assertions are valid for 1m0s)",
	} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", keyNow.Add(offset).Format(http.TimeFormat))
			respond(http.StatusUnauthorized, "application/json", `{"error":"invalid_client","error_description":"no"}`)(w, r)
		})
		client, err := gbgauth.NewClient(gbgauth.ClientOptions{Now: func() time.Time { return keyNow.Truncate(time.Second) }})
		require.NoError(t, err)
		t.Cleanup(client.CloseIdleConnections)
		_, err = withKey(url, newKey(t, gbgauth.ES256)).Fetch(t.Context(), client)
		require.Equal(t, "no"+note, asError(t, err).Description)
		_, err = clientCredentials(url).Fetch(t.Context(), client)
		require.Equal(t, "no", asError(t, err).Description, "a secret does not depend on clocks")
	}
}

func TestClientAssertionOfADamagedKey(t *testing.T) {
	t.Parallel()
	key := newKey(t, gbgauth.ES256)
	key.Private = gbgauth.NewSecret("fake-private-key")
	failed := fetchError(t, withKey("http://127.0.0.1:1", key))
	require.Equal(t, gbgauth.NotSent, failed.Kind)
	require.Equal(t, "the client assertion could not be signed: the private key cannot be read", failed.Description)
}
