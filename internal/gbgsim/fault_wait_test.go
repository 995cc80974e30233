package gbgsim_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func TestDelayPrecedesOtherEffects(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		fault  gbgsim.Fault
		status int
	}{
		"the usual response": {gbgsim.Fault{Kind: gbgsim.FaultDelay, Delay: 1500 * time.Millisecond}, http.StatusOK},
		"another fault":      {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, Delay: 1500 * time.Millisecond}, 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				simulator := gbgsim.New(gbgsim.Options{})
				client := createClient(t, simulator, "client-a")
				require.NoError(t, simulator.SetFault(test.fault))
				begun := time.Now()

				got := do(t, simulator, tokenRequest(t, validForm(client.ID, client.Secret)))

				require.Equal(t, test.status, got.status)
				require.Equal(t, test.fault.Delay, time.Since(begun))
			})
		})
	}
}

// The request is processed after the wait.
func TestWaitHoldsNoLock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		simulator := gbgsim.New(gbgsim.Options{})
		client := createClient(t, simulator, "client-a")
		require.NoError(t, simulator.SetFault(gbgsim.Fault{Kind: gbgsim.FaultDelay, Delay: time.Hour, Requests: 1}))
		answered := startRequest(t, t.Context(), simulator, client)
		synctest.Wait()

		require.Equal(t, faultedOnly, simulator.Stats().TokenRequests)
		_, err := simulator.Regenerate(client.ID)
		require.NoError(t, err)

		require.Equal(t, http.StatusUnauthorized, <-answered)
		require.Equal(t, faultedRefused, simulator.Stats().TokenRequests)
	})
}

func TestClearFaultsReleasesWaitingRequests(t *testing.T) {
	t.Parallel()

	for name, fault := range map[string]gbgsim.Fault{
		"hang":                       {Kind: gbgsim.FaultHang},
		"hang for one request":       {Kind: gbgsim.FaultHang, Requests: 1},
		"delay":                      {Kind: gbgsim.FaultDelay, Delay: 24 * time.Hour},
		"delay before another fault": {Kind: gbgsim.FaultStatus, Status: 500, Delay: 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				simulator := gbgsim.New(gbgsim.Options{})
				client := createClient(t, simulator, "client-a")
				require.NoError(t, simulator.SetFault(fault))
				begun := time.Now()
				answered := startRequest(t, t.Context(), simulator, client)
				time.Sleep(time.Hour) // fake time

				require.Empty(t, answered)
				require.Equal(t, faultedOnly, simulator.Stats().TokenRequests)
				simulator.ClearFaults()

				require.Equal(t, http.StatusOK, <-answered)
				require.Equal(t, time.Hour, time.Since(begun))
				require.Equal(t, faultedIssued, simulator.Stats().TokenRequests)
				require.Empty(t, simulator.Faults())
			})
		})
	}
}

// A request waits for the fault it started with: faults set later do not affect
// it, and clearing earlier faults does not end it.
func TestFaultsAfterClearFaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		simulator := gbgsim.New(gbgsim.Options{})
		client := createClient(t, simulator, "client-a")
		require.NoError(t, simulator.SetFault(gbgsim.Fault{Kind: gbgsim.FaultHang}))
		simulator.ClearFaults()
		require.NoError(t, simulator.SetFault(gbgsim.Fault{Kind: gbgsim.FaultHang}))
		answered := startRequest(t, t.Context(), simulator, client)
		synctest.Wait()
		require.NoError(t, simulator.SetFault(gbgsim.Fault{Kind: gbgsim.FaultClose}))
		synctest.Wait()

		require.Empty(t, answered)
		simulator.ClearFaults()
		require.Equal(t, http.StatusOK, <-answered)
	})
}

func TestWaitEndsWithRequest(t *testing.T) {
	t.Parallel()

	for name, fault := range map[string]gbgsim.Fault{
		"hang":                       {Kind: gbgsim.FaultHang},
		"delay":                      {Kind: gbgsim.FaultDelay, Delay: time.Hour},
		"delay before another fault": {Kind: gbgsim.FaultClose, Delay: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				simulator := gbgsim.New(gbgsim.Options{})
				client := createClient(t, simulator, "client-a")
				require.NoError(t, simulator.SetFault(fault))
				ctx, cancel := context.WithCancel(t.Context())
				begun := time.Now()
				answered := startRequest(t, ctx, simulator, client)
				synctest.Wait()
				cancel()

				require.Equal(t, http.StatusServiceUnavailable, <-answered)
				require.Zero(t, time.Since(begun))
				require.Equal(t, faultedOnly, simulator.Stats().TokenRequests)
			})
		})
	}
}

// The server detects a disconnected client only after reading the body, which the
// token endpoint does not do by itself if the body is not a form.
func TestHangEndsWhenClientCancels(t *testing.T) {
	t.Parallel()

	for _, contentType := range []string{"application/x-www-form-urlencoded", "application/json"} {
		t.Run(contentType, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var serverCtx context.Context
				simulator := gbgsim.New(gbgsim.Options{BeforeToken: func(ctx context.Context, _ string) { serverCtx = ctx }})
				require.NoError(t, simulator.SetFault(gbgsim.Fault{Kind: gbgsim.FaultHang}))
				address, httpClient := startInMemory(t, simulator)
				ctx, cancel := context.WithCancel(t.Context())
				request, err := http.NewRequestWithContext(ctx, http.MethodPost, address+gbgsim.TokenPath,
					strings.NewReader(validForm("client-a", "any").Encode()))
				require.NoError(t, err)
				request.Header.Set("Content-Type", contentType)
				go func() {
					synctest.Wait()
					cancel()
				}()

				response, err := httpClient.Do(request)
				if err == nil {
					_ = response.Body.Close()
				}

				require.ErrorIs(t, err, context.Canceled)
				<-serverCtx.Done()
				require.Equal(t, 1, simulator.Stats().TokenRequests.Total)
				require.Zero(t, simulator.Stats().TokenRequests.Issued)
			})
		})
	}
}

// The delay is longer than the timeouts of Serve.
func TestWaitIgnoresServerTimeouts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		simulator := gbgsim.New(gbgsim.Options{})
		client := createClient(t, simulator, "client-a")
		require.NoError(t, simulator.SetFault(gbgsim.Fault{Kind: gbgsim.FaultDelay, Delay: 2 * time.Minute}))
		address, httpClient := startInMemory(t, simulator)

		got, err := post(t, httpClient, address, validForm(client.ID, client.Secret))

		require.NoError(t, err)
		require.Equal(t, http.StatusOK, got.status)
	})
}

// startRequest requests a token in the background and sends the status of the
// response on the channel.
func startRequest(t *testing.T, ctx context.Context, simulator *gbgsim.Simulator, client gbgsim.Client) <-chan int {
	t.Helper()
	request := tokenRequest(t, validForm(client.ID, client.Secret)).WithContext(ctx)
	answered := make(chan int, 1)
	go func() {
		recorder := httptest.NewRecorder()
		simulator.ServeHTTP(recorder, request)
		answered <- recorder.Code
	}()

	return answered
}
