package gbgauth

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/go-cleanhttp"
)

// maxHeaderBytes bounds an answer's header; GBG's are below 2 KiB.
const maxHeaderBytes = 64 << 10

// NewHTTPClient gives a client for token endpoints: TLS 1.2 or newer, verified
// against the PEM certificates in roots, or the system's if roots is empty;
// redirects are never followed, because they would carry the client's secret to
// an address nobody configured. It has no timeout of its own: the context of a
// request has one. The proxy is the environment's (HTTPS_PROXY, NO_PROXY).
func NewHTTPClient(roots string) (*http.Client, error) {
	transport := cleanhttp.DefaultPooledTransport()
	transport.MaxResponseHeaderBytes = maxHeaderBytes
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if roots != "" {
		pool, err := certPool(roots)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// certPool reads PEM certificates. Anything else in the text is an error, above
// all a private key, which would otherwise be stored and shown as if it were
// public.
func certPool(text string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	rest := []byte(text)
	found := 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("holds a PEM block %q where only CERTIFICATE is wanted", clean(block.Type))
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %s", found+1, clean(err.Error()))
		}
		pool.AddCert(cert)
		found++
	}
	if found == 0 {
		return nil, errors.New("holds no PEM certificate")
	}
	// pem.Decode passes over what it cannot read.
	if strings.Count(text, "-----BEGIN ") != found {
		return nil, errors.New("holds a PEM block that cannot be read")
	}
	return pool, nil
}
