package gbgauth_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

func TestErrorURLWithNewline(t *testing.T) {
	fetchError(t, clientCredentials("https://127.0.0.1/\nforged"))
}

func TestKindString(t *testing.T) {
	t.Parallel()

	for kind, want := range map[gbgauth.Kind]string{
		gbgauth.RefusedClient:    "client refused",
		gbgauth.RefusedRequest:   "request refused",
		gbgauth.NotTokenEndpoint: "not a token endpoint",
		gbgauth.Unreachable:      "no answer",
		gbgauth.NotSent:          "not sent",
		gbgauth.ProxyError:       "proxy error",
		gbgauth.ServerError:      "server error",
		gbgauth.RateLimited:      "rate limited",
		gbgauth.NotAToken:        "not a token",
		gbgauth.Kind(0):          "unknown",
	} {
		require.Equal(t, want, kind.String())
	}
}
