package connection

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// Maximum lengths in bytes: far longer than what GBG uses, and short enough to catch
// accidents such as the wrong file for a field.
const (
	maxIDLength      = 512
	maxSecretLength  = 8 << 10
	maxScopeLength   = 4 << 10
	maxIDTokenLength = 32 << 10
	maxURLLength     = 2 << 10
	maxCALength      = 256 << 10
)

// normalizedScope returns scopes separated by single spaces. The valid characters are
// those of RFC 6749 section 3.3.
func normalizedScope(field Field, scope string) (string, error) {
	scope = strings.Join(strings.Fields(trimText(scope)), " ")
	if len(scope) > maxScopeLength {
		return "", Invalid(field, "is longer than %d bytes", maxScopeLength)
	}
	if err := checkVisible(field, scope); err != nil {
		return "", err
	}
	for _, c := range []byte(scope) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return "", Invalid(field, "has a character that is not valid in a scope")
		}
	}
	return scope, nil
}

// normalizedURL returns a URL without surrounding white space, checked by checkURL.
func normalizedURL(field Field, text string) (string, error) {
	text = trimText(text)
	return text, checkURL(field, text)
}

// normalizedAudience returns the audience of an assertion (RFC 7519 section 4.1.3)
// without white space around it.
func normalizedAudience(field Field, audience string) (string, error) {
	audience = trimText(audience)
	if len(audience) > maxURLLength {
		return "", Invalid(field, "is longer than %d bytes", maxURLLength)
	}
	return audience, checkText(field, audience)
}

// checkURL returns an error if a secret must not be sent to a URL: it must be https, or
// http to a loopback address. An empty one is valid.
func checkURL(field Field, text string) error {
	if text == "" {
		return nil
	}
	if len(text) > maxURLLength {
		return Invalid(field, "is longer than %d bytes", maxURLLength)
	}
	if err := checkText(field, text); err != nil {
		return err
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return Invalid(field, "is not a URL")
	case u.User != nil:
		return Invalid(field, "must not hold a user name or password")
	case u.Fragment != "" || strings.Contains(text, "#"):
		return Invalid(field, "must not have a fragment (#...)")
	case u.Scheme != "https" && u.Scheme != "http":
		return Invalid(field, "must begin with https://")
	case u.Hostname() == "":
		return Invalid(field, "has no host")
	case !isPort(u.Port()):
		return Invalid(field, "has a port that is not between 1 and 65535")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return Invalid(field, "must begin with https:// (http:// is for a loopback address only)")
	}
	return nil
}

// isPort reports whether a port is valid. An empty one means the scheme's default.
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

// byteOrderMark is a character that some editors put at the beginning of a file.
const byteOrderMark = '\uFEFF'

// trimText removes white space from both ends of a text, and byte order marks from the
// beginning.
func trimText(text string) string {
	return strings.TrimRightFunc(trimTextLeft(text), unicode.IsSpace)
}

// trimTextLeft is trimText for the beginning only.
func trimTextLeft(text string) string {
	return strings.TrimLeftFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == byteOrderMark })
}

// invisible holds characters that are not displayed, and unusual line breaks.
var invisible = []*unicode.RangeTable{
	unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Noncharacter_Code_Point, unicode.Zl, unicode.Zp,
}

// checkText returns an error for control characters and for what checkVisible rejects.
func checkText(field Field, text string) error {
	if err := checkVisible(field, text); err != nil {
		return err
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return Invalid(field, "has control characters")
	}
	return nil
}

// checkVisible returns an error for characters that are invisible or look like
// others, so that a text is what it looks like, and for replacement characters: Vault
// puts U+FFFD in place of bytes of a request that are not UTF-8. The error names the
// character and quotes nothing else.
func checkVisible(field Field, text string) error {
	if !utf8.ValidString(text) { // JSON would store something else
		return Invalid(field, "is not UTF-8 text")
	}
	for _, r := range text {
		switch {
		case r < utf8.RuneSelf:
		case r == utf8.RuneError:
			return Invalid(field, "has a replacement character (%U) in place of one that could not be read: give it as UTF-8 text", r)
		case unicode.Is(unicode.Zs, r):
			return Invalid(field, "has a space that is not an ordinary one (%U)", r)
		case unicode.In(r, invisible...):
			return Invalid(field, "has an invisible character (%U)", r)
		}
	}
	return nil
}

// NormalizedID returns a client id without surrounding white space, such as the
// newline at the end of a file. The error is an *InputError.
func NormalizedID(field Field, id string) (string, error) {
	id = trimText(id)
	if len(id) > maxIDLength {
		return "", Invalid(field, "is longer than %d bytes", maxIDLength)
	}
	return id, checkText(field, id)
}

// NormalizedSecret is NormalizedID for a secret.
func NormalizedSecret(field Field, secret Secret) (Secret, error) {
	text := trimText(secret.Reveal())
	if len(text) > maxSecretLength {
		return Secret{}, Invalid(field, "is longer than %d bytes", maxSecretLength)
	}
	if err := checkText(field, text); err != nil {
		return Secret{}, err
	}
	return gbgauth.NewSecret(text), nil
}

// isEmpty is the problem of an empty id or secret, which usually comes from an unset
// variable.
const isEmpty = "is empty: give a value or leave the field out"

// requiredID is NormalizedID for an id that must not be empty.
func requiredID(field Field, id string) (string, error) {
	id, err := NormalizedID(field, id)
	if err == nil && id == "" {
		err = Invalid(field, isEmpty)
	}
	return id, err
}

// requiredSecret is NormalizedSecret for a secret that must not be empty.
func requiredSecret(field Field, secret Secret) (Secret, error) {
	secret, err := NormalizedSecret(field, secret)
	if err == nil && secret.IsEmpty() {
		err = Invalid(field, isEmpty)
	}
	return secret, err
}

// normalizedCAPEM returns certificates without leading white space. The newline at
// the end of a file stays, so that the stored value is the one that was written.
func normalizedCAPEM(field Field, pem string) (string, error) {
	pem = trimTextLeft(pem)
	if len(pem) > maxCALength {
		return "", Invalid(field, "is longer than %d bytes", maxCALength)
	}
	if err := checkVisible(field, pem); err != nil {
		return "", err
	}
	if _, err := gbgauth.NewClient(gbgauth.ClientOptions{Roots: pem}); err != nil {
		return "", Invalid(field, "%s", err)
	}
	return pem, nil
}

// NormalizedIDToken returns a caller's token without surrounding white space. It may
// be a JWT or an opaque token (RFC 6750 section 2.1, b64token). The error is an
// *InputError.
func NormalizedIDToken(field Field, token Secret) (Secret, error) {
	text := trimText(token.Reveal())
	switch {
	case text == "":
		return Secret{}, Invalid(field, "is empty")
	case len(text) > maxIDTokenLength:
		return Secret{}, Invalid(field, "is longer than %d bytes", maxIDTokenLength)
	case strings.ContainsRune(text, ' '):
		return Secret{}, Invalid(field, `has a space in it: give the token alone, without "Bearer"`)
	}
	if err := checkVisible(field, text); err != nil {
		return Secret{}, err
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Secret{}, Invalid(field, "has a character that is not valid in a token")
	}
	return gbgauth.NewSecret(text), nil
}
