package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-gbg/internal/vaultserver"
)

// A cluster is upgraded through any of its nodes: the leader alone runs the plugin,
// and whoever leads next runs the new release. One that has not got the file cannot
// serve, until it has and the plugin is reloaded.
func TestClusterUpgrade(t *testing.T) {
	g := newGBG(t, time.Hour)
	dir := ownPlugins(t)
	c := newClusterWith(t, dir)
	leader := c.settle()
	c.mounts[0].write("config", g.pair())
	before := withoutTTL(c.mounts[0].read("creds"))
	asked := g.Stats().TokenRequests.Total

	newer := addRelease(t, dir, "v0.2.0")
	follower := c.follower(leader)
	newer.register(t, follower)
	c.through(follower).change(newer)
	assert.Equal(t, before, c.agreed("creds"))

	c.stepDown(leader)
	leader = c.settle()
	assert.Equal(t, before, c.agreed("creds"))
	assert.Equal(t, newer.version, runningVersion(t, c.through(leader)))
	assert.Equal(t, asked, g.Stats().TokenRequests.Total)

	file, elsewhere := filepath.Join(dir, newer.file), filepath.Join(dir, "elsewhere")
	require.NoError(t, os.Rename(file, elsewhere))
	c.stepDown(leader)
	m := c.through(c.settle())
	_, err := read(t.Context(), m.client, "gbg/creds")
	require.ErrorContains(t, err, "no handler for route")
	require.NoError(t, os.Rename(elsewhere, file))
	m.reload()
	assert.Equal(t, before, withoutTTL(m.read("creds")))
}

// through gives the mount as a caller of a node sees it.
func (c *cluster) through(node *vaultserver.Server) *mount {
	return c.mounts[slices.Index(c.Nodes, node)]
}
