package gbg

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/backend"
	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

func (d *handlers) keysPaths() []*framework.Path {
	return withOptionalName("keys", func(fields map[string]*framework.FieldSchema) *framework.Path {
		fields[string(connection.ClientID)] = &framework.FieldSchema{
			Type:        framework.TypeString,
			Description: "For a write: the client that gets a new key, which must be the standby. Left out, it is the standby.",
		}
		return &framework.Path{
			Fields: fields,
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ReadOperation: &framework.PathOperation{
					Callback: d.readKeys,
					Summary:  "Read the public keys of a connection's clients.",
					Responses: map[int][]framework.Response{
						http.StatusOK: {{Description: "The public keys.", Fields: keysAnswer()}},
					},
				},
				logical.UpdateOperation: &framework.PathOperation{
					Callback: d.makeKey,
					Summary:  "Make a new key for the standby.",
					Responses: map[int][]framework.Response{
						http.StatusOK: {{Description: "The public keys, the new one included.", Fields: keysAnswer()}},
					},
					ForwardPerformanceStandby:   true,
					ForwardPerformanceSecondary: true,
				},
			},
			DisplayAttrs:    &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "keys"},
			HelpSynopsis:    "Read the clients' public keys, or make a new key for the standby.",
			HelpDescription: strings.TrimSpace(keysHelp),
		}
	})
}

func keysAnswer() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"clients": {
			Type:     framework.TypeSlice,
			Required: true,
			Description: "For each client: client_id, active, kid (RFC 7638), algorithm, jwk (RFC 7517), certificate (PEM), " +
				"thumbprint_sha1 (in hexadecimal digits), x5t and x5t_s256 (RFC 7515), created_time (RFC 3339, UTC).",
		},
		"jwks": {Type: framework.TypeString, Required: true, Description: "All keys as the JSON document of a JWK Set (RFC 7517)."},
	}
}

func (d *handlers) readKeys(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := connectionName(data)
	keys, err := d.engine.Keys(ctx, name)
	if err != nil {
		return d.errorResponse(req, name, err)
	}
	return keysResponse(keys)
}

func (d *handlers) makeKey(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := connectionName(data)
	keys, err := d.engine.MakeKey(ctx, name, text(data, connection.ClientID))
	if err != nil {
		return d.errorResponse(req, name, err)
	}
	return keysResponse(keys)
}

func keysResponse(keys backend.Keys) (*logical.Response, error) {
	clients := make([]map[string]any, len(keys.Clients))
	for i, key := range keys.Clients {
		encoded, err := key.JWK.MarshalJSON()
		if err != nil {
			return nil, err
		}
		var jwk map[string]any
		if err := json.Unmarshal(encoded, &jwk); err != nil {
			return nil, err
		}
		clients[i] = map[string]any{
			"client_id":       key.ClientID,
			"active":          key.Active,
			"kid":             key.ID,
			"algorithm":       key.Algorithm,
			"jwk":             jwk,
			"certificate":     key.Certificate,
			"thumbprint_sha1": key.ThumbprintSHA1,
			"x5t":             key.X5T,
			"x5t_s256":        key.X5TS256,
			"created_time":    timestamp(key.CreatedTime),
		}
	}
	return &logical.Response{Data: map[string]any{"clients": clients, "jwks": keys.JWKS}}, nil
}

const keysHelp = `
With idp_auth_method=private_key_jwt the clients of a connection have no secrets:
they authenticate with keys that the engine makes. The private keys never leave
it. Reading gives the public ones, in the forms that identity providers take:

  $ vault read gbg/keys/NAME
  $ vault read -field=jwks gbg/keys/NAME > jwks.json

To renew a key, STANDBY being the standby's id as gbg/status shows it:

  - $ vault write gbg/keys/NAME client_id=STANDBY
  - register the new key at the identity provider
  - $ vault write gbg/rotate/NAME client_id=STANDBY

The write makes a new key for the standby and destroys the one that it had. A key
that is less than a minute old and has not been used is not replaced, so the
command is safe to repeat. The rotation proves the new key before it is used.
`
