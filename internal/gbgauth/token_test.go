package gbgauth_test

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

func TestToken(t *testing.T) {
	t.Parallel()

	token := func(typ, scope string, lifetime time.Duration) gbgauth.Token {
		return gbgauth.Token{
			AccessToken: gbgauth.NewSecret(fakeToken), Type: typ, Scope: scope, Lifetime: lifetime,
		}
	}
	cases := []struct {
		name        string
		status      int
		contentType string
		body        string
		want        gbgauth.Token
	}{
		{
			name: "PingFederate", status: 200, contentType: "application/json;charset=utf-8",
			body: `{"access_token":"fake-token-0001","token_type":"Bearer","expires_in":3600}`,
			want: token("Bearer", "", time.Hour),
		},
		{
			name: "PingFederate, non-production", status: 200, contentType: "application/json;charset=utf-8",
			body: `{"access_token":"fake-token-0001","token_type":"Bearer","expires_in":300}`,
			want: token("Bearer", "", 5*time.Minute),
		},
		{
			name: "Keycloak", status: 200, contentType: "application/json",
			body: `{"access_token":"fake-token-0001","expires_in":300,"refresh_expires_in":0,` +
				`"token_type":"Bearer","not-before-policy":0,"scope":"profile email"}`,
			want: token("Bearer", "profile email", 5*time.Minute),
		},
		{
			name: "lower-case bearer", status: 200, contentType: "application/json",
			body: `{"access_token":"fake-token-0001","token_type":"bearer","expires_in":60}`,
			want: token("bearer", "", time.Minute),
		},
		{
			name: "no token_type", status: 200, contentType: "application/json",
			body: `{"access_token":"fake-token-0001","expires_in":60}`,
			want: token("Bearer", "", time.Minute),
		},
		{
			name: "token_type and scope null", status: 200, contentType: "application/json",
			body: `{"access_token":"fake-token-0001","token_type":null,"scope":null,"expires_in":60}`,
			want: token("Bearer", "", time.Minute),
		},
		{
			name: "scope as a list", status: 200, contentType: "application/json",
			body: `{"access_token":"fake-token-0001","scope":["gbg.token","other"],"expires_in":60}`,
			want: token("Bearer", "gbg.token other", time.Minute),
		},
		{
			name: "scope as a list of other things", status: 200, contentType: "application/json",
			body: `{"access_token":"fake-token-0001","scope":["gbg.token",1],"expires_in":60}`,
			want: token("Bearer", "", time.Minute),
		},
		{
			name: "scope too long", status: 200, contentType: "application/json",
			body: `{"access_token":"fake-token-0001","scope":"` + strings.Repeat("a", 16<<10+1) + `","expires_in":60}`,
			want: token("Bearer", "", time.Minute),
		},
		{
			name: "a byte order mark", status: 200, contentType: "application/json",
			body: "\ufeff" + `{"access_token":"fake-token-0001","expires_in":60}`,
			want: token("Bearer", "", time.Minute),
		},
		{
			name: "an empty error and a token", status: 200, contentType: "application/json",
			body: `{"access_token":"fake-token-0001","error":"","expires_in":60}`,
			want: token("Bearer", "", time.Minute),
		},
		{
			name: "duplicate names in another case", status: 200, contentType: "application/json",
			body: `{"Access_Token":"other","access_token":"fake-token-0001","Expires_In":1,"expires_in":60,"ACCESS_TOKEN":"other"}`,
			want: token("Bearer", "", time.Minute),
		},
		{
			name: "a refresh token and unknown fields", status: 200, contentType: "application/json",
			body: `{"access_token":"fake-token-0001","refresh_token":"fake-refresh","id_token":{"a":[1,{}]},` +
				`"expires_in":60,"ext_expires_in":1e99}`,
			want: token("Bearer", "", time.Minute),
		},
		{
			name: "text/html but JSON", status: 200, contentType: "text/html",
			body: tokenResponse, want: token("Bearer", "", time.Hour),
		},
		{
			name: "text/plain but JSON", status: 200, contentType: "text/plain; charset=utf-8",
			body: tokenResponse, want: token("Bearer", "", time.Hour),
		},
		{
			name: "form content type but JSON", status: 200, contentType: "application/x-www-form-urlencoded",
			body: tokenResponse, want: token("Bearer", "", time.Hour),
		},
		{
			name: "content type that cannot be read", status: 200, contentType: ";;;",
			body: tokenResponse, want: token("Bearer", "", time.Hour),
		},
		{
			name: "201", status: 201, contentType: "application/json",
			body: tokenResponse, want: token("Bearer", "", time.Hour),
		},
		{
			name: "space around it", status: 200, contentType: "application/json",
			body: "\r\n\t " + tokenResponse + "\n", want: token("Bearer", "", time.Hour),
		},
		{
			name: "an empty error is none", status: 200, contentType: "application/json",
			body: `{"error":"","access_token":"fake-token-0001","expires_in":60}`,
			want: token("Bearer", "", time.Minute),
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := fetch(t, clientCredentials(serve(t, respond(c.status, c.contentType, c.body))))
			require.NoError(t, err)
			require.Equal(t, c.want, *got)
		})
	}
}

