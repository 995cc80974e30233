package gbgsim_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func TestTokenLifetimeAppliesToNewTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		simulator := gbgsim.New(gbgsim.Options{TokenLifetime: 5 * time.Minute})
		client := createClient(t, simulator, "client-a")

		long := getToken(t, simulator, client.ID, client.Secret)
		require.NoError(t, simulator.SetTokenLifetime(time.Second))
		short := getToken(t, simulator, client.ID, client.Secret)

		require.Equal(t, 300, long.ExpiresIn)
		require.Equal(t, 1, short.ExpiresIn)
		require.NotEqual(t, long.AccessToken, short.AccessToken)

		time.Sleep(time.Second - time.Nanosecond)
		require.Equal(t, http.StatusOK, callAPI(t, simulator, "Bearer "+short.AccessToken).status)
		time.Sleep(time.Nanosecond)
		require.Equal(t, http.StatusUnauthorized, callAPI(t, simulator, "Bearer "+short.AccessToken).status)
		require.Equal(t, http.StatusOK, callAPI(t, simulator, "Bearer "+long.AccessToken).status)
	})
}

func TestTokenLifetimeIsWholeSeconds(t *testing.T) {
	t.Parallel()

	for _, lifetime := range []time.Duration{-time.Second, time.Millisecond, 1500 * time.Millisecond} {
		require.Panics(t, func() { gbgsim.New(gbgsim.Options{TokenLifetime: lifetime}) }, lifetime)
	}
	simulator := gbgsim.New(gbgsim.Options{})
	for _, lifetime := range []time.Duration{-time.Second, 0, time.Millisecond, 1500 * time.Millisecond} {
		require.ErrorContains(t, simulator.SetTokenLifetime(lifetime), "whole seconds", lifetime)
	}
	require.Equal(t, time.Hour, simulator.TokenLifetime())
}

func TestTokenClientOfInvalidToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		simulator := gbgsim.New(gbgsim.Options{})
		client := createClient(t, simulator, "client-a")
		granted := getToken(t, simulator, client.ID, client.Secret)
		time.Sleep(24 * time.Hour)
		require.NoError(t, simulator.DeleteClient(client.ID))

		clientID, ok := simulator.TokenClient(granted.AccessToken)
		require.True(t, ok)
		require.Equal(t, client.ID, clientID)

		clientID, ok = simulator.TokenClient(granted.AccessToken + "x")
		require.False(t, ok)
		require.Empty(t, clientID)
	})
}
