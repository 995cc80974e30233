package gbgauth_test

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// longSecret is longer than two fragments.
const longSecret = `fake-"secret"-0001-of-some-length`

// An error description may quote a part of a secret.
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

// Two secrets that overlap are redacted together.
func TestRedactOverlappingSecrets(t *testing.T) {
	t.Parallel()
	request := exchangeRequest(serve(t, respond(http.StatusBadRequest, "application/json",
		`{"error":"invalid_request","error_description":"fake-exchange-secret-and-a-token"}`)))
	request.ClientSecret = gbgauth.NewSecret("fake-exchange-secret")
	request.IDToken = gbgauth.NewSecret("secret-and-a-token")
	_, err := request.Fetch(t.Context(), newClient(t, ""))
	require.Equal(t, "[redacted]", asError(t, err).Description)
}

// A secret with many spaces is shorter in a single line.
func TestRedactSecretWithSpaces(t *testing.T) {
	t.Parallel()
	request := clientCredentials(serve(t, respond(http.StatusBadRequest, "application/json",
		`{"error":"invalid_request","error_description":"fake pw"}`)))
	request.ClientSecret = gbgauth.NewSecret("fake" + strings.Repeat(" ", 20) + "pw")
	require.Equal(t, "[redacted]", fetchError(t, request).Description)
}

// The type and scope of a token are shown in responses, warnings and logs.
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
	require.Equal(t, "gbg.token", got.Scope, "a short secret may be part of a scope")
}

// net/http quotes what it cannot parse as a Go string.
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

// BenchmarkRedactLargeToken has a token of almost 1 MiB and a scope shorter, or longer,
// than a fragment. URL encoding changes base64 but not a JWT.
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

func TestRedactEncodedSecret(t *testing.T) {
	for secret, echo := range map[string]string{
		"fake secret":  "fake%20secret",
		"fake/secret":  "fake%2fsecret",
		"fake secret2": "fake\\tsecret2",
		"fake&secret":  "fake&amp;secret",
		"act":          "act",
	} {
		request := clientCredentials(serve(t, respond(400, "application/json", `{"error":"e","error_description":"`+echo+`"}`)))
		request.ClientSecret = gbgauth.NewSecret(secret)
		require.Equal(t, "[redacted]", fetchError(t, request).Description, secret)
	}
}

// Requests contain the secret URL-encoded, so responses may too.
func TestRedactSecretAndItsURLEncoding(t *testing.T) {
	t.Parallel()

	for name, secret := range map[string]string{
		"plain":         fakeSecret,
		"base64":        "ZmFrZS1zZWNyZXQ+/w==",
		"punctuation":   `~fake!@#$%^&*()_+{}|:"<>?;',./`,
		"not ASCII":     "fäke-sécret-秘密",
		"backslashes":   `fake\n\u0041\\secret`,
		"looks encoded": "fake%2Bsecret%25",
		"hyphen first":  "-fake",
		"with a space":  "fake secret",
		"an expression": `fake.*[a-z]+(secret)?$`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			encoded := url.QueryEscape(secret)
			body, err := json.Marshal(map[string]string{
				"error":             "invalid_request",
				"error_description": "sent " + secret + " as client_secret=" + encoded + "&x=" + secret,
			})
			require.NoError(t, err)
			endpoint := serve(t, respond(400, "application/json", string(body)))
			request := clientCredentials(endpoint)
			request.ClientSecret = gbgauth.NewSecret(secret)

			got := fetchError(t, request)
			require.Equal(t, "sent [redacted] as client_secret=[redacted]&x=[redacted]", got.Description)
			requireSafe(t, got.Error(), secret, encoded)
		})
	}
}

func TestRedactWithoutSecret(t *testing.T) {
	t.Parallel()
	request := clientCredentials(serve(t, respond(400, "application/json", `{"error":"invalid_request","error_description":"a b"}`)))
	request.ClientSecret = gbgauth.Secret{}
	require.Equal(t, "a b", fetchError(t, request).Description)
}

// FuzzRedact tests that no error or token contains the secret that a response quotes, in
// any encoding and within any text.
func FuzzRedact(f *testing.F) {
	for _, secret := range []string{
		"", "a", "/secret+0001=", `"\`, "é🙂", "%2F%2f", "<&>", ".part.one", " two  spaces", "[redacted]",
	} {
		f.Add(secret, "", "")
		f.Add(secret, "The secret ", " is wrong.")
		f.Add(secret, "fake-secret-", "fake-secret-")
	}
	f.Fuzz(func(t *testing.T, rest, before, after string) {
		if len(rest)+len(before)+len(after) > 1000 {
			t.Skip("too long")
		}
		// The prefix is as long as a fragment.
		secret := strings.ToValidUTF8("fake-secret-0001"+rest, "")
		if strings.ContainsFunc(secret, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Skip("not a valid secret")
		}
		request := clientCredentials("https://fake.example/as/token.oauth2")
		request.ClientSecret = gbgauth.NewSecret(secret)
		quoted, err := json.Marshal(secret)
		require.NoError(t, err)
		for _, form := range []string{
			secret, url.QueryEscape(secret), url.PathEscape(secret), html.EscapeString(secret),
			strings.Trim(strconv.Quote(secret), `"`), strings.Trim(string(quoted), `"`),
		} {
			text := before + form + after
			for _, status := range []int{http.StatusOK, http.StatusBadRequest} {
				for _, content := range []map[string]any{
					{"error": text, "error_description": text},
					{"errors": []any{map[string]any{"name": text, "problem": text}}},
					{"access_token": fakeToken, "token_type": text, "scope": text},
				} {
					encoded, err := json.Marshal(content)
					require.NoError(t, err)
					client, _ := newFakeClient(status, text, encoded)
					var said string
					if got, err := request.Fetch(t.Context(), client); err != nil {
						said = asError(t, err).Error()
					} else {
						said = got.Type + got.Scope
					}
					require.NotContains(t, said, "fake-secret-0001", "%q quoted as %q", secret, form)
				}
			}
		}
	})
}

// Data after a response is parsed as the start of the next one. If it contains the
// secret of the previous request, the error of the next one must not show it.
func TestErrorOmitsUnsolicitedResponse(t *testing.T) {
	t.Parallel()
	const other = "fake-secret-of-another-request"
	for _, garbage := range []string{other, other + `"x`, "HTTP/1.1 " + other, "HTTP/1.1 200 OK\r\n" + other + "\r\n\r\n", "HTTP/9 200 " + other} {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, garbage+"\r\n")
		}()
		_, err = clientCredentials(fmt.Sprintf("http://%s/token", listener.Addr())).Fetch(t.Context(), newClient(t, ""))
		require.NoError(t, listener.Close())
		failed := asError(t, err)
		require.Equal(t, gbgauth.Unreachable, failed.Kind, http.StatusText(failed.Status))
		requireSafe(t, failed.Error(), other)
	}
}
