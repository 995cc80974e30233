package plugintest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// Tokens in these tests live a minute: the next one is asked for after 38 s and due
// after 40 s.
const (
	clusterLifetime = time.Minute
	clusterPeriod   = 40 * time.Second
	clusterRefresh  = 38 * time.Second
)

// clusterRead is what one reader got.
type clusterRead struct {
	at    time.Time
	node  *node
	token string
	data  fields // without the token
	err   error
}

// readers read the connection "default" on several nodes, until they are stopped.
type readers struct {
	cluster *cluster
	stop    chan struct{}
	work    sync.WaitGroup

	mu    sync.Mutex
	reads []clusterRead
	// warned are the warnings that readers got.
	warned []string
}

// readers starts two kinds of readers on each node: three that come back when ttl says, as
// Vault Agent does, and four that read once a second, two at a time.
func (c *cluster) readers(nodes ...*node) *readers {
	r := &readers{cluster: c, stop: make(chan struct{})}
	for _, n := range nodes {
		for i := range 4 {
			r.work.Go(func() {
				r.sleep(time.Duration(i/2) * 500 * time.Millisecond)
				for r.once(n); r.sleep(time.Second); {
					r.once(n)
				}
			})
		}
		for i := range 3 {
			r.work.Go(func() {
				r.sleep(time.Duration(i) * 70 * time.Millisecond)
				for {
					pause := time.Second
					if data := r.once(n); data != nil {
						pause += secondsOf(data["ttl"])
					}
					if !r.sleep(pause) {
						return
					}
				}
			})
		}
	}
	return r
}

// sleep reports whether the readers go on after d.
func (r *readers) sleep(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-r.stop:
		return false
	}
}

