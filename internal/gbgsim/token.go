package gbgsim

import "time"

// TokenPrefix starts every access token of GBG's, so that logs can be searched
// for tokens.
const TokenPrefix = "sim-token-"

// TokenClient says whom an access token of GBG's stands for, whether or not it
// is still valid: the client that [TokenPath] issued it to, or the subject of
// the id_token that was exchanged for it at [IdentityTokenPath], which is a
// client of the identity provider or a person. ok is false if the token was
// not issued at either.
func (s *Simulator) TokenClient(accessToken string) (subject string, ok bool) {
	return s.gbg.tokenSubject(accessToken)
}

// TokenLifetime returns how long a new token of GBG's is valid.
func (s *Simulator) TokenLifetime() time.Duration {
	return s.gbg.tokenLifetime()
}

// SetTokenLifetime changes how long tokens are valid that are issued from now
// on at [TokenPath] and [IdentityTokenPath]. It fails unless lifetime is one or
// more whole seconds, the unit of expires_in (RFC 6749, section 5.1).
func (s *Simulator) SetTokenLifetime(lifetime time.Duration) error {
	return s.gbg.setLifetime(lifetime)
}
