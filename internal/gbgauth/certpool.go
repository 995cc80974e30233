package gbgauth

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// certPool returns the certificates of a PEM text. Anything else in the text is an
// error, above all a private key, which would otherwise be stored and shown like
// public data.
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
			return nil, fmt.Errorf("holds a PEM block %q; only CERTIFICATE is allowed", sanitize(block.Type))
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %s", found+1, sanitize(err.Error()))
		}
		pool.AddCert(cert)
		found++
	}
	if found == 0 {
		return nil, errors.New("holds no PEM certificate")
	}
	// pem.Decode skips blocks that it cannot decode.
	if strings.Count(text, "-----BEGIN ") != found {
		return nil, errors.New("holds a PEM block that cannot be read")
	}
	return pool, nil
}