// once reads on a node, and returns the answer; nil if it failed.
func (r *readers) once(n *node) fields {
	a := n.do(logical.ReadOperation, "creds", nil)
	if errorIs(a, errNodeDown) {
		return nil // a load balancer leaves the node out
	}
	read := clusterRead{at: time.Now(), node: n, err: a.err}
	if a.err == nil && a.resp.IsError() {
		read.err = a.resp.Error()
	}
	if read.err == nil {
		read.token = fmt.Sprint(a.resp.Data["access_token"])
		read.data = without(a.resp.Data, "access_token")
		if !r.cluster.live(read.token) {
			read.err = fmt.Errorf("%s served a token that GBG does not accept", n.name)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads = append(r.reads, read)
	if a.resp != nil {
		r.warned = append(r.warned, a.resp.Warnings...)
	}
	return read.data
}

func errorIs(a answer, err error) bool { return a.err != nil && a.err.Error() == err.Error() }

// servedToken is when a token was served, anywhere in the cluster.
type servedToken struct {
	token       string
	client      string
	fetched     time.Time
	first, last time.Time
}

// end stops the readers, and returns the tokens that they got, in order, and the reads
// that failed.
func (r *readers) end() (tokens []*servedToken, failed []clusterRead) {
	t := r.cluster.t
	t.Helper()
	close(r.stop)
	r.work.Wait()
	slices.SortStableFunc(r.reads, func(a, b clusterRead) int { return a.at.Compare(b.at) })
	seen := map[string]*servedToken{}
	answers := map[string]fields{}
	for _, read := range r.reads {
		if read.err != nil {
			failed = append(failed, read)
			continue
		}
		data := without(read.data, "ttl")
		if served := seen[read.token]; served != nil {
			served.last = read.at
			require.Equal(t, answers[read.token], data, "every node answers the same")
			continue
		}
		answers[read.token] = data
		served := &servedToken{
			token: read.token, client: fmt.Sprint(data["client_id"]), fetched: r.cluster.moment(data["last_vault_rotation"]),
			first: read.at, last: read.at,
		}
		seen[read.token] = served
		tokens = append(tokens, served)
	}
	return tokens, failed
}

// figures logs what a run has cost.
func (r *readers) figures(tokens []*servedToken, failed []clusterRead) {
	var forwarded []string
	for _, n := range r.cluster.nodes {
		forwarded = append(forwarded, fmt.Sprintf("%s %d", n.name, n.forward.Load()))
	}
	r.cluster.t.Logf("%d reads, %d failed; %d tokens, %d token requests; forwarded: %s",
		len(r.reads), len(failed), len(tokens), r.cluster.asked(), strings.Join(forwarded, ", "))
}

// overlapsAtMost checks that a token was served no longer than so long after its
// successor.
func (c *cluster) overlapsAtMost(tokens []*servedToken, most time.Duration) {
	c.t.Helper()
	for i := 1; i < len(tokens); i++ {
		assert.LessOrEqual(c.t, tokens[i-1].last.Sub(tokens[i].first), most, "token %d", i-1)
	}
}

// standbysAreSilent checks that no standby has logged anything.
func (c *cluster) standbysAreSilent() {
	c.t.Helper()
	for line := range strings.Lines(c.heard.log.String()) {
		assert.NotContains(c.t, line, "-standby:")
	}
}

// minutes runs what servers run every minute on each node, until the readers stop.
func (r *readers) minutes() {
	r.work.Go(func() {
		for r.sleep(time.Minute) {
			for _, n := range r.cluster.nodes {
				if now := n.current.Load(); now != nil {
					now.periodic()
				}
			}
		}
	})
}

// configure stores a connection without asking GBG.
func (c *cluster) configure(data fields) {
	c.t.Helper()
	c.nodes[0].mustDo(logical.UpdateOperation, "config", with(data, fields{"verify_connection": false}))
	c.pass(replicationDelay)
}

// Readers on any nodes of a cluster get one token, for which one node asks once in its
// lifetime.
func TestClusterTenLifetimes(t *testing.T) {
	for name, c := range map[string]struct {
		nodes []int // that are read
		lossy bool
	}{
		"all nodes are read":             {nodes: []int{0, 1, 2}},
		"standbys alone are read":        {nodes: []int{1, 2}},
		"one standby is read":            {nodes: []int{2}},
		"all invalidations are lost":     {nodes: []int{0, 1, 2}, lossy: true},
		"lost, standbys alone are read":  {nodes: []int{1, 2}, lossy: true},
		"the active node alone is read":  {nodes: []int{0}},
		"lost, the active alone is read": {nodes: []int{0}, lossy: true},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, worldOptions{lifetime: clusterLifetime}, func(w *cluster) {
				w.configure(w.pair())
				w.lossy.Store(c.lossy)
				var nodes []*node
				for _, i := range c.nodes {
					nodes = append(nodes, w.nodes[i])
				}
				r := w.readers(nodes...)
				r.minutes()
				w.pass(10 * clusterLifetime)
				tokens, failed := r.end()
				r.figures(tokens, failed)

				assert.Empty(t, failed)
				assert.Len(t, tokens, w.asked())
				assert.LessOrEqual(t, len(tokens), 1+int(10*clusterLifetime/clusterRefresh))
				assert.GreaterOrEqual(t, len(tokens), int(10*clusterLifetime/(clusterPeriod+2*time.Second)))
				if c.lossy {
					for i, token := range tokens {
						assert.LessOrEqual(t, token.last.Sub(token.fetched), clusterPeriod+2*time.Second, "token %d", i)
					}
				} else {
					w.overlapsAtMost(tokens, replicationDelay)
				}
				w.standbysAreSilent()
			})
		})
	}
}

