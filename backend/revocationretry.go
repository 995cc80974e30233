package backend

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// revocationBudget is how long a run of RetryRevocations begins requests, and
	// maxRevocationTime how long it gives one token. Vault ends a run after 90 seconds.
	revocationBudget  = 45 * time.Second
	maxRevocationTime = 30 * time.Second
)

// revocations is what an engine remembers of the revocations that have failed. The
// zero value is ready, and it is safe for concurrent use.
type revocations struct {
	endpoints revocationEndpoints

	mu sync.Mutex
	// failed orders the stored revocations that have failed by when they last did.
	// Each makes way for the others: a token that GBG refuses to revoke must not be
	// the one that is tried each time.
	failed   map[string]uint64
	failures uint64
	// next is where the last run stopped; empty if it came to the end.
	next string
	// unreadable holds the connections that the log has been told of, and entriesFail
	// is set once it was told of stored revocations that cannot be read or removed.
	unreadable  map[string]bool
	entriesFail bool
}

// recordFailure puts a stored revocation last in the order of the next runs.
func (r *revocations) recordFailure(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = make(map[string]uint64)
	}
	r.failures++
	r.failed[key] = r.failures
}

// order sorts the keys of all stored revocations into the order in which a run is to
// try them, and forgets the others.
func (r *revocations) order(keys []string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	failed := make(map[string]uint64)
	for _, key := range keys {
		if n, ok := r.failed[key]; ok {
			failed[key] = n
		}
	}
	r.failed = failed
	if len(keys) == 0 {
		clear(r.unreadable)
	}
	compare := func(a, b string) int { return cmp.Or(cmp.Compare(failed[a], failed[b]), cmp.Compare(a, b)) }
	slices.SortFunc(keys, compare)
	first, _ := slices.BinarySearchFunc(keys, r.next, compare)
	return slices.Concat(keys[first:], keys[:first])
}

// stop notes where the next run is to begin; empty is at the beginning.
func (r *revocations) stop(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = key
}

// shouldLog reports whether the log is to be told that a connection cannot be read: once,
// until it could be.
func (r *revocations) shouldLog(connection string, unreadable bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.unreadable[connection]
	if !unreadable {
		delete(r.unreadable, connection)
		return false
	}
	if r.unreadable == nil {
		r.unreadable = make(map[string]bool)
	}
	r.unreadable[connection] = true
	return !told
}

// shouldLogEntries reports whether the log is to be told that stored revocations cannot
// be read or removed: once, until a run has met none.
func (r *revocations) shouldLogEntries(fail bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.entriesFail
	r.entriesFail = fail
	return fail && !told
}

// RetryRevocations tries once more to revoke the tokens whose leases have ended, and
// forgets those that have ended by themselves. It is called about once a minute. What
// cannot be read is passed over, and an endpoint that has failed is left alone for a
// growing pause: neither keeps the tokens of other connections from being revoked. A
// run that has used up its time leaves the rest to the next one, which begins there.
func (e *Engine) RetryRevocations(ctx context.Context) error {
	ctx, leave, err := e.join(ctx)
	if err != nil {
		return err
	}
	defer leave()
	began := e.now()
	e.revocations.endpoints.prune(began)
	keys, err := e.storage.List(ctx, RevocationPrefix)
	if err != nil {
		return err
	}
	var failed error
	for _, key := range e.revocations.order(keys) {
		if ctx.Err() != nil || e.now().Sub(began) >= revocationBudget {
			e.revocations.stop(key)
			return context.Cause(ctx)
		}
		if err := e.retryRevocation(ctx, key); IsReadOnly(err) {
			return nil // the node that may write does this
		} else if err != nil && ctx.Err() == nil {
			failed = cmp.Or(failed, err)
		}
	}
	e.revocations.stop("")
	if e.revocations.shouldLogEntries(failed != nil) {
		e.logger.Warn("pending revocations could not be read or deleted; trying again every minute", "error", failed)
	}
	return nil
}

// retryRevocation tries one stored revocation. The error is its storage entry's.
func (e *Engine) retryRevocation(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, maxRevocationTime)
	defer cancel()
	t, err := e.loadRevocation(ctx, RevocationPrefix+key)
	if err != nil {
		return err
	}
	ended := t.Expires.Sub(e.now()) <= endsAnyway
	if err := e.revoke(ctx, t); err != nil {
		var failed *RevocationError
		unreadable := !errors.As(err, &failed)
		if ctx.Err() == nil && e.revocations.shouldLog(t.Connection, unreadable) {
			e.logger.Warn("tokens wait to be revoked: their connection cannot be read", "connection", t.Connection, "error", err)
		}
		return nil
	}
	if !ended {
		e.revocations.shouldLog(t.Connection, false)
	} else if t.Connection != "" {
		e.logger.Warn("token has ended by itself before it could be revoked", "connection", t.Connection, "client_id", t.ClientID, "expire_time", t.Expires)
	}
	return e.storage.Delete(ctx, RevocationPrefix+key)
}
