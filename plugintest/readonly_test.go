package plugintest

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// readOnly makes every write to the world's storage fail as on a node that may not
// write.
func (w *world) readOnly() {
	w.storage.failPut(func(context.Context, *logical.StorageEntry) error { return logical.ErrReadOnly })
	w.storage.failDelete(logical.ErrReadOnly)
}

// An error of the storage reaches a plugin process as text. What the plugin then
// answers must have the words by which a server forwards the request to the node
// that may write, and no others, for Vault compares the whole text.
func TestReadOnlyStorageAcrossGRPC(t *testing.T) {
	for name, request := range map[string]func(*world) (logical.Operation, string, fields){
		"a config write": func(w *world) (logical.Operation, string, fields) {
			return logical.UpdateOperation, "config", fields{"client_secret": w.regenerate(clientA)}
		},
		"a config write of another connection": func(w *world) (logical.Operation, string, fields) {
			return logical.UpdateOperation, "config/team-a", w.exchangeOnly()
		},
		"a rotation": func(*world) (logical.Operation, string, fields) {
			return logical.UpdateOperation, "rotate", fields{"client_id": clientB}
		},
		"a delete": func(*world) (logical.Operation, string, fields) {
			return logical.DeleteOperation, "config", nil
		},
		"a read that fails over": func(w *world) (logical.Operation, string, fields) {
			w.regenerate(clientA)
			return logical.ReadOperation, "creds", nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			w.write("config", with(w.pair(), fields{"verify_connection": false}))
			content := w.storage.content(t)
			node := w.newGRPCMount(nil)
			w.readOnly()
			op, path, data := request(w)
			a := node.send(t.Context(), op, path, data)
			require.EqualError(t, a.err, logical.ErrReadOnly.Error())
			assert.Equal(t, content, w.storage.content(t))
		})
	}
}

// A reader needs no write: the token is served from memory, and that it cannot be
// stored here is no news.
func TestReadOnlyStorageServesReadersAcrossGRPC(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.write("config", with(w.pair(), fields{"verify_connection": false}))
	node := w.newGRPCMount(nil)
	w.readOnly()
	w.heard.log.Reset()
	first := node.ok(node.send(t.Context(), logical.ReadOperation, "creds", nil))
	assert.NotContains(t, w.heard.log.String(), "[WARN]")
	assert.NotContains(t, w.heard.log.String(), "[ERROR]")
	again := node.ok(node.send(t.Context(), logical.ReadOperation, "creds", nil))
	assert.Equal(t, first.Data["access_token"], again.Data["access_token"])
	assert.Equal(t, 1, w.asked())
}

// A lease that ends on such a node is ended by the node that may write.
func TestReadOnlyStorageAndALeaseAcrossGRPC(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.write("config", w.leasing())
	lease := w.lease("creds")
	node := w.newGRPCMount(nil)
	w.fault(revokeFails(503))
	w.readOnly()
	require.EqualError(t, node.revoke(lease), logical.ErrReadOnly.Error())
}

// Behind the plugin protocol, a node that cannot write answers whatever it does not serve
// with the words that make a server forward the request, asks GBG nothing and says
// nothing in the log. It knows what it is by one question, when it is made.
func TestStandbyAcrossGRPC(t *testing.T) {
	w := newWorld(t, worldOptions{})
	pair := w.pair()
	w.write("config", with(pair, fields{"verify_connection": false}))
	w.write("config/leased", with(pair, fields{"lease": true, "verify_connection": false}))
	w.write("config/own", w.exchangeOnly())
	token := w.read("creds")["access_token"]
	content, asked := w.storage.content(t), w.asked()
	w.readOnly()
	w.heard.log.Reset()
	system := &countingView{SystemView: standbyNode()}
	node := w.newGRPCMount(system)
	require.EqualValues(t, 1, system.states.Load())

	forwarded := func(op logical.Operation, path string, data fields) {
		t.Helper()
		a := node.send(t.Context(), op, path, data)
		require.EqualError(t, a.err, logical.ErrReadOnly.Error(), "%s %s", op, path)
		require.Nil(t, a.resp)
	}
	forwarded(logical.ReadOperation, "creds", nil) // the first of its token
	system.states.Store(0)
	for range 3 {
		assert.Equal(t, token, node.ok(node.send(t.Context(), logical.ReadOperation, "creds", nil)).Data["access_token"])
	}
	assert.Zero(t, system.states.Load(), "a read asks nothing of the server")
	forwarded(logical.ReadOperation, "creds", fields{"min_ttl": "59m"})
	forwarded(logical.ReadOperation, "creds/leased", nil)
	forwarded(logical.ReadOperation, "creds/own", nil)
	forwarded(logical.ReadOperation, "creds/unknown", nil)
	forwarded(logical.UpdateOperation, "creds/own", fields{"id_token": "a token"})
	forwarded(logical.UpdateOperation, "config", fields{"client_secret": wrongSecret})
	forwarded(logical.UpdateOperation, "config/new", w.exchangeOnly())
	forwarded(logical.DeleteOperation, "config/own", nil)
	forwarded(logical.UpdateOperation, "rotate", fields{"client_id": clientB})
	forwarded(logical.ReadOperation, "status", nil)
	forwarded(logical.ListOperation, "status/", nil)
	for _, path := range []string{"config", "metrics"} {
		node.ok(node.send(t.Context(), logical.ReadOperation, path, nil))
	}
	_, err := node.backend.HandleRequest(t.Context(), &logical.Request{Operation: logical.RollbackOperation, Storage: w.storage})
	require.NoError(t, err)
	require.NoError(t, node.backend.Initialize(t.Context(), &logical.InitializationRequest{Storage: w.storage}))

	assert.Equal(t, asked, w.asked())
	assert.Equal(t, content, w.storage.content(t))
	for _, level := range []string{"[INFO]", "[WARN]", "[ERROR]"} {
		assert.NotContains(t, w.heard.log.String(), level)
	}
}

// An invalidation crosses the protocol too: the node then serves what has been stored.
func TestStandbyInvalidatedAcrossGRPC(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.write("config", w.pair())
	node := w.newGRPCMount(standbyNode())
	read := func() answer { return node.send(t.Context(), logical.ReadOperation, "creds", nil) }
	require.EqualError(t, read().err, logical.ErrReadOnly.Error())
	assert.Equal(t, clientA, node.ok(read()).Data["client_id"])
	w.rotate(nil)
	assert.Equal(t, clientA, node.ok(read()).Data["client_id"])
	node.backend.InvalidateKey(t.Context(), connectionKey)
	node.backend.InvalidateKey(t.Context(), tokenKey)
	require.EqualError(t, read().err, logical.ErrReadOnly.Error())
	assert.Equal(t, clientB, node.ok(read()).Data["client_id"])
}

// countingView counts how often a backend asks for the state of its node.
type countingView struct {
	logical.SystemView

	states atomic.Int64
}

func (v *countingView) ReplicationState() consts.ReplicationState {
	v.states.Add(1)
	return v.SystemView.ReplicationState()
}
