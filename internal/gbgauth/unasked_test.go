package gbgauth_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// What follows an answer on the same connection is the beginning of the next one:
// if it quotes the secret of the request before, the next error must not show it.
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
