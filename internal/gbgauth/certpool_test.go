package gbgauth_test

import (
	"encoding/pem"
	"testing"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

func TestRootsInvalid(t *testing.T) {
	t.Parallel()
	good := certPEM(selfSigned(t, nil).Certificate[0])
	block := func(typ string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: []byte("fake key")}))
	}

	const encodedKey = "ZmFrZSBrZXk=" // "fake key"
	holds := func(typ string) string {
		return `holds a PEM block "` + typ + `"; only CERTIFICATE is allowed`
	}
	cases := []struct {
		name, roots, want string
	}{
		{"space", " \n", "holds no PEM certificate"},
		{"garbage", "\x00\xffgarbage", "holds no PEM certificate"},
		{"a path", "/etc/ssl/fake.pem", "holds no PEM certificate"},
		{"PEM that ends early", good[:len(good)/2], "holds no PEM certificate"},
		{"DER", string(selfSigned(t, nil).Certificate[0]), "holds no PEM certificate"},
		{"private key", block("PRIVATE KEY"), holds("PRIVATE KEY")},
		{"RSA key", block("RSA PRIVATE KEY"), holds("RSA PRIVATE KEY")},
		{"certificate, then key", good + block("EC PRIVATE KEY"), holds("EC PRIVATE KEY")},
		{"key, then certificate", block("PRIVATE KEY") + good, holds("PRIVATE KEY")},
		{"public key", block("PUBLIC KEY"), holds("PUBLIC KEY")},
		{"request", block("CERTIFICATE REQUEST"), holds("CERTIFICATE REQUEST")},
		{"odd type", block("\x1b[31mFAKE\u202e"), holds("[31mFAKE")},
		{"not a certificate", block("CERTIFICATE"), "certificate 1 cannot be read: x509: malformed certificate"},
		{
			"second not a certificate", good + block("CERTIFICATE"),
			"certificate 2 cannot be read: x509: malformed certificate",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client, err := gbgauth.NewClient(gbgauth.ClientOptions{Roots: c.roots})
			require.Nil(t, client)
			require.EqualError(t, err, c.want)
			requireSafe(t, err.Error(), encodedKey)
		})
	}
}

func TestRootsMalformedPEM(t *testing.T) {
	good := certPEM(selfSigned(t, nil).Certificate[0])
	for _, roots := range []string{
		"-----BEGIN PRIVATE KEY-----\nnot!base64\n-----END PRIVATE KEY-----\n" + good,
		good + "-----BEGIN PRIVATE KEY-----\nZmFrZQ==\n",
		good + good[:len(good)/2],
	} {
		_, err := gbgauth.NewClient(gbgauth.ClientOptions{Roots: roots})
		require.Error(t, err)
	}
}
