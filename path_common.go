package gbg

import (
	"strings"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// nameField is the field with the name in the path of a connection.
const nameField = "name"

// withOptionalName returns the two forms of a path: base for the connection
// "default", and base/NAME for any other. base/ matches neither: a templated policy
// with an empty name must not give access to "default".
func withOptionalName(base string, path func(fields map[string]*framework.FieldSchema) *framework.Path) []*framework.Path {
	unnamed := path(map[string]*framework.FieldSchema{})
	unnamed.Pattern = base

	withName := path(map[string]*framework.FieldSchema{
		nameField: {
			Type:        framework.TypeString,
			Description: `Name of the connection: letters, digits, and "-", "_", "." inside.`,
			Required:    true,
		},
	})
	withName.Pattern = base + "/" + framework.GenericNameRegex(nameField)
	suffix := *withName.DisplayAttrs
	suffix.OperationSuffix += "-named"
	withName.DisplayAttrs = &suffix
	return []*framework.Path{unnamed, withName}
}

// validName reports whether Vault's storage accepts the name of a connection.
func validName(name string) bool { return !strings.Contains(name, "..") }

// connectionName returns the name of the connection that a request is for.
func connectionName(d *framework.FieldData) string {
	if _, ok := d.Schema[nameField]; !ok {
		return connection.DefaultName
	}
	return d.Get(nameField).(string)
}

// pathOf returns the path of a connection within the mount.
func pathOf(base, name string) string {
	if name == connection.DefaultName {
		return base
	}
	return base + "/" + name
}

// pathFor returns the path of a connection including the mount, as on a command line.
func pathFor(req *logical.Request, base, name string) string {
	return req.MountPoint + pathOf(base, name)
}

// timestamp formats a time as RFC 3339 in UTC, in whole seconds.
func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// putTime adds a time to an answer unless it is zero.
func putTime(data map[string]any, key string, t time.Time) {
	if !t.IsZero() {
		data[key] = timestamp(t)
	}
}

// putText adds a text to an answer unless it is empty.
func putText(data map[string]any, key, text string) {
	if text != "" {
		data[key] = text
	}
}

// seconds returns a duration in whole seconds, as in Vault's API.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }
