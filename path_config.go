package gbg

import (
	"context"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-gbg/backend"
)

// verifyField is the one field of config that is not stored.
const verifyField = "verify_connection"

func (d *doors) configPaths() []*framework.Path {
	return named("config", func(fields map[string]*framework.FieldSchema) *framework.Path {
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
						http.StatusNoContent: {{Description: "Deleted, or it was not there."}},
					},
				},
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
			ExistenceCheck: func(ctx context.Context, _ *logical.Request, data *framework.FieldData) (bool, error) {
				return d.engine.Exists(ctx, connectionName(data))
			},
			DisplayAttrs:    &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "configuration", Navigation: true},
			HelpSynopsis:    "Configure a connection to GBG: its client pair, endpoint and timing.",
			HelpDescription: strings.TrimSpace(configHelp),
		}
	})
}

func configFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		string(backend.ClientID): {
			Type:         framework.TypeString,
			Description:  "The first API client's id, as GBG's Account management portal shows it.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Client ID", Group: "Clients"},
		},
		string(backend.ClientSecret): {
			Type:         framework.TypeString,
			Description:  "The first client's secret. It is never shown again.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Client secret", Group: "Clients", Sensitive: true},
		},
		string(backend.PairedClientID): {
			Type:         framework.TypeString,
			Description:  "The second client's id. It may be added later; an empty text removes it.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Paired client ID", Group: "Clients"},
		},
		string(backend.PairedClientSecret): {
			Type:         framework.TypeString,
			Description:  "The second client's secret. It is never shown again.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Paired client secret", Group: "Clients", Sensitive: true},
		},
		string(backend.GrantType): {
			Type:          framework.TypeString,
			Description:   `How tokens are asked for: "client_credentials" (GBG GO), which is the default.`,
			Default:       backend.GrantClientCredentials,
			AllowedValues: []any{backend.GrantClientCredentials},
			DisplayAttrs:  &framework.DisplayAttributes{Name: "Grant type", Group: "Endpoint"},
		},
		string(backend.TokenURL): {
			Type:         framework.TypeString,
			Description:  "The token endpoint: https, or http to a loopback address. The default is GBG GO's. A write that changes it must give the secrets of both clients again.",
			Default:      backend.DefaultTokenURL,
			DisplayAttrs: &framework.DisplayAttributes{Name: "Token URL", Group: "Endpoint"},
		},
		string(backend.Scope): {
			Type:         framework.TypeString,
			Description:  `The scope to ask for, space-separated. The default is "gbg.token", which GBG GO requires.`,
			Default:      backend.DefaultScope,
			DisplayAttrs: &framework.DisplayAttributes{Name: "Scope", Group: "Endpoint"},
		},
		string(backend.CAPEM): {
			Type:         framework.TypeString,
			Description:  "PEM certificates to trust for this connection instead of the system's.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "CA certificates", Group: "Endpoint", EditType: "textarea"},
		},
		string(backend.RefreshBefore): {
			Type:         framework.TypeDurationSecond,
			Description:  "How long before a token expires the next one is fetched; never more than a third of its lifetime.",
			Default:      seconds(backend.DefaultRefreshBefore),
			DisplayAttrs: &framework.DisplayAttributes{Name: "Refresh before", Group: "Timing"},
		},
		string(backend.RequestTimeout): {
			Type:         framework.TypeDurationSecond,
			Description:  "How long one request may wait for GBG, up to a minute.",
			Default:      seconds(backend.DefaultRequestTimeout),
			DisplayAttrs: &framework.DisplayAttributes{Name: "Request timeout", Group: "Timing"},
		},
		string(backend.Failover): {
			Type:         framework.TypeBool,
			Description:  "Whether the standby takes over by itself when GBG refuses the active client.",
			Default:      true,
			DisplayAttrs: &framework.DisplayAttributes{Name: "Failover", Group: "Clients"},
		},
		string(backend.MaxSecretAge): {
			Type:         framework.TypeDurationSecond,
			Description:  "The age of the active client's secret from which on answers carry a warning. 0 is never.",
			Default:      0,
			DisplayAttrs: &framework.DisplayAttributes{Name: "Greatest secret age", Group: "Clients"},
		},
		verifyField: {
			Type:         framework.TypeBool,
			Description:  "Get a token with every client that this write sets or changes, before storing anything. Not stored itself.",
			Default:      true,
			DisplayAttrs: &framework.DisplayAttributes{Name: "Verify connection"},
		},
	}
}

