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
	// Active and Standby are without their secrets; Standby.ID is empty if there
	// is no pair.
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
		Active:       st.clientStatus(st.conn.Pair.Active()),
		LastRotation: st.conn.Rotation,
	}
	if standby, ok := st.conn.Pair.Standby(); ok {
		s.Standby = st.clientStatus(standby)
	}
	if t := st.token; t != nil && e.clock.Now().Before(t.expires) {
		s.TokenExpireTime, s.TokenRefreshTime = t.expires, t.refresh(settings)
		if t.lifetimeAssumed {
			s.TokenLifetimeAssumed = t.lifetime()
		}
	}
	if tr := st.trouble; tr != nil {
		s.LastError, s.LastErrorTime, s.ConsecutiveErrors = tr.text, tr.time, tr.count
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