// Rotations through any node cost one request each. Once the delay has passed no node
// serves a token of the old client.
func TestClusterRotations(t *testing.T) {
	inCluster(t, worldOptions{lifetime: clusterLifetime}, func(c *cluster) {
		c.configure(c.pair())
		r := c.readers(c.nodes...)
		r.minutes()
		to, rotated := []string{clientB, clientA}, []time.Time{}
		for i := range 6 {
			c.pass(15 * time.Second)
			before := c.asked()
			resp := c.nodes[i%3].mustDo(logical.UpdateOperation, "rotate", fields{"client_id": to[i%2]})
			assert.Equal(t, true, resp.Data["rotated"])
			assert.Equal(t, 1, c.asked()-before)
			rotated = append(rotated, time.Now())
		}
		c.pass(15 * time.Second)
		tokens, failed := r.end()
		r.figures(tokens, failed)
		assert.Empty(t, failed)
		assert.Len(t, tokens, c.asked())
		assert.Len(t, tokens, 7)
		c.overlapsAtMost(tokens, replicationDelay)
		for i, at := range rotated {
			for _, read := range r.reads {
				if read.at.After(at.Add(replicationDelay)) && (i == len(rotated)-1 || !read.at.After(rotated[i+1])) {
					require.Equal(t, to[i%2], read.data["client_id"], "%s after rotation %d on %s", read.at.Sub(at), i, read.node.name)
				}
			}
		}
		c.standbysAreSilent()
	})
}

// A node that missed the invalidation of a rotation serves the old client's token until
// that is due, and then finds out by itself.
func TestClusterRotationThatAStandbyMissed(t *testing.T) {
	inCluster(t, worldOptions{lifetime: clusterLifetime}, func(c *cluster) {
		c.configure(c.pair())
		standby := c.nodes[1]
		standby.creds()
		c.pass(replicationDelay)
		old := standby.creds().Data["access_token"]
		c.pass(20 * time.Second)
		c.lossy.Store(true)
		standby.mustDo(logical.UpdateOperation, "rotate", nil)
		c.pass(replicationDelay)
		assert.Equal(t, clientB, standby.mustDo(logical.ReadOperation, "config", nil).Data["active_client_id"], "config is read from storage")
		assert.Equal(t, old, standby.creds().Data["access_token"])
		c.pass(clusterPeriod - 20*time.Second)
		assert.Equal(t, clientB, standby.creds().Data["client_id"])
		assert.Equal(t, clientB, standby.creds().Data["client_id"])
		assert.Equal(t, 2, c.asked())
		c.standbysAreSilent()
	})
}

// The active node fails over for all. The others serve the old client's token while it
// is valid, and one reader, anywhere, is told.
func TestClusterFailover(t *testing.T) {
	for name, read := range map[string][]int{"all nodes are read": {0, 1, 2}, "standbys alone are read": {1, 2}} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, worldOptions{lifetime: clusterLifetime}, func(c *cluster) {
				c.configure(c.pair())
				var nodes []*node
				for _, i := range read {
					nodes = append(nodes, c.nodes[i])
				}
				r := c.readers(nodes...)
				r.minutes()
				c.pass(10 * time.Second)
				c.regenerate(clientA)
				c.pass(2 * clusterLifetime)
				tokens, failed := r.end()
				r.figures(tokens, failed)
				assert.Empty(t, failed)
				assert.Equal(t, len(tokens)+2, c.asked(), "the active client was refused twice")
				c.overlapsAtMost(tokens, replicationDelay)
				assert.Equal(t, clientB, tokens[1].client)
				require.Len(t, r.warned, 1)
				assert.Contains(t, r.warned[0], `client "client-b" has taken over`)
				assert.Len(t, slices.DeleteFunc(kindsOf(c.sent()), func(kind string) bool { return kind != "gbg/failover" }), 1)
				c.standbysAreSilent()
			})
		})
	}
}

// With both clients refused, GBG is asked as often as by a single server, and readers on
// all nodes get the token while it is valid, then what the active node says.
func TestClusterRefusedPair(t *testing.T) {
	run := func(read ...int) (asked int) {
		inCluster(t, worldOptions{lifetime: clusterLifetime}, func(c *cluster) {
			c.configure(c.pair())
			var nodes []*node
			for _, i := range read {
				nodes = append(nodes, c.nodes[i])
			}
			r := c.readers(nodes...)
			r.minutes()
			c.pass(10 * time.Second)
			c.regenerate(clientA)
			c.regenerate(clientB)
			c.pass(3 * time.Minute)
			secret := c.regenerate(clientB)
			c.nodes[1].mustDo(logical.UpdateOperation, "config", fields{"paired_client_secret": secret})
			c.pass(time.Minute)
			asked = c.asked()
			tokens, failed := r.end()
			r.figures(tokens, failed)
			for _, read := range failed {
				assert.Contains(t, read.err.Error(), "GBG refused client")
				assert.False(t, read.at.Before(tokens[0].fetched.Add(clusterLifetime)), "the token was still valid")
			}
			assert.Equal(t, clientB, tokens[len(tokens)-1].client)
			c.standbysAreSilent()
		})
		return asked
	}
	alone, together, standbys := run(0), run(0, 1, 2), run(1, 2)
	t.Logf("token requests: %d with readers on the active node, %d on all nodes, %d on standbys", alone, together, standbys)
	assert.Equal(t, alone, together)
	assert.Equal(t, alone, standbys)
}

