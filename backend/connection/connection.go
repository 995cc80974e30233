// Package connection defines connections to GBG: the client pair and the settings, their
// validation, the effect of a configuration write, and the stored form. The package is
// pure: it uses no clock and no locks, sends no requests and is independent of Vault.
package connection

import (
	"fmt"
	"time"
)

// DefaultName is the name of the connection at paths without a name.
const DefaultName = "default"

// Connection is one way to get tokens from GBG: an endpoint, a scope and a
// client pair. One storage entry holds all of it.
type Connection struct {
	// Settings are as they were written; zero values mean the defaults.
	Settings Settings
	// Pair is zero if callers bring the tokens to exchange.
	Pair Pair
	// Rotation is the last change of the active client; zero means that there was none.
	Rotation RotationRecord
	// TokenLifetime is the lifetime of the last token when the connection was stored;
	// zero means that it was not known.
	TokenLifetime time.Duration
	// Schedule is its zero value if there is no schedule.
	Schedule ScheduleRecord
}

// RotationRecord describes a rotation or failover.
type RotationRecord struct {
	// Time is by the wall clock.
	Time  time.Time
	Cause RotationCause
	// RegenerateAfter is when the last token of the previously active client expires.
	RegenerateAfter time.Time
}

// RotationCause is why the active client changed.
type RotationCause string

const (
	// CauseRotate is a request to rotate.
	CauseRotate RotationCause = "rotate"
	// CauseFailover is GBG's refusal of the active client.
	CauseFailover RotationCause = "failover"
	// CauseSchedule is the connection's schedule.
	CauseSchedule RotationCause = "schedule"
)

// SameRequest reports whether both connections send the same request for the active
// client's token, so that the outcome of one is valid for the other.
func (c *Connection) SameRequest(o *Connection) bool {
	return c.Request(c.Pair.Active()) == o.Request(o.Pair.Active()) && c.Settings.CAPEM == o.Settings.CAPEM
}

// SameToken reports whether a token of one connection can be served by the other.
func (c *Connection) SameToken(o *Connection) bool {
	return c.Request(c.Pair.Active()).Source() == o.Request(o.Pair.Active()).Source()
}

// SameStandby reports whether both connections have the same standby, and request its
// tokens in the same way.
func (c *Connection) SameStandby(o *Connection) bool {
	standby, ok := c.Pair.Standby()
	other, otherOK := o.Pair.Standby()
	return ok && otherOK && c.Request(standby) == o.Request(other) && c.Settings.CAPEM == o.Settings.CAPEM
}

// HasClient reports whether a client is one of the connection's and its tokens are
// requested as by o.
func (c *Connection) HasClient(o *Connection, client Client) bool {
	for _, own := range c.Pair.Clients {
		if own.ID != "" && own.ID == client.ID {
			return c.Request(own) == o.Request(client) && c.Settings.CAPEM == o.Settings.CAPEM
		}
	}
	return false
}

// SecretDue returns when the active client's secret reaches its maximum age; zero if
// there is none.
func (c *Connection) SecretDue() time.Time {
	if c.Settings.MaxSecretAge == 0 {
		return time.Time{}
	}
	return c.Pair.Active().SecretSetTime.Add(c.Settings.MaxSecretAge)
}

// Warnings returns the warnings for the operator: that the active client's secret is
// too old. It is usually nil.
func (c *Connection) Warnings(now time.Time) []string {
	due := c.SecretDue()
	if due.IsZero() || now.Before(due) {
		return nil
	}
	f := c.PairFields()
	return []string{fmt.Sprintf("the %s of %s %q is older than max_secret_age (%s): rotate", f.SecretNoun(), f.Noun(), c.Pair.Active().ID, c.Settings.MaxSecretAge)}
}
