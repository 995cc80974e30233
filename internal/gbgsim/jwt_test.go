package gbgsim_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"
)

// issuer is another authorization server, which publishes its keys.
type issuer struct {
	url  string // of the keys
	keys jose.JSONWebKeySet
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(i.keys)
	}))
	t.Cleanup(server.Close)
	i.url = server.URL

	return i
}

// publish creates a key for an algorithm and publishes it. It must not be called while
// the keys are being fetched.
func (i *issuer) publish(t *testing.T, algorithm jose.SignatureAlgorithm) jose.JSONWebKey {
	t.Helper()
	key := newKey(t, algorithm)
	i.keys.Keys = append(i.keys.Keys, key.Public())

	return key
}

func newKey(t *testing.T, algorithm jose.SignatureAlgorithm) jose.JSONWebKey {
	t.Helper()
	var key crypto.Signer
	var err error
	switch algorithm {
	case jose.RS256:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case jose.EdDSA:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	require.NoError(t, err)

	return jose.JSONWebKey{Key: key, KeyID: rand.Text(), Algorithm: string(algorithm)}
}

// sign returns a signed JWT.
func sign(t *testing.T, key jose.JSONWebKey, claims jwt.Claims) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}, nil)
	require.NoError(t, err)
	signed, err := jwt.Signed(signer).Claims(claims).Serialize()
	require.NoError(t, err)

	return signed
}

// validClaims returns the claims of a token that is accepted if otherIssuer is
// trusted. The token expires by the real clock, because the keys are fetched over a
// real network, which does not work in a testing/synctest bubble.
func validClaims() jwt.Claims {
	return jwt.Claims{
		Issuer:   otherIssuer,
		Subject:  "app-1",
		Audience: jwt.Audience{"somebody else"},
		Expiry:   jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}
}
