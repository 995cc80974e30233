package gbgsim

import (
	"crypto/rand"
	"fmt"
	"time"
)

// TokenPrefix starts every access token, so that logs can be searched for
// tokens.
const TokenPrefix = "sim-token-"

// token is what the simulator knows of an access token.
type token struct {
	// client is a pointer, not an id, so that the token of a deleted client
	// does not pass for one of a later client with the same id.
	client  *Client
	expires time.Time
}

// TokenClient says which client an access token was issued to, whether or not
// it is still valid. ok is false if the token was not issued here.
func (s *Simulator) TokenClient(accessToken string) (clientID string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()

	issued, ok := s.tokens[accessToken]
	if !ok {
		return "", false
	}

	return issued.client.ID, true
}

// TokenLifetime returns how long a new token is valid.
func (s *Simulator) TokenLifetime() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.tokenLifetime
}

// SetTokenLifetime changes how long tokens are valid that are issued from now
// on. It fails unless lifetime is one or more whole seconds, the unit of
// expires_in (RFC 6749, section 5.1).
func (s *Simulator) SetTokenLifetime(lifetime time.Duration) error {
	if err := checkTokenLifetime(lifetime); err != nil {
		return err
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	s.tokenLifetime = lifetime

	return nil
}

// issueToken must be called with the lock held.
func (s *Simulator) issueToken(client *Client) string {
	accessToken := TokenPrefix + rand.Text()
	s.tokens[accessToken] = token{client: client, expires: s.clock.Now().Add(s.tokenLifetime)}

	return accessToken
}

func checkTokenLifetime(lifetime time.Duration) error {
	if lifetime < time.Second || lifetime%time.Second != 0 {
		return fmt.Errorf("token lifetime %v is not one or more whole seconds", lifetime)
	}

	return nil
}
