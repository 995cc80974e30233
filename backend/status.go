package backend

import (
	"context"
	"time"
)

// Status is what a person may want to know about a connection. It holds no
// secret and no token. Zero times mean never.
type Status struct {
	Connection string
	GrantType  string
	TokenURL   string
	// IDPTokenURL is empty if no identity provider is asked.
	IDPTokenURL string
	// Active and Standby are without their secrets; the ids are empty if there is
	// no such client.
	Active, Standby ClientStatus
	LastRotation    RotationRecord
	// TokenExpireTime and TokenRefreshTime are of the token being served.
	TokenExpireTime, TokenRefreshTime time.Time
	// TokenLifetimeAssumed is how long the token is taken to live because GBG did
	// not say; zero if it did.
	TokenLifetimeAssumed time.Duration
	// LastError is the failure of the last token request, empty if it went well.
	LastError         string
	LastErrorTime     time.Time
	ConsecutiveErrors int
	// NextTryTime is when GBG is asked again, at the earliest.
	NextTryTime time.Time
	// MaxSecretAge and SecretDueTime are the greatest age of the active client's
	// secret and when it reaches it; zero if that is off.
	MaxSecretAge  time.Duration
	SecretDueTime time.Time
	// Warnings are for a person.
	Warnings []string
}

// ClientStatus is what may be shown of a client.
type ClientStatus struct {
	ID                          string
	SecretSetTime, VerifiedTime time.Time
	// SecretServed: see Client.
	SecretServed bool
}

// Status tells how a connection is, without asking GBG. If there is none, the
// error is ErrNotConfigured.
func (e *Engine) Status(ctx context.Context, name string) (Status, error) {
	st, err := e.state(ctx, name)
	if err != nil {
		return Status{}, err
	}
	settings := st.conn.Settings.withDefaults()
	s := Status{
		Connection:   name,
		GrantType:    settings.GrantType,
		TokenURL:     settings.TokenURL,
		IDPTokenURL:  settings.IDPTokenURL,
		Active:       st.clientStatus(st.conn.Pair.Active()),
		LastRotation: st.conn.Rotation,
		MaxSecretAge: settings.MaxSecretAge, SecretDueTime: st.conn.secretDue(),
		Warnings: st.conn.warnings(e.clock.Now()),
	}
	if standby, ok := st.conn.Pair.Standby(); ok {
		s.Standby = st.clientStatus(standby)
	}
	if t := st.token; t != nil && t.left(e.clock.Now()) > 0 {
		s.TokenExpireTime, s.TokenRefreshTime = t.expires, t.refresh()
		if t.lifetimeAssumed {
			s.TokenLifetimeAssumed = t.lifetime()
		}
	}
	if tr := orDefault(st.trouble, st.exchangeTrouble); tr != nil {
		s.LastError, s.LastErrorTime, s.ConsecutiveErrors, s.NextTryTime = tr.err.Error(), tr.last, tr.count, tr.next
	}
	return s, nil
}

func (s *state) clientStatus(c Client) ClientStatus {
	verified := c.VerifiedTime
	// What was seen before the secret was set says nothing of it.
	if seen := s.seen[c.ID].verified; seen.After(verified) && !seen.Before(c.SecretSetTime) {
		verified = seen
	}
	return ClientStatus{ID: c.ID, SecretSetTime: c.SecretSetTime, VerifiedTime: verified, SecretServed: c.SecretServed}
}
