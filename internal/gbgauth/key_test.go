package gbgauth_test

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

var keyNow = time.Date(2026, time.March, 1, 12, 0, 0, 250_000_000, time.UTC)

func newKey(t *testing.T, algorithm string) gbgauth.Key {
	t.Helper()
	key, err := gbgauth.NewKey(algorithm, fakeID, keyNow)
	require.NoError(t, err)
	require.NoError(t, key.Check())

	return key
}

func publicKey(t *testing.T, key gbgauth.Key) gbgauth.PublicKey {
	t.Helper()
	public, err := key.Public()
	require.NoError(t, err)

	return public
}

func TestNewKey(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{gbgauth.RS256, gbgauth.PS256, gbgauth.ES256} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			key := newKey(t, algorithm)
			public := publicKey(t, key)
			require.False(t, key.IsZero())
			require.True(t, key != newKey(t, algorithm), "each key is another one")

			block, rest := pem.Decode([]byte(public.Certificate))
			require.Empty(t, rest)
			certificate, err := x509.ParseCertificate(block.Bytes)
			require.NoError(t, err)
			require.NoError(t, certificate.CheckSignature(certificate.SignatureAlgorithm, certificate.RawTBSCertificate, certificate.Signature), "self-signed")
			require.Equal(t, "CN="+fakeID, certificate.Subject.String())
			require.Equal(t, keyNow.Truncate(time.Second), certificate.NotBefore)
			require.Equal(t, time.Date(2036, time.March, 1, 12, 0, 0, 0, time.UTC), certificate.NotAfter)
			require.False(t, certificate.IsCA)
			bySHA1, bySHA256 := sha1.Sum(block.Bytes), sha256.Sum256(block.Bytes)
			require.Equal(t, hex.EncodeToString(bySHA1[:]), public.ThumbprintSHA1)
			require.Equal(t, base64.RawURLEncoding.EncodeToString(bySHA1[:]), public.X5T)
			require.Equal(t, base64.RawURLEncoding.EncodeToString(bySHA256[:]), public.X5TS256)

			encoded, err := json.Marshal(public.JWK)
			require.NoError(t, err)
			var jwk map[string]string
			require.NoError(t, json.Unmarshal(encoded, &jwk))
			require.Equal(t, []string{algorithm, "sig", public.ID}, []string{jwk["alg"], jwk["use"], jwk["kid"]})
			for _, private := range []string{"d", "p", "q", "dp", "dq", "qi"} {
				require.NotContains(t, jwk, private)
			}
			// RFC 7638 section 3.2: the required members in order, without spaces.
			var members string
			switch public := public.JWK.Key.(type) {
			case *rsa.PublicKey:
				require.Equal(t, 2048, public.N.BitLen())
				members = fmt.Sprintf(`{"e":%q,"kty":"RSA","n":%q}`, jwk["e"], jwk["n"])
			case *ecdsa.PublicKey:
				require.Equal(t, "P-256", public.Params().Name)
				members = fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, jwk["x"], jwk["y"])
			}
			thumbprint := sha256.Sum256([]byte(members))
			require.Equal(t, base64.RawURLEncoding.EncodeToString(thumbprint[:]), public.ID)
		})
	}
	_, err := gbgauth.NewKey("HS256", fakeID, keyNow)
	require.EqualError(t, err, `there is no key algorithm "HS256"`)
}

func TestKeyCheck(t *testing.T) {
	t.Parallel()
	key, other := newKey(t, gbgauth.ES256), newKey(t, gbgauth.ES256)
	require.True(t, gbgauth.Key{}.IsZero())
	for name, damaged := range map[string]gbgauth.Key{
		"the private key cannot be read":                 {Private: gbgauth.NewSecret("fake"), Algorithm: key.Algorithm, Certificate: key.Certificate},
		"the certificate is not PEM":                     {Private: key.Private, Algorithm: key.Algorithm, Certificate: "fake"},
		"the certificate cannot be read":                 {Private: key.Private, Algorithm: key.Algorithm, Certificate: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
		"the certificate is not that of the private key": {Private: key.Private, Algorithm: key.Algorithm, Certificate: other.Certificate},
		"the algorithm is not one of the private key":    {Private: key.Private, Algorithm: gbgauth.RS256, Certificate: key.Certificate},
	} {
		require.EqualError(t, damaged.Check(), name)
	}
}

func TestKeyIsRedacted(t *testing.T) {
	t.Parallel()
	key := newKey(t, gbgauth.ES256)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		text := fmt.Sprintf(verb, key)
		require.Contains(t, text, "[redacted]")
		require.NotContains(t, text, key.Private.Reveal())
		require.NotContains(t, text, hex.EncodeToString([]byte(key.Private.Reveal())))
	}
}
