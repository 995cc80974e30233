package gbg

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/backend"
	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

func (d *handlers) configPaths() []*framework.Path {
	return append(d.connectionPaths(), d.listPath())
}

// listPath is separate because Vault adds a slash to the path of every list.
func (d *handlers) listPath() *framework.Path {
	return &framework.Path{
		Pattern: "config/",
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ListOperation: &framework.PathOperation{
				Callback: d.listConfig,
				Summary:  "List the connections.",
				Responses: map[int][]framework.Response{
					http.StatusOK: {{Description: "The names.", Fields: map[string]*framework.FieldSchema{
						"keys": {Type: framework.TypeStringSlice, Description: "Names of the connections."},
					}}},
				},
			},
		},
		DisplayAttrs:    &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "configurations", Navigation: true},
		HelpSynopsis:    "List the connections.",
		HelpDescription: strings.TrimSpace(listHelp),
	}
}

func (d *handlers) connectionPaths() []*framework.Path {
	return withOptionalName("config", func(fields map[string]*framework.FieldSchema) *framework.Path {
		for name, schema := range configFields() {
			fields[name] = schema
		}
		write := &framework.PathOperation{
			Callback:                    d.writeConfig,
			Summary:                     "Configure a connection, or change a part of it.",
			ForwardPerformanceStandby:   true,
			ForwardPerformanceSecondary: true,
			Responses: map[int][]framework.Response{
				http.StatusNoContent: {{Description: "Stored."}},
				http.StatusOK:        {{Description: "Stored, with warnings."}},
			},
		}
		return &framework.Path{
			Fields: fields,
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.CreateOperation: write,
				logical.UpdateOperation: write,
				logical.ReadOperation: &framework.PathOperation{
					Callback: d.readConfig,
					Summary:  "Read a connection's configuration, without its secrets.",
					Responses: map[int][]framework.Response{
						http.StatusOK: {{Description: "The configuration.", Fields: configAnswer()}},
					},
				},
				logical.DeleteOperation: &framework.PathOperation{
					Callback:                    d.deleteConfig,
					Summary:                     "Delete a connection and its secrets.",
					ForwardPerformanceStandby:   true,
					ForwardPerformanceSecondary: true,
					Responses: map[int][]framework.Response{
						http.StatusNoContent: {{Description: "Deleted, or it did not exist."}},
					},
				},
			},
			ExistenceCheck:  d.configExists,
			DisplayAttrs:    &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "configuration"},
			HelpSynopsis:    "Configure a connection to GBG: its client pair, endpoint and timing.",
			HelpDescription: strings.TrimSpace(configHelp),
		}
	})
}

// configExists reports to Vault whether a write creates or updates. After an error it
// returns true, because Vault would show only "internal error": the update then
// returns the actual error.
func (d *handlers) configExists(ctx context.Context, _ *logical.Request, data *framework.FieldData) (bool, error) {
	name := connectionName(data)
	if !validName(name) {
		return false, nil
	}
	exists, err := d.engine.Exists(ctx, name)
	return exists || err != nil, nil
}

func (d *handlers) writeConfig(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := connectionName(data)
	verify := true
	if given := flag(data, verifyField); given != nil {
		verify = *given
	}
	change := connection.Change{}
	for _, f := range connection.Fields() {
		if v, ok := configValue(data, f); ok {
			change[f.Field] = v
		}
	}
	warnings, err := d.engine.Configure(ctx, name, backend.Change{Fields: change, SkipVerification: !verify})
	if err != nil {
		return d.errorResponse(req, name, err)
	}
	if len(warnings) == 0 {
		return nil, nil
	}
	return &logical.Response{Warnings: warnings}, nil
}

func (d *handlers) readConfig(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := connectionName(data)
	c, err := d.engine.Connection(ctx, name)
	switch {
	case errors.Is(err, backend.ErrNotConfigured):
		return nil, nil // 404, as on any Vault path
	case err != nil:
		return d.errorResponse(req, name, err)
	}
	answer := map[string]any{}
	for _, f := range connection.Fields() {
		if v, ok := f.Value(&c); ok {
			answer[string(f.Field)] = v
		}
	}
	putText(answer, c.PairFields().ActiveKey(), c.Pair.Active().ID)
	return &logical.Response{Data: answer}, nil
}

// verifyField is the one field of config that is not stored.
const verifyField = "verify_connection"