// An outage of GBG that ends before the token does is met by no reader of any node.
func TestClusterOutage(t *testing.T) {
	inCluster(t, worldOptions{lifetime: clusterLifetime}, func(c *cluster) {
		c.configure(c.pair())
		r := c.readers(c.nodes...)
		r.minutes()
		c.pass(35 * time.Second)
		c.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusServiceUnavailable})
		c.pass(15 * time.Second)
		c.sim.ClearFaults()
		c.pass(time.Minute)
		tokens, failed := r.end()
		r.figures(tokens, failed)
		assert.Empty(t, failed)
		stats := c.sim.Stats().TokenRequests
		assert.Equal(t, len(tokens), stats.Issued)
		assert.LessOrEqual(t, stats.Faulted, 10, "one node's tries, with growing pauses")
		c.overlapsAtMost(tokens, replicationDelay)
		c.standbysAreSilent()
	})
}

// Whoever becomes active goes on with the token there is.
func TestClusterRoleChanges(t *testing.T) {
	inCluster(t, worldOptions{lifetime: clusterLifetime}, func(c *cluster) {
		c.configure(c.pair())
		r := c.readers(c.nodes...)
		r.minutes()
		began := time.Now()
		for range 10 {
			c.pass(27 * time.Second)
			c.stepDown()
		}
		c.pass(time.Minute)
		took := time.Since(began)
		tokens, failed := r.end()
		r.figures(tokens, failed)
		assert.Len(t, tokens, c.asked())
		assert.LessOrEqual(t, len(tokens), 1+int(took/clusterRefresh))
		c.overlapsAtMost(tokens, replicationDelay)
		// One read a second on each of three nodes, and the first of each node's life.
		assert.LessOrEqual(t, len(failed), 10*4)
		for _, read := range failed {
			assert.EqualError(t, read.err, errNoLeader.Error())
		}
		c.standbysAreSilent()
	})
}

// The server of the active node is killed a moment before the next token is asked for.
// In the seconds without a leader a read a second fails on each node that is left, and
// the plugin that the server leaves behind asks GBG nothing.
func TestClusterKilledLeader(t *testing.T) {
	for name, before := range map[string]time.Duration{
		"before the token is due":    37 * time.Second,
		"in the middle of a period":  20 * time.Second,
		"when the token is just new": time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, worldOptions{lifetime: clusterLifetime}, func(c *cluster) {
				c.configure(c.pair())
				r := c.readers(c.nodes...)
				r.minutes()
				c.pass(before)
				began := time.Now()
				killed := c.kill()
				c.pass(5 * time.Second)
				c.rejoin(killed)
				c.pass(2 * time.Minute)
				took := time.Since(began)
				tokens, failed := r.end()
				r.figures(tokens, failed)
				assert.Len(t, tokens, c.asked())
				assert.LessOrEqual(t, len(tokens), 2+int(took/clusterRefresh))
				c.overlapsAtMost(tokens, replicationDelay)
				assert.LessOrEqual(t, len(failed), 2*8, "a second on each of two nodes")
				for _, read := range failed {
					assert.EqualError(t, read.err, errNoLeader.Error())
				}
				c.standbysAreSilent()
			})
		})
	}
}