func TestAccessTokenUnchanged(t *testing.T) {
	t.Parallel()

	for name, value := range map[string]string{
		"a JWT":              "eyJmYWtlIjoxfQ.eyJmYWtlIjoyfQ.c2ln",
		"everything allowed": ` !"#$%&'()*+,-./09:;<=>?@AZ[\]^_` + "`" + `az{|}~ `,
		"long":               strings.Repeat("fake", 4096),
		"one character":      "x",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value)
			got, err := fetch(t, clientCredentials(serve(t, respond(200, "application/json", `{"access_token":"`+quoted+`"}`))))
			require.NoError(t, err)
			require.Equal(t, value, got.AccessToken.Reveal())
		})
	}
}

func TestTokenLifetime(t *testing.T) {
	t.Parallel()

	cases := []struct {
		name    string
		field   string
		want    time.Duration
		assumed bool
	}{
		{"missing", ``, gbgauth.AssumedLifetime, true},
		{"null", `,"expires_in":null`, gbgauth.AssumedLifetime, true},
		{"number", `,"expires_in":3600`, time.Hour, false},
		{"one second", `,"expires_in":1`, time.Second, false},
		{"the same as assumed", `,"expires_in":300`, gbgauth.AssumedLifetime, false},
		{"numeric string", `,"expires_in":"3600"`, time.Hour, false},
		{"numeric string with space", `,"expires_in":" 3600 "`, time.Hour, false},
		{"numeric string, escaped", `,"expires_in":"\u0033600"`, time.Hour, false},
		{"fraction, rounded down", `,"expires_in":3599.9`, 3599 * time.Second, false},
		{"fraction of zeros", `,"expires_in":3600.0`, time.Hour, false},
		{"fraction in a string", `,"expires_in":"1.5"`, time.Second, false},
		{"exponent", `,"expires_in":3.6e3`, time.Hour, false},
		{"a day", `,"expires_in":86400`, gbgauth.MaxLifetime, false},
		{"a day and a second", `,"expires_in":86401`, gbgauth.MaxLifetime, false},
		{"a year", `,"expires_in":31536000`, gbgauth.MaxLifetime, false},
		{"beyond 32 bits", `,"expires_in":4294967297`, gbgauth.MaxLifetime, false},
		{"beyond 64 bits", `,"expires_in":18446744073709551617`, gbgauth.MaxLifetime, false},
		{"1e20", `,"expires_in":1e20`, gbgauth.MaxLifetime, false},
		{"beyond a float", `,"expires_in":1e999`, gbgauth.MaxLifetime, false},
		{"duplicate, the last one counts", `,"expires_in":"abc","expires_in":60`, time.Minute, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			body := `{"access_token":"` + fakeToken + `"` + c.field + `}`
			got, err := fetch(t, clientCredentials(serve(t, respond(200, "application/json", body))))
			require.NoError(t, err)
			require.Equal(t, c.want, got.Lifetime)
			require.Equal(t, c.assumed, got.LifetimeAssumed)
		})
	}
	require.Equal(t, 5*time.Minute, gbgauth.AssumedLifetime)
	require.Equal(t, 24*time.Hour, gbgauth.MaxLifetime)
}