// configFields returns the fields of a write.
func configFields() map[string]*framework.FieldSchema {
	fields := map[string]*framework.FieldSchema{
		verifyField: {
			Type:         framework.TypeBool,
			Description:  "Get a token with every client that this write sets or changes, before storing anything. The default is true. Not stored itself.",
			Default:      true,
			DisplayAttrs: &framework.DisplayAttributes{Name: "Verify connection"},
		},
	}
	for _, f := range connection.Fields() {
		fields[string(f.Field)] = fieldSchema(f)
	}
	return fields
}

// fieldTypes maps field types to the framework's. Durations are in seconds, or texts such
// as "5m".
var fieldTypes = map[connection.Type]framework.FieldType{
	connection.Text:         framework.TypeString,
	connection.Confidential: framework.TypeString,
	connection.Duration:     framework.TypeDurationSecond,
	connection.Flag:         framework.TypeBool,
	connection.Map:          framework.TypeKVPairs,
}

// fieldSchema returns the framework's schema of a field.
func fieldSchema(f connection.FieldSchema) *framework.FieldSchema {
	attributes := &framework.DisplayAttributes{Name: f.Title, Group: f.Group, Sensitive: f.Type() == connection.Confidential}
	if f.Multiline {
		attributes.EditType = "textarea"
	}
	return &framework.FieldSchema{
		Type: fieldTypes[f.Type()], Description: f.Description, Default: f.Default, AllowedValues: f.AllowedValues, DisplayAttrs: attributes,
	}
}

// configValue returns the value of a field in a write, in the field's type.
func configValue(data *framework.FieldData, f connection.FieldSchema) (v any, ok bool) {
	switch f.Type() {
	case connection.Confidential:
		return fieldValue(secret(data, f.Field))
	case connection.Duration:
		return fieldValue(duration(data, f.Field))
	case connection.Flag:
		return fieldValue(flag(data, f.Field))
	case connection.Map:
		return value[map[string]string](data, f.Field)
	default:
		return fieldValue(text(data, f.Field))
	}
}

// configAnswer returns the fields of an answer to a read. There are no secrets.
func configAnswer() map[string]*framework.FieldSchema {
	answer := map[string]*framework.FieldSchema{
		"active_client_id": {
			Type:        framework.TypeString,
			Description: "The client that tokens are issued to. Only a rotation changes it. Left out if there are none.",
		},
		"active_username": {
			Type:        framework.TypeString,
			Description: `For grant_type "password": which of the two users tokens are issued to. Only a rotation changes it.`,
		},
	}
	for _, f := range connection.Fields() {
		if f.Type() != connection.Confidential {
			schema := fieldSchema(f)
			schema.Required = f.Always()
			answer[string(f.Field)] = schema
		}
	}
	return answer
}

// deleteConfig wants a name, also for the connection "default": a script with an unset
// variable in place of the name must not delete that.
func (d *handlers) deleteConfig(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := connectionName(data)
	if _, named := data.Schema[nameField]; !named {
		return logical.ErrorResponse("name is missing; to delete the connection %q, write it out: vault delete %sconfig/%s", name, req.MountPoint, name), nil
	}
	if err := d.engine.Delete(ctx, name); err != nil {
		return d.errorResponse(req, name, err)
	}
	return nil, nil
}

func (d *handlers) listConfig(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	names, err := d.engine.Names(ctx)
	if err != nil {
		return d.errorResponse(req, "", err)
	}
	return logical.ListResponse(names), nil
}

const configHelp = `
A connection is one way to get tokens from GBG: an endpoint, a scope, and a
pair of API clients. Create two clients in GBG's Account management portal, give
both the role "Go API Access", and write them here:

  $ vault write gbg/config \
      client_id=ID-A        client_secret=@secret-a \
      paired_client_id=ID-B paired_client_secret=@secret-b

Before anything is stored, the engine gets a token with each client, so a typo
is found now. Later writes need only the fields that change. Writing never changes
which client is active: only gbg/rotate does. Repeating a write changes nothing.

For GBG Identity Solution, set grant_type=id_auth. With idp_token_url the pair
are clients of your identity provider, whose tokens are exchanged for GBG's:

  $ vault write gbg/config/m2m grant_type=id_auth idp_token_url=URL \
      client_id=ID-A client_secret=@secret-a

Without it there are no clients: callers bring their own tokens to exchange.

For a GBG GO account with API users, give grant_type=password. client_id and
client_secret are then the organization's, and the pair is two users:

  $ vault write gbg/config/users grant_type=password \
      client_id=ID client_secret=@secret \
      username=NAME-A        password=@password-a \
      paired_username=NAME-B paired_password=@password-b

Reading returns everything except the secrets. gbg/config is the connection
"default"; gbg/config/NAME is any other.
`

const listHelp = `
The names of all connections. The one at gbg/config is named "default".

  $ vault list gbg/config
`
