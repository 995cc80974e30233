package backend

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"vault-plugin-secrets-gbg/backend/connection"
)

// Counts are of one connection, since the engine began.
type Counts struct {
	// Memory, Storage and GBG are the reads that were answered, by where the token
	// came from; Failed those that were not, for want of a token.
	Memory, Storage, GBG, Failed uint64
	// Rotations, Scheduled and Failovers are the changes of the active client.
	Rotations, Scheduled, Failovers uint64
}

// counters are what Counts are read from, and what the log has said already. They
// outlive the states of their connection.
type counters struct {
	// lacking and assumed say that the last token lacked scopes, or had no lifetime.
	// rotation is what was said of a rotation that is due.
	lacking, assumed                        atomic.Bool
	rotation                                atomic.Pointer[reportedRotation]
	reads                                   [fromGBG + 1]atomic.Uint64
	failed, rotations, scheduled, failovers atomic.Uint64
	// waiting is how many readers wait for a shared token now.
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
	}
}

// countRead counts a read that is answered.
func (c *counters) countRead(from origin) { c.reads[from].Add(1) }

// countFailure counts a read that fails with err, if it does for want of a token.
func (c *counters) countFailure(err error) error {
	var failing *FailingError
	var short *ShortTokenError
	if errors.As(err, &failing) || errors.As(err, &short) {
		c.failed.Add(1)
	}
	return err
}

// endCountersLocked ends what is counted of a connection that is gone, here and with
// the observer. The entry's lock is held.
func (e *Engine) endCountersLocked(name string) {
	if e.states.end(name) {
		e.observer.Forget(name)
	}
}

// endCountersOfDeleted does so for the connections that another node has deleted:
// names are those that there are, in order.
func (e *Engine) endCountersOfDeleted(ctx context.Context, names []string) {
	e.states.counters.Range(func(key, _ any) bool {
		name := key.(string)
		if _, listed := slices.BinarySearch(names, name); !listed {
			e.endCountersIfDeleted(ctx, name)
		}
		return ctx.Err() == nil
	})
}

// endCountersIfDeleted looks again: the connection may have been made since the names
// were listed.
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
