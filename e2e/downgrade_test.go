package e2e

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A newer release that stores connections in another form: those that it has not
// written go back to the older release. Those that it has written are refused there,
// by name and saying what to do, and are whole when the newer release is back.
func TestDowngradeLeavesNewerEntriesAlone(t *testing.T) {
	t.Parallel()
	u := newUpgraded(t, newerEntries(t)...)
	u.newer.register(t, u.server)
	load := startPathLoad(t, u.client, 2, u.path+"/creds/single")
	before := u.look()
	u.change(u.newer)
	assert.Equal(t, before, u.look(), "what has the older form is read")

	u.write("rotate", map[string]any{"client_secret": u.g.regenerate(t, u.g.a.ID)})
	u.write("config/custom", map[string]any{"refresh_before": "5m"})
	written := u.look()

	u.change(u.older)
	assert.Equal(t, written["list"], any(u.list()))
	for path, write := range map[string]map[string]any{
		"config": u.g.pair(), "rotate": nil, "config/custom": {"failover": true}, "rotate/custom": nil,
	} {
		status, text := u.refused(path, write)
		assertNewer(t, path, status, text)
	}
	for _, path := range []string{"creds", "config", "creds/custom", "config/custom"} {
		status, text := u.refusedRead(path)
		assertNewer(t, path, status, text)
	}
	for _, path := range []string{"status", "status/custom"} {
		got := u.read(path).Data
		assert.Equal(t, "unreadable", got["state"], path)
		assert.Contains(t, got["last_error"], newerEntry, path)
	}
	for _, name := range []string{"single", "m2m"} {
		assert.Equal(t, before["token of "+name], withoutTTL(u.read("creds/"+name)), name)
	}
	u.mustRevoke(u.read("creds/leased"))

	u.change(u.newer)
	assert.Equal(t, written, u.look(), "nothing was written over")
	seen := load.stop()[u.path+"/creds/single"]
	t.Log(seen.traffic)
	assert.Empty(t, seen.failures)
	assert.Len(t, seen.tokens, 1)

	// For good without the newer release: deleted and written anew.
	u.change(u.older)
	u.delete("config/default")
	pair := u.g.pair()
	pair["client_secret"], pair["paired_client_secret"] = u.g.regenerate(t, u.g.a.ID), u.g.regenerate(t, u.g.b.ID)
	u.write("config", pair)
	assert.Equal(t, u.g.a.ID, u.read("creds").Data["client_id"])
}

func assertNewer(t *testing.T, path string, status int, text string) {
	t.Helper()
	assert.Equal(t, http.StatusInternalServerError, status, path)
	assert.Contains(t, text, newerEntry, path)
}

const newerEntry = "its storage entry has version 3, this release of the plugin reads up to version 2: run the release that wrote it, or a newer one"