func TestNotAToken(t *testing.T) {
	t.Parallel()

	const (
		noToken  = "the answer has no usable access_token"
		both     = "the answer has both an error and an access_token"
		notJSON  = "the answer is not a JSON object"
		badChars = "access_token contains characters that are not allowed in a token"
		short    = "expires_in is less than a second"
		noNumber = "expires_in is not a number"
	)
	lives := func(value string) string {
		return `{"access_token":"` + fakeToken + `","expires_in":` + value + `}`
	}
	cases := []struct {
		name, body, want string
	}{
		// The example in GBG Identity Solution's documentation.
		{"everything null", `{"access_token":null,"expires_in":null,"token_type":null}`, noToken},
		{"access_token empty", `{"access_token":"","expires_in":60}`, noToken},
		{"access_token missing", `{"token_type":"Bearer","expires_in":60}`, noToken},
		{"access_token in another case", `{"Access_Token":"fake-token-0001","Expires_In":3600}`, noToken},
		{"an error that is no code", `{"error":"fake-token-0001 and more","error_description":"fake-token-0001"}`, noToken},
		{"an error and a token", `{"error":"Service in maintenance","access_token":"fake-token-0001"}`, both},
		{"an upper-case error and a token", `{"error":"INVALID_CLIENT","access_token":"fake-token-0001"}`, both},
		{"an error object and a token", `{"error":{"code":401},"access_token":"fake-token-0001"}`, both},
		{"an error that is false and a token", `{"error":false,"access_token":"fake-token-0001"}`, both},
		{"empty object", `{}`, noToken},
		{"access_token a number", `{"access_token":12345}`, noToken},
		{"access_token an object", `{"access_token":{"value":"fake"}}`, noToken},
		{"access_token a list", `{"access_token":["fake"]}`, noToken},
		{"access_token true", `{"access_token":true}`, noToken},
		{"access_token with a newline", `{"access_token":"fake\r\nX-Forged: 1"}`, badChars},
		{"access_token with NUL", `{"access_token":"fake\u0000"}`, badChars},
		{"access_token with DEL", `{"access_token":"fake\u007f"}`, badChars},
		{"access_token not ASCII", `{"access_token":"f\u00e4ke"}`, badChars},
		{"access_token not UTF-8", "{\"access_token\":\"f\xffke\"}", badChars},

		{"expires_in zero", lives(`0`), short},
		{"expires_in minus zero", lives(`-0`), short},
		{"expires_in half a second", lives(`0.5`), short},
		{"expires_in next to nothing", lives(`1e-999`), short},
		{"expires_in negative", lives(`-3600`), short},
		{"expires_in very negative", lives(`-1e999`), short},
		{"expires_in zero in a string", lives(`"0"`), short},
		{"expires_in negative in a string", lives(`"-1"`), short},
		{"expires_in abc", lives(`"abc"`), noNumber},
		{"expires_in an empty string", lives(`""`), noNumber},
		{"expires_in null in a string", lives(`"null"`), noNumber},
		{"expires_in with a unit", lives(`"3600s"`), noNumber},
		{"expires_in NaN", lives(`"NaN"`), noNumber},
		{"expires_in an object", lives(`{"seconds":60}`), noNumber},
		{"expires_in a list", lives(`[60]`), noNumber},
		{"expires_in true", lives(`true`), noNumber},

		{"empty body", ``, notJSON},
		{"only space", " \n", notJSON},
		{"a JSON list", `[` + tokenResponse + `]`, notJSON},
		{"JSON null", `null`, notJSON},
		{"a JSON string", `"fake-token-0001"`, notJSON},
		{"a JSON number", `3600`, notJSON},
		{"a form", `access_token=fake-token-0001&token_type=Bearer&expires_in=3600`, notJSON},
		{"HTML", `<!DOCTYPE html><title>Log on</title>`, notJSON},
		{"half of it", tokenResponse[:len(tokenResponse)/2], notJSON},
		{"two of it", tokenResponse + tokenResponse, notJSON},
		{"not even text", "\x00\xff\xfe\x1b[2J", notJSON},
		{"nested without end", strings.Repeat(`{"a":`, 100_000), notJSON},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, respond(200, "application/json", c.body))
			got := fetchError(t, clientCredentials(url))
			require.Equal(t, gbgauth.NotAToken, got.Kind)
			require.Equal(t, c.want+" (HTTP 200 from "+url+")", got.Error())
			require.Equal(t, 200, got.Status)
			require.Equal(t, url, got.URL)
			require.Empty(t, got.Code)
			require.True(t, got.Temporary())
			require.NotContains(t, got.Error(), "fake-token", "an invalid response is not quoted")
		})
	}
}

