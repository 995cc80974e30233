package backend

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// Counts counts what happened to one connection since the engine started.
type Counts struct {
	// Memory, Storage and GBG count the successful reads by the origin of the token;
	// Failed counts the reads that failed because there was no token.
	Memory, Storage, GBG, Failed uint64
	// Rotations, Scheduled and Failovers count the changes of the active client.
	Rotations, Scheduled, Failovers uint64
	// ChecksOK, ChecksRefused and ChecksUnreachable count the checks of the standby by
	// their result.
	ChecksOK, ChecksRefused, ChecksUnreachable uint64
}

// counters are the running counts of a connection, and what has been logged about it.
// They outlive its states.
type counters struct {
	// lacking and assumed are set if the last token lacked scopes or had no lifetime.
	lacking, assumed atomic.Bool
	// rotation is the rotation that was last reported as due; nil if none was.
	rotation                                atomic.Pointer[reportedRotation]
	reads                                   [fromGBG + 1]atomic.Uint64
	failed, rotations, scheduled, failovers atomic.Uint64

	checksOK, checksRefused, checksUnreachable atomic.Uint64
	// renewed is when a token was last fetched because of newer_than; nil means never.
	renewed atomic.Pointer[time.Time]
	// checkRunning is set while the standby is checked.
	checkRunning atomic.Bool
	// claimsDiffer are the claims last logged as different; nil if none were.
	claimsDiffer atomic.Pointer[string]
	// waiting is the number of readers that are waiting for a shared token.
	waiting atomic.Int32
}

// origin is where a reader's token came from.
type origin int

const (
	fromMemory origin = iota
	fromStorage
	fromGBG
)

func (c *counters) counts() Counts {
	return Counts{
		Memory: c.reads[fromMemory].Load(), Storage: c.reads[fromStorage].Load(), GBG: c.reads[fromGBG].Load(),
		Failed: c.failed.Load(), Rotations: c.rotations.Load(), Scheduled: c.scheduled.Load(), Failovers: c.failovers.Load(),
		ChecksOK: c.checksOK.Load(), ChecksRefused: c.checksRefused.Load(), ChecksUnreachable: c.checksUnreachable.Load(),
	}
}

// countCheck counts a check of the standby.
func (c *counters) countCheck(result ProofResult) {
	switch result {
	case ProofOK:
		c.checksOK.Add(1)
	case ProofRefused:
		c.checksRefused.Add(1)
	case ProofUnreachable:
		c.checksUnreachable.Add(1)
	}
}

// plus returns the sum of both.
func (c Counts) plus(o Counts) Counts {
	return Counts{
		Memory: c.Memory + o.Memory, Storage: c.Storage + o.Storage, GBG: c.GBG + o.GBG,
		Failed: c.Failed + o.Failed, Rotations: c.Rotations + o.Rotations, Scheduled: c.Scheduled + o.Scheduled, Failovers: c.Failovers + o.Failovers,
		ChecksOK: c.ChecksOK + o.ChecksOK, ChecksRefused: c.ChecksRefused + o.ChecksRefused, ChecksUnreachable: c.ChecksUnreachable + o.ChecksUnreachable,
	}
}

// TotalCounts returns the sum of the counts of all connections since the engine
// started. It never falls: deleted connections are included.
func (e *Engine) TotalCounts() Counts { return e.states.totalCounts() }

// countRead counts a successful read.
func (c *counters) countRead(from origin) { c.reads[from].Add(1) }

// countFailure counts a read that fails with err, if that means that there was no
// token, and returns err.
func (c *counters) countFailure(err error) error {
	var failing *FailingError
	var short *ShortTokenError
	if errors.As(err, &failing) || errors.As(err, &short) {
		c.failed.Add(1)
	}
	return err
}

// endCountersLocked deletes the counters of a connection that no longer exists, here
// and at the observer. The entry's lock must be held.
func (e *Engine) endCountersLocked(name string) {
	if e.states.end(name) {
		e.observer.Forget(name)
	}
}

// endCountersOfDeleted deletes the counters of connections that another node has
// deleted. names are the existing connections, sorted.
func (e *Engine) endCountersOfDeleted(ctx context.Context, names []string) {
	e.states.counters.Range(func(key, _ any) bool {
		name := key.(string)
		if _, listed := slices.BinarySearch(names, name); !listed {
			e.endCountersIfDeleted(ctx, name)
		}
		return ctx.Err() == nil
	})
}

// endCountersIfDeleted deletes the counters of a connection that is not in storage.
// It checks again because the connection may have been created since the names were
// listed.
func (e *Engine) endCountersIfDeleted(ctx context.Context, name string) {
	defer e.lockEntry(name)()
	if e.states.get(name) != nil {
		return
	}
	if stored, err := e.readEntry(ctx, name); err == nil && stored == nil {
		e.endCountersLocked(name)
	}
}

// countFlip counts a change of the active client.
func (c *counters) countFlip(cause connection.RotationCause) {
	switch cause {
	case connection.CauseFailover:
		c.failovers.Add(1)
	case connection.CauseSchedule:
		c.scheduled.Add(1)
	case connection.CauseRotate:
		c.rotations.Add(1)
	}
}
