package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// marks are secrets that must not be found, by what they are.
type marks struct {
	mu sync.Mutex
	of map[string]string
}

// add marks a secret.
func (m *marks) add(what, secret string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = map[string]string{}
	}
	m.of[what] = secret
}

// secret makes a client secret and marks it. It has characters that every
// encoding writes in another way.
func (m *marks) secret(what string) string {
	secret := `fake/"<` + rand.Text() + `\&+` + rand.Text() + "="
	m.add(what, secret)
	return secret
}

// token makes an access token and marks it.
func (m *marks) token(what string) string {
	token := "fake-" + rand.Text() + "/+" + rand.Text()
	m.add(what, token)
	return token
}

// jwt makes a text of the form of a JWT and marks it and its long parts.
func (m *marks) jwt(what string) string {
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	claims, signature := part(`{"sub":"fake","jti":"`+rand.Text()+`"}`), part(rand.Text()+rand.Text())
	jwt := part(`{"alg":"none"}`) + "." + claims + "." + signature
	m.add(what, jwt)
	m.add(what+", claims", claims)
	m.add(what+", signature", signature)
	return jwt
}

// found names the marks that are in a text in any form, whole or by half, without
// showing them.
func (m *marks) found(text string) (what []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(m.of)) {
		for form, encoded := range formsOf(m.of[name]) {
			halves := []string{encoded[:len(encoded)/2], encoded[len(encoded)/2:]}
			if slices.ContainsFunc(halves, func(half string) bool { return len(half) > 16 && strings.Contains(text, half) }) {
				what = append(what, name+" ("+form+")")
			}
		}
	}
	return what
}

// formsOf are the ways a secret may be written.
func formsOf(secret string) map[string]string {
	asJSON, err := json.Marshal(secret)
	if err != nil {
		panic(err) // no text fails
	}
	twice, err := json.Marshal(string(asJSON[1 : len(asJSON)-1]))
	if err != nil {
		panic(err)
	}
	return map[string]string{
		"as it is":          secret,
		"URL query":         url.QueryEscape(secret),
		"URL path":          url.PathEscape(secret),
		"JSON":              string(asJSON[1 : len(asJSON)-1]),
		"JSON in JSON":      string(twice[1 : len(twice)-1]),
		"HTML":              html.EscapeString(secret),
		"Go":                strconv.Quote(secret)[1 : len(secret)-1],
		"base64":            base64.RawStdEncoding.EncodeToString([]byte(secret)),
		"base64 for URLs":   base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"hexadecimal":       hex.EncodeToString([]byte(secret)),
		"Go's list of them": strings.Trim(fmt.Sprintf("%d", []byte(secret)), "[]"),
	}
}

// hostileGBG is a GBG, and an identity provider, that quotes the secrets and tokens
// of a request wherever it can.
type hostileGBG struct {
	*httptest.Server

	marks *marks
	// inAddress are tokens that a caller puts into the address of a request.
	inAddress *marks

	mu      sync.Mutex
	trick   string
	refused map[string]bool
	issued  int
}

