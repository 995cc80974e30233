package gbg

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/backend"
	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// tokenSecretType is the type under which Vault stores the leases of tokens. It must
// not change: existing leases refer to it.
const tokenSecretType = "gbg_access_token"

// tokenSecret returns the framework's secret for leases. They cannot be renewed: GBG
// does not extend a token's lifetime.
func (d *handlers) tokenSecret() *framework.Secret {
	return &framework.Secret{Type: tokenSecretType, Fields: credsAnswer(), Revoke: d.revoke}
}

// leased returns the answer to a read with a lease. Vault encrypts the internal data that
// it stores with the lease.
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

// revoke revokes the token of a lease that has ended.
func (d *handlers) revoke(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	internal := func(key string) string {
		text, _ := req.Secret.InternalData[key].(string)
		return text
	}
	expires, err := time.Parse(time.RFC3339Nano, internal("expire_time"))
	if err != nil {
		return nil, fmt.Errorf("the lease has no valid expire_time: %w", err)
	}
	err = d.engine.Revoke(ctx, backend.LeasedToken{
		Connection:  internal("connection"),
		ClientID:    internal("client_id"),
		AccessToken: connection.NewSecret(internal("access_token")),
		Expires:     expires,
	})
	if err != nil && d.engine.Closed() {
		return unavailable(backend.ErrClosed.Error(), time.Second)
	}
	return nil, err
}
