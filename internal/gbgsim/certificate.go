package gbgsim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"time"
)

// certificates are the certificates for [Simulator.TLSConfig]. Each simulator
// creates them when they are first needed.
type certificates struct {
	caPEM []byte

	// byFault are the server certificates. The empty kind means no fault.
	byFault map[FaultKind]tls.Certificate
}

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// Certificates are valid from notBefore to either of the others. Both limits are
// far from the real time and from the fake time of a testing/synctest bubble.
var (
	notBefore = time.Date(1970, time.January, 1, 0, 0, 0, 0, time.UTC)
	expired   = time.Date(1971, time.January, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2100, time.January, 1, 0, 0, 0, 0, time.UTC)
)

// TLSConfig returns the configuration of a TLS server that serves s, such as
// [net/http/httptest.Server]. Its certificate is valid for 127.0.0.1, ::1 and
// localhost and is issued by the authority of [Simulator.CAPEM]. A fault of a
// certificate replaces it on new connections. HTTP/2 is off, because a single
// HTTP/2 request cannot reset its connection.
func (s *Simulator) TLSConfig() (*tls.Config, error) {
	certs, err := s.certificates()
	if err != nil {
		return nil, err
	}

	configs := map[FaultKind]*tls.Config{}
	for kind, certificate := range certs.byFault {
		configs[kind] = &tls.Config{
			MinVersion:   tls.VersionTLS12,
			NextProtos:   []string{"http/1.1"},
			Certificates: []tls.Certificate{certificate},
			// The server sends no certificate when a session is resumed.
			SessionTicketsDisabled: true,
		}
	}
	config := configs[""].Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return configs[s.takeConnectionFault()], nil
	}

	return config, nil
}

// ListenTLS returns a TLS listener for [Simulator.Serve], with the configuration
// of [Simulator.TLSConfig], on an address that [Listen] accepts.
func (s *Simulator) ListenTLS(addr string) (net.Listener, error) {
	config, err := s.TLSConfig()
	if err != nil {
		return nil, err
	}
	listener, err := Listen(addr)
	if err != nil {
		return nil, err
	}

	return tls.NewListener(listener, config), nil
}

// CAPEM returns the certificate of the authority that TLS clients of s must trust,
// in PEM. Each Simulator has its own authority.
func (s *Simulator) CAPEM() ([]byte, error) {
	certs, err := s.certificates()
	if err != nil {
		return nil, err
	}

	return append([]byte{}, certs.caPEM...), nil
}

func (s *Simulator) serveCA(w http.ResponseWriter, _ *http.Request) {
	caPEM, err := s.CAPEM()
	if err != nil {
		writeJSON(w, http.StatusInternalServerError, portalError{Error: err.Error()})

		return
	}
	write(w, http.StatusOK, "application/x-pem-file", caPEM)
}

func newCertificates() (certificates, error) {
	trusted, err := newAuthority("GBG simulator")
	if err != nil {
		return certificates{}, err
	}
	untrusted, err := newAuthority("GBG simulator, untrusted")
	if err != nil {
		return certificates{}, err
	}

	certs := certificates{
		caPEM:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: trusted.certificate.Raw}),
		byFault: map[FaultKind]tls.Certificate{},
	}
	for _, certificate := range []struct {
		kind     FaultKind
		issuer   authority
		notAfter time.Time
	}{
		{"", trusted, notAfter},
		{FaultExpiredCertificate, trusted, expired},
		{FaultUntrustedCertificate, untrusted, notAfter},
	} {
		issued, err := certificate.issuer.issue(certificate.notAfter)
		if err != nil {
			return certificates{}, err
		}
		certs.byFault[certificate.kind] = issued
	}

	return certs, nil
}

func newAuthority(name string) (authority, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, fmt.Errorf("creating the key of %q: %w", name, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return authority{}, fmt.Errorf("creating the certificate of %q: %w", name, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return authority{}, fmt.Errorf("reading the certificate of %q: %w", name, err)
	}

	return authority{certificate: certificate, key: key}, nil
}

// issue returns a new certificate for a server on loopback.
func (a authority) issue(notAfter time.Time) (tls.Certificate, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "localhost"},
		NotBefore:   notBefore,
		NotAfter:    notAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("creating the key of a server: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("creating the certificate of a server: %w", err)
	}

	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
