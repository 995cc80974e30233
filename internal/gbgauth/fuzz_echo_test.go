package gbgauth_test

import (
	"bytes"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// newFakeClient is a client whose every request gets the same answer.
func newFakeClient(status int, header string, content []byte) (*gbgauth.Client, *fakeTransport) {
	transport := &fakeTransport{
		status:      status % 1000, // what net/http takes for a status: three digits
		contentType: header,
		body:        &body{Reader: bytes.NewReader(content)},
	}
	return gbgauth.NewClientWithTransport(transport), transport
}

// FuzzExchangeResponse does as FuzzTokenResponse for GBG Identity Solution's endpoint.
func FuzzExchangeResponse(f *testing.F) {
	parts := strings.Split(fakeJWT, ".")
	for _, seed := range []struct {
		status uint16
		header string
		body   string
	}{
		{200, "", tokenResponse},
		{200, fakeJWT, `{"access_token":"` + fakeToken + `","token_type":"` + fakeJWT + `","scope":"` + parts[1] + `"}`},
		{200, "", `{"access_token":null,"expires_in":null,"token_type":null}`},
		{400, parts[2], `{"error":"invalid_grant","error_description":"The token ` + fakeJWT + ` has expired."}`},
		{400, "", `{"errors":[{"name":"` + parts[1] + `","problem":"` + fakeSecret + `"}]}`},
		{500, "text/html", "<html>" + fakeJWT + "</html>"},
	} {
		f.Add(seed.status, seed.header, []byte(seed.body))
	}
	request := exchangeRequest("https://fake.example/authenticate/v1/connect/token")
	request.ClientSecret = gbgauth.NewSecret(fakeSecret)

	f.Fuzz(func(t *testing.T, status uint16, header string, content []byte) {
		client, transport := newFakeClient(int(status), header, content)
		got, err := request.Fetch(t.Context(), client)
		require.Equal(t, 1, transport.requests)
		require.True(t, transport.body.closed)
		if err == nil {
			requireValidToken(t, transport.status, got)
			requireSafe(t, "type "+got.Type+", scope "+got.Scope, fakeSecret, parts[1], parts[2])
			return
		}
		require.Nil(t, got)
		requireSafe(t, asError(t, err).Error(), fakeSecret, parts[1], parts[2])
	})
}

// FuzzRevocationResponse: a revocation has gone well or has failed with an *Error
// that can be shown.
func FuzzRevocationResponse(f *testing.F) {
	for _, seed := range []struct {
		status uint16
		header string
		body   string
	}{
		{200, "", ""},
		{200, fakeToken, "<html>"},
		{302, "", "moved"},
		{400, fakeSecret, `{"error":"unsupported_token_type","error_description":"` + fakeToken + `"}`},
		{401, "", `{"error":"invalid_client","error_description":"` + fakeSecret + `"}`},
		{503, "", `{"errors":[{"name":"` + fakeToken + `","problem":"` + fakeSecret + `"}]}`},
	} {
		f.Add(seed.status, seed.header, []byte(seed.body))
	}
	request := revocationRequest("https://fake.example/as/revoke_token.oauth2")

	f.Fuzz(func(t *testing.T, status uint16, header string, content []byte) {
		client, transport := newFakeClient(int(status), header, content)
		err := request.Send(t.Context(), client)
		require.Equal(t, 1, transport.requests)
		require.True(t, transport.body.closed)
		if err == nil {
			require.Less(t, transport.status, 400)
			require.False(t, transport.status >= 300, "a redirect revokes nothing")
			return
		}
		requireSafe(t, asError(t, err).Error(), fakeSecret, fakeToken)
	})
}

// FuzzRedact: a server that quotes the request's secret back, in whatever form and
// in the middle of whatever, is not quoted by us.
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
			t.Skip("longer says nothing new, and takes its time")
		}
		// Whatever the rest is, the beginning is long enough to be known again.
		secret := strings.ToValidUTF8("fake-secret-0001"+rest, "")
		if strings.ContainsFunc(secret, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Skip("config refuses it")
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
