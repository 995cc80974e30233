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

// Setting names one setting of a connection. The names of OAuth's own
// parameters are those of RFC 6749.
type Setting string

// The settings of a connection.
const (
	ClientID           Setting = "client_id"
	ClientSecret       Setting = "client_secret"
	PairedClientID     Setting = "paired_client_id"
	PairedClientSecret Setting = "paired_client_secret"
	GrantType          Setting = "grant_type"
	TokenURL           Setting = "token_url"
	Scope              Setting = "scope"
	RefreshBefore      Setting = "refresh_before"
	RequestTimeout     Setting = "request_timeout"
	CAPEM              Setting = "ca_pem"
	Failover           Setting = "failover"
	MaxSecretAge       Setting = "max_secret_age"
	// MinTTL is a reader's, not a connection's.
	MinTTL Setting = "min_ttl"
)

// GrantClientCredentials is GBG GO's grant (RFC 6749 section 4.4).
const GrantClientCredentials = "client_credentials"

const (
	// DefaultTokenURL is GBG GO's token endpoint.
	DefaultTokenURL = "https://api.auth.gbgplc.com/as/token.oauth2"
	// DefaultScope is the scope that GBG GO requires.
	DefaultScope = "gbg.token"
	// DefaultRefreshBefore is how long before expiry the next token is fetched.
	DefaultRefreshBefore = 5 * time.Minute
	// DefaultRequestTimeout bounds one answer to a reader.
	DefaultRequestTimeout = 10 * time.Second
)

// Bounds of the settings: far beyond what GBG uses, near enough to stop an
// accident (a file given for the wrong field) from being stored.
const (
	maxIDLength       = 512
	maxSecretLength   = 8 << 10
	maxScopeLength    = 4 << 10
	maxURLLength      = 2 << 10
	maxCALength       = 256 << 10
	maxRefreshBefore  = 24 * time.Hour
	maxRequestTimeout = time.Minute
	maxMaxSecretAge   = 10 * 365 * 24 * time.Hour
)

// Settings are what a configuration write sets, the client pair aside. Empty
// and zero mean the default.
type Settings struct {
	GrantType string
	TokenURL  string
	// Scope is space-separated.
	Scope          string
	RefreshBefore  time.Duration
	RequestTimeout time.Duration
	// CAPEM holds the only roots trusted for this connection.
	CAPEM string
	// NoFailover keeps the standby from taking over by itself when GBG refuses the
	// active client.
	NoFailover bool
	// MaxSecretAge is the age of the active client's secret from which on people
	// are warned. Zero is never.
	MaxSecretAge time.Duration
}

// withDefaults fills what is empty.
func (s Settings) withDefaults() Settings {
	s.GrantType = orDefault(s.GrantType, GrantClientCredentials)
	s.TokenURL = orDefault(s.TokenURL, DefaultTokenURL)
	s.Scope = orDefault(s.Scope, DefaultScope)
	s.RefreshBefore = orDefault(s.RefreshBefore, DefaultRefreshBefore)
	s.RequestTimeout = orDefault(s.RequestTimeout, DefaultRequestTimeout)
	return s
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// SettingsChange is what a configuration write says of the settings. Nil means
// unsaid; an empty text means the default again.
type SettingsChange struct {
	GrantType      *string
	TokenURL       *string
	Scope          *string
	RefreshBefore  *time.Duration
	RequestTimeout *time.Duration
	CAPEM          *string
	Failover       *bool
	MaxSecretAge   *time.Duration
}

// change applies a configuration write. The errors are *InputError.
func (s Settings) change(c SettingsChange) (Settings, error) {
	if c.GrantType != nil {
		s.GrantType = *c.GrantType
		if s.GrantType != "" && s.GrantType != GrantClientCredentials {
			return s, invalid(GrantType, "must be %q", GrantClientCredentials)
		}
	}
	if c.TokenURL != nil {
		s.TokenURL = strings.TrimSpace(*c.TokenURL)
		if err := checkURL(TokenURL, s.TokenURL); err != nil {
			return s, err
		}
	}
	if c.Scope != nil {
		s.Scope = strings.Join(strings.Fields(*c.Scope), " ")
		if err := checkScope(s.Scope); err != nil {
			return s, err
		}
	}
	if c.RefreshBefore != nil {
		s.RefreshBefore = *c.RefreshBefore
		if err := checkDuration(RefreshBefore, s.RefreshBefore, maxRefreshBefore); err != nil {
			return s, err
		}
	}
	if c.RequestTimeout != nil {
		s.RequestTimeout = *c.RequestTimeout
		if err := checkDuration(RequestTimeout, s.RequestTimeout, maxRequestTimeout); err != nil {
			return s, err
		}
	}
	if c.CAPEM != nil {
		s.CAPEM = strings.TrimSpace(*c.CAPEM)
		if len(s.CAPEM) > maxCALength {
			return s, invalid(CAPEM, "is longer than %d bytes", maxCALength)
		}
		if _, err := gbgauth.NewHTTPClient(s.CAPEM); err != nil {
			return s, invalid(CAPEM, "%s", err)
		}
	}
	if c.Failover != nil {
		s.NoFailover = !*c.Failover
	}
	if c.MaxSecretAge != nil {
		s.MaxSecretAge = *c.MaxSecretAge
		if s.MaxSecretAge < 0 || s.MaxSecretAge > maxMaxSecretAge {
			return s, invalid(MaxSecretAge, "must be between 0 (off) and %s", maxMaxSecretAge)
		}
	}
	return s, nil
}

// checkDuration wants a second or more, and no more than most.
func checkDuration(setting Setting, d, most time.Duration) error {
	if d < time.Second || d > most {
		return invalid(setting, "must be between 1s and %s", most)
	}
	return nil
}

// checkScope wants RFC 6749 section 3.3's characters.
func checkScope(scope string) error {
	if len(scope) > maxScopeLength {
		return invalid(Scope, "is longer than %d bytes", maxScopeLength)
	}
	for _, c := range []byte(scope) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return invalid(Scope, "has a character that no scope may have")
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
