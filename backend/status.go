package backend

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// Status describes a connection to an operator. It holds no secret and no token. A zero
// time means never.
type Status struct {
	// Time is when the status was taken, by the wall clock.
	Time       time.Time
	Connection string
	GrantType  string
	TokenURL   string
	// IDPTokenURL is empty if there is no identity provider.
	IDPTokenURL string
	// Fields are the fields of the pair.
	Fields connection.PairFields
	// Active and Standby have an empty ID if there is no such client.
	Active, Standby ClientStatus
	LastRotation    connection.RotationRecord
	// TokenExpireTime and TokenRefreshTime are those of the current token.
	TokenExpireTime, TokenRefreshTime time.Time
	// TokenLifetimeAssumed is the lifetime that is assumed because the token came
	// without expires_in; zero otherwise.
	TokenLifetimeAssumed time.Duration
	// LastError is the error of the last token request; empty if it succeeded.
	LastError string
	// LastErrorResult is the result of that request: see EndpointRequest.Result.
	LastErrorResult   string
	LastErrorTime     time.Time
	ConsecutiveErrors int
	// NextTryTime is the earliest time of the next request.
	NextTryTime time.Time
	// MaxSecretAge is the maximum age of the active client's secret, and SecretDueTime
	// when the secret reaches it; zero if there is no maximum.
	MaxSecretAge  time.Duration
	SecretDueTime time.Time
	// Counts starts at zero when the engine starts.
	Counts Counts
	// Warnings are for the operator.
	Warnings []string
}

// Readable reports whether the connection's storage entry could be decoded. If not,
// only Time, Connection and LastError are set.
func (s Status) Readable() bool { return s.GrantType != "" }

// ClientStatus describes a client without its secret.
type ClientStatus struct {
	ID                          string
	SecretSetTime, VerifiedTime time.Time
	// SecretServed is connection.Client's.
	SecretServed bool
}

// Status returns the status of a connection, without a request to GBG. If there is no
// such connection, the error is ErrNotConfigured.
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
		Fields:       settings.PairFields(),
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

// Statuses returns the statuses of all connections, sorted by name, without a request
// to GBG. Some may not be Readable. The errors are ctx's and the storage's.
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
	// A token from before the secret was set does not verify the secret.
	if latest := s.activity[c.ID].verified; latest.After(verified) && !latest.Before(c.SecretSetTime) {
		verified = latest
	}
	return ClientStatus{ID: c.ID, SecretSetTime: c.SecretSetTime, VerifiedTime: verified, SecretServed: c.SecretServed}
}
