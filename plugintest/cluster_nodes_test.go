package plugintest

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	gbg "gbg.example/vault-plugin-secrets-gbg"
)

const (
	// replicationDelay is how long a write takes to the other nodes.
	replicationDelay = 80 * time.Millisecond
	// forwardTime is what forwarding adds to a request.
	forwardTime = 5 * time.Millisecond
	// stepDownTime and killTime are how long a cluster is without an active node after
	// a step-down and after a crash.
	stepDownTime = 800 * time.Millisecond
	killTime     = 9500 * time.Millisecond
)

var (
	errNoLeader    = errors.New("local node not active but active cluster node not found")
	errNodeDown    = errors.New("connection refused")
	errStorageGone = errors.New("rpc error: code = Unavailable desc = transport is closing")
)

// standbyNode is the server as a backend on a standby that serves reads sees it.
func standbyNode() logical.SystemView {
	return &logical.StaticSystemView{
		MaxLeaseTTLVal:      768 * time.Hour,
		ReplicationStateVal: consts.ReplicationPerformanceStandby,
		PluginEnvironment:   &logical.PluginEnvironment{VaultVersion: "2.6.2"},
	}
}

// cluster stands in for a server with several nodes of which one is active. Each has a
// backend of its own and a copy of the storage. What the active node writes reaches the
// others after a delay, with an invalidation. A request that a standby answers with
// the words of ErrReadOnly is forwarded to the active node.
type cluster struct {
	*world

	nodes []*node
	// lossy makes invalidations get lost.
	lossy atomic.Bool

	mu     sync.Mutex
	leader *node // nil if there is none
	writes []clusterWrite
}

type clusterWrite struct {
	key   string
	entry *logical.StorageEntry // nil if the key was deleted
}

// node is one server.
type node struct {
	cluster *cluster
	name    string
	forward atomic.Int64 // requests that it has forwarded

	current atomic.Pointer[life] // nil if it is down

	applying sync.Mutex
	copy     logical.InmemStorage
	applied  int // of the cluster's writes
}

// life is a node's backend in one role.
type life struct {
	*mount

	storage *nodeStorage
}

// nodeStorage is the storage of a backend in one role.
type nodeStorage struct {
	node *node
	// active storage can be written.
	active bool
	// gone is set when the server has been killed.
	gone atomic.Bool
}

// newCluster starts nodes of which the first is active.
func newCluster(t *testing.T, options worldOptions, names ...string) *cluster {
	t.Helper()
	c := &cluster{world: newWorld(t, options)}
	for _, name := range names {
		c.nodes = append(c.nodes, &node{cluster: c, name: name})
	}
	c.promote(c.nodes[0])
	for _, n := range c.nodes[1:] {
		n.start(false)
	}
	return c
}

// inCluster runs a test in a bubble with a cluster of three nodes.
func inCluster(t *testing.T, options worldOptions, test func(c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newCluster(t, options, "node-1", "node-2", "node-3")) })
}

// start begins a life of the node.
func (n *node) start(active bool) {
	w := n.cluster.world
	w.t.Helper()
	config := w.backendConfig()
	storage := &nodeStorage{node: n, active: active}
	config.StorageView = storage
	role := "active"
	if !active {
		config.System, role = standbyNode(), "standby"
	}
	config.Logger = hclog.New(&hclog.LoggerOptions{Name: n.name + "-" + role, Level: hclog.Trace, Output: &w.heard.log})
	backend, err := gbg.NewFactory(w.factoryOptions(gbg.Options{}))(w.t.Context(), config)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { backend.Cleanup(context.Background()) })
	require.NoError(w.t, backend.Initialize(w.t.Context(), &logical.InitializationRequest{Storage: storage}))
	n.current.Store(&life{mount: &mount{world: w, backend: backend}, storage: storage})
}

// end ends the node's life as a server does it.
func (n *node) end() {
	if was := n.current.Swap(nil); was != nil {
		was.backend.Cleanup(context.Background())
	}
}

// promote makes a node the active one.
func (c *cluster) promote(n *node) {
	c.mu.Lock()
	all := len(c.writes)
	c.mu.Unlock()
	n.apply(all)
	n.end()
	n.start(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = n
}

// active returns the active node; nil if there is none.
func (c *cluster) active() *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader
}

// standbys returns the nodes that are up and not active.
func (c *cluster) standbys() (standbys []*node) {
	leader := c.active()
	for _, n := range c.nodes {
		if n != leader && n.current.Load() != nil {
			standbys = append(standbys, n)
		}
	}
	return standbys
}

// resign leaves the cluster without an active node, and returns the one that was.
func (c *cluster) resign() (was *node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was, c.leader = c.leader, nil
	return was
}

