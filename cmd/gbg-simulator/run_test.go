package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// runMain is an environment variable that makes the test binary run main.
const runMain = "GBG_SIMULATOR_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()

		return
	}
	os.Exit(m.Run())
}

func TestRunServesPrintedClients(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	output, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{
			"-listen", "127.0.0.1:0", "-token-lifetime", "90s", "-idp-client", "idp-a", "-client", "client-a:Fraud", "-client", "client-b", "-idp-client", "client-b",
		}, stdout, io.Discard)
		_ = stdout.CloseWithError(err)
		ended <- err
	}()

	lines := bufio.NewScanner(output)
	address := readAddress(t, lines)
	first, second := readCredentials(t, lines), readCredentials(t, lines)
	require.Equal(t, credentials{ClientID: "client-a", ClientSecret: first.ClientSecret, Department: "Fraud"}, first)
	require.Equal(t, credentials{ClientID: "client-b", ClientSecret: second.ClientSecret}, second)
	third, fourth := readCredentials(t, lines), readCredentials(t, lines)
	require.Equal(t, credentials{ClientID: "idp-a", ClientSecret: third.ClientSecret, IDP: true}, third)
	require.Equal(t, credentials{ClientID: "client-b", ClientSecret: fourth.ClientSecret, IDP: true}, fourth)
	for _, printed := range []credentials{first, second} {
		accessToken, expiresIn := getToken(t, address, printed)
		require.Equal(t, 90, expiresIn)
		require.Equal(t, http.StatusOK, callAPI(t, address, accessToken))
	}
	for _, printed := range []credentials{third, fourth} {
		idToken, _ := getTokenWith(t, http.DefaultClient, address+gbgsim.IDPTokenPath, printed)
		accessToken, expiresIn := exchange(t, address, idToken)
		require.Equal(t, 90, expiresIn)
		require.Equal(t, http.StatusOK, callAPI(t, address, accessToken))
	}
	cancel()

	require.False(t, lines.Scan(), "there is no other output")
	require.NoError(t, <-ended)
}

func TestRunServesHTTPS(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	output, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{
			"-listen", "127.0.0.1:0", "-tls-listen", "127.0.0.1:0", "-ca-file", caFile, "-client", "client-a",
		}, stdout, io.Discard)
	}()

	lines := bufio.NewScanner(output)
	plain := readAddress(t, lines)
	require.True(t, lines.Scan(), lines.Err())
	require.Regexp(t, `^listening on https://127\.0\.0\.1:[1-9][0-9]*$`, lines.Text())
	secure := strings.TrimPrefix(lines.Text(), "listening on ")
	client := readCredentials(t, lines)
	caPEM, err := os.ReadFile(caFile)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(caPEM))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	accessToken, _ := getTokenWith(t, &http.Client{Transport: transport}, secure+gbgsim.TokenPath, client)
	require.Equal(t, http.StatusOK, callAPI(t, plain, accessToken), "both listeners serve the same simulator")
	cancel()

	require.NoError(t, <-ended)
}

func TestRunTrustsIssuers(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	const issuer = "https://idp.example"
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public()}}})
	}))
	t.Cleanup(keys.Close)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	require.NoError(t, err)
	idToken, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: issuer, Subject: "app-1", Expiry: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}).Serialize()
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	output, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-listen", "127.0.0.1:0", "-trust-issuer", issuer + "=" + keys.URL + "/?a=b"}, stdout, io.Discard)
	}()
	address := readAddress(t, bufio.NewScanner(output))
	accessToken, _ := exchange(t, address, idToken)
	require.Equal(t, http.StatusOK, callAPI(t, address, accessToken))
	cancel()

	require.NoError(t, <-ended)
}

func TestServeReturnsWhenListenerFails(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	opened, err := listen(simulator, config{listen: "127.0.0.1:0", tlsListen: "127.0.0.1:0"})
	require.NoError(t, err)
	require.NoError(t, opened.secure.Close())

	require.ErrorIs(t, opened.serve(t.Context(), simulator), net.ErrClosed)

	require.ErrorIs(t, opened.plain.Close(), net.ErrClosed)
}

