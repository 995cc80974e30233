package e2e

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func sortedKeys(data map[string]any) []string { return slices.Sorted(maps.Keys(data)) }

// number is a JSON integer's text.
func number(t *testing.T, value any) string {
	t.Helper()
	n, ok := value.(json.Number)
	require.True(t, ok, "not a number: %v", value)
	_, err := n.Int64()
	require.NoError(t, err, "not an integer")
	return n.String()
}

func TestCredsAnswerKeyByKey(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	s := m.read("creds")
	assert.Empty(t, s.LeaseID)
	assert.Empty(t, s.Warnings)
	d := s.Data
	assert.Equal(t, []string{
		"access_token", "client_id", "connection", "expire_time", "last_vault_rotation",
		"rotation_period", "scope", "token_type", "ttl",
	}, sortedKeys(d))
	assert.Equal(t, "Bearer", d["token_type"])
	assert.Equal(t, "client-a", d["client_id"])
	assert.Equal(t, "gbg.token", d["scope"])
	assert.Equal(t, "default", d["connection"])
	assert.Equal(t, "3300", number(t, d["rotation_period"]))

	fetched, err := time.Parse(time.RFC3339Nano, d["last_vault_rotation"].(string))
	require.NoError(t, err)
	assert.Contains(t, d["last_vault_rotation"], ".", "with fractions")
	expires, err := time.Parse(time.RFC3339, d["expire_time"].(string))
	require.NoError(t, err)
	assert.Equal(t, fetched.Add(time.Hour).Truncate(time.Second), expires)

	ttl, err := d["ttl"].(json.Number).Int64()
	require.NoError(t, err)
	refresh, back := fetched.Add(55*time.Minute), time.Now().Add(time.Duration(ttl)*time.Second)
	assert.False(t, back.Before(refresh), "who comes back after ttl finds a newer token")
	assert.True(t, back.Before(expires), "and the old one is still valid then")

	owner, live := g.TokenClient(d["access_token"].(string))
	assert.True(t, live)
	assert.Equal(t, "client-a", owner)
	ok, err := g.call(t.Context(), d["access_token"].(string))
	require.NoError(t, err)
	assert.True(t, ok, "GBG's API accepts the token")
}

func TestCredsAnswersWithOneTokenDifferInTTLOnly(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	asked := g.Stats().TokenRequests.Total
	first := m.read("creds").Data
	delete(first, "ttl")
	for range 20 {
		again := m.read("creds").Data
		delete(again, "ttl")
		require.Equal(t, first, again)
	}
	assert.Equal(t, asked, g.Stats().TokenRequests.Total, "readers share the token that config's verification fetched")
}

func TestCredsNotConfigured(t *testing.T) {
	m := newMount(t, suite.server)
	status, text := m.refusedRead("creds")
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Contains(t, text, `connection "default" is not configured; configure it with: vault write `+m.path+"/config client_id=ID client_secret=@FILE")
}

func TestCredsRefusedByGBG(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := newMount(t, suite.server)
	m.write("config", map[string]any{"token_url": g.tokenURL(), "client_id": g.a.ID, "client_secret": "fake-old-secret", "verify_connection": false})
	status, text := m.refusedRead("creds")
	assert.Equal(t, http.StatusBadGateway, status)
	assert.Contains(t, text, `GBG refused client "client-a": invalid_client`)
	assert.Contains(t, text, m.path+"/config", "says where to mend it")
	assert.NotContains(t, text, "fake-old-secret")
	assert.Equal(t, "1", number(t, m.read("status").Data["consecutive_errors"]))

	m.write("config", map[string]any{"client_secret": g.a.Secret})
	assert.Equal(t, "client-a", m.read("creds").Data["client_id"])
	assert.NotContains(t, m.read("status").Data, "last_error")
}

func TestCredsUnreachableGBG(t *testing.T) {
	m := newMount(t, suite.server)
	m.write("config", map[string]any{
		"token_url": nowhere, "request_timeout": "1s", "client_id": "client-a", "client_secret": "fake-secret", "verify_connection": false,
	})
	require.NoError(t, m.client.Sys().TuneMountAllowNilWithContext(t.Context(), m.path,
		api.TuneMountConfigInput{AllowedResponseHeaders: &[]string{"Retry-After"}}))
	resp, err := m.client.Logical().ReadRawWithContext(t.Context(), m.path+"/creds")
	require.Error(t, err)
	defer resp.Body.Close()
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	assert.Equal(t, "1", resp.Header.Get("Retry-After"))
	_, text := failure(t, err)
	assert.Contains(t, text, `no token for client "client-a"`)
	assert.Contains(t, text, "connection refused")
}

// A client without the role authenticates, and GBG's API refuses its token: as
// at GBG, this shows only at the API.
func TestCredsOfAClientWithoutTheRole(t *testing.T) {
	g := newGBG(t, time.Hour)
	c, err := g.CreateClient(gbgsim.NewClient{ID: "no-role", Department: "e2e"})
	require.NoError(t, err)
	m := newMount(t, suite.server)
	m.write("config", map[string]any{"token_url": g.tokenURL(), "client_id": c.ID, "client_secret": c.Secret})
	ok, err := g.call(t.Context(), m.read("creds").Data["access_token"].(string))
	require.NoError(t, err)
	assert.False(t, ok)
}

func TestCredsFollowTheTokensLife(t *testing.T) {
	g := newGBG(t, 3*time.Second)
	m := configured(t, g)
	first := m.read("creds").Data
	require.Eventually(t, func() bool {
		return m.read("creds").Data["access_token"] != first["access_token"]
	}, 10*time.Second, 50*time.Millisecond, "a newer token comes before the first expires")
}

func TestStatus(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	m.read("creds")
	m.write("rotate", nil)
	d := m.read("status").Data
	assert.Equal(t, []string{
		"active_client_id", "active_secret_set_time", "active_verified_time", "connection", "grant_type",
		"last_rotation_cause", "last_rotation_time", "next_step", "regenerate_after",
		"standby_client_id", "standby_secret_set_time", "standby_verified_time",
		"token_expire_time", "token_refresh_time", "token_url",
	}, sortedKeys(d))
	assert.Equal(t, "client-b", d["active_client_id"])
	assert.Equal(t, "client-a", d["standby_client_id"])
	assert.Equal(t, "rotate", d["last_rotation_cause"])
	for key, value := range d {
		if strings.HasSuffix(key, "_time") || key == "regenerate_after" {
			_, err := time.Parse(time.RFC3339, value.(string))
			require.NoError(t, err, key)
		}
		assert.NotContains(t, value, g.a.Secret, key)
		assert.NotContains(t, value, "sim-token", key)
	}

	status, text := m.refusedRead("status/other")
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Contains(t, text, "is not configured")
}