// stepDown makes another node the active one, and the one that was a standby.
func (c *cluster) stepDown() {
	was := c.resign()
	was.end()
	was.start(false)
	time.Sleep(stepDownTime)
	for _, n := range c.standbys() {
		if n != was {
			c.promote(n)
			return
		}
	}
}

// kill ends the active node's server, not its plugin, and makes another node the active
// one. It returns the one that was killed.
func (c *cluster) kill() (killed *node) {
	killed = c.resign()
	killed.current.Swap(nil).storage.gone.Store(true)
	time.Sleep(killTime)
	c.promote(c.standbys()[0])
	return killed
}

// rejoin starts a node that was killed as a standby.
func (c *cluster) rejoin(n *node) {
	c.mu.Lock()
	all := len(c.writes)
	c.mu.Unlock()
	n.apply(all)
	n.start(false)
}

// commit is a write of the active node.
func (c *cluster) commit(by *node, write clusterWrite) {
	c.mu.Lock()
	c.writes = append(c.writes, write)
	all := len(c.writes)
	c.mu.Unlock()
	by.apply(all)
	for _, n := range c.nodes {
		if n != by {
			time.AfterFunc(replicationDelay, func() { n.apply(all) })
		}
	}
}

// apply brings the node's copy to the first writes of the cluster. A standby's backend
// is told.
func (n *node) apply(upTo int) {
	n.applying.Lock()
	defer n.applying.Unlock()
	for n.applied < upTo {
		n.cluster.mu.Lock()
		write := n.cluster.writes[n.applied]
		n.cluster.mu.Unlock()
		n.applied++
		if write.entry == nil {
			_ = n.copy.Delete(context.Background(), write.key)
		} else {
			_ = n.copy.Put(context.Background(), write.entry)
		}
		if now := n.current.Load(); now != nil && !now.storage.active && !n.cluster.lossy.Load() {
			now.backend.InvalidateKey(context.Background(), write.key)
		}
	}
}

// do makes a request to the node, from any goroutine.
func (n *node) do(op logical.Operation, path string, data fields) answer {
	a := n.handle(op, path, data)
	n.cluster.heard.note(a)
	return a
}

func (n *node) handle(op logical.Operation, path string, data fields) answer {
	here := n.current.Load()
	if here == nil {
		return answer{err: errNodeDown}
	}
	request := func(at *life) answer {
		return at.handle(context.Background(), &logical.Request{
			Operation: op, Path: path, MountPoint: "gbg/", Data: maps.Clone(with(fields{}, data)), Storage: at.storage,
		})
	}
	a := request(here)
	if here.storage.active || a.err == nil || !strings.Contains(a.err.Error(), logical.ErrReadOnly.Error()) {
		return a
	}
	n.forward.Add(1)
	time.Sleep(forwardTime)
	leader := n.cluster.active()
	if leader == nil {
		return answer{err: errNoLeader}
	}
	if there := leader.current.Load(); there != nil {
		return request(there)
	}
	return answer{err: errNoLeader}
}

// mustDo makes a request to the node that must succeed.
func (n *node) mustDo(op logical.Operation, path string, data fields) *logical.Response {
	n.cluster.t.Helper()
	return n.cluster.ok(n.do(op, path, data))
}

// creds reads the connection "default" on the node, which must succeed.
func (n *node) creds(data ...fields) *logical.Response {
	n.cluster.t.Helper()
	given := fields{}
	for _, more := range data {
		given = more
	}
	return n.mustDo(logical.ReadOperation, "creds", given)
}

// periodic runs what a server runs on every node about once a minute.
func (l *life) periodic() {
	l.world.t.Helper()
	_, err := l.backend.HandleRequest(context.Background(), &logical.Request{Operation: logical.RollbackOperation, Storage: l.storage})
	assert.NoError(l.world.t, err)
}

// forwards returns how many requests the node forwards while f runs.
func (n *node) forwards(f func()) int {
	before := n.forward.Load()
	f()
	return int(n.forward.Load() - before)
}

func (s *nodeStorage) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	if s.gone.Load() {
		return nil, errStorageGone
	}
	return s.node.copy.Get(ctx, key)
}

func (s *nodeStorage) List(ctx context.Context, prefix string) ([]string, error) {
	if s.gone.Load() {
		return nil, errStorageGone
	}
	return s.node.copy.List(ctx, prefix)
}

func (s *nodeStorage) Put(_ context.Context, entry *logical.StorageEntry) error {
	return s.write(clusterWrite{key: entry.Key, entry: entry})
}

func (s *nodeStorage) Delete(_ context.Context, key string) error {
	return s.write(clusterWrite{key: key})
}

func (s *nodeStorage) write(write clusterWrite) error {
	switch {
	case s.gone.Load():
		return errStorageGone
	case !s.active:
		return errors.New(logical.ErrReadOnly.Error()) // as it arrives in a plugin process
	}
	s.node.cluster.commit(s.node, write)
	return nil
}
