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
	// revocationBudget is how long a run of RetryRevocations starts new requests, and
	// maxRevocationTime the time limit for one token. Vault ends a run after 90
	// seconds.
	revocationBudget  = 45 * time.Second
	maxRevocationTime = 30 * time.Second
)

// revocations tracks the revocations that have failed. The zero value is ready to
// use. It is safe for concurrent use.
type revocations struct {
	endpoints revocationEndpoints

	mu sync.Mutex
	// failed orders the stored revocations by their last failure. One that has just
	// failed is tried last, so that a token that GBG refuses to revoke does not delay
	// the others each time.
	failed   map[string]uint64
	failures uint64
	// next is the key that the next run starts with; empty means the first.
	next string
	// unreadable holds the connections that were logged as unreadable; entriesFail is
	// set if stored revocations were logged that cannot be read or deleted.
	unreadable  map[string]bool
	entriesFail bool
}

// recordFailure moves a stored revocation to the end of the order.
func (r *revocations) recordFailure(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = make(map[string]uint64)
	}
	r.failures++
	r.failed[key] = r.failures
}

// order returns the keys of all stored revocations in the order in which a run tries
// them, and discards what is recorded of any others.
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

// stop records the key that the next run starts with; empty means the first.
func (r *revocations) stop(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = key
}

// shouldLog reports whether to log that a connection cannot be read. It returns true
// once, until the connection could be read again.
func (r *revocations) shouldLog(connection string, unreadable bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	logged := r.unreadable[connection]
	if !unreadable {
		delete(r.unreadable, connection)
		return false
	}
	if r.unreadable == nil {
		r.unreadable = make(map[string]bool)
	}
	r.unreadable[connection] = true
	return !logged
}

// shouldLogEntries reports whether to log that stored revocations cannot be read or
// deleted. It returns true once, until a run without such a failure.
func (r *revocations) shouldLogEntries(fail bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	logged := r.entriesFail
	r.entriesFail = fail
	return fail && !logged
}

// RetryRevocations retries the pending revocations, and deletes those of tokens that
// have expired. It is called about once a minute. Entries that cannot be read are
// skipped, and a failing endpoint is retried with increasing pauses, so that neither
// delays the revocations of other connections. A run that has used up its time leaves
// the rest to the next run, which starts there.
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
			return nil // left to a node that may write
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

// retryRevocation retries one stored revocation. The error is that of reading or
// deleting its storage entry.
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
			e.logger.Warn("tokens are waiting to be revoked: their connection cannot be read", "connection", t.Connection, "error", err)
		}
		return nil
	}
	if !ended {
		e.revocations.shouldLog(t.Connection, false)
	} else if t.Connection != "" {
		e.logger.Warn("token expired before it could be revoked", "connection", t.Connection, e.idKey(t.Connection), t.ClientID, "expire_time", t.Expires)
	}
	return e.storage.Delete(ctx, RevocationPrefix+key)
}
