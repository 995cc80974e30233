package backend

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"vault-plugin-secrets-gbg/backend/connection"
)

// Status is what a person may want to know about a connection. It holds no
// secret and no token. Zero times mean never.
type Status struct {
	// Time is when it was so, by the wall clock.
	Time       time.Time
	Connection string
	State      ConnectionState
	GrantType  string
	TokenURL   string
	// IDPTokenURL is empty if no identity provider is asked.
	IDPTokenURL string
	// Active and Standby are without their secrets; the ids are empty if there is
	// no such client.
	Active, Standby ClientStatus
	LastRotation    connection.RotationRecord
	// TokenExpireTime and TokenRefreshTime are of the token being served.
	TokenExpireTime, TokenRefreshTime time.Time
	// TokenLifetimeAssumed is how long the token is taken to live because GBG did
	// not say; zero if it did.
	TokenLifetimeAssumed time.Duration
	// TokenExpiring is set if the token is in use, and more than half of the time
	// between TokenRefreshTime and TokenExpireTime has passed without a new one.
	TokenExpiring bool
	// Lease is set if every reader gets a token of its own.
	Lease bool
	// LastFailure is the failure of the last token request, nil if it went well.
	LastFailure error
	// LastError is its text, without the connection.
	LastError string
	// LastErrorResult is the same in a word: see EndpointRequest.Result.
	LastErrorResult string
	LastErrorTime   time.Time
	// FailingSince is when the first of the failures in a row happened.
	FailingSince      time.Time
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

// Readable reports whether the connection's storage entry could be read. If not, there
// are Time, Connection, State and LastError only.
func (s *Status) Readable() bool { return s.GrantType != "" }

// ClientStatus is what may be shown of a client.
type ClientStatus struct {
	ID                          string
	SecretSetTime, VerifiedTime time.Time
	// SecretServed and Refusal: see connection.Client.
	SecretServed bool
	Refusal      connection.Refusal
}

// Status tells how a connection is, without asking GBG. One whose entry this release
// cannot read is not Readable. The errors are ErrNotConfigured, ctx's and the storage's.
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
	settings := st.conn.Settings.WithDefaults()
	s := Status{
		Time:         wallTime(now),
		Connection:   name,
		GrantType:    settings.GrantType,
		TokenURL:     settings.TokenURL,
		Lease:        settings.Lease,
		IDPTokenURL:  settings.IDPTokenURL,
		Active:       st.clientStatus(st.conn.Pair.Active()),
		LastRotation: st.conn.Rotation,
		Counts:       st.counters.counts(),
		MaxSecretAge: settings.MaxSecretAge, SecretDueTime: st.conn.SecretDue(),
		Warnings: st.conn.Warnings(now),
	}
	if standby, ok := st.conn.Pair.Standby(); ok {
		s.Standby = st.clientStatus(standby)
	}
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

// StandbyID returns the standby of a connection that is in memory, empty if there is
// none.
func (e *Engine) StandbyID(name string) string {
	st := e.states.get(name)
	if st == nil {
		return ""
	}
	standby, _ := st.conn.Pair.Standby()
	return standby.ID
}

// maxStatusLoads is how many connections Statuses loads at once. After a restart
// each takes two reads of storage, and what they take is mostly waiting.
const maxStatusLoads = 32

// Statuses returns the status of every connection, by name in order, without asking
// GBG, those included that are not Readable. The errors are ctx's and the storage's.
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
	status := ClientStatus{ID: c.ID, SecretSetTime: c.SecretSetTime, VerifiedTime: c.VerifiedTime, SecretServed: c.SecretServed, Refusal: c.Refusal}
	if verified := s.activity[c.ID].verified; !verified.IsZero() {
		status.VerifiedTime = verified
	}
	return status
}
