package plugintest

import (
	"context"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// That every answer fits its path's response schema is checked in all tests, by
// mount.try.

// routes are the requests that a mount takes.
var routes = map[string][]logical.Operation{
	"config":        {logical.CreateOperation, logical.DeleteOperation, logical.ReadOperation, logical.UpdateOperation},
	"config/":       {logical.ListOperation},
	"config/team-a": {logical.CreateOperation, logical.DeleteOperation, logical.ReadOperation, logical.UpdateOperation},
	"creds":         {logical.ReadOperation, logical.UpdateOperation},
	"creds/team-a":  {logical.ReadOperation, logical.UpdateOperation},
	"keys":          {logical.ReadOperation, logical.UpdateOperation},
	"keys/team-a":   {logical.ReadOperation, logical.UpdateOperation},
	"rotate":        {logical.UpdateOperation},
	"rotate/team-a": {logical.UpdateOperation},
	"status":        {logical.ReadOperation},
	"status/":       {logical.ListOperation},
	"status/team-a": {logical.ReadOperation},
	"verify":        {logical.UpdateOperation},
	"verify/team-a": {logical.UpdateOperation},
	"metrics":       {logical.ReadOperation},
}

func frameworkOf(t *testing.T, w *world) *framework.Backend {
	t.Helper()
	b, ok := reflect.ValueOf(w.backend).FieldByName("Backend").Interface().(*framework.Backend)
	require.True(t, ok)
	return b
}

func TestSchemaRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := frameworkOf(t, newWorld(t, worldOptions{}))
		assert.Len(t, b.Paths, len(routes))
		for request, operations := range routes {
			path := b.Route(request)
			require.NotNil(t, path, request)
			assert.Equal(t, operations, slices.Sorted(maps.Keys(path.Operations)), request)
		}
		for _, request := range []string{"", "con", "configs", "config/a/b", "config/-a", "config/a.", "creds/a b", "config/ä", "rotate/.", "lease", "creds/", "rotate/", "keys/", "metrics/", "metrics/a"} {
			assert.Nil(t, b.Route(request), request)
		}
		for _, request := range []string{"config/a", "config/A-1_b.c", "creds/0"} {
			assert.NotNil(t, b.Route(request), request)
		}
	})
}

func TestSchemaIsDocumented(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := frameworkOf(t, newWorld(t, worldOptions{}))
		assert.Equal(t, logical.TypeLogical, b.Type())
		assert.Equal(t, "v0.0.0-test", b.PluginVersion().Version)
		ids := map[string]bool{}
		for _, path := range b.Paths {
			assert.NotEmpty(t, path.HelpSynopsis, path.Pattern)
			assert.Contains(t, path.HelpDescription, "\n", path.Pattern)
			require.NotNil(t, path.DisplayAttrs, path.Pattern)
			assert.Equal(t, "gbg", path.DisplayAttrs.OperationPrefix)
			id := path.DisplayAttrs.OperationVerb + "-" + path.DisplayAttrs.OperationSuffix
			assert.False(t, ids[id], "%s: %s is taken", path.Pattern, id)
			ids[id] = true

			all := []map[string]*framework.FieldSchema{path.Fields}
			for operation, handler := range path.Operations {
				properties := handler.Properties()
				assert.NotEmpty(t, properties.Summary, "%s %s", operation, path.Pattern)
				assert.NotEmpty(t, properties.Responses, "%s %s", operation, path.Pattern)
				for _, responses := range properties.Responses {
					for _, response := range responses {
						assert.NotEmpty(t, response.Description, "%s %s", operation, path.Pattern)
						all = append(all, response.Fields)
					}
				}
			}
			for _, declared := range all {
				for name, field := range declared {
					assert.NotEmpty(t, field.Description, "%s of %s", name, path.Pattern)
					sensitive := field.DisplayAttrs != nil && field.DisplayAttrs.Sensitive
					assert.Equal(t, slices.Contains([]string{"client_secret", "paired_client_secret", "password", "paired_password", "exchange_client_secret", "id_token", "access_token"}, name), sensitive,
						"%s of %s", name, path.Pattern)
				}
			}
		}
	})
}

