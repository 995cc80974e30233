package backend

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/helper/locksutil"
	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// entryPrefix is the part of storage that holds connections, by name. Vault seal-wraps
// it.
const entryPrefix = "connection/"

// SealWrapPrefix is the part of storage that holds client secrets.
const SealWrapPrefix = entryPrefix

// storageTimeout limits each storage call on a detachedContext.
const storageTimeout = 10 * time.Second

// detachedContext returns a context for a storage call that must also happen if the
// caller is gone or the engine is being closed. end must be called.
func detachedContext(ctx context.Context) (_ context.Context, end context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), storageTimeout)
}

// Names lists the connections.
func (e *Engine) Names(ctx context.Context) ([]string, error) {
	return e.storage.List(ctx, entryPrefix)
}

// Exists reports whether there is a connection with this name, including one with an
// entry that cannot be decoded. Vault calls it before a write, and would turn an
// error into "internal error"; the write itself returns the actual error.
func (e *Engine) Exists(ctx context.Context, name string) (bool, error) {
	if !e.readOnly && e.states.get(name) != nil {
		return true, nil
	}
	stored, err := e.readEntry(ctx, name)
	return stored != nil, err
}

// Connection returns a connection with its defaults filled in. If there is none, the
// error is ErrNotConfigured.
func (e *Engine) Connection(ctx context.Context, name string) (connection.Connection, error) {
	if e.readOnly {
		return e.storedConnection(ctx, name)
	}
	st, err := e.state(ctx, name)
	if err != nil {
		return connection.Connection{}, err
	}
	conn := *st.conn
	conn.Settings = conn.Settings.WithDefaults()
	return conn, nil
}

// Invalidate discards the state that depends on a storage key, after another node has
// changed it.
func (e *Engine) Invalidate(key string) {
	for _, prefix := range []string{entryPrefix, TokenPrefix} {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			e.forget(name)
		}
	}
}

func (e *Engine) lockEntry(name string) (unlock func()) {
	lock := locksutil.LockForKey(e.entryLocks, name)
	lock.Lock()
	return lock.Unlock
}

func (e *Engine) forget(name string) {
	defer e.lockEntry(name)()
	e.dropLocked(name)
}

// dropLocked discards a connection's state. The entry's lock must be held.
func (e *Engine) dropLocked(name string) {
	if st := e.states.get(name); st != nil {
		st.closeIdle()
		if st.conn.Settings.HasSchedule() {
			e.wakeRotation(name)
		}
	}
	e.states.drop(name)
	e.timers.drop(name)
}

// state returns the current state of a connection, from memory if possible.
func (e *Engine) state(ctx context.Context, name string) (*state, error) {
	if st := e.states.get(name); st != nil {
		return st, nil
	}
	defer e.lockEntry(name)()
	if st := e.states.get(name); st != nil {
		return st, nil
	}
	return e.loadLocked(ctx, name, nil)
}

// loadLocked reads a connection and its token from storage and makes them the current
// state in the place of was, which may be nil. The entry's lock is held.
func (e *Engine) loadLocked(ctx context.Context, name string, was *state) (*state, error) {
	conn, err := e.load(ctx, name)
	if errors.Is(err, ErrNotConfigured) {
		e.endCountersLocked(name) // another node may have deleted it
	}
	if err != nil {
		return nil, err
	}
	client, err := e.http.client(conn, was)
	if err != nil {
		return nil, fmt.Errorf("connection %q: ca_pem %w", name, err)
	}
	st := &state{conn: conn, http: client, revision: e.states.nextRevision(), activity: map[string]clientActivity{}, counters: e.states.countersOf(name)}
	if standby, ok := conn.Pair.Standby(); ok {
		st.activity[standby.ID] = clientActivity{tokensUntil: conn.Rotation.RegenerateAfter}
	}
	if t, until := e.loadToken(ctx, name, conn); t != nil && !conn.Settings.Lease {
		st.activity[t.clientID] = clientActivity{tokensUntil: until}
		st = st.withToken(t)
		if known := st.activity[t.clientID]; known.verified.Before(conn.Pair.Active().SecretSetTime) {
			known.verified = time.Time{} // with the secret before
			st.activity[t.clientID] = known
		}
	} else if conn.Settings.HasPair() {
		st.activity[conn.Pair.Active().ID] = e.possibleActivity(conn)
	}
	st = st.withStoredClaims()
	if was != nil {
		st.token.keepForwards(was.token)
	}
	e.planRotation(st)
	e.states.put(name, st)
	e.scheduleNextRefresh(name, st)
	e.scheduleRotation(name, st)
	e.scheduleFirstCheck(name, st.conn, st.lastCheck())
	return st, nil
}

