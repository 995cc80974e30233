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

// IDPIssuer is the issuer (iss) of the id_tokens of the IdP. It is not a working
// URL: the keys are at /idp/jwks.
const IDPIssuer = "https://idp.gbg-simulator.invalid"

// idTokenAudience is the audience (aud) of id_tokens: the application that a person
// signs in to.
const idTokenAudience = "gbg-simulator-application"

type loginRequest struct {
	Subject string `json:"subject"`
}

type loginResponse struct {
	IDToken string `json:"id_token"`
}

// IDToken returns an id_token as the IdP issues it when a person signs in: a signed
// JWT with iss, sub, aud, iat, exp and jti. It is valid for the token lifetime of
// the IdP. The subject may be any non-empty string.
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

// newIDTokenKey returns a new signing key. It panics if that fails, which only an
// unsupported curve could cause.
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
