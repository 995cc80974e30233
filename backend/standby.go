package backend

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// Some nodes serve reads and cannot write to storage: a performance standby of Vault
// Enterprise, and a standby of OpenBao. Such a node runs its own engine on the storage
// of the cluster. That engine has no timers, sends no requests and writes nothing. It
// serves the token that the active node has stored, and answers everything else with
// the bare [logical.ErrReadOnly], which makes the server forward the request to the
// active node. So a cluster has one token for a connection, and GBG gets one request
// for it.

// forwardInterval is the minimum time between two forwarded reads of a token that is
// due. The other reads are served from memory, so that few readers fail while a cluster
// has no active node.
const forwardInterval = time.Second

// ReadOnly reports whether the engine runs on a node that cannot write to storage.
func (e *Engine) ReadOnly() bool { return e.readOnly }

// readOnlyToken is Token on a node that cannot write to storage. Its only error is
// [logical.ErrReadOnly]: the active node reports what is wrong with a read. The first
// read of each token is forwarded too, because the active node refreshes only tokens
// that are in use. Before a read is forwarded because the token is due, the storage is
// read, because an invalidation may have been lost.
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
	fits := st.tokenFits(minTTL, now)
	if st.token.due(now) && (!fits || st.token.forwards.claim(now)) {
		if st = e.reload(ctx, name, st); st == nil || !st.sharesToken() || st.token.due(now) {
			return Credential{}, logical.ErrReadOnly
		}
		from, fits = fromStorage, st.tokenFits(minTTL, now)
	}
	if !fits || st.token.forwards.claimFirst(now) {
		return Credential{}, logical.ErrReadOnly
	}
	st.counters.countRead(from)
	return e.serve(name, st, now), nil
}

// sharesToken reports whether the connection has one token for all readers.
func (s *state) sharesToken() bool { return s.conn.Settings.HasPair() && !s.conn.Settings.Lease }

// tokenFits reports whether the current token is valid for minTTL, and whether a reader
// may ask for that much.
func (s *state) tokenFits(minTTL time.Duration, now time.Time) bool {
	left := s.token.left(now)
	return left > 0 && left >= minTTL && checkMinTTL(minTTL, s.knownLifetime()) == nil
}

// due reports whether the token's rotation period has passed. A nil token is due.
func (t *token) due(now time.Time) bool { return t == nil || t.left(now) <= t.overlap }

// reload replaces the state was of a connection by what storage has. It returns nil if
// the connection is gone or cannot be read.
func (e *Engine) reload(ctx context.Context, name string, was *state) *state {
	defer e.lockEntry(name)()
	if now := e.states.get(name); now != was {
		return now // another reader has just done it; nil after an invalidation
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

// forwards tracks the reads of a token that are forwarded to the active node. The zero
// value is ready to use. It is safe for concurrent use.
type forwards struct {
	last atomic.Pointer[time.Time] // nil means never
}

// claim reports whether the caller's read is to be forwarded: at most one in each
// forwardInterval.
func (f *forwards) claim(now time.Time) bool {
	last := f.last.Load()
	if last != nil && now.Sub(*last) < forwardInterval {
		return false
	}
	return f.last.CompareAndSwap(last, &now)
}

// claimFirst reports whether the caller's read is to be forwarded because none was.
func (f *forwards) claimFirst(now time.Time) bool {
	return f.last.Load() == nil && f.last.CompareAndSwap(nil, &now)
}

// keepForwards copies the forwards of was if it is the same token. Both may be nil.
func (t *token) keepForwards(was *token) {
	if t != nil && was != nil && t.access == was.access {
		t.forwards.last.Store(was.forwards.last.Load())
	}
}

// fetchLogger returns the logger for problems that make the engine fetch a new token. On
// a node that fetches none it discards: the active node serves the read.
func (e *Engine) fetchLogger() hclog.Logger {
	if e.readOnly {
		return hclog.NewNullLogger()
	}
	return e.logger
}

// storedConnection returns a connection as it is stored, with defaults filled in. It is
// for nodes that may have missed an invalidation.
func (e *Engine) storedConnection(ctx context.Context, name string) (connection.Connection, error) {
	conn, err := e.load(ctx, name)
	if err != nil {
		return connection.Connection{}, err
	}
	conn.Settings = conn.Settings.WithDefaults()
	return *conn, nil
}
