package backend

import (
	"bytes"
	"cmp"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"vault-plugin-secrets-gbg/backend/connection"
	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// state is all that is known of a connection at one moment. It is never
// changed: a change puts a new one in its place, so a reader takes no lock.
type state struct {
	conn *connection.Connection
	// http is what conn's requests go through.
	http *gbgauth.Client
	// revision differs between states whose token requests differ, or are made for
	// another purpose: for all readers, or for one reader's lease.
	revision uint64
	// token is the current one; nil if none was fetched yet.
	token *token
	// lifetime is that of the last token that was seen; zero if none was.
	lifetime time.Duration
	// activity is what was learnt of clients since they were stored, by id. The map
	// is never changed either.
	activity map[string]clientActivity
	// backoff is the failures since the last token; nil if there were none.
	backoff *backoff
	// exchangeBackoff is the failures to reach GBG since the last exchange of a
	// caller's own token; nil if there were none.
	exchangeBackoff *backoff
	// warning is for the next reader; nil if there is none.
	warning *pendingWarning
	// rotation is what the schedule said when it was last looked at, and tries are the
	// failed ones to make the rotation that is due.
	rotation connection.RotationPlan
	tries    scheduledTries
	// counters are the connection's.
	counters *counters
}

// clientActivity is what is known of one client besides its stored part.
type clientActivity struct {
	// verified is when it last got a token.
	verified time.Time
	// tokensUntil is when the last token that it got has expired.
	tokensUntil time.Time
}

// replacedBy returns the state that follows when a connection, or a new one if s is
// nil, becomes conn: with what stays true of the old one. A pause after failures
// ends, the failures stay. The revision is zero if it needs a new one.
func (s *state) replacedBy(conn *connection.Connection, client *gbgauth.Client, now time.Time) *state {
	next := &state{conn: conn, http: client}
	if s == nil {
		return next
	}
	next.activity, next.counters = s.activity, s.counters
	next.backoff, next.exchangeBackoff = s.backoff.withoutPause(now), s.exchangeBackoff.withoutPause(now)
	if s.conn.SameRequest(conn) && s.conn.Settings.Lease == conn.Settings.Lease {
		next.revision = s.revision
	}
	if s.conn.SameToken(conn) {
		next.warning, next.lifetime = s.warning, s.lifetime
		if !conn.Settings.Lease {
			next.token = s.token
		}
	}
	return next
}

// withActivity returns a copy in which a client has just got a token that is nobody's
// current one.
func (s *state) withActivity(t *token) *state {
	next := *s
	next.activity = maps.Clone(s.activity)
	if next.activity == nil {
		next.activity = make(map[string]clientActivity, 1)
	}
	was := next.activity[t.clientID]
	was.verified = t.fetched
	was.tokensUntil = latest(was.tokensUntil, t.expires)
	next.activity[t.clientID] = was
	return &next
}

// withToken returns a copy in which a client has just got a token: the current one
// if it is the active client's and not leased to one reader.
func (s *state) withToken(t *token) *state {
	next := s.withActivity(t)
	if t.source.Exchanges() {
		next.exchangeBackoff = nil
	}
	if s.conn.Pair.Active().ID == t.clientID {
		next.backoff = nil
		next.lifetime = t.lifetime()
		if !s.conn.Settings.Lease {
			next.token = t
		}
	}
	return next
}

// lastTokenEnds returns when the last token of a client has expired, in whole
// seconds, rounded up; now, if that has passed. It goes by the monotonic clock, so it is
// not too early if the wall clock was set, and no later than any token can end.
func (s *state) lastTokenEnds(clientID string, now time.Time) time.Time {
	left := min(max(s.activity[clientID].tokensUntil.Sub(now), 0), gbgauth.MaxLifetime)
	return now.Add(left + time.Second - 1).Truncate(time.Second)
}

// knownLifetime returns the lifetime of the connection's tokens; zero if none was
// seen yet.
func (s *state) knownLifetime() time.Duration {
	return cmp.Or(s.lifetime, s.conn.TokenLifetime)
}

// sameConnection reports whether both states are of one connection as one write left
// it. Two nil states are.
func (s *state) sameConnection(o *state) bool {
	if s == nil || o == nil {
		return s == o
	}
	return s.conn == o.conn
}

// storedAs reports whether these bytes are the state's connection. Those of a nil
// state are nil.
func (s *state) storedAs(stored []byte) bool {
	if s == nil {
		return stored == nil
	}
	encoded, err := s.conn.Encode()
	return err == nil && bytes.Equal(encoded, stored)
}

// closeIdle closes network connections that only this state uses.
func (s *state) closeIdle() {
	if s.conn.Settings.CAPEM != "" {
		s.http.CloseIdleConnections()
	}
}

// states is a map from connection names to their current states.
type states struct {
	m         sync.Map // string to *state
	revisions atomic.Uint64
	counters  sync.Map // string to *counters
}

// nextRevision returns a number that no state has had.
func (s *states) nextRevision() uint64 { return s.revisions.Add(1) }

func (s *states) get(name string) *state {
	if v, ok := s.m.Load(name); ok {
		return v.(*state)
	}
	return nil
}

func (s *states) put(name string, st *state) { s.m.Store(name, st) }

func (s *states) drop(name string) { s.m.Delete(name) }

// countersOf returns those of a connection, new ones if it has none.
func (s *states) countersOf(name string) *counters {
	c, _ := s.counters.LoadOrStore(name, &counters{})
	return c.(*counters)
}

// end forgets what outlives the states of a connection, and reports whether there was
// something.
func (s *states) end(name string) (ended bool) {
	_, ended = s.counters.LoadAndDelete(name)
	return ended
}

func (s *states) each(f func(*state)) {
	s.m.Range(func(_, v any) bool {
		f(v.(*state))
		return true
	})
}
