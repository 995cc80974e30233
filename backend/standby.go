package backend

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-gbg/backend/connection"
)

// A node that serves reads and cannot write (a performance standby of Vault Enterprise,
// a standby of OpenBao) runs an engine of its own on the cluster's storage. Such an
// engine keeps no timers, makes no request and writes nothing. It serves the token
// that the active node has stored, and answers all else with the bare
// [logical.ErrReadOnly], by which the server forwards the request to the active node.
// So a cluster has one token for a connection, and GBG one request for it.

// forwardInterval is the least time between two reads of one token that are forwarded
// once the token is due: the others are served from memory, so that few readers fail
// in the seconds in which a cluster has no active node.
const forwardInterval = time.Second

// ReadOnly reports whether the engine runs on a node that cannot write.
func (e *Engine) ReadOnly() bool { return e.readOnly }

// readOnlyToken is Token on a node that cannot write. The only error is
// [logical.ErrReadOnly]: the active node knows better what is wrong with a read, and
// has to know that a token is in use, so the first read of each token is forwarded
// too. Before a read is forwarded because the token is due, storage is looked into: the
// message that there is a newer token may have been lost.
func (e *Engine) readOnlyToken(ctx context.Context, name string, minTTL time.Duration) (Credential, error) {
	from := fromMemory
	if e.states.get(name) == nil {
		from = fromStorage
	}
	st, err := e.state(ctx, name)
	if err != nil || !st.sharesToken() {
		return Credential{}, logical.ErrReadOnly
	}
	now := e.now()
	valid := st.tokenFits(minTTL, now)
	if st.token.due(now) && (!valid || st.token.forwarded.claim(now)) {
		if st = e.reload(ctx, name, st); st == nil || !st.sharesToken() || st.token.due(now) {
			return Credential{}, logical.ErrReadOnly
		}
		from, valid = fromStorage, st.tokenFits(minTTL, now)
	}
	if !valid || !st.token.forwarded.once(now) {
		return Credential{}, logical.ErrReadOnly
	}
	st.counters.countRead(from)
	return e.serve(name, st, now), nil
}

// sharesToken reports whether the connection has one token for all readers.
func (s *state) sharesToken() bool { return s.conn.Settings.HasPair() && !s.conn.Settings.Lease }

// tokenFits reports whether the current token is valid for minTTL, and minTTL no more
// than a reader may ask for.
func (s *state) tokenFits(minTTL time.Duration, now time.Time) bool {
	left := s.token.left(now)
	return left > 0 && left >= minTTL && checkMinTTL(minTTL, s.knownLifetime()) == nil
}

// due reports whether the token's rotation period has passed. A nil token is due.
func (t *token) due(now time.Time) bool { return t == nil || t.left(now) <= t.overlap }

// reload reads from storage what a node that cannot write knows as was, which has been
// read before. It returns nil if the connection is gone or cannot be read.
func (e *Engine) reload(ctx context.Context, name string, was *state) *state {
	defer e.lockEntry(name)()
	if now := e.states.get(name); now != was {
		return now // another reader has just looked; nil if it was invalidated
	}
	st, err := e.loadLocked(ctx, name, was)
	if err != nil {
		if errors.Is(err, ErrNotConfigured) {
			e.dropLocked(name)
		}
		return nil
	}
	return st
}

// forwards is when a read of a token was last forwarded to the active node. The zero
// value means never.
type forwards struct{ last atomic.Pointer[time.Time] }

// claim reports whether the caller's read is the one to forward, at most one in a
// forwardInterval.
func (f *forwards) claim(now time.Time) bool {
	last := f.last.Load()
	if last != nil && now.Sub(*last) < forwardInterval {
		return false
	}
	return f.last.CompareAndSwap(last, &now)
}

// once reports whether a read has been forwarded; if not, the caller's is the one to
// forward.
func (f *forwards) once(now time.Time) bool {
	return f.last.Load() != nil || !f.last.CompareAndSwap(nil, &now)
}

// inherit takes over what is known of the same token, if was is the same.
func (t *token) inherit(was *token) {
	if t != nil && was != nil && t.access == was.access {
		t.forwarded.last.Store(was.forwarded.last.Load())
	}
}

// fetchLogger is for what makes a new token necessary. On a node that fetches none it
// discards: the read is only forwarded.
func (e *Engine) fetchLogger() hclog.Logger {
	if e.readOnly {
		return hclog.NewNullLogger()
	}
	return e.logger
}

// stored returns a connection as it is stored, defaults filled in. A node that cannot
// write may have missed a change, and few read this.
func (e *Engine) stored(ctx context.Context, name string) (connection.Connection, error) {
	conn, err := e.load(ctx, name)
	if err != nil {
		return connection.Connection{}, err
	}
	conn.Settings = conn.Settings.WithDefaults()
	return *conn, nil
}
