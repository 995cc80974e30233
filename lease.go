package gbg

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-gbg/backend"
	"vault-plugin-secrets-gbg/backend/connection"
)

// tokenSecretType is under which name Vault keeps the leases of tokens. Leases
// that exist refer to it.
const tokenSecretType = "gbg_access_token"

// tokenSecret is what Vault has to know to end a lease. It cannot be renewed: GBG
// does not lengthen a token's life.
func (d *handlers) tokenSecret() *framework.Secret {
	return &framework.Secret{Type: tokenSecretType, Fields: credsAnswer(), Revoke: d.revoke}
}

// leased is the answer to a read with a lease. What Vault keeps with the lease, it
// keeps encrypted.
func (d *handlers) leased(c backend.Credential) *logical.Response {
	t := c.Lease.Token
	resp := d.tokenSecret().Response(credential(c), map[string]any{
		"connection":   t.Connection,
		"client_id":    t.ClientID,
		"access_token": t.AccessToken.Reveal(),
		"expire_time":  t.Expires.UTC().Format(time.RFC3339Nano),
	})
	resp.Secret.TTL, resp.Secret.MaxTTL = c.Lease.TTL, c.Lease.TTL
	resp.Warnings = c.Warnings
	return resp
}

// revoke ends the token of a lease that has ended.
func (d *handlers) revoke(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	kept := func(key string) string {
		text, _ := req.Secret.InternalData[key].(string)
		return text
	}
	expires, err := time.Parse(time.RFC3339Nano, kept("expire_time"))
	if err != nil {
		return nil, fmt.Errorf("the lease does not say when its token ends: %w", err)
	}
	err = d.engine.Revoke(ctx, backend.LeasedToken{
		Connection:  kept("connection"),
		ClientID:    kept("client_id"),
		AccessToken: connection.NewSecret(kept("access_token")),
		Expires:     expires,
	})
	if err != nil && d.engine.Closed() {
		return unavailable(backend.ErrClosed.Error(), time.Second)
	}
	return nil, err
}
