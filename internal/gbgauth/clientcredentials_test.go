package gbgauth_test

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

func TestClientCredentialsForm(t *testing.T) {
	t.Parallel()

	const odd = "fäke+/=&%; \"s\"\\x"
	cases := []struct {
		name              string
		id, secret, scope string
		want              string
	}{
		{
			name: "as GBG GO documents it",
			id:   fakeID, secret: fakeSecret, scope: "gbg.token",
			want: "client_id=fake-client-a&client_secret=fake-secret-0001&grant_type=client_credentials&scope=gbg.token",
		},
		{
			name: "no scope",
			id:   fakeID, secret: fakeSecret, scope: "",
			want: "client_id=fake-client-a&client_secret=fake-secret-0001&grant_type=client_credentials",
		},
		{
			name: "a scope of only spaces",
			id:   fakeID, secret: fakeSecret, scope: " \t",
			want: "client_id=fake-client-a&client_secret=fake-secret-0001&grant_type=client_credentials",
		},
		{
			name: "several scopes, one space between",
			id:   fakeID, secret: fakeSecret, scope: " gbg.token  offline_access ",
			want: "client_id=fake-client-a&client_secret=fake-secret-0001&grant_type=client_credentials" +
				"&scope=gbg.token+offline_access",
		},
		{
			name: "odd characters",
			id:   "fake&client=a", secret: odd, scope: "api://fake/.default",
			want: "client_id=fake%26client%3Da&client_secret=f%C3%A4ke%2B%2F%3D%26%25%3B+%22s%22%5Cx" +
				"&grant_type=client_credentials&scope=api%3A%2F%2Ffake%2F.default",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			requests := make(chan receivedRequest, 10)
			_, err := fetch(t, gbgauth.ClientCredentials{
				TokenURL:     serve(t, recordRequests(requests)),
				ClientID:     c.id,
				ClientSecret: gbgauth.NewSecret(c.secret),
				Scope:        c.scope,
			})
			require.NoError(t, err)

			require.Len(t, requests, 1, "the request is sent once")
			got := <-requests
			require.NoError(t, got.err)
			require.Equal(t, http.MethodPost, got.method)
			require.Equal(t, tokenPath, got.uri)
			require.Equal(t, c.want, got.body)
			require.Equal(t, "application/x-www-form-urlencoded", got.header.Get("Content-Type"))
			require.Equal(t, "application/json", got.header.Get("Accept"))
			require.Equal(t,
				[]string{"Accept", "Accept-Encoding", "Content-Length", "Content-Type", "User-Agent"},
				slices.Sorted(maps.Keys(got.header)), "above all no Authorization")

			form, err := url.ParseQuery(got.body)
			require.NoError(t, err)
			require.Equal(t, []string{c.secret}, form["client_secret"])
			require.Equal(t, []string{c.id}, form["client_id"])
		})
	}
}

func TestTokenURLPathAndQuery(t *testing.T) {
	t.Parallel()
	requests := make(chan receivedRequest, 10)
	server := newServer(t, recordRequests(requests))
	server.Start()

	const uri = "/realms/fake%20realm/protocol/openid-connect/token?tenant=fake"
	_, err := fetch(t, clientCredentials(server.URL+uri))
	require.NoError(t, err)
	require.Equal(t, uri, (<-requests).uri)
}

func TestClientCredentialsEqual(t *testing.T) {
	t.Parallel()
	one, other := clientCredentials("https://fake.example/token"), clientCredentials("https://fake.example/token")
	require.True(t, one == other)

	other.ClientSecret = gbgauth.NewSecret("fake-secret-0002")
	require.False(t, one == other)
}

// RFC 6749 section 2.3.1: the id and the secret are form-encoded before they are
// joined, so that a colon in the id does not end it.
func TestClientCredentialsBasicAuth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ id, secret, want string }{
		{fakeID, fakeSecret, "fake-client-a:fake-secret-0001"},
		{"fake:client a", "fäke+/=&%:", "fake%3Aclient+a:f%C3%A4ke%2B%2F%3D%26%25%3A"},
	} {
		requests := make(chan receivedRequest, 10)
		request := clientCredentials(serve(t, recordRequests(requests)))
		request.ClientID, request.ClientSecret, request.BasicAuth = c.id, gbgauth.NewSecret(c.secret), true
		_, err := fetch(t, request)
		require.NoError(t, err)

		got := <-requests
		require.Equal(t, "Basic "+base64.StdEncoding.EncodeToString([]byte(c.want)), got.header.Get("Authorization"))
		require.Equal(t, "grant_type=client_credentials&scope=gbg.token", got.body)
	}
}

// A server that quotes the header in its error does not disclose the secret.
func TestClientCredentialsBasicAuthIsRedacted(t *testing.T) {
	t.Parallel()
	request := clientCredentials(serve(t, func(w http.ResponseWriter, r *http.Request) {
		respond(http.StatusUnauthorized, "application/json",
			`{"error":"invalid_client","error_description":"not accepted: `+r.Header.Get("Authorization")+`"}`)(w, r)
	}))
	request.BasicAuth = true
	failed := fetchError(t, request)
	require.Equal(t, gbgauth.RefusedClient, failed.Kind)
	require.Equal(t, "not accepted: Basic [redacted]", failed.Description)
}

func TestClientCredentialsParams(t *testing.T) {
	t.Parallel()
	requests := make(chan receivedRequest, 10)
	request := clientCredentials(serve(t, recordRequests(requests)))
	request.Params = gbgauth.EncodeParams(map[string]string{
		"resource": "", "audience": "https://fake.example/?a=b&c", "scope": "other", "client_id": "other", "grant_type": "other",
	})
	_, err := fetch(t, request)
	require.NoError(t, err)
	require.Equal(t, "audience=https%3A%2F%2Ffake.example%2F%3Fa%3Db%26c&client_id=fake-client-a&client_secret=fake-secret-0001"+
		"&grant_type=client_credentials&resource=&scope=gbg.token", (<-requests).body)

	require.Empty(t, gbgauth.EncodeParams(nil))
	require.Equal(t, gbgauth.EncodeParams(map[string]string{"a": "1", "b": "2"}), gbgauth.EncodeParams(map[string]string{"b": "2", "a": "1"}))
	require.Equal(t, map[string]string{"a": "1 &=", "b": ""}, gbgauth.DecodeParams(gbgauth.EncodeParams(map[string]string{"a": "1 &=", "b": ""})))
}