// Without a leader and with a token that has ended, readers get the server's answer at
// once, and the first read after that has a token.
func TestClusterWithoutALeaderForLong(t *testing.T) {
	inCluster(t, worldOptions{lifetime: clusterLifetime}, func(c *cluster) {
		c.configure(c.pair())
		standby := c.nodes[1]
		standby.creds()
		c.pass(replicationDelay)
		standby.creds()
		was := c.resign()
		was.end()
		was.start(false)
		c.pass(clusterLifetime)
		for range 5 {
			require.EqualError(t, standby.do(logical.ReadOperation, "creds", nil).err, errNoLeader.Error())
		}
		c.promote(c.nodes[2])
		standby.creds()
		assert.Equal(t, 2, c.asked())
		c.standbysAreSilent()
	})
}

// What a standby forwards and what it serves.
func TestClusterForwards(t *testing.T) {
	inCluster(t, worldOptions{}, func(c *cluster) {
		pair := c.pair()
		c.configure(pair)
		c.nodes[0].mustDo(logical.UpdateOperation, "config/leased", with(pair, fields{"lease": true, "verify_connection": false}))
		c.nodes[0].mustDo(logical.UpdateOperation, "config/own", c.exchangeOnly())
		c.pass(replicationDelay)
		standby := c.nodes[2]
		token := standby.creds().Data["access_token"]
		c.pass(replicationDelay)
		id, err := c.sim.IDToken("someone")
		require.NoError(t, err)
		for _, request := range []struct {
			op        logical.Operation
			path      string
			data      fields
			forwarded int
		}{
			{logical.ReadOperation, "creds", nil, 1}, // the node's first of this token
			{logical.ReadOperation, "creds", nil, 0},
			{logical.ReadOperation, "creds/default", nil, 0},
			{logical.ReadOperation, "creds", fields{"min_ttl": "30m"}, 0},
			{logical.ReadOperation, "creds", fields{"min_ttl": "41m"}, 1},
			{logical.ReadOperation, "creds/leased", nil, 1},
			{logical.ReadOperation, "creds/leased", nil, 1},
			{logical.UpdateOperation, "creds/own", fields{"id_token": id}, 1},
			{logical.ReadOperation, "creds/own", nil, 1},
			{logical.ReadOperation, "creds/unknown", nil, 1},
			{logical.ReadOperation, "config", nil, 0},
			{logical.ListOperation, "config/", nil, 0},
			{logical.UpdateOperation, "config/own", fields{"scope": "other"}, 1},
			{logical.UpdateOperation, "config/new", c.exchangeOnly(), 1},
			{logical.DeleteOperation, "config/new", nil, 1},
			{logical.UpdateOperation, "rotate", fields{"client_id": clientA}, 1},
			{logical.ReadOperation, "status", nil, 1},
			{logical.ListOperation, "status/", nil, 1},
			{logical.ReadOperation, "metrics", nil, 0},
		} {
			name := fmt.Sprint(request.op, " ", request.path, " ", request.data)
			var a answer
			assert.Equal(t, request.forwarded, standby.forwards(func() { a = standby.do(request.op, request.path, request.data) }), name)
			require.NoError(t, a.err, name)
		}
		assert.Equal(t, token, standby.creds().Data["access_token"])
		c.standbysAreSilent()
	})
}

// min_ttl is kept on standbys too: a token that is too short for it is replaced once,
// for the whole cluster.
func TestClusterMinTTL(t *testing.T) {
	inCluster(t, worldOptions{}, func(c *cluster) {
		c.configure(c.pair())
		standby := c.nodes[1]
		standby.creds()
		c.pass(30 * time.Minute)
		first := standby.creds().Data["access_token"]
		second := standby.creds(fields{"min_ttl": "40m"}).Data["access_token"]
		assert.NotEqual(t, first, second)
		c.pass(replicationDelay)
		for _, n := range c.nodes {
			assert.Equal(t, second, n.creds(fields{"min_ttl": "40m"}).Data["access_token"])
		}
		assert.Equal(t, 2, c.asked())
		assert.Contains(t, c.refused(standby.do(logical.ReadOperation, "creds", fields{"min_ttl": "41m"})), "min_ttl")
	})
}

