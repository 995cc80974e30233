package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// The leader is killed at the time of a rotation, a little before or after: there is one
// flip all the same, every token that a reader gets works, and no read fails but for want
// of a leader.
func TestScheduleWhenTheLeaderIsKilled(t *testing.T) {
	g := newGBG(t, time.Hour)
	c := newCluster(t)
	c.mounts[0].write("config", g.pair())
	c.mounts[0].write("config", map[string]any{"rotation_period": 60})
	readers := startSteadyReaders(t, c, g, 9)
	offsets := []time.Duration{10 * time.Millisecond, -time.Second}
	if longTests {
		offsets = append(offsets, 0, -20*time.Millisecond, 20*time.Millisecond, 30*time.Millisecond, 50*time.Millisecond, 100*time.Millisecond, 250*time.Millisecond, time.Second)
	}
	for n, offset := range offsets {
		leader := c.settle()
		m := c.present()[0]
		if n > 0 {
			m.renewStandby(g) // the time before is met, so this waits for the next one
		}
		was := m.read("status").Data
		next := m.nextRotation()
		require.Greater(t, time.Until(next), 2*time.Second, "too slow a machine for this period")
		c.disturb(fmt.Sprintf("the leader is killed %s after the time", offset), func() {
			time.Sleep(time.Until(next.Add(offset)))
			readers.avoid(leader)
			require.NoError(t, leader.Kill())
			readers.avoid(leader)
			c.settle(leader)
		})
		m = c.present(leader)[0]
		require.Eventually(t, func() bool {
			s, err := m.client.Logical().ReadWithContext(t.Context(), "gbg/status")
			return err == nil && s.Data["active_client_id"] != was["active_client_id"] && s.Data["last_rotation_cause"] == "schedule"
		}, 30*time.Second, 100*time.Millisecond)
		rotated := m.read("status").Data["last_rotation_time"]
		assert.NotEqual(t, was["last_rotation_time"], rotated)
		require.NoError(t, leader.StartAgain(t.Context()))
		c.settle()
		readers.avoid(nil)
		time.Sleep(time.Until(next.Add(30 * time.Second)))
		now := c.agreed("status")
		assert.Equal(t, rotated, now["last_rotation_time"], "flipped twice")
		assert.NotEqual(t, was["active_client_id"], now["active_client_id"])
	}
	readers.stop()
	t.Logf("%d reads, %d failed while there was no leader", readers.reads.Load(), readers.leaderless.Load())
	assert.Greater(t, readers.reads.Load(), int64(1000))
	assert.Empty(t, readers.refused, "tokens that GBG refused")
	assert.Empty(t, readers.failed, "reads that failed while there was a leader")
}

// steadyReaders read tokens through all nodes that are there, and call GBG's API with
// them.
type steadyReaders struct {
	c     *cluster
	g     *gbg
	group sync.WaitGroup
	end   context.CancelFunc

	// away is the node that is not asked; nil if all are.
	away atomic.Pointer[vaultserver.Server]
	// changes counts the calls of avoid.
	changes atomic.Int64

	reads, leaderless atomic.Int64
	mu                sync.Mutex
	failed, refused   []string
}

func startSteadyReaders(t *testing.T, c *cluster, g *gbg, readers int) *steadyReaders {
	t.Helper()
	admin := c.mounts[0].client
	require.NoError(t, admin.Sys().MountWithContext(t.Context(), "kv", &api.MountInput{Type: "kv"}))
	_, err := admin.Logical().WriteWithContext(t.Context(), "kv/one", map[string]any{"value": "fake"})
	require.NoError(t, err)
	ctx, end := context.WithCancel(t.Context())
	r := &steadyReaders{c: c, g: g, end: end}
	for i := range readers {
		node := c.Nodes[i%len(c.Nodes)]
		client, err := node.Client("")
		require.NoError(t, err)
		client.SetMaxRetries(0)
		r.group.Go(func() {
			for ctx.Err() == nil {
				if r.away.Load() != node {
					r.read(ctx, client)
				}
				time.Sleep(readerPause)
			}
		})
	}
	t.Cleanup(r.stop)
	return r
}

// avoid keeps the next reads from a node that is killed. It is called before and after
// that, and with nil when all nodes are there again.
func (r *steadyReaders) avoid(node *vaultserver.Server) {
	r.away.Store(node)
	r.changes.Add(1)
}

// read reads a token and uses it. A failure counts if Vault's own engine answers before
// and after it, and no node was killed meanwhile.
func (r *steadyReaders) read(ctx context.Context, client *api.Client) {
	changes := r.changes.Load()
	_, before := read(ctx, client, "kv/one")
	s, err := read(ctx, client, "gbg/creds")
	_, after := read(ctx, client, "kv/one")
	if ctx.Err() != nil {
		return
	}
	r.reads.Add(1)
	if err != nil {
		if before != nil || after != nil || r.changes.Load() != changes {
			r.leaderless.Add(1)
			return
		}
		r.note(&r.failed, wordsOf(err))
		return
	}
	ok, err := r.g.call(ctx, s.Data["access_token"].(string))
	if ctx.Err() == nil && (err != nil || !ok) {
		r.note(&r.refused, fmt.Sprint(s.Data["client_id"], err))
	}
}

func (r *steadyReaders) note(list *[]string, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(*list, text) {
		*list = append(*list, text)
	}
}

// stop ends the readers.
func (r *steadyReaders) stop() {
	r.end()
	r.group.Wait()
}
