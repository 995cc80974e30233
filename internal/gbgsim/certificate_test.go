package gbgsim_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func TestCertificates(t *testing.T) {
	t.Parallel()
	invalid := func(reason x509.InvalidReason) func(*testing.T, error) {
		return func(t *testing.T, err error) {
			t.Helper()
			var got x509.CertificateInvalidError
			require.ErrorAs(t, err, &got)
			require.Equal(t, reason, got.Reason)
		}
	}

	tests := map[gbgsim.FaultKind]func(*testing.T, error){
		gbgsim.FaultExpiredCertificate: invalid(x509.Expired),
		gbgsim.FaultUntrustedCertificate: func(t *testing.T, err error) {
			t.Helper()
			require.ErrorAs(t, err, new(x509.UnknownAuthorityError))
		},
	}
	for kind, check := range tests {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			simulator := gbgsim.New(gbgsim.Options{})
			client := createClient(t, simulator, "client-a")
			address, httpClient := startServer(t, simulator, true)
			form := validForm(client.ID, client.Secret)

			got, err := post(t, httpClient, address, form)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, got.status)

			// The open connection is not affected.
			require.NoError(t, simulator.SetFault(gbgsim.Fault{Kind: kind, Requests: 2}))
			_, err = post(t, httpClient, address, form)
			require.NoError(t, err)

			httpClient.CloseIdleConnections()
			for range 2 {
				_, err = post(t, httpClient, address, form)
				check(t, err)
			}
			_, err = post(t, httpClient, address, form)
			require.NoError(t, err)
			require.Equal(t, gbgsim.ConnectionCounts{Total: 4, Faulted: 2}, simulator.Stats().TLSConnections)
			require.Equal(t, gbgsim.RequestCounts{Total: 3, Issued: 3}, simulator.Stats().TokenRequests)
		})
	}
}

// A client with a session cache must get the certificate on every connection.
func TestSessionsAreNotResumed(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	address, httpClient := startServer(t, simulator, true)
	httpClient.Transport.(*http.Transport).TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	_, err := post(t, httpClient, address, validForm("client-a", "any"))
	require.NoError(t, err)
	httpClient.CloseIdleConnections()

	require.NoError(t, simulator.SetFault(gbgsim.Fault{Kind: gbgsim.FaultUntrustedCertificate}))
	_, err = post(t, httpClient, address, validForm("client-a", "any"))

	require.ErrorAs(t, err, new(x509.UnknownAuthorityError))
}

func TestCertificateFaultsAndRequestFaultsAreIndependent(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	address, httpClient := startServer(t, simulator, true)
	require.NoError(t, simulator.SetFault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 500, Requests: 1}))
	require.NoError(t, simulator.SetFault(gbgsim.Fault{Kind: gbgsim.FaultExpiredCertificate, Requests: 1}))

	_, err := post(t, httpClient, address, validForm("client-a", "any"))
	require.Error(t, err)
	got, err := post(t, httpClient, address, validForm("client-a", "any"))

	require.NoError(t, err)
	require.Equal(t, http.StatusInternalServerError, got.status)
	require.Empty(t, simulator.Faults())
}

func TestCAPEM(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})

	first, err := simulator.CAPEM()
	require.NoError(t, err)
	block, rest := pem.Decode(first)
	require.Equal(t, "CERTIFICATE", block.Type)
	require.Empty(t, rest)
	authority, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	require.True(t, authority.IsCA)

	again, err := simulator.CAPEM()
	require.NoError(t, err)
	require.Equal(t, first, again)
	got := send(t, simulator, http.MethodGet, "/portal/ca", "")
	require.Equal(t, http.StatusOK, got.status)
	require.Equal(t, "application/x-pem-file", got.header.Get("Content-Type"))
	require.Equal(t, string(first), got.body)
	other, err := gbgsim.New(gbgsim.Options{}).CAPEM()
	require.NoError(t, err)
	require.NotEqual(t, first, other)
}

func TestCertificateIsForLoopback(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	config, err := simulator.TLSConfig()
	require.NoError(t, err)
	shown, err := x509.ParseCertificate(config.Certificates[0].Certificate[0])
	require.NoError(t, err)

	for _, host := range []string{"127.0.0.1", "::1", "localhost"} {
		for _, year := range []int{1984, 2026, 2099} {
			_, err := shown.Verify(x509.VerifyOptions{
				DNSName:     host,
				Roots:       roots(t, simulator),
				CurrentTime: time.Date(year, time.June, 1, 0, 0, 0, 0, time.UTC),
			})
			require.NoError(t, err, "%s %d", host, year)
		}
	}
	require.Error(t, shown.VerifyHostname("gbg.test"))
}

func TestListenTLSServes(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	listener, err := simulator.ListenTLS("127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- simulator.Serve(ctx, listener) }()

	got, err := post(t, newHTTPClient(t, simulator), "https://"+listener.Addr().String(), validForm("client-a", "any"))

	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, got.status)
	cancel()
	require.NoError(t, <-served)

	_, err = simulator.ListenTLS("0.0.0.0:0")
	require.ErrorContains(t, err, "is not a loopback address")
	_, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
	require.Error(t, err)
}