// While a standby cannot read its storage, the active node serves its readers.
func TestClusterStorageThatAStandbyCannotRead(t *testing.T) {
	inCluster(t, worldOptions{}, func(c *cluster) {
		c.configure(c.pair())
		token := c.nodes[0].creds().Data["access_token"]
		c.pass(replicationDelay)
		standby := c.nodes[1]
		standby.current.Load().storage.gone.Store(true)
		for range 3 {
			assert.Equal(t, token, standby.creds().Data["access_token"])
		}
		standby.current.Load().storage.gone.Store(false)
		assert.Equal(t, 1, standby.forwards(func() { standby.creds() }))
		assert.Equal(t, 0, standby.forwards(func() { standby.creds() }))
		assert.Equal(t, 1, c.asked())
		c.standbysAreSilent()
	})
}

// Stored revocations are the active node's.
func TestClusterRevocations(t *testing.T) {
	inCluster(t, worldOptions{}, func(c *cluster) {
		c.configure(c.leasing())
		lease := c.nodes[1].creds()
		c.fault(revokeFails(http.StatusServiceUnavailable))
		require.Error(t, c.nodes[0].current.Load().revoke(lease))
		c.pass(replicationDelay)
		require.EqualError(t, c.nodes[1].current.Load().revoke(lease), logical.ErrReadOnly.Error())
		c.sim.ClearFaults()
		c.pass(time.Minute)
		before := c.revocations()
		c.nodes[1].current.Load().periodic()
		c.nodes[2].current.Load().periodic()
		assert.Equal(t, before, c.revocations())
		c.nodes[0].current.Load().periodic()
		assert.Equal(t, before+1, c.revocations())
		assert.False(t, c.accepted(lease))
		c.standbysAreSilent()
	})
}

// A plugin that outlives its server asks GBG nothing, also while GBG fails; one whose
// storage comes back goes on.
func TestClusterStorageThatComesBack(t *testing.T) {
	inCluster(t, worldOptions{lifetime: clusterLifetime}, func(c *cluster) {
		c.configure(c.pair())
		active := c.nodes[0]
		first := active.creds().Data["access_token"]
		c.pass(clusterRefresh - time.Second)
		active.current.Load().storage.gone.Store(true)
		c.pass(8 * time.Second)
		assert.Equal(t, 1, c.asked())
		active.current.Load().storage.gone.Store(false)
		c.pass(5 * time.Second)
		assert.Equal(t, 2, c.asked())
		assert.NotEqual(t, first, active.creds().Data["access_token"])

		// In the middle of a request that is tried again.
		c.pass(clusterRefresh - 6*time.Second)
		c.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusServiceUnavailable})
		for c.asked() == 2 {
			c.pass(100 * time.Millisecond)
		}
		tried := c.asked()
		active.current.Load().storage.gone.Store(true)
		c.pass(5 * time.Minute)
		assert.Equal(t, tried, c.asked())
	})
}

// With performance replication other clusters may hold tokens of the client that leaves.
func TestReplicatedRegenerateAfter(t *testing.T) {
	for name, c := range map[string]struct {
		system *logical.StaticSystemView
		later  time.Duration
	}{
		"none":        {&logical.StaticSystemView{}, 0},
		"primary":     {&logical.StaticSystemView{ReplicationStateVal: consts.ReplicationPerformancePrimary}, time.Hour},
		"secondary":   {&logical.StaticSystemView{ReplicationStateVal: consts.ReplicationPerformanceSecondary}, time.Hour},
		"local mount": {&logical.StaticSystemView{ReplicationStateVal: consts.ReplicationPerformancePrimary, LocalMountVal: true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", w.pair())
				w.options.system = c.system
				node := w.newMount()
				node.read("creds")
				w.regenerate(clientA)
				w.pass(56 * time.Minute) // the refresh has failed over
				assert.Equal(t, clientB, node.read("creds")["client_id"])
				assert.Equal(t, timestamp(roundedUp(start.Add(time.Hour+c.later))), node.read("status")["regenerate_after"])
			})
		})
	}
}
