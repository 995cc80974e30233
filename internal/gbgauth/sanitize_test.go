package gbgauth_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sanitizeCases returns texts of a response and their sanitized forms.
func sanitizeCases() map[string]struct{ text, want string } {
	return map[string]struct{ text, want string }{
		"harmless":          {"Invalid client.", "Invalid client."},
		"other scripts":     {"Ungültig: 無効 «é» 🙂", "Ungültig: 無効 «é» 🙂"},
		"format verbs":      {"100%s %!d(MISSING)", "100%s %!d(MISSING)"},
		"new lines":         {"one\r\ntwo\n[ERROR] forged\u2028three\u0085four", "one two [ERROR] forged three four"},
		"space":             {"  one \t\v\f two\u00a0\u3000three ", "one two three"},
		"control":           {"a\x00b\x07c\x08d\x7fe\u009bf", "a b c d e f"},
		"ANSI":              {"\x1b[31mred\x1b[0m\x1b]0;title\x07", "[31mred [0m ]0;title"},
		"bidi override":     {"a\u202eb\u2066c\u2069d\u200ee", "a b c d e"},
		"invisible":         {"a\u200bb\ufeffc\u00add\u2060e\U000e0041f", "a b c d e f"},
		"private use":       {"a\ue000b\U000f0000c", "a b c"},
		"a lone surrogate":  {"a\ufffdb", "a b"},
		"300 characters":    {strings.Repeat("a", 300), strings.Repeat("a", 300)},
		"301 characters":    {strings.Repeat("a", 301), strings.Repeat("a", 300) + "…"},
		"10,000 characters": {strings.Repeat("a", 10_000), strings.Repeat("a", 300) + "…"},
		"10,000 wide ones":  {strings.Repeat("é", 10_000), strings.Repeat("é", 300) + "…"},
		"10,000 of space":   {strings.Repeat("\n", 10_000) + "end", "end"},
		"the secret":        {"client_secret " + fakeSecret + " is wrong", "client_secret [redacted] is wrong"},
		"the secret, often": {strings.Repeat(fakeSecret, 3), "[redacted][redacted][redacted]"},
		"a secret that is looked at in part": {
			strings.Repeat(" ", 16<<10-52) + strings.Repeat("b", 40) + " " + fakeSecret, strings.Repeat("b", 36) + "…",
		},
		"space beyond what is looked at": {strings.Repeat(" ", 16<<10) + "end", "…"},
		"the secret at the cut": {
			strings.Repeat("a", 295) + fakeSecret, strings.Repeat("a", 295) + "[reda…",
		},
	}
}

func TestSanitizeErrorFields(t *testing.T) {
	t.Parallel()

	forms := map[string]func(text string) any{
		"error_description": func(text string) any {
			return map[string]string{"error": "invalid_request", "error_description": text}
		},
		"Okta's errorSummary": func(text string) any {
			return map[string]string{"errorCode": "E0000001", "errorSummary": text}
		},
		"GBG's name": func(text string) any {
			return map[string]any{"errors": []any{map[string]string{"name": text, "problem": "fake"}}}
		},
		"GBG's problem": func(text string) any {
			return map[string]any{"errors": []any{map[string]string{"name": "fake", "problem": text}}}
		},
	}
	for name, c := range sanitizeCases() {
		for where, form := range forms {
			t.Run(name+" in "+where, func(t *testing.T) {
				t.Parallel()
				body, err := json.Marshal(form(c.text))
				require.NoError(t, err)

				got := fetchError(t, clientCredentials(serve(t, respond(400, "application/json", string(body)))))
				require.Contains(t, []string{got.Code, got.Description}, c.want)
				require.Contains(t, got.Error(), c.want)
			})
		}
	}
}

func TestSanitizeInvalidUTF8(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct{ raw, want string }{
		"stray bytes":         {"a\xff\xfeb", "a b"},
		"cut short":           {"a\xe2\x82", "a"},
		"overlong slash":      {"a\xc0\xafb", "a b"},
		"escaped surrogate":   {`a\ud800b`, "a b"},
		"escaped new line":    {`a\nb\u001b[2J`, "a b [2J"},
		"escaped secret":      {`fake\u002dsecret-0001`, "[redacted]"},
		"a secret within":     {"a\xff" + fakeSecret + "\xffb", "a [redacted] b"},
		"a secret torn apart": {"fake-se\xffcret-0001", "fake-se cret-0001"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := `{"error":"invalid_request","error_description":"` + c.raw + `"}`
			got := fetchError(t, clientCredentials(serve(t, respond(400, "application/json", body))))
			require.Equal(t, c.want, got.Description)
		})
	}
}

func TestSanitizeRequestID(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct{ id, want string }{
		"plain":             {"0f1e2d3c-fake", "0f1e2d3c-fake"},
		"a tab":             {"a\tb", "a b"},
		"not UTF-8":         {"a\xff\xfeb", "a b"},
		"bidi override":     {"a\u202eb", "a b"},
		"10,000 characters": {strings.Repeat("a", 10_000), strings.Repeat("a", 300) + "…"},
		"the secret":        {"id-" + fakeSecret, "id-[redacted]"},
	} {
		// An error response, and an invalid response.
		for _, body := range []string{`{"error":"invalid_scope"}`, "<html>"} {
			t.Run(name+" "+body, func(t *testing.T) {
				t.Parallel()
				status := http.StatusOK
				if body != "<html>" {
					status = http.StatusBadRequest
				}
				endpoint := serve(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("X-Request-ID", c.id)
					respond(status, "application/json", body)(w, r)
				})
				got := fetchError(t, clientCredentials(endpoint))
				require.Equal(t, c.want, got.RequestID)
				require.True(t, strings.HasSuffix(got.Error(), " from "+endpoint+", request id "+c.want+")"), got.Error())
			})
		}
	}
}

func TestSanitizeTokenTypeAndScope(t *testing.T) {
	t.Parallel()
	got, err := fetch(t, clientCredentials(serve(t, respond(200, "application/json",
		`{"access_token":"fake-token-0001","token_type":"Bea\u0000rer\n","scope":" one\n\u202etwo\u001b[2J "}`))))
	require.NoError(t, err)
	require.Equal(t, "Bea rer", got.Type)
	require.Equal(t, "one two [2J", got.Scope)
}
