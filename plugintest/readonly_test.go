package plugintest

import (
	"context"
	"testing"

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
			return logical.DeleteOperation, "config/default", nil
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
