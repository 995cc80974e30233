package gbgauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

const privateCAHint = "; if the endpoint's certificate comes from a private CA, set ca_pem"

func certPEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// selfSigned returns a self-signed certificate for 127.0.0.1. edit, unless nil, changes
// the template.
func selfSigned(t *testing.T, edit func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "fake CA"},
		NotBefore:             time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if edit != nil {
		edit(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)

	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serveTLS starts a token endpoint that counts its requests. Its access tokens are
// "over " and the protocol of the request.
func serveTLS(t *testing.T, config *tls.Config, http2 bool) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	requests := new(atomic.Int32)
	server := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.WriteString(w, `{"access_token":"over `+r.Proto+`"}`)
	}))
	server.TLS = config
	server.EnableHTTP2 = http2
	server.StartTLS()

	return server, requests
}

func TestCertificateIsVerified(t *testing.T) {
	t.Parallel()

	trusted := selfSigned(t, nil)
	otherName := selfSigned(t, func(c *x509.Certificate) {
		c.IPAddresses, c.DNSNames = nil, []string{"gbg.example"}
	})
	expired := selfSigned(t, func(c *x509.Certificate) {
		c.NotAfter = c.NotBefore.Add(time.Hour)
	})
	cases := []struct {
		name   string
		server tls.Certificate
		roots  string
		want   string
	}{
		{"system roots", trusted, "", "x509: certificate signed by unknown authority" + privateCAHint},
		{
			"another private root", trusted, certPEM(expired.Certificate[0]),
			"x509: certificate signed by unknown authority",
		},
		{
			"another name", otherName, certPEM(otherName.Certificate[0]),
			"x509: cannot validate certificate for 127.0.0.1",
		},
		{
			"expired", expired, certPEM(expired.Certificate[0]),
			"x509: certificate has expired or is not yet valid",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server, requests := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{c.server}}, false)

			_, err := clientCredentials(server.URL).Fetch(t.Context(), newClient(t, c.roots))
			got := asError(t, err)
			require.Equal(t, gbgauth.Unreachable, got.Kind)
			require.Zero(t, got.Status)
			require.Contains(t, got.Error(), c.want)
			require.Zero(t, requests.Load())
		})
	}
}

func TestPrivateRootIsTrusted(t *testing.T) {
	t.Parallel()
	other := certPEM(selfSigned(t, nil).Certificate[0])

	for name, c := range map[string]struct {
		http2         bool
		before, after string
		want          string
	}{
		"HTTP/1.1":         {want: "over HTTP/1.1"},
		"HTTP/2":           {http2: true, want: "over HTTP/2.0"},
		"first of two":     {after: other, want: "over HTTP/1.1"},
		"second of two":    {before: other, want: "over HTTP/1.1"},
		"no final newline": {before: "\n\n" + other, want: "over HTTP/1.1"},
		"comments between": {before: "# Fake CA\n" + other + "\n# The other\n", want: "over HTTP/1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, _ := serveTLS(t, nil, c.http2)
			roots := c.before + certPEM(server.Certificate().Raw) + c.after

			got, err := clientCredentials(server.URL).Fetch(t.Context(), newClient(t, roots))
			require.NoError(t, err)
			require.Equal(t, c.want, got.AccessToken.Reveal())
		})
	}
}

func TestTLSVersion(t *testing.T) {
	t.Parallel()

	for version, ok := range map[uint16]bool{
		tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true,
	} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			server, requests := serveTLS(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version}, false)

			_, err := clientCredentials(server.URL).Fetch(t.Context(), newClient(t, certPEM(server.Certificate().Raw)))
			if ok {
				require.NoError(t, err)

				return
			}
			got := asError(t, err)
			require.Equal(t, gbgauth.Unreachable, got.Kind)
			require.Contains(t, got.Error(), "protocol version not supported")
			require.Zero(t, requests.Load())
		})
	}
}

func TestPrivateCAHintOnlyForUnknownCA(t *testing.T) {
	cert := selfSigned(t, func(c *x509.Certificate) { c.IPAddresses = nil; c.DNSNames = []string{"gbg.example"} })
	server, _ := serveTLS(t, tlsConfig(cert), false)
	_, err := clientCredentials(server.URL).Fetch(t.Context(), newClient(t, certPEM(cert.Certificate[0])))
	require.NotContains(t, asError(t, err).Error(), "ca_pem")
}

func tlsConfig(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
