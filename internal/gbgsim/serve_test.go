package gbgsim_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
	"gbg.example/vault-plugin-secrets-gbg/internal/memnet"
)

func TestListen(t *testing.T) {
	t.Parallel()
	listener, err := gbgsim.Listen("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, listener.Close()) })

	_, err = gbgsim.Listen(listener.Addr().String())
	require.ErrorContains(t, err, listener.Addr().String())
}

func TestListenRefusesNonLoopbackAddresses(t *testing.T) {
	t.Parallel()

	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[2001:db8::1]:0"} {
		_, err := gbgsim.Listen(addr)
		require.ErrorContains(t, err, "is not a loopback address", addr)
	}
	for _, addr := range []string{"", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536"} {
		_, err := gbgsim.Listen(addr)
		require.ErrorContains(t, err, "address", addr)
	}
}

func TestServeUntilContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		held := make(chan struct{})
		simulator := gbgsim.New(gbgsim.Options{BeforeToken: func(ctx context.Context, _ string) {
			close(held)
			<-ctx.Done()
		}})
		network := &memnet.Network{}
		listener := network.Listen("gbg.test:80")
		address := "http://" + listener.Addr().String()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- simulator.Serve(ctx, listener) }()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: network.DialContext}}

		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"/", nil)
		require.NoError(t, err)
		response, err := client.Do(request)
		require.NoError(t, err)
		help, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.Equal(t, "text/plain; charset=utf-8", response.Header.Get("Content-Type"))
		for _, path := range []string{
			gbgsim.TokenPath, gbgsim.IdentityTokenPath, gbgsim.IDPTokenPath, gbgsim.APIPath,
			"/portal/clients/{id}/regenerate", "/idp/clients/{id}/regenerate", "/idp/login", "/idp/jwks", "/idp/trust",
		} {
			require.Contains(t, string(help), path)
		}

		// A request that is being held must not keep Serve from returning.
		request, err = http.NewRequestWithContext(t.Context(), http.MethodPost, address+gbgsim.TokenPath,
			strings.NewReader(validForm("client-a", "any").Encode()))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		released := make(chan int, 1)
		go func() {
			response, err := client.Do(request)
			if err != nil {
				released <- 0

				return
			}
			_ = response.Body.Close()
			released <- response.StatusCode
		}()
		<-held
		cancel()

		require.NoError(t, <-served)
		require.Equal(t, http.StatusServiceUnavailable, <-released)
		_, err = network.DialContext(t.Context(), "tcp", listener.Addr().String())
		require.Error(t, err)
	})
}

func TestServeClosesConnectionsAfterShutdownTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		simulator := gbgsim.New(gbgsim.Options{BeforeToken: func(context.Context, string) { <-gate }})
		network := &memnet.Network{}
		listener := network.Listen("gbg.test:80")
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- simulator.Serve(ctx, listener) }()
		httpClient := &http.Client{Transport: &http.Transport{DialContext: network.DialContext}}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://gbg.test:80"+gbgsim.TokenPath, nil)
		require.NoError(t, err)
		failed := make(chan error, 1)
		go func() {
			_, err := httpClient.Do(request)
			failed <- err
		}()
		synctest.Wait()
		begun := time.Now()
		cancel()

		require.NoError(t, <-served)
		require.Equal(t, 2*time.Second, time.Since(begun))
		require.Error(t, <-failed)
		close(gate)
	})
}

func TestServeReturnsListenerError(t *testing.T) {
	t.Parallel()
	listener, err := gbgsim.Listen("127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())

	err = gbgsim.New(gbgsim.Options{}).Serve(t.Context(), listener)

	require.ErrorIs(t, err, net.ErrClosed)
}

func TestUnknownPathsAreNotFound(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})

	for _, path := range []string{"/nothing", "/portal", "/portal/nothing"} {
		require.Equal(t, http.StatusNotFound, send(t, simulator, http.MethodGet, path, "").status, path)
	}
}