func configAnswer() map[string]*framework.FieldSchema {
	answer := configFields()
	delete(answer, string(backend.ClientSecret))
	delete(answer, string(backend.PairedClientSecret))
	delete(answer, verifyField)
	for _, schema := range answer {
		schema.Required = true
	}
	answer["active_client_id"] = &framework.FieldSchema{
		Type:        framework.TypeString,
		Required:    true,
		Description: "Which of the two clients tokens are issued to. Only a rotation changes it.",
	}
	return answer
}

func (d *doors) writeConfig(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := connectionName(data)
	verify := true
	if given := flag(data, verifyField); given != nil {
		verify = *given
	}
	warnings, err := d.engine.Configure(ctx, name, backend.Change{
		Settings: backend.SettingsChange{
			GrantType:      text(data, backend.GrantType),
			TokenURL:       text(data, backend.TokenURL),
			Scope:          text(data, backend.Scope),
			RefreshBefore:  duration(data, backend.RefreshBefore),
			RequestTimeout: duration(data, backend.RequestTimeout),
			CAPEM:          text(data, backend.CAPEM),
			Failover:       flag(data, backend.Failover),
			MaxSecretAge:   duration(data, backend.MaxSecretAge),
		},
		Pair: backend.PairChange{
			IDs:     [2]*string{text(data, backend.ClientID), text(data, backend.PairedClientID)},
			Secrets: [2]*backend.Secret{secret(data, backend.ClientSecret), secret(data, backend.PairedClientSecret)},
		},
		SkipVerification: !verify,
	})
	if err != nil {
		return failed(req, name, err)
	}
	if len(warnings) == 0 && allKnown(req.Data, data.Schema) {
		return nil, nil
	}
	// The framework adds its warning about a misspelt field to an answer only.
	return &logical.Response{Warnings: warnings}, nil
}

// allKnown says that every field that was given is one of the path's.
func allKnown(given map[string]any, fields map[string]*framework.FieldSchema) bool {
	for field := range given {
		if _, ok := fields[field]; !ok {
			return false
		}
	}
	return true
}

func (d *doors) readConfig(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := connectionName(data)
	exists, err := d.engine.Exists(ctx, name)
	if err != nil || !exists {
		return nil, err // nothing there is 404, as on any Vault path
	}
	c, err := d.engine.Connection(ctx, name)
	if err != nil {
		return failed(req, name, err)
	}
	return &logical.Response{Data: map[string]any{
		string(backend.ClientID):       c.Pair.Clients[backend.First].ID,
		string(backend.PairedClientID): c.Pair.Clients[backend.Paired].ID,
		"active_client_id":             c.Pair.Active().ID,
		string(backend.GrantType):      c.Settings.GrantType,
		string(backend.TokenURL):       c.Settings.TokenURL,
		string(backend.Scope):          c.Settings.Scope,
		string(backend.RefreshBefore):  seconds(c.Settings.RefreshBefore),
		string(backend.RequestTimeout): seconds(c.Settings.RequestTimeout),
		string(backend.CAPEM):          c.Settings.CAPEM,
		string(backend.Failover):       !c.Settings.NoFailover,
		string(backend.MaxSecretAge):   seconds(c.Settings.MaxSecretAge),
	}}, nil
}

func (d *doors) deleteConfig(ctx context.Context, _ *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	return nil, d.engine.Delete(ctx, connectionName(data))
}

func (d *doors) listConfig(ctx context.Context, _ *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	names, err := d.engine.Names(ctx)
	if err != nil {
		return nil, err
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
is found now. Later writes may give just what changes. Writing never changes
which client is active: only gbg/rotate does. Repeating a write changes nothing.

Reading gives everything but the secrets. gbg/config is the connection
"default"; gbg/config/NAME is any other.
`
