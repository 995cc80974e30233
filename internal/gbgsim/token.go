package gbgsim

import "time"

// TokenPrefix is the prefix of every GBG access token, so that tests can search
// logs for tokens.
const TokenPrefix = "sim-token-"

// TokenClient returns the subject of a GBG access token, even if the token is no
// longer valid: the client that [TokenPath] issued it to, or the subject of the
// id_token that was exchanged for it at [IdentityTokenPath], which is a client of
// the identity provider or a person. ok is false if neither issued the token.
func (s *Simulator) TokenClient(accessToken string) (subject string, ok bool) {
	return s.gbg.tokenSubject(accessToken)
}

// TokenLifetime returns the lifetime of new GBG tokens.
func (s *Simulator) TokenLifetime() time.Duration {
	return s.gbg.tokenLifetime()
}

// SetTokenLifetime sets the lifetime of new tokens of [TokenPath] and
// [IdentityTokenPath]. It returns an error unless lifetime is a positive number of
// whole seconds, the unit of expires_in (RFC 6749, section 5.1).
func (s *Simulator) SetTokenLifetime(lifetime time.Duration) error {
	return s.gbg.setLifetime(lifetime)
}
