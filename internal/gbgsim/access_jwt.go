package gbgsim

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Issuer is the issuer (iss) of GBG's access tokens with [TokenFormatJWT]. It is not a
// working URL.
const Issuer = "https://gbg-simulator.invalid"

// tokenAudience is the audience (aud) of GBG's access tokens.
const tokenAudience = "gbg-go"

// TokenFormat is the format of GBG's access tokens.
type TokenFormat string

// The formats of access tokens. GBG documents none.
const (
	// TokenFormatOpaque is [TokenPrefix] and random text.
	TokenFormatOpaque TokenFormat = "opaque"
	// TokenFormatJWT is a signed JWT (RFC 9068) with the client's roles and department.
	TokenFormatJWT TokenFormat = "jwt"
)

func (f TokenFormat) check() error {
	if f == TokenFormatOpaque || f == TokenFormatJWT {
		return nil
	}

	return fmt.Errorf("token_format %q is not %s or %s", f, TokenFormatOpaque, TokenFormatJWT)
}

// accessClaims are the claims of an access token besides the registered ones.
type accessClaims struct {
	ClientID   string   `json:"client_id"`
	Scope      string   `json:"scope"`
	Department string   `json:"department,omitempty"`
	Roles      []string `json:"roles,omitempty"`
}

// TokenFormat returns the format of new tokens of [TokenPath].
func (s *Simulator) TokenFormat() TokenFormat {
	s.gbg.mu.Lock()
	defer s.gbg.mu.Unlock()

	if s.gbg.sign != nil {
		return TokenFormatJWT
	}

	return TokenFormatOpaque
}

// SetTokenFormat sets the format of new tokens of [TokenPath]. It returns an error if
// there is no such format.
func (s *Simulator) SetTokenFormat(format TokenFormat) error {
	if err := format.check(); err != nil {
		return err
	}

	s.gbg.mu.Lock()
	defer s.gbg.mu.Unlock()

	s.gbg.sign = nil
	if format == TokenFormatJWT {
		s.gbg.sign = s.accessJWT
	}

	return nil
}

// accessJWT returns an access token for a client. It is signed with the key of the IdP,
// the only one that the simulator has. It panics if signing fails, which only an
// unsupported key could cause.
func (s *Simulator) accessJWT(issued token) string {
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: s.idTokenKey},
		(&jose.SignerOptions{}).WithType("at+jwt"),
	)
	if err != nil {
		panic("gbgsim: " + err.Error())
	}
	accessToken, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer:   Issuer,
		Subject:  issued.subject,
		Audience: jwt.Audience{tokenAudience},
		IssuedAt: jwt.NewNumericDate(time.Now()),
		Expiry:   jwt.NewNumericDate(issued.expires),
		ID:       rand.Text(),
	}).Claims(accessClaims{
		ClientID:   issued.client.ID,
		Scope:      Scope,
		Department: issued.client.Department,
		Roles:      issued.client.Roles,
	}).Serialize()
	if err != nil {
		panic("gbgsim: " + err.Error())
	}

	return accessToken
}

// RevokeTokens makes all tokens of a client of [TokenPath] invalid before they expire. It
// fails only with [ErrUnknownClient].
func (s *Simulator) RevokeTokens(clientID string) error {
	return s.gbg.updateClient(clientID, func(client *Client) {
		for accessToken, issued := range s.gbg.tokens {
			if issued.client == client {
				issued.revoked = true
				s.gbg.tokens[accessToken] = issued
			}
		}
	})
}
