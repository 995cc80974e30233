package plugintest

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
)

// Every node shows the keys that are stored, also one that missed an invalidation: a key
// that is registered must not be the one before. New ones are made by the active node.
func TestClusterKeys(t *testing.T) {
	for name, lossy := range map[string]bool{"told": false, "not told": true} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, worldOptions{}, func(c *cluster) {
				c.nodes[1].mustDo(logical.UpdateOperation, "config", c.withKeys())
				c.pass(time.Minute)
				standby := c.nodes[2]
				kid := func(answer fields) any { return c.keyOf(answer, idpB)["kid"] }
				var first, made, read any
				assert.Zero(t, standby.forwards(func() { first = kid(standby.mustDo(logical.ReadOperation, "keys", nil).Data) }))
				c.lossy.Store(lossy)
				assert.Equal(t, 1, standby.forwards(func() {
					made = kid(standby.mustDo(logical.UpdateOperation, "keys", fields{"client_id": idpB}).Data)
				}))
				c.pass(replicationDelay)
				assert.Zero(t, standby.forwards(func() { read = kid(standby.mustDo(logical.ReadOperation, "keys", nil).Data) }))
				assert.NotEqual(t, first, made)
				assert.Equal(t, made, read)
				c.standbysAreSilent()
			})
		})
	}
}
