package e2e

import (
	"encoding/pem"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// upgraded is a mount with a connection of every kind, on a server that has two
// releases.
type upgraded struct {
	*mount
	server       *vaultserver.Server
	g            *gbg
	p            *idp
	older, newer release
}

// The connections, by how tokens are read. A leased read has a token of its own.
var (
	upgradedShared = []string{"default", "single", "m2m", "custom"}
	upgradedOther  = []string{"leased", "sso"}
)

// newUpgraded builds the newer release with further flags for go build. The server
// does not know it yet.
func newUpgraded(t *testing.T, newerFlags ...string) *upgraded {
	t.Helper()
	dir := ownPlugins(t)
	return startUpgraded(t, dir, release{version: "v0.0.1", file: vaultserver.PluginName}, addRelease(t, dir, "v0.2.0", newerFlags...))
}

// startUpgraded starts a server on which the older of two releases has connections. The
// server does not know the newer one yet.
func startUpgraded(t *testing.T, dir string, older, newer release) *upgraded {
	t.Helper()
	u := &upgraded{p: startIDP(t, time.Hour), older: older, newer: newer}
	u.g = newIdentityGBG(t, time.Hour, u.p)
	u.server = startRaftServer(t, dir)
	u.older.register(t, u.server)
	u.mount = newMount(t, u.server)
	require.Equal(t, u.older.version, runningVersion(t, u.mount))

	u.write("config", u.g.pair())
	u.write("rotate", map[string]any{"client_secret": u.g.regenerate(t, u.g.b.ID)})
	single := u.g.client(t, "client-single")
	u.write("config/single", map[string]any{"token_url": u.g.tokenURL(), "client_id": single.ID, "client_secret": single.Secret})
	u.write("config/m2m", u.g.m2m(u.p))
	u.write("config/sso", map[string]any{"grant_type": "id_auth", "token_url": u.g.identityURL()})
	u.write("config/leased", with(u.p.leasing(), "scope", "api"))

	private := httptest.NewUnstartedServer(u.g.Simulator)
	private.Config.ErrorLog = log.New(io.Discard, "", 0)
	private.StartTLS()
	t.Cleanup(private.Close)
	u.write("config/custom", map[string]any{
		"token_url": private.URL + gbgsim.TokenPath, "scope": gbgsim.Scope,
		"ca_pem":    string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: private.Certificate().Raw})),
		"client_id": "client-c", "client_secret": u.g.client(t, "client-c").Secret,
		"paired_client_id": "client-d", "paired_client_secret": u.g.client(t, "client-d").Secret,
		"refresh_before": "10m", "request_timeout": "30s", "failover": false, "max_secret_age": "2160h",
	})
	return u
}

// look gives all that can be read of the connections and must be the same on both
// releases.
func (u *upgraded) look() map[string]any {
	u.t.Helper()
	seen := map[string]any{"list": u.list()}
	for _, name := range slices.Concat(upgradedShared, upgradedOther) {
		seen["config of "+name] = u.read("config/" + name).Data
		status := u.read("status/" + name).Data
		if name == "leased" { // every read changes it, and it is kept in memory
			delete(status, "active_verified_time")
		}
		seen["status of "+name] = status
	}
	for _, name := range upgradedShared {
		seen["token of "+name] = withoutTTL(u.read("creds/" + name))
	}
	return seen
}

func (u *upgraded) list() []any {
	u.t.Helper()
	s, err := u.client.Logical().ListWithContext(u.t.Context(), u.path+"/config")
	require.NoError(u.t, err)
	return s.Data["keys"].([]any)
}

// mustRevoke revokes a lease and sees its token refused.
func (u *upgraded) mustRevoke(lease *api.Secret) {
	u.t.Helper()
	require.True(u.t, u.p.accepts(u.t, lease.Data["access_token"]))
	require.NoError(u.t, u.client.Sys().RevokeWithOptionsWithContext(u.t.Context(), &api.RevokeOptions{LeaseID: lease.LeaseID, Sync: true}))
	assert.False(u.t, u.p.accepts(u.t, lease.Data["access_token"]), "the token of a revoked lease")
}

