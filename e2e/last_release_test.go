package e2e

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// lastRelease is the commit that release 0.1.0 was built from.
const lastRelease = "a1cfc591f03d3f0ef0b27c2170c17f1c30fee58d"

// addLastRelease builds release 0.1.0 from its commit into a plugin directory.
func addLastRelease(t *testing.T, pluginDir string) release {
	t.Helper()
	if exec.CommandContext(t.Context(), "git", "-C", "..", "cat-file", "-e", lastRelease).Run() != nil {
		t.Skip("this clone has no history: the commit of release 0.1.0 is not in it")
	}
	r := release{version: "v0.1.0", file: vaultserver.PluginName + "_0.1.0"}
	source := t.TempDir()
	archive := filepath.Join(source, "source.tar")
	for _, cmd := range []*exec.Cmd{
		exec.CommandContext(t.Context(), "git", "-C", "..", "archive", "--output", archive, lastRelease),
		exec.CommandContext(t.Context(), "tar", "-xf", archive, "-C", source),
		exec.CommandContext(t.Context(), "go", "build", "-C", source, "-o", filepath.Join(pluginDir, r.file),
			"-ldflags", "-X main.version="+r.version, "./cmd/vault-plugin-secrets-gbg"),
	} {
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", cmd, out)
	}
	return r
}

// What release 0.1.0 stored is read, and goes back to it as long as nothing is used that
// it does not know. What it does not know it refuses by name, and loses nothing of it.
func TestUpgradeFromTheLastRelease(t *testing.T) {
	t.Parallel()
	dir := ownPlugins(t)
	u := startUpgraded(t, dir, addLastRelease(t, dir), release{version: "v0.0.1", file: vaultserver.PluginName})
	u.newer.register(t, u.server)
	before := u.look()
	leased := u.read("creds/leased")
	asked := u.g.Stats().TokenRequests.Total + u.g.Stats().Identity.TokenRequests.Total

	u.change(u.newer)
	after := u.look()
	for _, name := range slices.Concat(upgradedShared, upgradedOther) {
		assert.Subset(t, after["config of "+name], before["config of "+name], name)
	}
	for _, name := range upgradedShared {
		assert.Equal(t, before["token of "+name], after["token of "+name], name)
	}
	assert.Equal(t, before["list"], after["list"])
	for _, key := range []string{"active_client_id", "standby_client_id", "active_secret_set_time", "standby_secret_set_time", "last_rotation_time", "regenerate_after", "token_expire_time"} {
		assert.Equal(t, before["status of default"].(map[string]any)[key], after["status of default"].(map[string]any)[key], key)
	}
	assert.Equal(t, asked, u.g.Stats().TokenRequests.Total+u.g.Stats().Identity.TokenRequests.Total, "nothing was asked of GBG")
	u.mustRevoke(leased)

	// A rotation and a setting that 0.1.0 knows go back.
	u.write("rotate", map[string]any{"client_secret": u.g.regenerate(t, u.g.a.ID)})
	u.write("config/single", map[string]any{"refresh_before": "4m"})
	u.change(u.older)
	assert.Equal(t, u.g.a.ID, u.read("creds").Data["client_id"])
	assert.Equal(t, u.g.a.ID, u.read("config").Data["active_client_id"])
	u.change(u.newer)

	// Each kind of setting that it does not know is refused there by name.
	u.write("config", map[string]any{"rotation_schedule": "0 3 * * 1", "rotation_window": "2h"})
	u.write("config/custom", map[string]any{"standby_check": "1h"})
	u.write("config/m2m", map[string]any{"idp_params": map[string]string{"audience": "gbg"}, "verify_connection": false})
	u.write("config/users", with(u.g.users(t), "verify_connection", false))
	u.write("config/signed", map[string]any{
		"grant_type": "id_auth", "token_url": u.g.identityURL(), "idp_token_url": u.p.tokenURL(), "idp_auth_method": "private_key_jwt",
		"client_id": "signed-a", "paired_client_id": "signed-b", "verify_connection": false,
	})
	written := map[string]map[string]any{}
	newOnes := []string{"default", "custom", "m2m", "users", "signed"}
	for _, name := range newOnes {
		written[name] = u.read("config/" + name).Data
	}
	keys := u.read("keys/signed").Data

	const refusal = "its storage entry has version 2, this release of the plugin reads up to version 1: run the release that wrote it, or a newer one"
	u.change(u.older)
	for _, name := range newOnes {
		for _, path := range []string{"creds/", "config/"} {
			_, text := u.refusedRead(path + name)
			assert.Contains(t, text, refusal, path+name)
		}
		for path, write := range map[string]map[string]any{"config/": {"refresh_before": "2m"}, "rotate/": nil} {
			_, text := u.refused(path+name, write)
			assert.Contains(t, text, refusal, path+name)
		}
	}
	assert.Equal(t, "client-single", u.read("creds/single").Data["client_id"])

	u.change(u.newer)
	for _, name := range newOnes {
		assert.Equal(t, written[name], u.read("config/"+name).Data, name)
	}
	assert.Equal(t, keys, u.read("keys/signed").Data)
}