func (e *Engine) load(ctx context.Context, name string) (*connection.Connection, error) {
	stored, err := e.readEntry(ctx, name)
	switch {
	case err != nil:
		return nil, err
	case stored == nil:
		return nil, ErrNotConfigured
	}
	return connection.Decode(name, stored.Value)
}

// readEntry returns a connection's storage entry, or nil if there is none.
func (e *Engine) readEntry(ctx context.Context, name string) (*logical.StorageEntry, error) {
	stored, err := e.storage.Get(ctx, entryPrefix+name)
	if err != nil {
		return nil, fmt.Errorf("connection %q: reading its storage entry: %w", name, err)
	}
	return stored, nil
}

// possibleActivity returns the activity to assume for the active client of a
// connection that was loaded from storage without a token: the previous leader may
// have fetched one up to now.
func (e *Engine) possibleActivity(conn *connection.Connection) clientActivity {
	return clientActivity{tokensUntil: e.now().Add(cmp.Or(conn.TokenLifetime, gbgauth.MaxLifetime))}
}

// update replaces the state of a connection with f of it. ok is false if the
// connection is gone or its token requests have changed since revision.
func (e *Engine) update(name string, revision uint64, f func(*state) *state) (ok bool) {
	defer e.lockEntry(name)()
	st := e.states.get(name)
	if st == nil || st.revision != revision {
		return false
	}
	e.states.put(name, f(st))
	return true
}

// install makes a token that was fetched for a revision the current one. It is stored
// first, so that a token that readers have seen survives a restart. If the token
// request has changed since, nothing happens and the error is errSuperseded.
func (e *Engine) install(name string, revision uint64, t *token) error {
	defer e.lockEntry(name)()
	was := e.states.get(name)
	if was == nil || was.revision != revision {
		return errSuperseded
	}
	if !e.setCurrentLocked(e.ctx, name, was, was.withToken(t)) {
		return ErrClosed
	}
	e.reportToken(name, was.conn, was, t)
	return nil
}

// setCurrentLocked replaces was, which may be nil, with next. If next has a new token
// that could not be stored while the engine is being closed, it discards the state
// instead and returns false: the next leader would not know of the token, and would
// compute a regenerate_after that is too early. The entry's lock must be held.
func (e *Engine) setCurrentLocked(ctx context.Context, name string, was, next *state) (ok bool) {
	newToken := was == nil || was.token != next.token
	if newToken && !e.storeTokenLocked(ctx, name, next) && e.ctx.Err() != nil {
		e.dropLocked(name)
		return false
	}
	e.states.put(name, next)
	e.scheduleNextRefresh(name, next)
	return true
}

// connectionUpdate is a change of a connection that is ready to be stored.
type connectionUpdate struct {
	// was is the state that the change is based on; nil for a new connection.
	was  *state
	conn *connection.Connection
	// http is what conn's requests go through.
	http *gbgauth.Client
	// tokens are the tokens that conn's clients have just got.
	tokens []*token
	// proofs are further tokens that they have just got, which are discarded.
	proofs []*token
	// seal, if not nil, completes conn. It is called with the state to be replaced,
	// once no further token can become current in it.
	seal func(before *state)
	// notice is for the next reader; nil if there is none.
	notice *pendingNotice
}

