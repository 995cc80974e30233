package gbgauth_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// longSecret is long enough to be quoted in part.
const longSecret = `fake-"secret"-0001-of-some-length`

// A server that explains what is wrong with a secret may quote a piece of it.
func TestRedactFragment(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		longSecret:                                  "[redacted]",
		"begins with " + longSecret[:20] + "...":    "begins with [redacted]...",
		"ends in " + longSecret[12:]:                "ends in [redacted]",
		longSecret[:16] + " and " + longSecret[:15]: `[redacted] and fake-"secret"-0`,
		longSecret[:20] + longSecret[10:]:           "[redacted][redacted]",
		"é" + longSecret + "é":                      "é[redacted]é",
		url.QueryEscape(longSecret)[5:]:             "[redacted]",
	} {
		request := clientCredentials(serve(t, respond(http.StatusBadRequest, "application/json",
			`{"error":"invalid_request","error_description":`+strconv.Quote(text)+`}`)))
		request.ClientSecret = gbgauth.NewSecret(longSecret)
		require.Equal(t, want, fetchError(t, request).Description)
	}
}

// What is left of two secrets that overlap would be a piece of one.
func TestRedactOverlappingSecrets(t *testing.T) {
	t.Parallel()
	request := exchangeRequest(serve(t, respond(http.StatusBadRequest, "application/json",
		`{"error":"invalid_request","error_description":"fake-exchange-secret-and-a-token"}`)))
	request.ClientSecret = gbgauth.NewSecret("fake-exchange-secret")
	request.IDToken = gbgauth.NewSecret("secret-and-a-token")
	_, err := request.Fetch(t.Context(), newClient(t, ""))
	require.Equal(t, "[redacted]", asError(t, err).Description)
}

// A secret of little more than space is shorter in one line than as it is.
func TestRedactSecretWithSpaces(t *testing.T) {
	t.Parallel()
	request := clientCredentials(serve(t, respond(http.StatusBadRequest, "application/json",
		`{"error":"invalid_request","error_description":"fake pw"}`)))
	request.ClientSecret = gbgauth.NewSecret("fake" + strings.Repeat(" ", 20) + "pw")
	require.Equal(t, "[redacted]", fetchError(t, request).Description)
}

// A success is shown too: its scope in answers, warnings and logs.
func TestRedactTokenTypeAndScope(t *testing.T) {
	t.Parallel()
	token := strings.Repeat("fake-token-", 3)
	request := clientCredentials(serve(t, respond(http.StatusOK, "application/json", fmt.Sprintf(
		`{"access_token":%q,"token_type":%q,"scope":%q}`, token, longSecret, "gbg.token "+token+" "+longSecret))))
	request.ClientSecret = gbgauth.NewSecret(longSecret)
	got, err := fetch(t, request)
	require.NoError(t, err)
	require.Equal(t, token, got.AccessToken.Reveal())
	require.Equal(t, "[redacted]", got.Type)
	require.Equal(t, "gbg.token [redacted] [redacted]", got.Scope)

	request.ClientSecret = gbgauth.NewSecret("gbg")
	request.TokenURL = serve(t, respond(http.StatusOK, "application/json", `{"access_token":"token","scope":"gbg.token"}`))
	got, err = fetch(t, request)
	require.NoError(t, err)
	require.Equal(t, "gbg.token", got.Scope, "a short secret may be a word of a scope")
}

// net/http quotes what it cannot read, as Go writes texts.
func TestRedactMalformedHTTP(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		longSecret + "\r\n\r\n",
		"HTTP/1.1 " + longSecret + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" + longSecret + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: " + longSecret + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + longSecret + "\r\n\r\n",
	} {
		request := clientCredentials(serve(t, func(w http.ResponseWriter, _ *http.Request) {
			conn, buffered, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = buffered.WriteString(raw)
			_ = buffered.Flush()
		}))
		request.ClientSecret = gbgauth.NewSecret(longSecret)
		text := fetchError(t, request).Error()
		for _, form := range []string{longSecret, longSecret[:16], longSecret[16:], strconv.Quote(longSecret)[1:20]} {
			require.NotContains(t, text, form, raw)
		}
	}
}

// The work depends on what is shown: a token of 1 MiB beside a short scope, and beside
// one in which a piece of it would fit. Base64 is changed by URL encoding.
func BenchmarkRedactLargeToken(b *testing.B) {
	for _, scope := range []string{"gbg.token", "gbg.token offline_access"} {
		for name, token := range map[string]string{"JWT": "fake-token-0001.", "base64": "fake/token+0001="} {
			b.Run(name+" "+scope, func(b *testing.B) {
				content := `{"access_token":"` + strings.Repeat(token, 60_000) + `","scope":"` + scope + `","expires_in":60}`
				b.ReportAllocs()
				for b.Loop() {
					client := gbgauth.NewClientWithTransport(&fakeTransport{status: http.StatusOK, body: &body{Reader: strings.NewReader(content)}})
					if _, err := clientCredentials("https://fake.example/token").Fetch(b.Context(), client); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
