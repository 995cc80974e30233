package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// A cluster is upgraded through any of its nodes: the leader alone runs the plugin,
// and whoever leads next runs the new release. One that has not got the file cannot
// serve, until it has and the plugin is reloaded.
func TestClusterUpgrade(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	dir := ownPlugins(t)
	c := newClusterWith(t, dir)
	leader := c.settle()
	c.mounts[0].write("config", g.pair())
	before := withoutTTL(c.mounts[0].read("creds"))
	asked := g.Stats().TokenRequests.Total

	older, newer := runningVersion(t, c.mounts[0]), addRelease(t, dir, "v0.2.0")
	follower := c.follower(leader)
	newer.register(t, follower)
	c.through(follower).tune(newer)
	assert.Equal(t, older, runningVersion(t, c.through(leader)))
	c.stepDown(leader)
	leader = c.settle()
	assert.Equal(t, before, c.agreed("creds"))
	assert.Equal(t, newer.version, runningVersion(t, c.through(leader)))
	assert.Equal(t, asked, g.Stats().TokenRequests.Total)

	file, elsewhere := filepath.Join(dir, newer.file), filepath.Join(dir, "elsewhere")
	require.NoError(t, os.Rename(file, elsewhere))
	c.stepDown(leader)
	leader = c.settle()
	_, err := read(t.Context(), c.through(leader).client, "gbg/creds")
	require.ErrorContains(t, err, "no handler for route")
	require.NoError(t, os.Rename(elsewhere, file))
	c.through(c.follower(leader)).reload()
	assert.Equal(t, before, c.agreed("creds"))

	c.through(c.follower(leader)).change(release{version: older})
	assert.Equal(t, before, c.agreed("creds"))
}

// through gives the mount as a caller of a node sees it.
func (c *cluster) through(node *vaultserver.Server) *mount {
	return c.mounts[slices.Index(c.Nodes, node)]
}
