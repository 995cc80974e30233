package backend

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// Bounds of the settings: far beyond what GBG uses, near enough to stop an
// accident (a file given for the wrong field) from being stored.
const (
	maxIDLength       = 512
	maxSecretLength   = 8 << 10
	maxScopeLength    = 4 << 10
	maxIDTokenLength  = 32 << 10
	maxURLLength      = 2 << 10
	maxCALength       = 256 << 10
	maxRefreshBefore  = 24 * time.Hour
	maxRequestTimeout = time.Minute
	maxMaxSecretAge   = 10 * 365 * 24 * time.Hour
)

// checkDuration wants a second or more, and no more than most.
func checkDuration(setting Setting, d, most time.Duration) error {
	if d < time.Second || d > most {
		return invalid(setting, "must be between 1s and %s", most)
	}
	return nil
}

// checkScope wants RFC 6749 section 3.3's characters.
func checkScope(setting Setting, scope string) error {
	if len(scope) > maxScopeLength {
		return invalid(setting, "is longer than %d bytes", maxScopeLength)
	}
	for _, c := range []byte(scope) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return invalid(setting, "has a character that no scope may have")
		}
	}
	return nil
}

// checkURL wants an address that a secret may be sent to: https, or http to
// this very machine. Empty is fine, it is the default.
func checkURL(setting Setting, text string) error {
	if text == "" {
		return nil
	}
	if len(text) > maxURLLength {
		return invalid(setting, "is longer than %d bytes", maxURLLength)
	}
	if hasControl(text) {
		return invalid(setting, "has control characters")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return invalid(setting, "is not a URL")
	case u.User != nil:
		return invalid(setting, "must not hold a user name or password")
	case u.Fragment != "" || strings.Contains(text, "#"):
		return invalid(setting, "must not have a fragment (#...)")
	case u.Scheme != "https" && u.Scheme != "http":
		return invalid(setting, "must begin with https://")
	case u.Hostname() == "":
		return invalid(setting, "has no host")
	case !isPort(u.Port()):
		return invalid(setting, "has a port that is not between 1 and 65535")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return invalid(setting, "must begin with https:// (http:// is for a loopback address only)")
	}
	return nil
}

// isPort says that a port can be connected to. Empty is the scheme's own.
func isPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func hasControl(text string) bool { return strings.ContainsFunc(text, unicode.IsControl) }

// cleanID trims a client id and checks it. A file's last newline is no part of
// it.
func cleanID(setting Setting, id string) (string, error) {
	id = strings.TrimSpace(id)
	switch {
	case len(id) > maxIDLength:
		return "", invalid(setting, "is longer than %d bytes", maxIDLength)
	case hasControl(id):
		return "", invalid(setting, "has control characters")
	case !utf8.ValidString(id): // JSON would store something else
		return "", invalid(setting, "is not UTF-8 text")
	}
	return id, nil
}

// cleanSecret does the same for a secret.
func cleanSecret(setting Setting, secret Secret) (Secret, error) {
	text := strings.TrimSpace(secret.Reveal())
	switch {
	case len(text) > maxSecretLength:
		return Secret{}, invalid(setting, "is longer than %d bytes", maxSecretLength)
	case hasControl(text):
		return Secret{}, invalid(setting, "has control characters")
	case !utf8.ValidString(text):
		return Secret{}, invalid(setting, "is not UTF-8 text")
	}
	return gbgauth.NewSecret(text), nil
}

// cleanIDToken trims a caller's token and checks what every kind has in common:
// a JWT or an identity provider's opaque one (RFC 6750 section 2.1, b64token).
func cleanIDToken(token Secret) (Secret, error) {
	text := strings.TrimSpace(token.Reveal())
	switch {
	case text == "":
		return Secret{}, invalid(IDToken, "is empty")
	case len(text) > maxIDTokenLength:
		return Secret{}, invalid(IDToken, "is longer than %d bytes", maxIDTokenLength)
	case strings.ContainsRune(text, ' '):
		return Secret{}, invalid(IDToken, `has a space in it: give the token alone, without "Bearer"`)
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return Secret{}, invalid(IDToken, "has a character that no token may have")
	}
	return gbgauth.NewSecret(text), nil
}
