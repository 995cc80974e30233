// Package connection is what a connection to GBG is: its client pair and settings, which
// values they take, how a write changes them, and the form in which they are stored. It
// is pure: it has no clock, no lock, makes no request and knows no Vault.
package connection

import (
	"fmt"
	"time"
)

// DefaultName is the name of the connection that paths without a name mean.
const DefaultName = "default"

// Connection is one way to get tokens from GBG: an endpoint, a scope and a
// client pair. One storage entry holds all of it.
type Connection struct {
	// Settings are as they were set: zero values follow the defaults.
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

// RotationCause is why the active client changed.
type RotationCause string

const (
	// CauseRotate is a request to rotate.
	CauseRotate RotationCause = "rotate"
	// CauseFailover is GBG's refusal of the client that was active.
	CauseFailover RotationCause = "failover"
)

// SameRequest reports whether both connections request the active client's token in the
// same way, so that the outcome of one request is good for the other.
func (c *Connection) SameRequest(o *Connection) bool {
	return c.Request(c.Pair.Active()) == o.Request(o.Pair.Active()) && c.Settings.CAPEM == o.Settings.CAPEM
}

// SameToken reports whether a token of one connection is as good for the other.
func (c *Connection) SameToken(o *Connection) bool {
	return c.Request(c.Pair.Active()).Source() == o.Request(o.Pair.Active()).Source()
}

// SecretDue returns when the active client's secret reaches its maximum age; zero if
// there is none.
func (c *Connection) SecretDue() time.Time {
	if c.Settings.MaxSecretAge == 0 {
		return time.Time{}
	}
	return c.Pair.Active().SecretSetTime.Add(c.Settings.MaxSecretAge)
}

// Warnings returns what people should know about the connection: that the active
// client's secret is too old. It is mostly nil.
func (c *Connection) Warnings(now time.Time) []string {
	due := c.SecretDue()
	if due.IsZero() || now.Before(due) {
		return nil
	}
	what := "secret"
	if c.Settings.UsesKeys() {
		what = "key"
	}
	return []string{fmt.Sprintf("the %s of client %q is older than max_secret_age (%s): rotate", what, c.Pair.Active().ID, c.Settings.MaxSecretAge)}
}
