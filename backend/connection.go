package backend

import (
	"time"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// DefaultConnection is the name of the connection that paths without a name
// mean.
const DefaultConnection = "default"

// Connection is one way to get tokens from GBG: an endpoint, a scope and a
// client pair. One storage entry holds all of it.
type Connection struct {
	// Settings are as they were set: empty ones follow the defaults.
	Settings Settings
	Pair     Pair
	// Rotation is the last change of the active client; its zero value means
	// that there was none.
	Rotation RotationRecord
	// TokenLifetime is the lifetime of the last token that was seen when the
	// connection was stored; zero if none was.
	TokenLifetime time.Duration
}

// RotationRecord is what is remembered of a rotation.
type RotationRecord struct {
	Time  time.Time
	Cause RotationCause
	// RegenerateAfter is when the last token of the client that left has expired.
	RegenerateAfter time.Time
}

// RotationCause says why the active client changed.
type RotationCause string

// CauseRotate says that somebody asked for it.
const CauseRotate RotationCause = "rotate"

// request is what is asked of GBG for a client of this connection.
func (c *Connection) request(client Client) gbgauth.ClientCredentials {
	s := c.Settings.withDefaults()
	return gbgauth.ClientCredentials{
		TokenURL:     s.TokenURL,
		ClientID:     client.ID,
		ClientSecret: client.Secret,
		Scope:        s.Scope,
	}
}

// sameRequest says that both connections ask GBG for the active client's token
// in the same way, so that a request under way for one answers the other.
func (c *Connection) sameRequest(o *Connection) bool {
	return c.request(c.Pair.Active()) == o.request(o.Pair.Active()) && c.Settings.CAPEM == o.Settings.CAPEM
}

// sameToken says that a token of one connection is as good for the other: GBG
// lets tokens outlive the secret they were got with.
func (c *Connection) sameToken(o *Connection) bool {
	a, b := c.request(c.Pair.Active()), o.request(o.Pair.Active())
	a.ClientSecret, b.ClientSecret = Secret{}, Secret{}
	return a == b
}
