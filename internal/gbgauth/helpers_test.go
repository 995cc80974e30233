package gbgauth_test

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

const (
	fakeID     = "fake-client-a"
	fakeSecret = "fake-secret-0001"
	fakeToken  = "fake-token-0001"
	tokenPath  = "/as/token.oauth2"

	tokenResponse = `{"access_token":"` + fakeToken + `","token_type":"Bearer","expires_in":3600}`
)

// newServer returns a server that is not started. It is closed when the test ends, and
// does not log.
func newServer(t *testing.T, handler http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(server.Close)

	return server
}

// serve starts a server and returns the URL of its token endpoint.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := newServer(t, handler)
	server.Start()

	return server.URL + tokenPath
}

// respond returns a handler that sends the same response to all requests.
func respond(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func newClient(t *testing.T, roots string) *gbgauth.Client {
	t.Helper()
	client, err := gbgauth.NewClient(gbgauth.ClientOptions{Roots: roots})
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)

	return client
}

// clientCredentials returns a request as GBG GO documents it.
func clientCredentials(tokenURL string) gbgauth.ClientCredentials {
	return gbgauth.ClientCredentials{
		TokenURL:     tokenURL,
		ClientID:     fakeID,
		ClientSecret: gbgauth.NewSecret(fakeSecret),
		Scope:        "gbg.token",
	}
}

func fetch(t *testing.T, request gbgauth.ClientCredentials) (*gbgauth.Token, error) {
	t.Helper()

	return request.Fetch(t.Context(), newClient(t, ""))
}

// fetchError fetches a token, which must fail, and returns the error.
func fetchError(t *testing.T, request gbgauth.ClientCredentials) *gbgauth.Error {
	t.Helper()
	token, err := fetch(t, request)
	require.Nil(t, token)

	return asError(t, err)
}

// asError requires err to be an *Error with a known Kind and a text that is safe to
// show, and returns it.
func asError(t *testing.T, err error) *gbgauth.Error {
	t.Helper()
	var failed *gbgauth.Error
	require.ErrorAs(t, err, &failed)
	require.NotEqual(t, "unknown", failed.Kind.String())
	requireSafe(t, failed.Error(), fakeSecret)

	return failed
}

// requireSafe requires text to be a single printable line of limited length without the
// secrets.
func requireSafe(t *testing.T, text string, secrets ...string) {
	t.Helper()
	require.True(t, utf8.ValidString(text), "%q", text)
	require.Equal(t, -1, strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", text)
	// At most three texts of the response with 300 runes each, and fixed text.
	require.LessOrEqual(t, utf8.RuneCountInString(text), 1200)
	require.NotEmpty(t, strings.TrimSpace(text))
	for _, secret := range secrets {
		require.NotContains(t, text, secret)
	}
}

// isError reports whether err is, or wraps, an *Error.
func isError(err error) bool {
	var failed *gbgauth.Error

	return errors.As(err, &failed)
}