// "vault path-help" shows a sentence for every path and every field.
func TestSchemaHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		root := w.ok(w.send(t.Context(), logical.HelpOperation, "", nil)).Data["help"]
		for _, path := range []string{"config", "creds", "keys", "rotate", "status", "verify"} {
			assert.Contains(t, root, "^"+path+"$")
			for _, request := range []string{path, path + "/team-a"} {
				resp := w.ok(w.send(t.Context(), logical.HelpOperation, request, nil))
				route := frameworkOf(t, w).Route(request)
				assert.Contains(t, resp.Data["help"], route.HelpSynopsis)
				for name, field := range route.Fields {
					assert.Contains(t, resp.Data["help"], name)
					if field.Default != nil {
						assert.Contains(t, field.Description, "default", name)
					}
				}
				assert.NotNil(t, resp.Data["openapi"])
			}
		}
	})
}

// The documented defaults are those that are used.
func TestSchemaDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", fields{"client_id": clientA, "client_secret": wrongSecret, "verify_connection": false})
		got := w.read("config")
		for name, field := range frameworkOf(t, w).Route("config").Fields {
			if field.Default != nil && name != "verify_connection" {
				assert.EqualValues(t, field.Default, got[name], name)
			}
		}
	})
}

// An empty list has no keys, and an answer without keys does not fit the schema.
func TestSchemaOfAnEmptyList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.ok(w.try(logical.ListOperation, "config/", nil))
	})
}

// A node that cannot write serves tokens, settings and its own metrics; all else is the
// active node's. A secondary cluster forwards changes.
func TestSchemaForwarding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := frameworkOf(t, newWorld(t, worldOptions{}))
		for request, operations := range routes {
			for _, operation := range operations {
				properties := b.Route(request).Operations[operation].Properties()
				changes := operation != logical.ReadOperation && operation != logical.ListOperation && !strings.HasPrefix(request, "creds")
				local := !changes && !strings.HasPrefix(request, "status") && operation != logical.UpdateOperation
				assert.Equal(t, !local, properties.ForwardPerformanceStandby, "%s %s", operation, request)
				assert.Equal(t, changes, properties.ForwardPerformanceSecondary, "%s %s", operation, request)
			}
		}
	})
}

// On a performance secondary, changes are handed back for Vault to forward, and tokens
// are served on the spot.
func TestSchemaSecondaryThatForwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config", pair)
		w.options.system = &logical.StaticSystemView{ReplicationStateVal: consts.ReplicationPerformanceSecondary}
		node := w.newMount()
		asked := w.asked()
		for _, change := range []answer{
			node.try(logical.UpdateOperation, "config", pair),
			node.try(logical.UpdateOperation, "config/team-a", pair),
			node.try(logical.DeleteOperation, "config/default", nil),
			node.try(logical.UpdateOperation, "rotate", nil),
		} {
			assert.Equal(t, answer{err: logical.ErrReadOnly}, change)
		}
		content := w.storage.content(t)
		w.storage.failPut(func(context.Context, *logical.StorageEntry) error { return logical.ErrReadOnly })
		for _, path := range []string{"config", "creds", "status"} {
			node.read(path)
		}
		assert.Equal(t, asked, w.asked(), "the stored token is served")

		w.pass(time.Hour)
		assert.Equal(t, clientA, node.read("creds")["client_id"], "a token that cannot be stored is served all the same")
		assert.Equal(t, asked+1, w.asked())
		assert.Equal(t, content, w.storage.content(t))
	})
}

// The OpenAPI document names the statuses that a caller can expect.
func TestSchemaResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := frameworkOf(t, newWorld(t, worldOptions{}))
		for request, operations := range routes {
			for _, operation := range operations {
				var want []int
				switch {
				case operation == logical.DeleteOperation:
					want = []int{http.StatusNoContent}
				case strings.HasPrefix(request, "config") && (operation == logical.CreateOperation || operation == logical.UpdateOperation):
					want = []int{http.StatusOK, http.StatusNoContent}
				default:
					want = []int{http.StatusOK}
				}
				got := slices.Sorted(maps.Keys(b.Route(request).Operations[operation].Properties().Responses))
				assert.Equal(t, want, got, "%s %s", operation, request)
			}
		}
	})
}
