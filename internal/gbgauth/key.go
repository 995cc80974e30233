package gbgauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // x5t is defined as a SHA-1 thumbprint
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// The algorithms of keys (RFC 7518 section 3.1).
const (
	RS256 = string(jose.RS256)
	PS256 = string(jose.PS256)
	ES256 = string(jose.ES256)
)

const (
	// rsaKeyBits is the size of an RSA key.
	rsaKeyBits = 2048
	// certificateYears is how long a certificate is valid.
	certificateYears = 10
	// pemCertificate is the PEM type of a certificate (RFC 7468 section 5).
	pemCertificate = "CERTIFICATE"
)

// Key is a key pair by which a client authenticates. The zero value is no key. Keys are
// comparable with ==.
type Key struct {
	// Private is the private key: PKCS #8 (RFC 5958), DER-encoded.
	Private Secret
	// Algorithm is RS256, PS256 or ES256.
	Algorithm string
	// Certificate is a self-signed certificate of the public key, PEM-encoded.
	Certificate string
}

// PublicKey is the public part of a Key, in the forms that identity providers ask for.
type PublicKey struct {
	// ID is the key's thumbprint (RFC 7638).
	ID        string
	Algorithm string
	// JWK is the key as a JSON Web Key (RFC 7517) for signatures.
	JWK jose.JSONWebKey
	// Certificate is PEM-encoded.
	Certificate string
	// ThumbprintSHA1 is the certificate's SHA-1 thumbprint in hexadecimal digits. X5T
	// and X5TS256 are its SHA-1 and SHA-256 thumbprints as base64url (RFC 7515 sections
	// 4.1.7 and 4.1.8).
	ThumbprintSHA1, X5T, X5TS256 string
}

// NewKey returns a new key pair. Its certificate names commonName and is valid for ten
// years from now on.
func NewKey(algorithm, commonName string, now time.Time) (Key, error) {
	signer, err := newSigner(algorithm)
	if err != nil {
		return Key{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return Key{}, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             now.UTC(),
		NotAfter:              now.UTC().AddDate(certificateYears, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return Key{}, err
	}
	return Key{
		Private:     NewSecret(string(private)),
		Algorithm:   algorithm,
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: certificate})),
	}, nil
}

// newSigner returns a new private key for an algorithm.
func newSigner(algorithm string) (crypto.Signer, error) {
	switch algorithm {
	case RS256, PS256:
		return rsa.GenerateKey(rand.Reader, rsaKeyBits)
	case ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return nil, fmt.Errorf("there is no key algorithm %q", algorithm)
}

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k == Key{} }

// Check returns an error if a private key, an algorithm and a certificate do not belong
// together. The error quotes none of them.
func (k Key) Check() error {
	private, err := k.signer()
	if err != nil {
		return err
	}
	public, err := k.Public()
	if err != nil {
		return err
	}
	if own, ok := private.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !own.Equal(public.JWK.Key) {
		return errors.New("the certificate is not that of the private key")
	}
	switch private.(type) {
	case *rsa.PrivateKey:
		if k.Algorithm == RS256 || k.Algorithm == PS256 {
			return nil
		}
	case *ecdsa.PrivateKey:
		if k.Algorithm == ES256 {
			return nil
		}
	}
	return errors.New("the algorithm is not one of the private key")
}

// Public returns the public part of the key.
func (k Key) Public() (PublicKey, error) {
	block, _ := pem.Decode([]byte(k.Certificate))
	if block == nil || block.Type != pemCertificate {
		return PublicKey{}, errors.New("the certificate is not PEM")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return PublicKey{}, errors.New("the certificate cannot be read")
	}
	jwk := jose.JSONWebKey{Key: certificate.PublicKey, Algorithm: k.Algorithm, Use: "sig"}
	thumbprint, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return PublicKey{}, errors.New("the certificate has a key of an unknown kind")
	}
	jwk.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	bySHA1, bySHA256 := sha1.Sum(block.Bytes), sha256.Sum256(block.Bytes) //nolint:gosec // as above
	return PublicKey{
		ID:             jwk.KeyID,
		Algorithm:      k.Algorithm,
		JWK:            jwk,
		Certificate:    k.Certificate,
		ThumbprintSHA1: hex.EncodeToString(bySHA1[:]),
		X5T:            base64.RawURLEncoding.EncodeToString(bySHA1[:]),
		X5TS256:        base64.RawURLEncoding.EncodeToString(bySHA256[:]),
	}, nil
}

// signer returns the private key.
func (k Key) signer() (crypto.Signer, error) {
	private, err := x509.ParsePKCS8PrivateKey([]byte(k.Private.Reveal()))
	if err != nil {
		return nil, errors.New("the private key cannot be read") // err may quote it
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, errors.New("the private key is of an unknown kind")
	}
	return signer, nil
}