// Readers do not notice that the mount goes to the next release, back, and to the
// next again: no read fails or waits for GBG, every token stays the one it was,
// and a lease that one release gave is revoked by the other.
func TestUpgradeUnderLoad(t *testing.T) {
	u := newUpgraded(t)
	require.NoError(t, u.client.Sys().MountWithContext(t.Context(), "kv", &api.MountInput{Type: "kv"}))
	_, err := u.client.Logical().WriteWithContext(t.Context(), "kv/one", map[string]any{"value": "fake"})
	require.NoError(t, err)
	before := u.look()
	byOlder := u.read("creds/leased")
	asked := u.g.Stats().TokenRequests.Total + u.g.Stats().Identity.TokenRequests.Total

	paths := []string{"kv/one", u.path + "/creds/leased"}
	for _, name := range upgradedShared {
		paths = append(paths, u.path+"/creds/"+name)
	}
	load := startPathLoad(t, u.client, 2, paths...)

	// Registering changes nothing by itself, and neither does a reload: the mount
	// stays on the version that it was tuned to.
	u.newer.register(t, u.server)
	u.reload()
	assert.Equal(t, u.older.version, runningVersion(t, u.mount))

	u.change(u.newer)
	assert.Equal(t, before, u.look())
	u.mustRevoke(byOlder)
	byNewer := u.read("creds/leased")

	u.change(u.older)
	assert.Equal(t, before, u.look())
	u.mustRevoke(byNewer)

	u.change(u.newer)
	assert.Equal(t, before, u.look())
	seen := load.stop()
	for _, path := range paths {
		t.Log(path, seen[path].traffic)
		assert.Empty(t, seen[path].failures, path)
		assert.Positive(t, seen[path].reads, "the readers of %s did read", path)
	}
	for _, name := range upgradedShared {
		assert.Len(t, seen[u.path+"/creds/"+name].tokens, 1, name)
	}
	assert.Equal(t, asked, u.g.Stats().TokenRequests.Total+u.g.Stats().Identity.TokenRequests.Total, "nothing was asked of GBG")

	// What was done before is known: the active side, its secret, that the standby's
	// is new.
	rotated := u.write("rotate", map[string]any{"client_secret": u.g.regenerate(t, u.g.a.ID)})
	assert.Equal(t, u.g.a.ID, rotated.Data["active_client_id"])
	assert.Empty(t, rotated.Warnings)
	u.change(u.older)
	assert.Equal(t, u.g.a.ID, u.read("creds").Data["client_id"])
	idToken, err := u.g.IDToken("alice@example.com")
	require.NoError(t, err)
	assert.NotEmpty(t, u.write("creds/sso", map[string]any{"id_token": idToken}).Data["access_token"])
}

// A release whose file is not the one that was registered does not start, and the
// old one serves on.
func TestUpgradeToAFileThatIsAnother(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	dir := ownPlugins(t)
	server := newRaftServer(t, dir)
	m := newMount(t, server)
	m.write("config", g.pair())
	before, older := withoutTTL(m.read("creds")), runningVersion(t, m)

	newer := addRelease(t, dir, "v0.2.0")
	newer.register(t, server)
	m.tune(newer)
	require.NoError(t, os.WriteFile(filepath.Join(dir, newer.file), []byte("another file"), 0o755))
	_, err := m.client.Sys().ReloadPluginWithContext(t.Context(), &api.ReloadPluginInput{Plugin: vaultserver.PluginName})
	require.ErrorContains(t, err, "checksums did not match")
	assert.Equal(t, older, runningVersion(t, m))
	assert.Equal(t, before, withoutTTL(m.read("creds")))
}