// Not parallel, so that no other test gets the free port.
func TestListenClosesListenersOnError(t *testing.T) {
	free, err := gbgsim.Listen("127.0.0.1:0")
	require.NoError(t, err)
	addr := free.Addr().String()
	require.NoError(t, free.Close())

	for name, settings := range map[string]config{
		"HTTPS":       {listen: addr, tlsListen: "0.0.0.0:0"},
		"certificate": {listen: addr, tlsListen: "127.0.0.1:0", caFile: t.TempDir()},
	} {
		_, err := listen(gbgsim.New(gbgsim.Options{}), settings)
		require.Error(t, err, name)
		_, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		require.Error(t, err, name)
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		args []string
		want string
	}{
		"an unknown flag":       {[]string{"-nothing"}, "-nothing"},
		"an argument":           {[]string{"client-a"}, `unexpected argument "client-a"`},
		"a public address":      {[]string{"-listen", "0.0.0.0:0"}, "is not a loopback address"},
		"a lifetime of zero":    {[]string{"-token-lifetime", "0s"}, "whole seconds"},
		"a public TLS address":  {[]string{"-listen", "127.0.0.1:0", "-tls-listen", "0.0.0.0:0"}, "is not a loopback address"},
		"a CA file without TLS": {[]string{"-listen", "127.0.0.1:0", "-ca-file", "ca.pem"}, "-ca-file needs -tls-listen"},
		"a CA file that cannot be written": {
			[]string{"-listen", "127.0.0.1:0", "-tls-listen", "127.0.0.1:0", "-ca-file", "/nowhere/ca.pem"},
			"writing the CA certificate: open /nowhere/ca.pem",
		},
		"a client without an id":        {[]string{"-client", ":Fraud"}, "the client id is missing"},
		"an IdP client without":         {[]string{"-idp-client", ""}, "the client id is missing"},
		"the same IdP client":           {[]string{"-idp-client", "a", "-client", "a", "-idp-client", "a"}, `identity provider: client id is taken: "a"`},
		"an issuer without keys":        {[]string{"-trust-issuer", "https://idp.example"}, "does not have the form issuer=jwks-url"},
		"an issuer with an invalid URL": {[]string{"-trust-issuer", "https://idp.example=jwks"}, `jwks_url "jwks" is not a URL`},
		"the same client twice":         {[]string{"-client", "a", "-client", "a:Fraud"}, `client id is taken: "a"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer

			err := run(t.Context(), test.args, &stdout, &stderr)

			require.ErrorContains(t, err, test.want)
			require.Empty(t, stdout.String())
			require.Empty(t, stderr.String())
		})
	}
}

func TestRunPrintsHelp(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer

	require.NoError(t, run(t.Context(), []string{"-help"}, &stdout, &stderr))

	require.Empty(t, stdout.String())
	for _, want := range []string{"-listen", "127.0.0.1:8090", "-token-lifetime", "5m0s", "-tls-listen", "-ca-file", "-client", "id[:department]", "-idp-client", "-trust-issuer"} {
		require.Contains(t, stderr.String(), want)
	}
}

func TestRunReturnsWriteError(t *testing.T) {
	t.Parallel()
	output, stdout := io.Pipe()
	require.NoError(t, output.Close())

	err := run(t.Context(), []string{"-listen", "127.0.0.1:0"}, stdout, io.Discard)

	require.ErrorIs(t, err, io.ErrClosedPipe)
}

func TestCommandExitsOnSignals(t *testing.T) {
	t.Parallel()

	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			command := selfCommand(t, "-listen", "127.0.0.1:0")
			stdout, err := command.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, command.Start())

			readAddress(t, bufio.NewScanner(stdout))
			require.NoError(t, command.Process.Signal(signal))

			require.NoError(t, command.Wait())
		})
	}
}

func TestCommandPrintsErrorOnce(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	command := selfCommand(t, "-listen", "0.0.0.0:0")
	command.Stderr = &stderr

	err := command.Run()

	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 1, exit.ExitCode())
	require.Equal(t, "gbg-simulator: address \"0.0.0.0:0\" is not a loopback address such as 127.0.0.1:8090\n", stderr.String())
}

func selfCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), self, args...)
	command.Env = append(os.Environ(), runMain+"=1")

	return command
}

func readAddress(t *testing.T, lines *bufio.Scanner) string {
	t.Helper()
	require.True(t, lines.Scan(), lines.Err())
	address, ok := strings.CutPrefix(lines.Text(), "listening on ")
	require.True(t, ok, lines.Text())
	require.Regexp(t, `^http://127\.0\.0\.1:[1-9][0-9]*$`, address)

	return address
}

func readCredentials(t *testing.T, lines *bufio.Scanner) credentials {
	t.Helper()
	require.True(t, lines.Scan(), lines.Err())
	var printed credentials
	require.NoError(t, json.Unmarshal(lines.Bytes(), &printed), lines.Text())

	return printed
}

func getToken(t *testing.T, address string, client credentials) (accessToken string, expiresIn int) {
	t.Helper()

	return getTokenWith(t, http.DefaultClient, address+gbgsim.TokenPath, client)
}

func getTokenWith(t *testing.T, web *http.Client, endpoint string, client credentials) (accessToken string, expiresIn int) {
	t.Helper()

	return post(t, web, endpoint, url.Values{
		"grant_type":    {"client_credentials"},
		"client_id":     {client.ClientID},
		"client_secret": {client.ClientSecret},
		"scope":         {gbgsim.Scope},
	})
}

func exchange(t *testing.T, address, idToken string) (accessToken string, expiresIn int) {
	t.Helper()

	return post(t, http.DefaultClient, address+gbgsim.IdentityTokenPath, url.Values{
		"grant_type":    {"id_auth"},
		"client_id":     {gbgsim.IdentityClientID},
		"client_secret": {gbgsim.IdentityClientSecret},
		"id_token":      {idToken},
	})
}

// post requests a token and requires success.
func post(t *testing.T, web *http.Client, endpoint string, form url.Values) (accessToken string, expiresIn int) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := web.Do(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	require.Equal(t, http.StatusOK, response.StatusCode)
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))

	return answer.AccessToken, answer.ExpiresIn
}

func callAPI(t *testing.T, address, accessToken string) (status int) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+gbgsim.APIPath, nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+accessToken)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())

	return response.StatusCode
}
