package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// proxy is an HTTPS proxy that leads host names to handlers, over TLS with a
// certificate of these names.
type proxy struct {
	url  string
	root string // a file with the certificate to trust
}

// env makes a process use the proxy and trust the certificate.
func (p *proxy) env() []string {
	return []string{"HTTPS_PROXY=" + p.url, "SSL_CERT_FILE=" + p.root}
}

func newProxy(t *testing.T, hosts map[string]http.Handler) *proxy {
	t.Helper()
	mux := http.NewServeMux()
	for host, handler := range hosts {
		mux.Handle(host+"/", handler)
	}
	cert, root := selfSigned(t, slices.Sorted(maps.Keys(hosts)))
	target := httptest.NewUnstartedServer(mux)
	target.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	target.StartTLS()
	t.Cleanup(target.Close)

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host, ok := strings.CutSuffix(r.Host, ":443"); r.Method != http.MethodConnect || !ok || hosts[host] == nil {
			http.Error(w, "this proxy does not lead there", http.StatusForbidden)
			return
		}
		tunnel(w, target.Listener.Addr().String())
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "root.pem")
	require.NoError(t, os.WriteFile(file, root, 0o600))
	return &proxy{url: server.URL, root: file}
}

// tunnel joins the client's connection to an address.
func tunnel(w http.ResponseWriter, address string) {
	server, err := net.Dial("tcp", address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		server.Close()
		return
	}
	_, _ = client.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n"))
	join := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		to.Close()
	}
	go join(server, client)
	go join(client, server)
}

// selfSigned makes a certificate for host names, and gives it as PEM too.
func selfSigned(t *testing.T, hosts []string) (cert tls.Certificate, root []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: hosts[0]},
		DNSNames:              hosts,
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
