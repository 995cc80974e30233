package gbg

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/backend"
	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// fetchTimeLayout is RFC 3339 with nanoseconds, including trailing zeros.
const fetchTimeLayout = "2006-01-02T15:04:05.000000000Z"

func (d *handlers) credsPaths() []*framework.Path {
	return withOptionalName("creds", func(fields map[string]*framework.FieldSchema) *framework.Path {
		fields[string(backend.MinTTL)] = &framework.FieldSchema{
			Type:        framework.TypeDurationSecond,
			Description: "The minimum time that the token must still be valid. A new one is fetched if necessary. For callers that come back on their own schedule instead of after ttl.",
			Query:       true,
		}
		fields[string(backend.NewerThan)] = &framework.FieldSchema{
			Type:        framework.TypeString,
			Description: "For a reader that had its token refused by GBG's API (401): the last_vault_rotation of that token. If there is no newer one, one is fetched for all readers, at most once a minute.",
			Query:       true,
		}
		fields[string(backend.IDToken)] = &framework.FieldSchema{
			Type:         framework.TypeString,
			Description:  `For grant_type "id_auth": the identity provider's token to exchange for GBG's. The result is for the caller alone.`,
			DisplayAttrs: &framework.DisplayAttributes{Name: "ID token", Sensitive: true},
		}
		answer := map[int][]framework.Response{
			http.StatusOK: {{Description: "An access token that is valid now.", Fields: credsAnswer()}},
		}
		return &framework.Path{
			Fields: fields,
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ReadOperation: &framework.PathOperation{
					Callback:     d.readCreds,
					Summary:      "Get a GBG access token.",
					Responses:    answer,
					DisplayAttrs: &framework.DisplayAttributes{OperationVerb: "read"},
				},
				logical.UpdateOperation: &framework.PathOperation{
					Callback:     d.exchange,
					Summary:      "Exchange an identity provider's token for a GBG access token.",
					Responses:    answer,
					DisplayAttrs: &framework.DisplayAttributes{OperationVerb: "exchange"},

					ForwardPerformanceStandby: true,
				},
			},
			DisplayAttrs:    &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "credentials"},
			HelpSynopsis:    "Get a short-lived GBG access token.",
			HelpDescription: strings.TrimSpace(credsHelp),
		}
	})
}

func credsAnswer() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"access_token":        {Type: framework.TypeString, Required: true, Description: "The token.", DisplayAttrs: &framework.DisplayAttributes{Sensitive: true}},
		"token_type":          {Type: framework.TypeString, Required: true, Description: "The type that GBG issued: Bearer."},
		"expire_time":         {Type: framework.TypeString, Required: true, Description: "When the token expires (RFC 3339, UTC)."},
		"ttl":                 {Type: framework.TypeInt64, Required: true, Description: "Seconds after which there is a newer token. Read again then, not before."},
		"rotation_period":     {Type: framework.TypeInt64, Required: true, Description: "Seconds from one token to the next."},
		"last_vault_rotation": {Type: framework.TypeString, Required: true, Description: "When this token was fetched (RFC 3339, UTC, with fractions)."},
		"client_id":           {Type: framework.TypeString, Required: true, Description: "The GBG client that the token was issued to."},
		"username":            {Type: framework.TypeString, Description: `For grant_type "password": the user that the token was issued to.`},
		"scope":               {Type: framework.TypeString, Required: true, Description: "The granted scope, or the requested one if GBG named none."},
		"connection":          {Type: framework.TypeString, Required: true, Description: "The connection that the token belongs to."},
	}
}

