package plugintest

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
)

// A variable that is not set leaves no name in the path of a command, which strips the
// slash before it.
func TestDeleteWantsAName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		for range 2 { // without a connection, and with one
			content := w.storage.content(t)
			assert.Equal(t, `name is missing; to delete the connection "default", write it out: vault delete gbg/config/default`,
				w.refused(w.try(logical.DeleteOperation, "config", nil)))
			assert.Equal(t, content, w.storage.content(t))
			w.write("config", pair)
		}
		w.ok(w.try(logical.DeleteOperation, "config/default", nil))
		assert.Equal(t, answer{}, w.try(logical.ReadOperation, "config", nil))
	})
}

// A path that ends in a slash is nobody's, though that of a list looks like it.
func TestPathsThatEndInASlash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		content, asked := w.storage.content(t), w.asked()
		for request := range routes {
			for _, path := range []string{strings.TrimSuffix(request, "/") + "/", strings.TrimSuffix(request, "/") + "//"} {
				for _, op := range []logical.Operation{
					logical.CreateOperation, logical.UpdateOperation, logical.ReadOperation, logical.DeleteOperation, logical.PatchOperation,
				} {
					for _, data := range []fields{nil, {"client_id": clientB}, {"x": "y"}} {
						assert.Equal(t, answer{err: logical.ErrUnsupportedPath}, w.try(op, path, data), "%s %s", op, path)
					}
				}
			}
		}
		assert.Equal(t, content, w.storage.content(t))
		assert.Equal(t, asked, w.asked())
		for _, list := range []string{"config/", "status/"} {
			w.ok(w.try(logical.ListOperation, list, nil))
			w.ok(w.send(t.Context(), logical.HelpOperation, list, nil))
		}
	})
}

// A client in the place of another may be a mistake in the name of the connection. The
// secret of the one that was there is lost.
func TestReplacedClientIsWarnedOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		assert.Empty(t, w.write("config", without(pair, "paired_client_id", "paired_client_secret")), "nothing was there")
		assert.Empty(t, w.write("config", pair), "a place was free")
		c, d := w.client("client-c"), w.client("client-d")
		gone := func(field, was, now string) string {
			return field + ` was "` + was + `" and is now "` + now + `": the secret of client "` + was + `" is no longer stored`
		}
		next := fields{"paired_client_id": "client-c", "paired_client_secret": c}
		assert.Equal(t, []string{gone("paired_client_id", clientB, "client-c")}, w.write("config", next))
		assert.Empty(t, w.write("config", next), "again, which changes nothing")
		assert.Empty(t, w.write("config", fields{"client_id": "client-c", "paired_client_id": clientA}), "the two change places")
		assert.Equal(t, []string{gone("client_id", "client-c", "client-d"), gone("paired_client_id", clientA, clientB)},
			w.write("config", fields{"client_id": "client-d", "client_secret": d, "paired_client_id": clientB, "paired_client_secret": pair["paired_client_secret"]}))
		assert.Equal(t, []string{gone("client_id", "client-d", clientB)},
			w.write("config", fields{"client_id": clientB, "paired_client_id": ""}), "the standby takes the place of the other")
		assert.Empty(t, w.write("config", fields{"paired_client_id": clientA, "paired_client_secret": pair["client_secret"]}))
		assert.Empty(t, w.write("config", fields{"paired_client_id": ""}), "removed")
	})
}
