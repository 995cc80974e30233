package gbgauth_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

func TestResponseSize(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	padded := tokenResponse + strings.Repeat(" ", limit-len(tokenResponse))

	t.Run("exactly 1 MiB is read", func(t *testing.T) {
		t.Parallel()
		got, err := fetch(t, clientCredentials(serve(t, respond(200, "application/json", padded))))
		require.NoError(t, err)
		require.Equal(t, fakeToken, got.AccessToken.Reveal())
	})

	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	_, err := zip.Write([]byte(padded + strings.Repeat(" ", 8*limit)))
	require.NoError(t, err)
	require.NoError(t, zip.Close())
	for name, handler := range map[string]http.HandlerFunc{
		"a byte more":          respond(200, "application/json", padded+" "),
		"an error page":        respond(401, "text/html", strings.Repeat("a", limit+1)),
		"compressed very well": compressed(bomb.Bytes()),
		"without end": func(w http.ResponseWriter, _ *http.Request) {
			for chunk := []byte(padded); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := fetchError(t, clientCredentials(serve(t, handler)))
			require.Equal(t, gbgauth.NotAToken, got.Kind)
			require.Equal(t, "the answer is larger than 1 MiB", got.Description)
			require.NotZero(t, got.Status)
		})
	}
}

func compressed(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(body)
	}
}

func TestTokenCompressed(t *testing.T) {
	t.Parallel()
	var body bytes.Buffer
	zip := gzip.NewWriter(&body)
	_, err := zip.Write([]byte(tokenResponse))
	require.NoError(t, err)
	require.NoError(t, zip.Close())

	got, err := fetch(t, clientCredentials(serve(t, compressed(body.Bytes()))))
	require.NoError(t, err)
	require.Equal(t, fakeToken, got.AccessToken.Reveal())
}

// A response that ends early does not refuse the client, whatever its status.
func TestResponseEndsEarly(t *testing.T) {
	t.Parallel()

	for status, body := range map[int]string{
		200: tokenResponse,
		401: `{"error":"invalid_client"}`,
		503: `{"error":"temporarily_unavailable"}`,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", "1000")
				respond(status, "application/json", body)(w, r)
			})
			got := fetchError(t, clientCredentials(url))
			require.Equal(t, gbgauth.Unreachable, got.Kind)
			require.Equal(t, fmt.Sprintf("the answer ended early: unexpected EOF (HTTP %d from %s)", status, url),
				got.Error())
		})
	}
}
