package gbgauth

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// AssumedLifetime is the lifetime of a token whose response has no expires_in, a
	// field that RFC 6749 section 5.1 only recommends.
	AssumedLifetime = 5 * time.Minute
	// MaxLifetime is the maximum lifetime of a token; a longer expires_in counts as
	// MaxLifetime.
	MaxLifetime = 24 * time.Hour

	// maxScopeBytes is the maximum length of a granted scope; a longer one is ignored.
	maxScopeBytes = 16 << 10
)

// Token is an access token as an endpoint issued it.
type Token struct {
	// AccessToken is never empty. It consists of visible ASCII characters and spaces
	// (RFC 6749 appendix A.12).
	AccessToken Secret
	// Type is token_type, or "Bearer" if the response has none.
	Type string
	// Scope is the scope granted. Empty means that the response has none: the scope is
	// then the one requested (RFC 6749 section 5.1).
	Scope string
	// Lifetime is expires_in, in whole seconds, at least one second and at most
	// MaxLifetime. It counts from the time the request was sent, which the caller
	// knows.
	Lifetime time.Duration
	// LifetimeAssumed reports whether the response has no expires_in and Lifetime is
	// AssumedLifetime.
	LifetimeAssumed bool
}

// token returns the token of a response with status 2xx (RFC 6749 section 5.1).
func (r *request) token() (*Token, error) {
	if r.fields == nil {
		return nil, r.invalidResponse("the answer is not a JSON object")
	}
	// Some servers send error responses with status 200.
	if r.oauthErrorCode() != "" {
		return nil, r.errorResponse()
	}
	accessToken := r.text("access_token")
	if accessToken == "" {
		return nil, r.invalidResponse("the answer has no usable access_token")
	}
	if len(accessToken) >= minFragment {
		r.secrets = append(r.secrets, NewSecret(accessToken))
	}
	switch string(r.fields["error"]) {
	case "", "null", `""`:
	default:
		return nil, r.invalidResponse("the answer has both an error and an access_token")
	}
	lifetime, assumed, err := r.lifetime()
	if err != nil {
		return nil, r.invalidResponse(err.Error())
	}
	for _, c := range []byte(accessToken) {
		if c < 0x20 || c > 0x7e {
			return nil, r.invalidResponse("access_token contains characters that are not allowed in a token")
		}
	}
	// Short secrets are not redacted: a scope that happens to contain one would be
	// changed to another scope.
	secrets := slices.DeleteFunc(r.secrets, func(s Secret) bool { return len(s.Reveal()) < minFragment })
	typ := sanitize(r.text("token_type"), secrets...)
	if typ == "" {
		typ = "Bearer"
	}
	return &Token{
		AccessToken:     NewSecret(accessToken),
		Type:            typ,
		Scope:           printable(r.scope(), secrets...),
		Lifetime:        lifetime,
		LifetimeAssumed: assumed,
	}, nil
}

// lifetime returns the lifetime of a token from expires_in, a number of seconds or a
// string with one. If it is missing or null, lifetime returns AssumedLifetime, and
// assumed is true.
func (r *response) lifetime() (lifetime time.Duration, assumed bool, err error) {
	text := strings.TrimSpace(string(r.fields["expires_in"]))
	if text == "" || text == "null" {
		return AssumedLifetime, true, nil
	}
	if text[0] == '"' {
		text = strings.TrimSpace(r.text("expires_in"))
	}
	seconds, err := strconv.ParseFloat(text, 64)
	// ParseFloat also accepts "inf", "nan" and "0x1p4".
	if err != nil && !errors.Is(err, strconv.ErrRange) || !json.Valid([]byte(text)) {
		return 0, false, errors.New("expires_in is not a number")
	}
	if seconds < 1 {
		return 0, false, errors.New("expires_in is less than a second")
	}
	if seconds > MaxLifetime.Seconds() {
		return MaxLifetime, false, nil
	}
	return time.Duration(seconds * float64(time.Second)).Truncate(time.Second), false, nil
}

// scope returns the scope granted: a string, or a list of strings as some servers
// send it. It returns "" if there is none.
func (r *response) scope() string {
	var scopes []string
	scope := r.text("scope")
	if scope == "" && json.Unmarshal(r.fields["scope"], &scopes) == nil {
		scope = strings.Join(scopes, " ")
	}
	if len(scope) > maxScopeBytes {
		return ""
	}
	return scope
}