func TestNotATokenNoContent(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	got := fetchError(t, clientCredentials(url))
	require.Equal(t, gbgauth.NotAToken, got.Kind)
	require.Equal(t, "the answer is not a JSON object (HTTP 204 from "+url+")", got.Error())
}

// Some servers send error responses with status 200, unlike RFC 6749.
func TestErrorWithStatus200(t *testing.T) {
	t.Parallel()

	cases := []struct {
		name, body string
		kind       gbgauth.Kind
		want       string
	}{
		{
			"client", `{"error":"invalid_client","error_description":"No such client."}`,
			gbgauth.RefusedClient, "invalid_client: No such client.",
		},
		{
			"request", `{"error":"invalid_scope"}`,
			gbgauth.RefusedRequest, "invalid_scope",
		},
		{
			"next to a token", `{"error":"invalid_scope","access_token":"fake-token-0001","expires_in":60}`,
			gbgauth.RefusedRequest, "invalid_scope",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, respond(200, "application/json", c.body))
			got := fetchError(t, clientCredentials(url))
			require.Equal(t, c.kind, got.Kind)
			require.Equal(t, c.want+" (HTTP 200 from "+url+")", got.Error())
		})
	}
}

func TestTokenLongScope(t *testing.T) {
	scope := strings.TrimSpace(strings.Repeat("fake.scope ", 60))
	got, err := fetch(t, clientCredentials(serve(t, respond(200, "application/json", `{"access_token":"fake","scope":"`+scope+`"}`))))
	require.NoError(t, err)
	require.Equal(t, scope, got.Scope)
}

func TestTokenLifetimeNotJSONNumber(t *testing.T) {
	for _, v := range []string{"inf", "Infinity", "+Inf", "0x1p10"} {
		got := fetchError(t, clientCredentials(serve(t, respond(200, "application/json", `{"access_token":"fake","expires_in":"`+v+`"}`))))
		require.Equal(t, "expires_in is not a number", got.Description, v)
	}
}

func TestLargeToken(t *testing.T) {
	token := strings.Repeat("<", 200_000)
	got, err := fetch(t, clientCredentials(serve(t, respond(200, "application/json", `{"access_token":"`+token+`"}`))))
	require.NoError(t, err)
	require.Equal(t, token, got.AccessToken.Reveal())
}

// FuzzTokenResponse tests that every response is a usable token or an *Error that is
// safe to show.
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
		// net/http accepts three digits as a status.
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
			require.True(t, failed.Temporary(), "not a refusal, whatever the body is")
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
