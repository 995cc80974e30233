package gbgsim_test

import (
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func TestAccessTokenAsJWT(t *testing.T) {
	t.Parallel()
	s := gbgsim.New(gbgsim.Options{})
	assert.Equal(t, gbgsim.TokenFormatOpaque, s.TokenFormat())
	require.Error(t, s.SetTokenFormat("xml"))
	require.NoError(t, s.SetTokenFormat(gbgsim.TokenFormatJWT))
	assert.Equal(t, gbgsim.TokenFormatJWT, s.TokenFormat())

	client, err := s.CreateClient(gbgsim.NewClient{ID: "a", Department: "Fraud", Roles: []string{gbgsim.RoleGoAPIAccess}})
	require.NoError(t, err)
	accessToken := getToken(t, s, client.ID, client.Secret).AccessToken
	parsed, err := jwt.ParseSigned(accessToken, []jose.SignatureAlgorithm{jose.ES256})
	require.NoError(t, err)
	var claims map[string]any
	require.NoError(t, parsed.UnsafeClaimsWithoutVerification(&claims))
	assert.Equal(t, "Fraud", claims["department"])
	assert.Equal(t, []any{gbgsim.RoleGoAPIAccess}, claims["roles"])
	assert.Equal(t, "a", claims["client_id"])
	owner, ok := s.TokenClient(accessToken)
	assert.True(t, ok)
	assert.Equal(t, "a", owner)

	require.NoError(t, s.SetTokenFormat(gbgsim.TokenFormatOpaque))
	assert.Contains(t, getToken(t, s, client.ID, client.Secret).AccessToken, gbgsim.TokenPrefix)
}

func TestRevokeTokens(t *testing.T) {
	t.Parallel()
	s := gbgsim.New(gbgsim.Options{})
	client, err := s.CreateClient(gbgsim.NewClient{ID: "a", Roles: []string{gbgsim.RoleGoAPIAccess}})
	require.NoError(t, err)
	accessToken := getToken(t, s, client.ID, client.Secret).AccessToken
	assert.Equal(t, 200, callAPI(t, s, "Bearer "+accessToken).status)
	require.NoError(t, s.RevokeTokens("a"))
	assert.Equal(t, 401, callAPI(t, s, "Bearer "+accessToken).status)
	assert.Equal(t, 200, callAPI(t, s, "Bearer "+getToken(t, s, client.ID, client.Secret).AccessToken).status, "a new token is valid")
	require.ErrorIs(t, s.RevokeTokens("b"), gbgsim.ErrUnknownClient)
}
