package backend

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"vault-plugin-secrets-gbg/backend/connection"
)

// Status is what a person may want to know about a connection. It holds no
// secret and no token. Zero times mean never.
type Status struct {
	// Time is when it was so, by the wall clock.
	Time       time.Time
	Connection string
	GrantType  string
	TokenURL   string
	// IDPTokenURL is empty if no identity provider is asked.
	IDPTokenURL string
	// UsesKeys is set if the clients have keys, not secrets.
	UsesKeys bool
	// Active and Standby are without their secrets; the ids are empty if there is
	// no such client.
	Active, Standby ClientStatus
	LastRotation    connection.RotationRecord
	// TokenExpireTime and TokenRefreshTime are of the token being served.
	TokenExpireTime, TokenRefreshTime time.Time
	// TokenLifetimeAssumed is how long the token is taken to live because GBG did
	// not say; zero if it did.
	TokenLifetimeAssumed time.Duration
	// LastError is the failure of the last token request, empty if it went well.
	LastError string
	// LastErrorResult is the same in a word: see EndpointRequest.Result.
	LastErrorResult   string
	LastErrorTime     time.Time
	ConsecutiveErrors int
	// NextTryTime is when GBG is asked again, at the earliest.
	NextTryTime time.Time
	// MaxSecretAge and SecretDueTime are the greatest age of the active client's
	// secret and when it reaches it; zero if that is off.
	MaxSecretAge  time.Duration
	SecretDueTime time.Time
	// Counts are since the engine began.
	Counts Counts
	// Warnings are for a person.
	Warnings []string
}

// Readable says that the connection's storage entry could be understood. Of another
// one there are Time, Connection and LastError only.
func (s Status) Readable() bool { return s.GrantType != "" }

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
	now := e.now()
	settings := st.conn.Settings.WithDefaults()
	s := Status{
		Time:         wallTime(now),
		Connection:   name,
		GrantType:    settings.GrantType,
		TokenURL:     settings.TokenURL,
		IDPTokenURL:  settings.IDPTokenURL,
		UsesKeys:     settings.UsesKeys(),
		Active:       st.clientStatus(st.conn.Pair.Active()),
		LastRotation: st.conn.Rotation,
		Counts:       st.counters.counts(),
		MaxSecretAge: settings.MaxSecretAge, SecretDueTime: st.conn.SecretDue(),
		Warnings: st.conn.Warnings(now),
	}
	if standby, ok := st.conn.Pair.Standby(); ok {
		s.Standby = st.clientStatus(standby)
	}
	if t := st.token; t != nil && t.left(now) > 0 {
		s.TokenExpireTime, s.TokenRefreshTime = t.expires, t.refreshTime()
		if t.lifetimeAssumed {
			s.TokenLifetimeAssumed = t.lifetime()
		}
	}
	if tr := cmp.Or(st.backoff, st.exchangeBackoff); tr != nil {
		s.LastError, s.LastErrorTime, s.ConsecutiveErrors, s.NextTryTime = tr.err.Error(), tr.last, tr.count, tr.until
		s.LastErrorResult = resultOf(tr.err)
	}
	return s, nil
}

// Statuses tells how all connections are, by name in order, without asking GBG, those
// included that are not Readable. The errors are ctx's and the storage's.
func (e *Engine) Statuses(ctx context.Context) ([]Status, error) {
	names, err := e.Names(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	e.endCountersOfDeleted(ctx, names)
	all := make([]Status, 0, len(names))
	for _, name := range names {
		s, err := e.Status(ctx, name)
		switch {
		case errors.Is(err, ErrNotConfigured): // deleted meanwhile
			continue
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			s = Status{Time: wallTime(e.now()), Connection: name, LastError: err.Error()}
		}
		all = append(all, s)
	}
	return all, nil
}

func (s *state) clientStatus(c connection.Client) ClientStatus {
	verified := c.VerifiedTime
	// What was seen before the secret was set says nothing of it.
	if latest := s.activity[c.ID].verified; latest.After(verified) && !latest.Before(c.SecretSetTime) {
		verified = latest
	}
	return ClientStatus{ID: c.ID, SecretSetTime: c.SecretSetTime, VerifiedTime: verified, SecretServed: c.SecretServed}
}
