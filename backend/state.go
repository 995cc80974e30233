package backend

import (
	"bytes"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// state is all that is known of a connection at one moment. It is never
// changed: a change puts a new one in its place, so a reader takes no lock.
type state struct {
	conn *Connection
	// http is what conn's requests go through.
	http *http.Client
	// revision differs between states whose token requests differ.
	revision uint64
	// token is the current one; nil if none was fetched yet.
	token *token
	// seen is what was learnt of clients since they were stored, by id. The map is
	// never changed either.
	seen map[string]seen
	// trouble is the failures since the last token; nil if there were none.
	trouble *trouble
	// exchangeTrouble is the failures to reach GBG since the last exchange of a
	// caller's own token; nil if there were none.
	exchangeTrouble *trouble
	// notice is for the next reader; nil if there is none.
	notice *notice
	// counters are the connection's.
	counters *counters
}

// seen is what is known of one client besides its stored part.
type seen struct {
	// verified is when it last got a token.
	verified time.Time
	// tokensUntil is when the last token that it got has expired.
	tokensUntil time.Time
}

// succeededBy gives the state that follows when a connection, or a new one if s
// is nil, becomes conn: with what stays true of the old one. Its revision is
// zero if it needs a new one.
func (s *state) succeededBy(conn *Connection, client *http.Client) *state {
	next := &state{conn: conn, http: client}
	if s == nil {
		return next
	}
	next.seen, next.counters = s.seen, s.counters
	if s.conn.sameRequest(conn) {
		next.revision = s.revision
	}
	if s.conn.sameToken(conn) {
		next.notice = s.notice
		if !conn.Settings.Lease {
			next.token = s.token
		}
	}
	return next
}

// withSeen gives a copy with one client's seen replaced by what f makes of it.
func (s *state) withSeen(clientID string, f func(seen) seen) *state {
	next := *s
	next.seen = make(map[string]seen, len(s.seen)+1)
	for id, was := range s.seen {
		next.seen[id] = was
	}
	next.seen[clientID] = f(next.seen[clientID])
	return &next
}

// withToken gives a copy in which a client has just got a token: the current
// one if it is the active client's and not leased to one reader.
func (s *state) withToken(t *token) *state {
	next := s.withSeen(t.clientID, func(was seen) seen {
		was.verified = t.fetched
		if t.expires.After(was.tokensUntil) {
			was.tokensUntil = t.expires
		}
		return was
	})
	if s.conn.Pair.Active().ID == t.clientID {
		next.trouble = nil
		if !s.conn.Settings.Lease {
			next.token = t
		}
	}
	return next
}

// ofTokens and ofExchanges are the two troubles that a state can be in.
func (s *state) ofTokens() **trouble    { return &s.trouble }
func (s *state) ofExchanges() **trouble { return &s.exchangeTrouble }

// storedAs says that these bytes are the state's connection; for a nil state,
// that there are none.
func (s *state) storedAs(stored []byte) bool {
	if s == nil {
		return stored == nil
	}
	encoded, err := s.conn.encode()
	return err == nil && bytes.Equal(encoded, stored)
}

// closeIdle lets go of network connections that only this state uses.
func (s *state) closeIdle(shared *http.Client) {
	if s.http != shared {
		s.http.CloseIdleConnections()
	}
}

// states is a map from connection names to their current states.
type states struct {
	m         sync.Map // string to *state
	revisions atomic.Uint64
	counters  sync.Map // string to *counters
}

// nextRevision gives a number that no state has had.
func (s *states) nextRevision() uint64 { return s.revisions.Add(1) }

func (s *states) get(name string) *state {
	if v, ok := s.m.Load(name); ok {
		return v.(*state)
	}
	return nil
}

func (s *states) put(name string, st *state) { s.m.Store(name, st) }

func (s *states) drop(name string) { s.m.Delete(name) }

// countersOf gives those of a connection, new ones if it has none.
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
