package gbg

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-gbg/backend"
)

func (d *handlers) configPaths() []*framework.Path {
	return append(d.connectionPaths(), d.listPath())
}

// listPath is apart, because Vault adds a slash to the path of every list.
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
						http.StatusNoContent: {{Description: "Deleted, or it was not there."}},
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

// configExists tells Vault whether a write creates or updates. Of an error Vault
// would show its writer "internal error" alone: the write is then taken for an update,
// and says itself what is wrong.
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
	warnings, err := d.engine.Configure(ctx, name, backend.Change{
		Settings: backend.SettingsChange{
			GrantType:            text(data, backend.GrantType),
			TokenURL:             text(data, backend.TokenURL),
			Scope:                text(data, backend.Scope),
			IDPTokenURL:          text(data, backend.IDPTokenURL),
			IDPScope:             text(data, backend.IDPScope),
			ExchangeClientID:     text(data, backend.ExchangeClientID),
			ExchangeClientSecret: secret(data, backend.ExchangeClientSecret),
			RefreshBefore:        duration(data, backend.RefreshBefore),
			RequestTimeout:       duration(data, backend.RequestTimeout),
			CAPEM:                text(data, backend.CAPEM),
			Failover:             flag(data, backend.Failover),
			MaxSecretAge:         duration(data, backend.MaxSecretAge),
			Lease:                flag(data, backend.LeaseTokens),
			RevokeURL:            text(data, backend.RevokeURL),
		},
		Pair: backend.PairChange{
			IDs:     [2]*string{text(data, backend.ClientID), text(data, backend.PairedClientID)},
			Secrets: [2]*backend.Secret{secret(data, backend.ClientSecret), secret(data, backend.PairedClientSecret)},
		},
		SkipVerification: !verify,
	})
	if err != nil {
		return d.errorResponse(req, name, err)
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

func (d *handlers) readConfig(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := connectionName(data)
	c, err := d.engine.Connection(ctx, name)
	switch {
	case errors.Is(err, backend.ErrNotConfigured):
		return nil, nil // 404, as on any Vault path
	case err != nil:
		return d.errorResponse(req, name, err)
	}
	answer := map[string]any{
		string(backend.GrantType):      c.Settings.GrantType,
		string(backend.TokenURL):       c.Settings.TokenURL,
		string(backend.Scope):          c.Settings.Scope,
		string(backend.RefreshBefore):  seconds(c.Settings.RefreshBefore),
		string(backend.RequestTimeout): seconds(c.Settings.RequestTimeout),
		string(backend.CAPEM):          c.Settings.CAPEM,
		string(backend.Failover):       !c.Settings.NoFailover,
		string(backend.MaxSecretAge):   seconds(c.Settings.MaxSecretAge),
		string(backend.LeaseTokens):    c.Settings.Lease,
		string(backend.RevokeURL):      c.Settings.RevokeURL,
	}
	if active := c.Pair.Active().ID; active != "" {
		answer[string(backend.ClientID)] = c.Pair.Clients[backend.First].ID
		answer[string(backend.PairedClientID)] = c.Pair.Clients[backend.Paired].ID
		answer["active_client_id"] = active
	}
	if c.Settings.GrantType == backend.GrantIDAuth {
		answer[string(backend.IDPTokenURL)] = c.Settings.IDPTokenURL
		answer[string(backend.IDPScope)] = c.Settings.IDPScope
		answer[string(backend.ExchangeClientID)] = c.Settings.ExchangeClientID
	}
	return &logical.Response{Data: answer}, nil
}

func (d *handlers) deleteConfig(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := connectionName(data)
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
is found now. Later writes may give just what changes. Writing never changes
which client is active: only gbg/rotate does. Repeating a write changes nothing.

For GBG Identity Solution, give grant_type=id_auth. With idp_token_url the pair
are clients of your identity provider, whose tokens are exchanged for GBG's:

  $ vault write gbg/config/m2m grant_type=id_auth idp_token_url=URL \
      client_id=ID-A client_secret=@secret-a

Without it there are no clients: callers bring tokens of their own to exchange.

Reading gives everything but the secrets. gbg/config is the connection
"default"; gbg/config/NAME is any other.
`

const listHelp = `
The names of all connections. The one at gbg/config is named "default".

  $ vault list gbg/config
`
