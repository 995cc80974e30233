package gbgauth_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

type unexported struct{ secret gbgauth.Secret }

func TestSecretInUnexportedField(t *testing.T) {
	held := unexported{gbgauth.NewSecret(fakeSecret)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		text := fmt.Sprintf(verb, held) + fmt.Sprintf(verb, &held)
		require.NotContains(t, text, fakeSecret, verb)
		require.NotContains(t, text, fmt.Sprintf("%x", fakeSecret), verb)
	}
	var out bytes.Buffer
	hclog.New(&hclog.LoggerOptions{Output: &out}).Error("fake line", "held", held)
	require.NotContains(t, out.String(), fakeSecret)
}

func TestSecretVerbsWithoutFormat(t *testing.T) {
	for _, verb := range []string{"%p", "%w"} {
		require.NotContains(t, fmt.Sprintf(verb, gbgauth.NewSecret(fakeSecret)), fakeSecret, verb)
	}
}

func TestTokenLongScope(t *testing.T) {
	scope := strings.TrimSpace(strings.Repeat("fake.scope ", 60))
	got, err := fetch(t, clientCredentials(serve(t, respond(200, "application/json", `{"access_token":"fake","scope":"`+scope+`"}`))))
	require.NoError(t, err)
	require.Equal(t, scope, got.Scope)
}

func TestErrorResponseMalformedFields(t *testing.T) {
	for _, rest := range []string{`"expires_in":0.5`, `"error_description":["no"]`, `"error_uri":{}`, `"token_type":1`} {
		got := fetchError(t, clientCredentials(serve(t, respond(401, "application/json", `{"error":"invalid_client",`+rest+`}`))))
		require.Equal(t, gbgauth.RefusedClient, got.Kind, rest)
	}
	got := fetchError(t, clientCredentials(serve(t, respond(400, "application/json", `{"error_description":"why"}`))))
	require.Equal(t, "why", got.Description)
}

func TestTokenLifetimeNotJSONNumber(t *testing.T) {
	for _, v := range []string{"inf", "Infinity", "+Inf", "0x1p10"} {
		got := fetchError(t, clientCredentials(serve(t, respond(200, "application/json", `{"access_token":"fake","expires_in":"`+v+`"}`))))
		require.Equal(t, "expires_in is not a number", got.Description, v)
	}
}

func TestRootsMalformedPEM(t *testing.T) {
	good := certPEM(selfSigned(t, nil).Certificate[0])
	for _, roots := range []string{
		"-----BEGIN PRIVATE KEY-----\nnot!base64\n-----END PRIVATE KEY-----\n" + good,
		good + "-----BEGIN PRIVATE KEY-----\nZmFrZQ==\n",
		good + good[:len(good)/2],
	} {
		_, err := gbgauth.NewClient(gbgauth.ClientOptions{Roots: roots})
		require.Error(t, err)
	}
}

func TestErrorURLWithNewline(t *testing.T) {
	fetchError(t, clientCredentials("https://127.0.0.1/\nforged"))
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

func TestLargeToken(t *testing.T) {
	token := strings.Repeat("<", 200_000)
	got, err := fetch(t, clientCredentials(serve(t, respond(200, "application/json", `{"access_token":"`+token+`"}`))))
	require.NoError(t, err)
	require.Equal(t, token, got.AccessToken.Reveal())
}

func TestPrivateCAHintOnlyForUnknownCA(t *testing.T) {
	cert := selfSigned(t, func(c *x509.Certificate) { c.IPAddresses = nil; c.DNSNames = []string{"gbg.example"} })
	server, _ := serveTLS(t, tlsConfig(cert), false)
	_, err := clientCredentials(server.URL).Fetch(t.Context(), newClient(t, certPEM(cert.Certificate[0])))
	require.NotContains(t, asError(t, err).Error(), "ca_pem")
}

func tlsConfig(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
