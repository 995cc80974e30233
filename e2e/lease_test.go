package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// leasing is a configuration with leases at an OAuth server that is not ours.
func (p *idp) leasing() map[string]any {
	return map[string]any{
		"token_url": p.tokenURL(), "revoke_url": p.URL + "/oauth2/revoke", "lease": true,
		"client_id": idpA, "client_secret": p.Secrets[idpA],
		"paired_client_id": idpB, "paired_client_secret": p.Secrets[idpB],
	}
}

// accepts says whether the server takes one of its tokens.
func (p *idp) accepts(t *testing.T, token any) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.URL+"/api", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token.(string))
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Every read is a lease, and each way to end one ends the token.
func TestLease(t *testing.T) {
	const lifetime = 10 * time.Minute
	p := startIDP(t, lifetime)
	m := newMount(t, suite.server)
	m.write("config/leased", p.leasing())
	leases := m.client.Sys()

	first, second := m.read("creds/leased"), m.read("creds/leased")
	assert.NotEqual(t, first.Data["access_token"], second.Data["access_token"])
	for _, lease := range []*api.Secret{first, second} {
		assert.True(t, strings.HasPrefix(lease.LeaseID, m.path+"/creds/leased/"), lease.LeaseID)
		assert.False(t, lease.Renewable)
		assert.LessOrEqual(t, lease.LeaseDuration, int(lifetime.Seconds()))
		assert.Greater(t, lease.LeaseDuration, int(lifetime.Seconds())/2)
		assert.True(t, p.accepts(t, lease.Data["access_token"]))
		assert.Empty(t, lease.Warnings)
	}
	_, err := leases.RenewWithContext(t.Context(), first.LeaseID, 60)
	assertStatus(t, http.StatusBadRequest, err)

	require.NoError(t, leases.RevokeWithContext(t.Context(), first.LeaseID))
	assert.Eventually(t, func() bool { return !p.accepts(t, first.Data["access_token"]) }, 30*time.Second, 50*time.Millisecond)
	assert.True(t, p.accepts(t, second.Data["access_token"]))

	// After a rotation, with the secret that its client then has.
	m.write("rotate/leased", map[string]any{"client_secret": p.renew(t, idpB)})
	m.write("config/leased", map[string]any{"client_secret": p.renew(t, idpA)})
	third := m.read("creds/leased")
	assert.Equal(t, idpB, third.Data["client_id"])
	require.NoError(t, leases.RevokePrefixWithContext(t.Context(), m.path+"/creds/leased"))
	for _, lease := range []*api.Secret{second, third} {
		assert.Eventually(t, func() bool { return !p.accepts(t, lease.Data["access_token"]) }, 30*time.Second, 50*time.Millisecond)
	}

	// The reader's Vault token takes its leases with it.
	require.NoError(t, leases.PutPolicyWithContext(t.Context(), "leased", `path "`+m.path+`/creds/leased" { capabilities = ["read"] }`))
	reader := m.as("leased")
	fourth := reader.read("creds/leased")
	require.NoError(t, m.client.Auth().Token().RevokeTreeWithContext(t.Context(), reader.client.Token()))
	assert.Eventually(t, func() bool { return !p.accepts(t, fourth.Data["access_token"]) }, 30*time.Second, 50*time.Millisecond)
}

// No longer than the mount allows.
func TestLeaseOfAMountThatAllowsLess(t *testing.T) {
	p := startIDP(t, 10*time.Minute)
	m := newMount(t, suite.server)
	fiveMinutes := "5m"
	require.NoError(t, m.client.Sys().TuneMountAllowNilWithContext(t.Context(), m.path, api.TuneMountConfigInput{MaxLeaseTTL: &fiveMinutes}))
	m.write("config", p.leasing())
	lease := m.read("creds")
	assert.Equal(t, 300, lease.LeaseDuration)
	assert.Empty(t, lease.Warnings)
	assert.Equal(t, "200", number(t, lease.Data["rotation_period"]))
}

// Nothing to revoke with ends the lease; an endpoint that is away is an error that
// says what becomes of the token, once.
func TestLeaseThatCannotBeRevoked(t *testing.T) {
	p := startIDP(t, 10*time.Minute)
	m := newMount(t, suite.server)
	m.write("config/leased", p.leasing())
	m.write("config/away", with(with(p.leasing(), "revoke_url", "http://127.0.0.1:1/revoke"), "request_timeout", "2s"))
	revoke := func(lease *api.Secret) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		return m.client.Sys().RevokeWithOptionsWithContext(ctx, &api.RevokeOptions{LeaseID: lease.LeaseID, Sync: true})
	}

	orphan, away := m.read("creds/leased"), m.read("creds/away")
	_, err := m.client.Logical().DeleteWithContext(t.Context(), m.path+"/config/leased")
	require.NoError(t, err)
	require.NoError(t, revoke(orphan))
	waitForLine(t, suite.serverLog, "lease ended without revoking its token: the connection has been deleted")

	require.ErrorContains(t, revoke(away), `a token of client "idp-client-a" was not revoked`)
	require.NoError(t, revoke(away))
	_, err = m.client.Sys().LookupWithContext(t.Context(), away.LeaseID)
	require.Error(t, err, "the lease is gone")
	// So a mount can be taken away, too.
	require.NoError(t, m.client.Sys().UnmountWithContext(t.Context(), m.path))
}
