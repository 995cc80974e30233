package backend

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// Status describes a connection to an operator. It holds no secret and no token. A zero
// time means never.
type Status struct {
	// Time is when the status was taken, by the wall clock.
	Time       time.Time
	Connection string
	State      ConnectionState
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
	// TokenExpiring is set if the token is in use, and more than half of the time
	// between TokenRefreshTime and TokenExpireTime has passed without a new one.
	TokenExpiring bool
	// Lease is set if every reader gets a token of its own.
	Lease bool
	// LastFailure is the error of the last token request; nil if it succeeded.
	LastFailure error
	// LastError is its text, without the connection.
	LastError string
	// LastErrorResult is the result of that request: see EndpointRequest.Result.
	LastErrorResult string
	LastErrorTime   time.Time
	// FailingSince is when the first request of the consecutive failures failed.
	FailingSince      time.Time
	ConsecutiveErrors int
	// NextTryTime is the earliest time of the next request.
	NextTryTime time.Time
	// StandbyRefused reports whether Standby.Refusal is a refusal, and not that the last
	// checks did not reach GBG.
	StandbyRefused bool
	// ClaimsDiffer are the names of the claims in which the last tokens of both clients
	// differ.
	ClaimsDiffer []string
	// MaxSecretAge is the maximum age of the active client's secret, and SecretDueTime
	// when the secret reaches it; zero if there is no maximum.
	MaxSecretAge  time.Duration
	SecretDueTime time.Time
	// NextRotationTime is the next time of the rotation schedule. RotationDue is since
	// when a rotation has been due that was not made, and RotationObstacle why not.
	NextRotationTime, RotationDue time.Time
	RotationObstacle              connection.RotationObstacle
	// Counts starts at zero when the engine starts.
	Counts Counts
	// Warnings are for the operator.
	Warnings []string
}

// Readable reports whether the connection's storage entry could be read. If not, only
// Time, Connection, State and LastError are set.
func (s *Status) Readable() bool { return s.GrantType != "" }

// ClientStatus describes a client without its secret.
type ClientStatus struct {
	ID                          string
	SecretSetTime, VerifiedTime time.Time
	// SecretServed and Refusal are connection.Client's.
	SecretServed bool
	Refusal      connection.Refusal
}

// Status returns the status of a connection, without a request to GBG. It is not
// Readable if this release cannot decode the storage entry. The errors are
// ErrNotConfigured, ctx's and the storage's.
func (e *Engine) Status(ctx context.Context, name string) (Status, error) {
	st, err := e.state(ctx, name)
	var entry *connection.EntryError
	switch {
	case errors.As(err, &entry):
		return e.unreadableStatus(name, err), nil
	case err != nil:
		return Status{}, err
	}
	return e.statusOf(name, st), nil
}

// unreadableStatus returns the status of a connection that cannot be loaded.
func (e *Engine) unreadableStatus(name string, err error) Status {
	return Status{Time: wallTime(e.now()), Connection: name, State: StateUnreadable, LastError: problemOf(name, err)}
}

// statusOf returns the status of a connection in a state.
func (e *Engine) statusOf(name string, st *state) Status {
	now := e.now()
	plan := st.conn.RotationPlan(now)
	settings := st.conn.Settings.WithDefaults()
	s := Status{
		Time:         wallTime(now),
		Connection:   name,
		GrantType:    settings.GrantType,
		TokenURL:     settings.TokenURL,
		Lease:        settings.Lease,
		IDPTokenURL:  settings.IDPTokenURL,
		Fields:       settings.PairFields(),
		Active:       st.clientStatus(st.conn.Pair.Active()),
		LastRotation: st.conn.Rotation,
		Counts:       st.counters.counts(),
		MaxSecretAge: settings.MaxSecretAge, SecretDueTime: st.conn.SecretDue(),
		Warnings: st.warnings(now),
	}
	s.NextRotationTime, s.RotationDue, s.RotationObstacle = plan.Next, plan.Since, plan.Obstacle
	if standby, ok := st.conn.Pair.Standby(); ok {
		s.Standby = st.clientStatus(standby)
	}
	s.Standby.Refusal = st.standbyError()
	s.StandbyRefused = st.standbyRefused()
	s.ClaimsDiffer = st.claimsDiffer()
	if t := st.token; t.left(now) > 0 {
		s.TokenExpireTime, s.TokenRefreshTime = t.expires, t.refreshTime()
		s.TokenExpiring = t.used.Load() && t.left(now) < t.overlap/2
		if t.lifetimeAssumed {
			s.TokenLifetimeAssumed = t.lifetime()
		}
	}
	if tr := cmp.Or(st.backoff, st.exchangeBackoff); tr != nil {
		s.LastFailure, s.FailingSince, s.LastErrorTime, s.ConsecutiveErrors, s.NextTryTime = tr.err, tr.since, tr.last, tr.count, tr.until
		s.LastError, s.LastErrorResult = problemOf(name, tr.err), resultOf(tr.err)
	}
	s.State = s.state()
	return s
}

// StandbyID returns the standby's id of a connection that is in memory; empty if there
// is none.
func (e *Engine) StandbyID(name string) string {
	st := e.states.get(name)
	if st == nil {
		return ""
	}
	standby, _ := st.conn.Pair.Standby()
	return standby.ID
}

// maxStatusLoads is the number of connections that Statuses loads at once. After a
// restart each needs two reads of storage, which mostly wait.
const maxStatusLoads = 32

// Statuses returns the statuses of all connections, sorted by name, without a request
// to GBG. Some may not be Readable. The errors are ctx's and the storage's.
func (e *Engine) Statuses(ctx context.Context) ([]Status, error) {
	names, err := e.Names(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	e.endCountersOfDeleted(ctx, names)
	all := make([]Status, len(names))
	var loads errgroup.Group
	loads.SetLimit(maxStatusLoads)
	for i, name := range names {
		if st := e.states.get(name); st != nil {
			all[i] = e.statusOf(name, st)
			continue
		}
		loads.Go(func() error {
			s, err := e.Status(ctx, name)
			switch {
			case errors.Is(err, ErrNotConfigured):
				return nil // deleted meanwhile: without a name
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				s = e.unreadableStatus(name, err)
			}
			all[i] = s
			return nil
		})
	}
	if err := loads.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(s Status) bool { return s.Connection == "" }), nil
}

func (s *state) clientStatus(c connection.Client) ClientStatus {
	return ClientStatus{ID: c.ID, SecretSetTime: c.SecretSetTime, VerifiedTime: verifiedTime(c, s.activity[c.ID]), SecretServed: c.SecretServed, Refusal: c.Refusal}
}

// verifiedTime returns when a client last got a token with its secret, by the wall clock.
// What is in memory comes after what is stored, even if the clock was set back meanwhile.
func verifiedTime(c connection.Client, a clientActivity) time.Time {
	if !a.verified.IsZero() {
		return wallTime(a.verified)
	}
	return c.VerifiedTime
}
