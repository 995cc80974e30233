package plugintest

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// valuesThatAreNoText are what JSON can hold besides, as it arrives at a plugin in a
// process of its own and in Vault's. The framework would make texts of some, a number
// rounded and true a "1", and quote the others in its error.
var valuesThatAreNoText = []any{
	float64(1234567890123456789), json.Number("1234567890123456789"), 0, true, false,
	[]any{wrongSecret, "x"},
	[]any{},
	[]string{wrongSecret},
	fields{"value": wrongSecret},
	fields{},
}

// Every text field of every path must be a text, in whatever request. Null is not
// given.
func TestTextFieldsMustBeStrings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		checked := map[string]bool{}
		for range 2 { // without a connection, and with one
			content, asked := w.storage.content(t), w.asks()
			for request, operations := range routes {
				for name, field := range frameworkOf(t, w).Route(request).Fields {
					if field.Type != framework.TypeString || name == "name" {
						continue
					}
					checked[request+" "+name] = true
					for _, op := range operations {
						if op == logical.CreateOperation {
							op = logical.UpdateOperation // Vault makes the one of the other
						}
						for _, value := range valuesThatAreNoText {
							assert.Equal(t, name+" must be a string", w.refused(w.try(op, request, fields{name: value})), "%s %s %v", op, request, value)
						}
					}
				}
			}
			assert.Equal(t, content, w.storage.content(t))
			assert.Equal(t, asked, w.asks())
			w.write("config", pair)
			w.write("config/team-a", pair)
		}
		for _, field := range []string{"config client_id", "config/team-a ca_pem", "config grant_type", "rotate client_id", "rotate/team-a client_secret", "creds id_token"} {
			assert.True(t, checked[field], field)
		}
		w.write("config", fields{"scope": nil, "client_id": nil, "ca_pem": nil})
		assert.Equal(t, clientA, w.read("config")["client_id"])
	})
}

// The first of several is named, so that an error is the same each time.
func TestTextFieldsThatAreNoStringsAreNamedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		for range 20 {
			assert.Equal(t, "client_id must be a string", w.refused(w.try(logical.UpdateOperation, "config", fields{
				"token_url": 1, "scope": 1, "paired_client_id": 1, "client_id": 1, "client_secret": 1,
			})))
		}
	})
}

// Vault's storage refuses a key with two dots in a row, with an error that would be
// a 500.
func TestNamesWithTwoDotsInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		single := w.single()
		for request, operations := range routes {
			base, name, _ := strings.Cut(request, "/")
			if name == "" {
				continue
			}
			for _, op := range operations {
				for _, odd := range []string{"a..b", "a...b", "a.b..c"} {
					for _, data := range []fields{nil, single} {
						assert.Equal(t, `name must not contain ".."`, w.refused(w.try(op, base+"/"+odd, data)), "%s %s", op, request)
					}
				}
			}
		}
		assert.Zero(t, w.storage.puts.Load())
		w.write("config/a.b.c", single)
		assert.Equal(t, "a.b.c", w.read("creds/a.b.c")["connection"])
		w.ok(w.send(t.Context(), logical.HelpOperation, "config/a..b", nil))
	})
}

// A write that cannot be read is refused as what it would have been, an update or a
// creation: whoever may only update is told what is wrong with it.
func TestExistenceCheckLooksAtTheNameAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		check := func(path string, data fields) (found, exists bool) {
			t.Helper()
			found, exists, err := w.backend.HandleExistenceCheck(t.Context(), &logical.Request{
				Operation: logical.UpdateOperation, Path: path, Data: data, Storage: w.storage,
			})
			require.NoError(t, err)
			return found, exists
		}
		for _, data := range []fields{nil, {"client_id": 1}, {"client_secret": []any{"x"}}, {"failover": "perhaps"}} {
			for path, want := range map[string][2]bool{
				"config": {true, true}, "config/new": {true, false}, "config/a..b": {true, false}, "rotate": {}, "creds": {},
			} {
				found, exists := check(path, data)
				assert.Equal(t, want, [2]bool{found, exists}, "%s %v", path, data)
			}
		}
	})
}

// Vault shows "internal error" for an existence check that fails. The write says
// what is wrong instead.
func TestExistenceCheckThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		single := w.single()
		w.storage.failGet(errDisk)
		assert.EqualError(t, w.try(logical.UpdateOperation, "config/new", single).err, `connection "new": reading its storage entry: `+errDisk.Error())
		w.storage.heal()
		w.write("config/new", single)
	})
}
