package gbgsim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// IDPIssuer is the issuer (iss) of the id_tokens of the IdP. It is a name only:
// their keys are at /idp/jwks.
const IDPIssuer = "https://idp.gbg-simulator.invalid"

// idTokenAudience is the audience (aud) of id_tokens: the application that a
// person signs on to.
const idTokenAudience = "gbg-simulator-application"

type loginRequest struct {
	Subject string `json:"subject"`
}

type loginResponse struct {
	IDToken string `json:"id_token"`
}

// IDToken returns what the single sign-on of a person gives: a signed JWT with
// iss, sub, aud, iat, exp and jti, valid for as long as other tokens of the IdP. The IdP knows everybody: any subject but an empty one will
// do.
func (s *Simulator) IDToken(subject string) (string, error) {
	if subject == "" {
		return "", errors.New("subject is missing")
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: s.idTokenKey},
		(&jose.SignerOptions{}).WithType("JWT"),
	)
	if err != nil {
		return "", fmt.Errorf("signing an id_token: %w", err)
	}
	now := time.Now()
	idToken, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer:   IDPIssuer,
		Subject:  subject,
		Audience: jwt.Audience{idTokenAudience},
		IssuedAt: jwt.NewNumericDate(now),
		Expiry:   jwt.NewNumericDate(now.Add(s.idp.tokenLifetime())),
		ID:       rand.Text(),
	}).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing an id_token: %w", err)
	}

	return idToken, nil
}

// newIDTokenKey panics if it cannot make a key, which happens with curves that
// Go does not know only: a lack of randomness ends the program by itself.
func newIDTokenKey() jose.JSONWebKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic("gbgsim: " + err.Error())
	}

	return jose.JSONWebKey{Key: key, KeyID: rand.Text(), Algorithm: string(jose.ES256), Use: "sig"}
}

func (s *Simulator) portalLogin(r *http.Request) (int, any, error) {
	var request loginRequest
	if err := readJSON(r, &request); err != nil {
		return 0, nil, err
	}
	idToken, err := s.IDToken(request.Subject)

	return http.StatusOK, loginResponse{IDToken: idToken}, err
}

func (s *Simulator) portalKeys(*http.Request) (int, any, error) {
	return http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{s.idTokenKey.Public()}}, nil
}