// The tricks of hostileGBG by their names: what each answers to a request that
// holds secrets. quoted is all of them in a sentence.
var tricks = map[string]func(w http.ResponseWriter, secrets []string, quoted string){
	"in error_description": func(w http.ResponseWriter, _ []string, quoted string) {
		sayJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client", "error_description": quoted})
	},
	"in error": func(w http.ResponseWriter, secrets []string, quoted string) {
		sayJSON(w, http.StatusBadRequest, map[string]any{"error": secrets[0], "error_description": quoted, "error_uri": quoted})
	},
	"in GBG's own form": func(w http.ResponseWriter, secrets []string, quoted string) {
		sayJSON(w, http.StatusBadRequest, map[string]any{"errors": []any{map[string]any{"code": 1, "name": secrets[0], "problem": quoted}}})
	},
	"in Okta's form": func(w http.ResponseWriter, secrets []string, quoted string) {
		sayJSON(w, http.StatusUnauthorized, map[string]any{"errorCode": secrets[0], "errorSummary": quoted, "errorId": secrets[0]})
	},
	"in the content type of a page": func(w http.ResponseWriter, secrets []string, quoted string) {
		w.Header().Set("Content-Type", "text/html; charset="+secrets[0])
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(quoted))
	},
	"in an error beside a token": func(w http.ResponseWriter, secrets []string, quoted string) {
		sayJSON(w, http.StatusOK, map[string]any{"access_token": "fake", "error": secrets[0], "error_description": quoted, "scope": []string{secrets[0]}})
	},
	"as a proxy": func(w http.ResponseWriter, secrets []string, quoted string) {
		w.Header().Set("Proxy-Authenticate", "Basic realm="+secrets[0])
		http.Error(w, quoted, http.StatusProxyAuthRequired)
	},
	"encoded": func(w http.ResponseWriter, secrets []string, _ string) {
		sayJSON(w, http.StatusBadRequest, map[string]any{
			"error":             url.QueryEscape(secrets[0]),
			"error_description": html.EscapeString(secrets[0]) + " " + strconv.Quote(secrets[0]) + " " + url.PathEscape(secrets[0]),
		})
	},
	"in pieces": func(w http.ResponseWriter, secrets []string, _ string) {
		var pieces []string
		for _, s := range secrets {
			pieces = append(pieces, s[:len(s)/2]+"...", "..."+s[len(s)/2:])
		}
		sayJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_request", "error_description": strings.Join(pieces, " ")})
	},
	"in headers": func(w http.ResponseWriter, secrets []string, quoted string) {
		for _, header := range []string{"X-Request-ID", "Retry-After", "Www-Authenticate", "Date", "Set-Cookie"} {
			w.Header().Set(header, secrets[0])
		}
		http.Error(w, quoted, http.StatusServiceUnavailable)
	},
	"in a redirect": func(w http.ResponseWriter, secrets []string, quoted string) {
		w.Header().Set("Location", "/elsewhere?client_secret="+url.QueryEscape(secrets[0]))
		w.Header().Set("X-Request-ID", secrets[0])
		w.WriteHeader(http.StatusFound)
		_, _ = w.Write([]byte(quoted))
	},
	"in HTML": func(w http.ResponseWriter, _ []string, quoted string) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, "<html><title>%s</title>%s</html>", quoted, html.EscapeString(quoted))
	},
	"in JSON of another form": func(w http.ResponseWriter, secrets []string, quoted string) {
		sayJSON(w, http.StatusOK, map[string]any{"access_token": secrets, "expires_in": quoted, "token_type": map[string]any{secrets[0]: quoted}})
	},
	"in expires_in": func(w http.ResponseWriter, secrets []string, _ string) {
		sayJSON(w, http.StatusOK, map[string]any{"access_token": "fake", "expires_in": secrets[0]})
	},
	"in an error of another form": func(w http.ResponseWriter, secrets []string, quoted string) {
		sayJSON(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"code": secrets[0]}, "error_description": []string{quoted}})
	},
	"where no token may have it": func(w http.ResponseWriter, secrets []string, _ string) {
		sayJSON(w, http.StatusOK, map[string]any{"access_token": secrets[0] + "\n"})
	},
	"instead of HTTP": func(w http.ResponseWriter, secrets []string, _ string) {
		sayRaw(w, secrets[0]+"\r\n\r\n")
	},
	"in the status": func(w http.ResponseWriter, secrets []string, _ string) {
		sayRaw(w, "HTTP/1.1 "+secrets[0]+"\r\n\r\n")
	},
	"in a header that is none": func(w http.ResponseWriter, secrets []string, _ string) {
		sayRaw(w, "HTTP/1.1 200 OK\r\n"+secrets[0]+"\r\n\r\n")
	},
	"after the answer": func(w http.ResponseWriter, _ []string, quoted string) {
		sayRaw(w, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}"+quoted)
	},
	"before the line breaks": func(w http.ResponseWriter, _ []string, quoted string) {
		sayRaw(w, "HTTP/1.1 400 Bad Request\r\nContent-Length: 9999\r\n\r\n"+quoted)
	},
}

func sayJSON(w http.ResponseWriter, status int, content any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(content)
}

// sayRaw answers with what need not be HTTP.
func sayRaw(w http.ResponseWriter, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(text))
}

func newHostileGBG(t *testing.T) *hostileGBG {
	t.Helper()
	h := &hostileGBG{marks: &marks{}, inAddress: &marks{}, refused: map[string]bool{}}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

// play makes it answer everybody by a trick; "" ends that.
func (h *hostileGBG) play(trick string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trick = trick
}

// refuse makes it refuse a client's secret, or take it again.
func (h *hostileGBG) refuse(secret string, refused bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused[secret] = refused
}

// ServeHTTP implements http.Handler. At /short/ tokens live nine seconds.
func (h *hostileGBG) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var secrets []string
	for _, field := range []string{"client_secret", "id_token", "token"} {
		if secret := r.PostFormValue(field); len(secret) > 16 {
			secrets = append(secrets, secret)
		}
	}
	h.mu.Lock()
	trick, refused := tricks[h.trick], h.refused[r.PostFormValue("client_secret")]
	h.issued++
	token := h.marks.token("access token " + strconv.Itoa(h.issued))
	h.mu.Unlock()
	if refused {
		trick = tricks["in error_description"]
	}
	quoted := "given: " + strings.Join(secrets, " and ")
	switch {
	case trick != nil:
		trick(w, secrets, quoted)
	case strings.HasPrefix(r.URL.Path, "/revoke"):
		_, _ = w.Write([]byte(quoted))
	default:
		lifetime := 3600
		if strings.HasPrefix(r.URL.Path, "/short") {
			lifetime = 9
		}
		w.Header().Set("X-Request-ID", token)
		sayJSON(w, http.StatusOK, map[string]any{
			"access_token": token, "token_type": "Bearer", "expires_in": lifetime,
			"scope": secrets[0] + " " + token, "refresh_token": token, "id_token": secrets[0],
		})
	}
}
