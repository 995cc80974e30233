package plugintest

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
)

// A misspelt field must not be ignored: a rotation would go without the client or the
// secret that was meant.
func TestUnknownFieldsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		for range 2 { // without a connection, and with one
			content, asked := w.storage.content(t), w.asks()
			for request, operations := range routes {
				for _, op := range operations {
					if op == logical.CreateOperation {
						op = logical.UpdateOperation // Vault makes the one of the other
					}
					for _, value := range []any{wrongSecret, "", nil, true, []any{wrongSecret}} {
						said := w.refused(w.try(op, request, fields{"clientid": value}))
						switch {
						case strings.HasPrefix(request, "config") && request != "config/", strings.HasPrefix(request, "rotate"), strings.HasPrefix(request, "keys"):
							assert.Equal(t, `unknown field "clientid": did you mean "client_id"?`, said, "%s %s %v", op, request, value)
						case strings.HasPrefix(request, "creds"):
							assert.Equal(t, `unknown field "clientid": the fields are id_token, min_ttl, newer_than`, said, "%s %s %v", op, request, value)
						case request == "metrics":
							assert.Equal(t, `unknown field "clientid": the field is summary`, said, "%s %s %v", op, request, value)
						default:
							assert.Equal(t, `unknown field "clientid": this path has no fields`, said, "%s %s %v", op, request, value)
						}
					}
				}
			}
			assert.Equal(t, content, w.storage.content(t))
			assert.Equal(t, asked, w.asks())
			w.write("config", pair)
			w.write("config/team-a", pair)
		}
	})
}

func TestUnknownFieldsNameTheNearest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		for _, c := range []struct{ path, field, want string }{
			{"config", "client-id", "client_id"},
			{"config", "clientId", "client_id"},
			{"config", "CLIENT_SECRET", "client_secret"},
			{"config", "client_secrett", "client_secret"},
			{"config", "secret", "client_secret"},
			{"config", "pairedClientSecret", "paired_client_secret"},
			{"config", "paired_id", "paired_client_id"},
			{"config", "refresh_befor", "refresh_before"},
			{"config", "refresh", "refresh_before"},
			{"config", "timeout", "request_timeout"},
			{"config", "url", "token_url"},
			{"config", "scopes", "scope"},
			{"config", "fail-over", "failover"},
			{"config", "verify", "verify_connection"},
			{"config", "max_age", "max_secret_age"},
			{"config/team-a", "leases", "lease"},
			{"rotate", "secret", "client_secret"},
			{"rotate/team-a", "id", "client_id"},
			{"rotate", "client", "client_id"},
			{"creds", "token", "id_token"},
			{"creds", "min-ttl", "min_ttl"},
			{"creds", "ttl", "min_ttl"},
		} {
			assert.Equal(t, `unknown field "`+c.field+`": did you mean "`+c.want+`"?`,
				w.refused(w.try(logical.UpdateOperation, c.path, fields{c.field: wrongSecret})), c.path)
		}
		assert.Equal(t, `unknown field "min-ttl": did you mean "min_ttl"?`, w.refused(w.try(logical.ReadOperation, "creds", fields{"min-ttl": "10m"})))
	})
}

// The name of an unknown field can be anything: a file's content, or a secret in base64
// that a shell split at its "=".
func TestUnknownFieldsWithOddNamesAreNotShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		const notShown = "unknown field, with a name that cannot be shown: the fields are "
		for _, odd := range []string{"", " ", "client id", "clïent_id", "a\x1b[2Jb", "a\nb", "\ufeffclient_id", "a\xff", `a"b`, long(33), long(1 << 20)} {
			assert.Equal(t, notShown+"client_id, client_secret, password, username", w.refused(w.try(logical.UpdateOperation, "rotate/team-a", fields{odd: "x"})), "%.40q", odd)
			assert.Equal(t, "unknown field, with a name that cannot be shown: this path has no fields", w.refused(w.try(logical.ReadOperation, "status/team-a", fields{odd: "x"})), "%.40q", odd)
		}
	})
}

// A name among the fields would be taken for the connection's, which is that of the path.
func TestNameIsNoField(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config", pair)
		content, asked := w.storage.content(t), w.asked()
		for request, operations := range routes {
			for _, op := range operations {
				if op == logical.CreateOperation {
					op = logical.UpdateOperation
				}
				for _, name := range []any{"team-a", "team-b", "", nil, 1} {
					assert.Equal(t, "name is not a field: it is the last part of the path", w.refused(w.try(op, request, fields{"name": name})), "%s %s", op, request)
				}
			}
		}
		assert.Equal(t, content, w.storage.content(t))
		assert.Equal(t, asked, w.asked())
	})
}

// Of several problems the first by the field's name is told, so that an error is the
// same each time.
func TestFirstFieldIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		for range 20 {
			assert.Equal(t, "client_id must be a string", w.refused(w.try(logical.UpdateOperation, "config", fields{
				"client_id": 1, "clients": "x", "failover": "", "scope": 1,
			})))
			assert.Equal(t, `unknown field "client-id": did you mean "client_id"?`, w.refused(w.try(logical.UpdateOperation, "config", fields{
				"client-id": "x", "client_id": 1, "failover": "",
			})))
		}
	})
}

// A server passes on a list=false or scan=false in a query, which it has acted on itself.
func TestServersOwnFieldsAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		for _, path := range []string{"config", "creds", "status", "metrics"} {
			w.ok(w.send(t.Context(), logical.ReadOperation, path, fields{"list": "false", "scan": "0"}))
		}
		assert.Equal(t, `unknown field "list": the fields are client_id, client_secret, password, username`, w.refused(w.try(logical.UpdateOperation, "rotate", fields{"list": "false"})))
	})
}

// An operation that a path does not have is refused as that, whatever comes with it.
func TestUnknownFieldsOfUnsupportedOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		for request, op := range map[string]logical.Operation{
			"status": logical.UpdateOperation, "rotate": logical.ReadOperation, "creds": logical.DeleteOperation, "metrics": logical.UpdateOperation,
		} {
			assert.ErrorIs(t, w.try(op, request, fields{"x": "y"}).err, logical.ErrUnsupportedOperation, request)
		}
		assert.ErrorIs(t, w.try(logical.UpdateOperation, "nonsense", fields{"x": "y"}).err, logical.ErrUnsupportedPath)
	})
}
