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
	if err := checkVisible(setting, scope); err != nil {
		return err
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
	if err := checkText(setting, text); err != nil {
		return err
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

// byteOrderMark is what some editors put at the beginning of a file.
const byteOrderMark = '\uFEFF'

// trimText removes white space from both ends of a text, and byte order marks from
// its beginning.
func trimText(text string) string {
	return strings.TrimRightFunc(trimTextLeft(text), unicode.IsSpace)
}

// trimTextLeft does so at the beginning only.
func trimTextLeft(text string) string {
	return strings.TrimLeftFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == byteOrderMark })
}

// invisible holds the characters that leave no trace on a screen, or a line break
// that nobody typed.
var invisible = []*unicode.RangeTable{
	unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Noncharacter_Code_Point, unicode.Zl, unicode.Zp,
}

// checkText refuses control characters and what checkVisible refuses.
func checkText(setting Setting, text string) error {
	if err := checkVisible(setting, text); err != nil {
		return err
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return invalid(setting, "has control characters")
	}
	return nil
}

// checkVisible refuses characters that a person cannot see or cannot tell from
// others, so that a text is what it looks like, and those that stand for lost ones:
// Vault itself makes U+FFFD of what is not UTF-8 in a request. The error names the
// character and quotes nothing else.
func checkVisible(setting Setting, text string) error {
	if !utf8.ValidString(text) { // JSON would store something else
		return invalid(setting, "is not UTF-8 text")
	}
	for _, r := range text {
		switch {
		case r < utf8.RuneSelf:
		case r == utf8.RuneError:
			return invalid(setting, "has a replacement character (%U) in place of one that could not be read: give it as UTF-8 text", r)
		case unicode.Is(unicode.Zs, r):
			return invalid(setting, "has a space that is not an ordinary one (%U)", r)
		case unicode.In(r, invisible...):
			return invalid(setting, "has an invisible character (%U)", r)
		}
	}
	return nil
}

// cleanID trims a client id and checks it. A file's last newline is no part of
// it.
func cleanID(setting Setting, id string) (string, error) {
	id = trimText(id)
	if len(id) > maxIDLength {
		return "", invalid(setting, "is longer than %d bytes", maxIDLength)
	}
	return id, checkText(setting, id)
}

// cleanSecret does the same for a secret.
func cleanSecret(setting Setting, secret Secret) (Secret, error) {
	text := trimText(secret.Reveal())
	if len(text) > maxSecretLength {
		return Secret{}, invalid(setting, "is longer than %d bytes", maxSecretLength)
	}
	if err := checkText(setting, text); err != nil {
		return Secret{}, err
	}
	return gbgauth.NewSecret(text), nil
}

// cleanCAPEM does the same for certificates. The newline at a file's end stays, so
// that what is declared stays as it is.
func cleanCAPEM(pem string) (string, error) {
	pem = trimTextLeft(pem)
	if len(pem) > maxCALength {
		return "", invalid(CAPEM, "is longer than %d bytes", maxCALength)
	}
	if err := checkVisible(CAPEM, pem); err != nil {
		return "", err
	}
	if _, err := gbgauth.NewClient(gbgauth.ClientOptions{Roots: pem}); err != nil {
		return "", invalid(CAPEM, "%s", err)
	}
	return pem, nil
}

// cleanIDToken trims a caller's token and checks what every kind has in common:
// a JWT or an identity provider's opaque one (RFC 6750 section 2.1, b64token).
func cleanIDToken(token Secret) (Secret, error) {
	text := trimText(token.Reveal())
	switch {
	case text == "":
		return Secret{}, invalid(IDToken, "is empty")
	case len(text) > maxIDTokenLength:
		return Secret{}, invalid(IDToken, "is longer than %d bytes", maxIDTokenLength)
	case strings.ContainsRune(text, ' '):
		return Secret{}, invalid(IDToken, `has a space in it: give the token alone, without "Bearer"`)
	}
	if err := checkVisible(IDToken, text); err != nil {
		return Secret{}, err
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Secret{}, invalid(IDToken, "has a character that no token may have")
	}
	return gbgauth.NewSecret(text), nil
}
