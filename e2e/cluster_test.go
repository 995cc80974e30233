package e2e

import (
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// longTests is true if tests that have a long form run in it.
var longTests = os.Getenv("GBG_LONG") != ""

// cluster is three nodes of Vault with the plugin on each.
type cluster struct {
	t *testing.T
	*vaultserver.Cluster
	log *vaultserver.Output
	// mounts are the plugin's, as a caller of each node sees it.
	mounts []*mount
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	return newClusterWith(t, suite.pluginDir)
}

// newClusterWith starts one whose nodes share a plugin folder.
func newClusterWith(t *testing.T, pluginDir string) *cluster {
	t.Helper()
	c := &cluster{t: t, log: &vaultserver.Output{}}
	var err error
	c.Cluster, err = vaultserver.StartCluster(t.Context(), vaultserver.Options{
		Binary: suite.vault, PluginDir: pluginDir, DataDir: t.TempDir(), Log: c.log,
		Env: []string{"HOME=" + suite.dir},
	}, 3)
	require.NoError(t, err, c.log)
	t.Cleanup(func() {
		assert.NoError(t, c.Stop())
		for _, unwanted := range []string{"WARNING: DATA RACE", gbgsim.SecretPrefix, gbgsim.TokenPrefix} {
			if strings.Contains(c.log.String(), unwanted) {
				t.Errorf("Vault's log has %q", unwanted)
			}
		}
	})
	first := c.Nodes[0]
	require.NoError(t, first.Register(t.Context()))
	require.NoError(t, first.Enable(t.Context(), "gbg"))
	for _, node := range c.Nodes {
		client, err := node.Client("")
		require.NoError(t, err)
		c.mounts = append(c.mounts, &mount{t: t, path: "gbg", client: client})
	}
	return c
}

// settle waits for a leader that all agree on.
func (c *cluster) settle(away ...*vaultserver.Server) (leader *vaultserver.Server) {
	c.t.Helper()
	leader, err := c.WaitForLeader(c.t.Context(), away...)
	require.NoError(c.t, err)
	return leader
}

// present are the mounts of all nodes but those that are away.
func (c *cluster) present(away ...*vaultserver.Server) (mounts []*mount) {
	for i, node := range c.Nodes {
		if !slices.Contains(away, node) {
			mounts = append(mounts, c.mounts[i])
		}
	}
	return mounts
}

// disturb does something to the cluster and says how long it took.
func (c *cluster) disturb(what string, f func()) {
	c.t.Helper()
	began := time.Now()
	f()
	c.t.Logf("%s: %s", what, time.Since(began).Round(time.Millisecond))
}

// follower gives a node that does not lead.
func (c *cluster) follower(leader *vaultserver.Server) *vaultserver.Server {
	return c.Nodes[(slices.Index(c.Nodes, leader)+1)%len(c.Nodes)]
}

func (c *cluster) stepDown(leader *vaultserver.Server) {
	c.t.Helper()
	client, err := leader.Client("")
	require.NoError(c.t, err)
	require.NoError(c.t, client.Sys().StepDownWithContext(c.t.Context()))
}

// agreed gives what all nodes that are there answer, but for ttl. On a busy machine leaders
// change by themselves too, so it waits for that.
func (c *cluster) agreed(path string, away ...*vaultserver.Server) map[string]any {
	c.t.Helper()
	var first map[string]any
	require.EventuallyWithT(c.t, func(collect *assert.CollectT) {
		first = nil
		for _, m := range c.present(away...) {
			s, err := read(c.t.Context(), m.client, m.path+"/"+path)
			require.NoError(collect, err)
			delete(s.Data, "ttl")
			if first == nil {
				first = s.Data
			}
			require.Equal(collect, first, s.Data)
		}
	}, time.Minute, 50*time.Millisecond, "all nodes answer the same to %s", path)
	return first
}

// assertMetricsOfTheActiveNode asserts that it does not matter which node is asked
// for metrics: the active one has answered all reads, and tells of them.
func (c *cluster) assertMetricsOfTheActiveNode() {
	c.t.Helper()
	reads := regexp.MustCompile(`gbg_reads_total\{connection="default",source="memory"\} [1-9]\d*`)
	require.EventuallyWithT(c.t, func(collect *assert.CollectT) {
		counts := map[string]bool{}
		for _, m := range c.mounts {
			resp, err := m.client.Logical().ReadRawWithContext(c.t.Context(), m.path+"/metrics")
			require.NoError(collect, err)
			text, err := io.ReadAll(resp.Body)
			require.NoError(collect, err)
			counts[reads.FindString(string(text))] = true
		}
		require.Len(collect, counts, 1)
		require.NotContains(collect, counts, "")
	}, time.Minute, 50*time.Millisecond, "all nodes give the same metrics")
}

// Nothing is rotated or written: whichever node leads, readers get the same
// token, and GBG is never asked for another.
func TestClusterKeepsTheToken(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	c := newCluster(t)
	c.mounts[0].write("config", g.pair())
	before := c.mounts[0].read("creds").Data
	delete(before, "ttl")
	asked := g.Stats().TokenRequests.Total
	same := func() {
		t.Helper()
		require.Equal(t, before, c.agreed("creds"))
		require.Equal(t, asked, g.Stats().TokenRequests.Total, "GBG is not asked again")
	}
	leader := c.settle()
	same()
	c.assertMetricsOfTheActiveNode()

	c.stepDown(leader)
	leader = c.settle()
	same()

	require.NoError(t, leader.Kill())
	c.settle(leader)
	require.NoError(t, leader.StartAgain(t.Context()))
	c.settle()
	same()

	// All of them at once, and GBG is away.
	require.NoError(t, g.SetFault(gbgsim.Fault{Kind: gbgsim.FaultClose}))
	for _, node := range c.Nodes {
		require.NoError(t, node.Kill())
	}
	for _, node := range c.Nodes {
		require.NoError(t, node.StartAgain(t.Context()))
	}
	c.settle()
	same()
}

// The nodes of a cluster are killed, cut off and restarted while 16 readers read
// through all of them, and while the pair is rotated with a new secret each time
// and configured anew without a pause. What was acknowledged stays, no token that
// anybody gets is refused, and only Vault's own changes of leader show.
func TestClusterUnderDisturbances(t *testing.T) {
	g := newGBG(t, time.Hour)
	c := newCluster(t)
	c.mounts[0].write("config", g.pair())
	asked := g.Stats().TokenRequests.Total
	l := startLedger(t, c, g)
	readers := startClusterLoad(t, c, g, 16, l.active)

	times := 1
	if longTests {
		times = 10
	}
	for range times {
		c.disturb("the leader steps down", func() {
			c.stepDown(c.settle())
			c.settle()
			l.check()
		})
		c.disturb("the leader is killed", func() {
			leader := c.settle()
			l.avoid(leader)
			require.NoError(t, leader.Kill())
			c.settle(leader)
			l.check(leader)
			require.NoError(t, leader.StartAgain(t.Context()))
			c.settle()
			l.avoid()
			l.check()
		})
	}
	c.disturb("a follower is cut off and comes back", func() {
		follower := c.follower(c.settle())
		// A write that is under way there would wait with it, and hold up its writer.
		l.between(func() {
			l.avoid(follower)
			require.NoError(t, follower.Pause())
		})
		t.Cleanup(func() { _ = follower.Resume() })
		l.check(follower)
		require.NoError(t, follower.Resume())
		c.settle()
		l.avoid()
		l.check()
	})
	if longTests {
		readers.leaderCutOff.Store(true)
		c.disturb("the leader is cut off and comes back with another in its place", func() {
			leader := c.settle()
			l.between(func() { l.avoid(leader) })
			require.NoError(t, leader.Pause())
			t.Cleanup(func() { _ = leader.Resume() })
			c.settle(leader)
			l.check(leader)
			require.NoError(t, leader.Resume())
			c.settle()
			l.avoid()
			l.check()
		})
		readers.leaderCutOff.Store(false)
	}
	for _, node := range c.Nodes {
		c.disturb("a node is restarted", func() {
			l.avoid(node)
			require.NoError(t, node.Restart(t.Context()))
			c.settle()
			l.avoid()
			l.check()
		})
	}

	w := l.stop()
	r := readers.stop()
	asked = g.Stats().TokenRequests.Total - asked
	t.Log("creds:", r.creds)
	t.Log("kv:   ", r.kv)
	t.Logf("writes acknowledged and not: rotations %d and %d, configurations %d and %d; token requests: %d; reads of a client that had left: %d, after the leader was cut off: %d",
		w.rotations, w.lostRotations, w.configs, w.lostConfigs, asked, r.stale, r.staleAfterCutOff)
	assert.Empty(t, r.refused, "tokens that GBG refused")
	assert.Zero(t, r.stale, "reads of a client that had left before they were asked")
	// One for each rotation. The end of a leader's time may cut one off between its
	// two writes, the pair's and the token's: that costs its own and another.
	terms := strings.Count(c.log.String(), "acquired lock, enabling active operation")
	require.NotZero(t, terms, "Vault's log says when a node becomes the leader")
	assert.LessOrEqual(t, asked, w.rotations+2*terms)
}