// commit stores a connection in one write and makes it the current one. If another
// node has changed the connection since u.was, nothing happens and the error is
// errSuperseded. Any other error means that nothing has changed, unless it states
// that this is unknown.
func (e *Engine) commit(ctx context.Context, name string, u connectionUpdate) error {
	defer e.lockEntry(name)()
	was := e.states.get(name)
	if !was.sameConnection(u.was) {
		return errSuperseded
	}
	if u.seal != nil {
		u.seal(was)
	}
	u.recordActivity(was)
	encoded, err := u.conn.Encode()
	if err != nil {
		return err
	}
	if err := e.putLocked(ctx, name, was, encoded); err != nil {
		e.wakeRotation(name) // it may be stored
		return err
	}
	next := was.replacedBy(u.conn, u.http, e.now())
	if next.revision == 0 {
		next.revision = e.states.nextRevision()
	}
	if next.counters == nil {
		next.counters = e.states.countersOf(name)
	}
	for _, t := range u.tokens {
		e.reportToken(name, u.conn, was, t)
		next = next.withToken(t)
	}
	for _, t := range u.proofs {
		next = next.withProof(t)
		if next.conn.Pair.Active().ID != t.clientID {
			next.checks, next.tries = standbyChecks{}, scheduledTries{}
		}
	}
	if u.notice != nil {
		next.notice = u.notice
	}
	if was != nil && was.http != next.http {
		was.closeIdle()
	}
	e.planRotation(next)
	if e.setCurrentLocked(ctx, name, was, next) { // either way, the connection is stored
		e.scheduleRotation(name, next)
	}
	e.scheduleCheck(name, next.conn, next.lastCheck())
	return nil
}

// recordActivity adds what is known in memory of the clients to their stored form, so
// that it needs no separate write. was may be nil.
func (u connectionUpdate) recordActivity(was *state) {
	learnt := was.activityFor(u.conn)
	for slot := range u.conn.Pair.Clients {
		client := &u.conn.Pair.Clients[slot]
		a := learnt[client.ID]
		client.VerifiedTime = latest(client.VerifiedTime, wallTime(a.verified))
		client.Claims = a.claims
		for _, t := range slices.Concat(u.tokens, u.proofs) {
			if t.clientID == client.ID {
				client.Claims = t.claims
			}
		}
	}
}

// putLocked writes a connection's entry in place of that of was, which is nil if
// there is none. A write that is reported as failed may have been stored all the same
// (a lost answer), so the entry is read back after a failure. The entry's lock must
// be held.
func (e *Engine) putLocked(ctx context.Context, name string, was *state, encoded []byte) error {
	err := e.storage.Put(ctx, &logical.StorageEntry{Key: entryPrefix + name, Value: encoded, SealWrap: true})
	if err == nil {
		return nil
	}
	if IsReadOnly(err) {
		return logical.ErrReadOnly // bare, so that Vault forwards the request
	}
	stored, lookErr := e.readBack(ctx, entryPrefix+name)
	switch {
	case lookErr != nil:
		e.dropLocked(name)
		return fmt.Errorf("connection %q: Vault's storage did not confirm the write, and could not be read to check it: %w", name, err)
	case bytes.Equal(stored, encoded):
		e.logger.Warn("storage reported a failed write, but the data was written", "connection", name, "error", err)
		return nil
	case !was.storedAs(stored):
		e.dropLocked(name)
	}
	return fmt.Errorf("connection %q: nothing has changed: Vault's storage refused the write: %w", name, err)
}

// readBack returns the stored value after a failed write or delete, or nil if there is
// none.
func (e *Engine) readBack(ctx context.Context, key string) ([]byte, error) {
	ctx, end := detachedContext(ctx)
	defer end()
	stored, err := e.storage.Get(ctx, key)
	if err != nil || stored == nil {
		return nil, err
	}
	return stored.Value, nil
}

// Delete removes a connection. It is not an error if there is none. There is no request
// to GBG: tokens issued before stay valid until they expire.
func (e *Engine) Delete(ctx context.Context, name string) error {
	ctx, unlock, err := e.startChange(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	defer e.lockEntry(name)()
	was, lookErr := e.readBack(ctx, entryPrefix+name)
	// The token goes first: if the second step fails, the connection is still complete.
	for _, prefix := range []string{TokenPrefix, entryPrefix} {
		if err := e.storage.Delete(ctx, prefix+name); err != nil {
			if IsReadOnly(err) {
				return logical.ErrReadOnly
			}
			if stored, lookErr := e.readBack(ctx, prefix+name); lookErr != nil || stored != nil {
				return fmt.Errorf("connection %q: Vault's storage refused to delete it: %w", name, err)
			}
		}
	}
	e.dropLocked(name)
	e.rotations.drop(name)
	e.checks.drop(name)
	e.endCountersLocked(name)
	if was != nil || lookErr != nil {
		e.logger.Info("connection deleted", "connection", name)
		e.observer.OnEvent(Event{Kind: EventDeleted, Connection: name})
	}
	return nil
}