func (d *handlers) readCreds(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := connectionName(data)
	if _, given := req.Data[string(backend.IDToken)]; given {
		return logical.ErrorResponse("id_token must not be in a read, where it is a part of the address; exchange it with: %s", exchangeCommand(req, name)), nil
	}
	var minTTL time.Duration
	if given := duration(data, backend.MinTTL); given != nil {
		minTTL = *given
	}
	c, err := d.token(ctx, name, text(data, backend.NewerThan), minTTL)
	if err != nil {
		return d.errorResponse(req, name, err)
	}
	if c.Failover != nil {
		c.Warnings = append(c.Warnings, advice{req: req, name: name, fields: c.Failover.Fields}.failover(c.Failover))
	}
	if c.Lease != nil {
		return d.leased(c), nil
	}
	return &logical.Response{Data: credential(c), Warnings: c.Warnings}, nil
}

// token returns a connection's token, a newer one than newerThan if that is not nil.
func (d *handlers) token(ctx context.Context, name string, newerThan *string, minTTL time.Duration) (backend.Credential, error) {
	if newerThan == nil {
		return d.engine.Token(ctx, name, minTTL)
	}
	refused, err := backend.ParseRefusedToken(*newerThan)
	if err != nil {
		return backend.Credential{}, err
	}
	return d.engine.NewerToken(ctx, name, refused, minTTL)
}

func (d *handlers) exchange(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := connectionName(data)
	if duration(data, backend.MinTTL) != nil {
		return logical.ErrorResponse("min_ttl is for reads; an exchange always returns a new token"), nil
	}
	if text(data, backend.NewerThan) != nil {
		return logical.ErrorResponse("newer_than is for reads; an exchange always returns a new token"), nil
	}
	plain, _ := value[string](data, backend.IDToken)
	c, err := d.engine.Exchange(ctx, name, connection.NewSecret(plain))
	if err != nil {
		return d.errorResponse(req, name, err)
	}
	return &logical.Response{Data: credential(c), Warnings: c.Warnings}, nil
}

// exchangeCommand returns the command that exchanges a caller's own token.
func exchangeCommand(req *logical.Request, name string) string {
	return fmt.Sprintf("vault write %s id_token=@FILE", pathFor(req, "creds", name))
}

// credential returns the answer to a read or an exchange. ttl, rotation_period and
// last_vault_rotation are Vault's convention for static credentials; Vault Agent and
// Vault Secrets Operator use them to decide when to come back. All other keys must be
// the same in two answers with the same token, or they would be taken for a new
// secret.
func credential(c backend.Credential) map[string]any {
	data := map[string]any{
		"access_token":        c.AccessToken.Reveal(),
		"token_type":          c.TokenType,
		"expire_time":         c.ExpireTime.Format(time.RFC3339),
		"ttl":                 seconds(c.TTL),
		"rotation_period":     seconds(c.RotationPeriod),
		"last_vault_rotation": c.FetchTime.UTC().Format(fetchTimeLayout),
		"client_id":           c.ClientID,
		"scope":               c.Scope,
		"connection":          c.Connection,
	}
	putText(data, "username", c.Username)
	return data
}

const credsHelp = `
Reading this path returns an access token of the connection's active client. Send
it to GBG as "Authorization: Bearer TOKEN". All readers share one token,
so reading often costs GBG nothing.

"ttl" is the number of seconds after which there is a newer token; the one you
hold is still valid then. Read again when it has passed. Vault Agent does so by
itself. "expire_time" is when GBG stops accepting the token. The next token is
fetched in the background, so a read waits for GBG only when there is no valid
token at all.

Callers that come back on their own schedule set min_ttl, the minimum time that
the token must still be valid:

  $ vault read gbg/creds min_ttl=10m

If GBG's API has just refused a token (401), give its last_vault_rotation to get a
newer one. One is fetched for all readers, at most once a minute:

  $ vault read gbg/creds newer_than=2026-03-01T12:00:00.25Z

There is no lease: a token that has been read cannot be revoked before it
expires. With lease=true in the configuration every read gets a separate token
under a lease; revoking the lease revokes the token, if there is a revoke_url.

On a connection with grant_type "id_auth" (GBG Identity Solution), a caller can
also exchange a token of their own identity provider. The result is for the
caller alone: it is neither stored nor shared.

  $ vault write gbg/creds id_token=@token.jwt
`
