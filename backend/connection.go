package backend

import (
	"fmt"
	"time"
)

// DefaultConnection is the name of the connection that paths without a name
// mean.
const DefaultConnection = "default"

// Connection is one way to get tokens from GBG: an endpoint, a scope and a
// client pair. One storage entry holds all of it.
type Connection struct {
	// Settings are as they were set: empty ones follow the defaults.
	Settings Settings
	// Pair is its zero value if callers bring the tokens to exchange.
	Pair Pair
	// Rotation is the last change of the active client; its zero value means
	// that there was none.
	Rotation RotationRecord
	// TokenLifetime is the lifetime of the last token that was seen when the
	// connection was stored; zero if none was.
	TokenLifetime time.Duration
}

// RotationRecord is what is remembered of a rotation.
type RotationRecord struct {
	// Time is by the wall clock.
	Time  time.Time
	Cause RotationCause
	// RegenerateAfter is when the last token of the client that left has expired.
	RegenerateAfter time.Time
}

// RotationCause says why the active client changed.
type RotationCause string

const (
	// CauseRotate says that somebody asked for it.
	CauseRotate RotationCause = "rotate"
	// CauseFailover says that GBG refused the active client.
	CauseFailover RotationCause = "failover"
)

// sameRequest says that both connections ask GBG for the active client's token
// in the same way, so that a request under way for one answers the other.
func (c *Connection) sameRequest(o *Connection) bool {
	return c.request(c.Pair.Active()) == o.request(o.Pair.Active()) && c.Settings.CAPEM == o.Settings.CAPEM
}

// sameToken says that a token of one connection is as good for the other.
func (c *Connection) sameToken(o *Connection) bool {
	return c.request(c.Pair.Active()).source() == o.request(o.Pair.Active()).source()
}

// secretDue is when the active client's secret reaches its greatest age; zero if
// it may grow as old as it likes.
func (c *Connection) secretDue() time.Time {
	if c.Settings.MaxSecretAge == 0 {
		return time.Time{}
	}
	return c.Pair.Active().SecretSetTime.Add(c.Settings.MaxSecretAge)
}

// warnings are what to tell people about a connection: that the active client's
// secret is too old. Mostly nil.
func (c *Connection) warnings(now time.Time) []string {
	due := c.secretDue()
	if due.IsZero() || now.Before(due) {
		return nil
	}
	return []string{fmt.Sprintf("the secret of client %q is older than max_secret_age (%s): rotate", c.Pair.Active().ID, c.Settings.MaxSecretAge)}
}
