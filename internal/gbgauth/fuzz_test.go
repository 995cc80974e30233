package gbgauth_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// fakeTransport is a transport that answers without a network.
type fakeTransport struct {
	status      int
	contentType string
	body        *body
	requests    int
}

type body struct {
	io.Reader
	closed bool
}

func (b *body) Close() error { b.closed = true; return nil }

func (c *fakeTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	c.requests++

	return &http.Response{
		StatusCode: c.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Content-Type": {c.contentType},
			"X-Request-Id": {c.contentType},
			"Location":     {"https://fake.example/elsewhere"},
		},
		Body: c.body, ContentLength: -1,
		Request: r,
	}, nil
}

// FuzzTokenResponse: whatever comes back is a token that can be used or an *Error that
// can be shown.
func FuzzTokenResponse(f *testing.F) {
	const secret = "fake/secret+0001="
	const good = `{"access_token":"fake","token_type":"Bearer","expires_in":3600}`
	for _, seed := range []struct {
		status      uint16
		contentType string
		body        string
	}{
		{200, "application/json", good},
		{200, "text/plain", "access_token=fake&expires_in=60"},
		{200, "text/html", "<html>" + secret + "</html>"},
		{200, secret, `{"access_token":"` + secret + `","token_type":"\u001b","expires_in":"1e3","scope":"a\nb"}`},
		{200, "", `{"access_token":null,"expires_in":null,"token_type":null}`},
		{200, "", `{"access_token":"fake","token_type":"\u0001","scope":"` + secret + `"}`},
		{200, "application/json", `{"access_token":"a","expires_in":-1}`},
		{200, "application/json", `{"access_token":"a","expires_in":1e999}`},
		{200, "application/json", `{"access_token":"a\u0000","expires_in":"NaN"}`},
		{200, "application/json", `{"access_token":"a","Expires_In":{}}`},
		{200, "application/json", `{"error":"invalid_client","error_description":"` + secret + `"}`},
		{204, "", ""},
		{302, "text/html", "moved"},
		{400, "application/json", `{"error":"` + secret + `","error_description":"a\r\nb\u202e\ud800` + "\xff" + `"}`},
		{401, "application/json", `{"error":"invalid_client","error_description":"` + url.QueryEscape(secret) + `"}`},
		{401, "application/json;" + secret, `{"errors":[{"name":"` + secret + `","problem":"\u001b[31m"}]}`},
		{404, "text/plain", "404 page not found"},
		{429, "application/json", `{"error":"unauthorized_client"}`},
		{503, "application/json", `{"error":"invalid_client"}`},
		{101, "", ""},
		{999, "\x00\xff", "null"},
	} {
		f.Add(seed.status, seed.contentType, []byte(seed.body))
	}
	request := clientCredentials("https://fake.example/as/token.oauth2")
	request.ClientSecret = gbgauth.NewSecret(secret)

	f.Fuzz(func(t *testing.T, status uint16, contentType string, content []byte) {
		// What net/http takes for a status: three digits.
		transport := &fakeTransport{
			status:      int(status % 1000),
			contentType: contentType,
			body:        &body{Reader: bytes.NewReader(content)},
		}
		got, err := request.Fetch(t.Context(), gbgauth.NewClientWithTransport(transport))

		require.Equal(t, 1, transport.requests)
		require.True(t, transport.body.closed)
		if err == nil {
			requireValidToken(t, transport.status, got)
			requireSafe(t, "type "+got.Type+", scope "+got.Scope, secret, url.QueryEscape(secret))

			return
		}
		require.Nil(t, got)
		failed := asError(t, err)
		requireSafe(t, failed.Error(), secret, url.QueryEscape(secret))
		require.Equal(t, transport.status, failed.Status)
		if transport.status >= 500 || slices.Contains([]int{408, 429}, transport.status) {
			require.True(t, failed.Temporary(), "no refusal, whatever the body says")
		}
		if failed.Kind == gbgauth.RefusedClient {
			require.Contains(t, []string{"invalid_client", "unauthorized_client"}, failed.Code)
		}
	})
}

func requireValidToken(t *testing.T, status int, token *gbgauth.Token) {
	t.Helper()
	require.Equal(t, 2, status/100)
	require.NotNil(t, token)
	require.False(t, token.AccessToken.IsEmpty())
	require.NotEmpty(t, token.Type)
	for _, c := range []byte(token.AccessToken.Reveal()) {
		require.True(t, c >= 0x20 && c <= 0x7e, "%q", c)
	}
	require.GreaterOrEqual(t, token.Lifetime, time.Second)
	require.LessOrEqual(t, token.Lifetime, gbgauth.MaxLifetime)
	require.Zero(t, token.Lifetime%time.Second)
	if token.LifetimeAssumed {
		require.Equal(t, gbgauth.AssumedLifetime, token.Lifetime)
	}
	requireSafe(t, "type "+token.Type+", scope "+token.Scope)
}
