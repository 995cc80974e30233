package e2e

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Somebody who types what docs/upgrading.md says, in order, sees what it shows: from
// release 0.1.0 to this one and back, with a setting that 0.1.0 does not know.
func TestUpgradingPageAsWritten(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	a, b, team := g.client(t, "go-api-a"), g.client(t, "go-api-b"), g.client(t, "go-api-team-a")
	plugins, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	older := addLastRelease(t, plugins)
	someone, server := newReader(t, newProxy(t, map[string]http.Handler{"api.auth.gbgplc.com": g.Simulator}), plugins)
	someone.env = append(someone.env, "PLUGIN_DIRECTORY="+plugins)
	require.NoError(t, buildPlugin(t.Context(), filepath.Join(someone.dir, "bin", "plugins"), "v0.2.0"))
	older.register(t, server)
	require.NoError(t, server.Enable(t.Context(), "gbg"))
	client, err := server.Client("")
	require.NoError(t, err)
	m := &mount{t: t, path: "gbg", client: client}
	m.write("config", map[string]any{
		"client_id": a.ID, "client_secret": a.Secret, "paired_client_id": b.ID, "paired_client_secret": b.Secret,
	})
	m.write("config/team-a", map[string]any{"client_id": team.ID, "client_secret": team.Secret})

	someone.follow("../docs/upgrading.md", map[string]func(){
		"Roll back": func() { m.write("config/team-a", map[string]any{"standby_check": "12h"}) },
	})
	assert.Equal(t, "v0.2.0", runningVersion(t, m))
	assert.Equal(t, team.ID, m.read("creds/team-a").Data["client_id"])
}
