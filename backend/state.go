package backend

import (
	"bytes"
	"cmp"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// state is everything known about a connection at one moment. It is immutable: a
// change replaces it with a new state, so readers take no lock.
type state struct {
	conn *connection.Connection
	// http is the client for conn's requests.
	http *gbgauth.Client
	// revision differs between states whose token requests differ, or of which one
	// shares its tokens and the other leases them.
	revision uint64
	// token is the current token; nil if there is none yet.
	token *token
	// lifetime is the lifetime of the last token; zero if there was none.
	lifetime time.Duration
	// activity is what is known about clients beyond their stored form, by id. The map
	// is immutable, too.
	activity map[string]clientActivity
	// backoff is the run of failures since the last token; nil if there were none.
	backoff *backoff
	// exchangeBackoff is the run of failures to reach GBG since the last exchange of a
	// caller's own token; nil if there were none.
	exchangeBackoff *backoff
	// notice is for the next reader; nil if there is none.
	notice *pendingNotice
	// rotation is what the schedule said at the last look, and tries are the failed
	// attempts at the rotation that is due.
	rotation connection.RotationPlan
	tries    scheduledTries
	// checks is the outcome of the last checks of the standby.
	checks standbyChecks
	// counters are shared by all states of the connection.
	counters *counters
}

// clientActivity is what is known about a client beyond its stored form.
type clientActivity struct {
	// verified is when it last got a token with its current secret; zero if it has
	// not since the connection was loaded.
	verified time.Time
	// tokensUntil is when the last of its tokens expires.
	tokensUntil time.Time
	// claims are those of its last token; empty if that was not a JWT.
	claims connection.Claims
}

// replacedBy returns the state for conn, which replaces the connection of s or is new
// if s is nil. It keeps what is still true of s. A pause after failures ends, but the
// failures stay. The revision is zero if a new one is needed.
func (s *state) replacedBy(conn *connection.Connection, client *gbgauth.Client, now time.Time) *state {
	next := &state{conn: conn, http: client}
	if s == nil {
		return next
	}
	next.activity, next.counters = s.activityFor(conn), s.counters
	if s.conn.SameStandby(conn) {
		next.checks, next.tries = s.checks, s.tries
	}
	next.backoff, next.exchangeBackoff = s.backoff.withoutPause(now), s.exchangeBackoff.withoutPause(now)
	if s.conn.SameRequest(conn) && s.conn.Settings.Lease == conn.Settings.Lease {
		next.revision = s.revision
	}
	if s.conn.SameToken(conn) {
		next.notice, next.lifetime = s.notice, s.lifetime
		if !conn.Settings.Lease {
			next.token = s.token
		}
	}
	return next
}

// activityFor returns the activity of the clients for a connection that replaces s.conn:
// without the verification of clients that have a new secret, and without the claims of
// clients that now request tokens for something else. s may be nil.
func (s *state) activityFor(conn *connection.Connection) map[string]clientActivity {
	if s == nil {
		return nil
	}
	activity := s.activity
	for _, client := range conn.Pair.Clients {
		a, known := activity[client.ID]
		if !known {
			continue
		}
		is := a
		if s.conn.Request(client).Source() != conn.Request(client).Source() {
			is.claims = ""
		}
		for _, was := range s.conn.Pair.Clients {
			if was.ID == client.ID && !was.SameSecret(client) {
				is.verified = time.Time{}
			}
		}
		if is != a {
			activity = maps.Clone(activity)
			activity[client.ID] = is
		}
	}
	return activity
}

// withActivity returns a copy of s after a client has got a token that does not
// become the current one.
func (s *state) withActivity(t *token) *state {
	next := *s
	next.activity = maps.Clone(s.activity)
	if next.activity == nil {
		next.activity = make(map[string]clientActivity, 1)
	}
	was := next.activity[t.clientID]
	was.verified = t.fetched
	was.tokensUntil = latest(was.tokensUntil, t.expires)
	was.claims = t.claims
	next.activity[t.clientID] = was
	return &next
}

// withProof returns a copy of s after a client has got a token that is discarded, so that
// nothing depends on when it expires.
func (s *state) withProof(t *token) *state {
	next := s.withActivity(t)
	a := next.activity[t.clientID]
	a.tokensUntil = s.activity[t.clientID].tokensUntil
	next.activity[t.clientID] = a
	return next
}

// withToken returns a copy of s after a client has got a token. It becomes the
// current one if the client is active and tokens are not leased.
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

// lastTokenEnds returns when the last token of a client expires, in whole seconds,
// rounded up, but not before now. It uses the monotonic clock, so it is not too early
// if the wall clock was set, and is at most a token's maximum lifetime away.
func (s *state) lastTokenEnds(clientID string, now time.Time) time.Time {
	left := min(max(s.activity[clientID].tokensUntil.Sub(now), 0), gbgauth.MaxLifetime)
	return now.Add(left + time.Second - 1).Truncate(time.Second)
}

// knownLifetime returns the lifetime of the connection's tokens; zero if it is not
// known yet.
func (s *state) knownLifetime() time.Duration {
	return cmp.Or(s.lifetime, s.conn.TokenLifetime)
}

// sameConnection reports whether both states are of the same stored version of a
// connection. Two nil states are.
func (s *state) sameConnection(o *state) bool {
	if s == nil || o == nil {
		return s == o
	}
	return s.conn == o.conn
}

// storedAs reports whether stored is the encoding of the state's connection. A nil
// state is stored as nil.
func (s *state) storedAs(stored []byte) bool {
	if s == nil {
		return stored == nil
	}
	encoded, err := s.conn.Encode()
	return err == nil && bytes.Equal(encoded, stored)
}

// closeIdle closes idle network connections that only this state uses.
func (s *state) closeIdle() {
	if s.conn.Settings.CAPEM != "" {
		s.http.CloseIdleConnections()
	}
}

// states maps connection names to their current states.
type states struct {
	m         sync.Map // string to *state
	revisions atomic.Uint64
	counters  sync.Map // string to *counters

	// ended is the sum of the counts of deleted connections.
	endedMu sync.Mutex
	ended   Counts
}

// nextRevision returns a new revision.
func (s *states) nextRevision() uint64 { return s.revisions.Add(1) }

func (s *states) get(name string) *state {
	if v, ok := s.m.Load(name); ok {
		return v.(*state)
	}
	return nil
}

func (s *states) put(name string, st *state) { s.m.Store(name, st) }

func (s *states) drop(name string) { s.m.Delete(name) }

// countersOf returns the counters of a connection, creating them if necessary.
func (s *states) countersOf(name string) *counters {
	c, _ := s.counters.LoadOrStore(name, &counters{})
	return c.(*counters)
}

// end deletes the counters of a connection, and reports whether there were any.
func (s *states) end(name string) (ended bool) {
	s.endedMu.Lock()
	defer s.endedMu.Unlock()
	c, ended := s.counters.LoadAndDelete(name)
	if ended {
		s.ended = s.ended.plus(c.(*counters).counts())
	}
	return ended
}

// totalCounts returns the sum of the counts of all connections, deleted ones included.
func (s *states) totalCounts() Counts {
	s.endedMu.Lock()
	defer s.endedMu.Unlock()
	total := s.ended
	s.counters.Range(func(_, c any) bool {
		total = total.plus(c.(*counters).counts())
		return true
	})
	return total
}

func (s *states) each(f func(*state)) {
	s.m.Range(func(_, v any) bool {
		f(v.(*state))
		return true
	})
}
