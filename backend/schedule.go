package backend

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// Rotations on a schedule. A connection that has one keeps a timer for the next moment
// at which there is something to do: a due time, the next try, or the end of a window.
// What a rotation was due for and which due time was met last are stored with the
// connection, in the write that flips the pair, so a new leader, a restart or a second
// look at the same time cannot rotate twice.

const (
	// maxRotationDelay is the longest pause after a try that GBG did not answer, and
	// maxRefusedDelay after one that it refused.
	maxRotationDelay = 5 * time.Minute
	maxRefusedDelay  = time.Hour
)

// scheduledTries are the failed tries to make the rotation that is due. Its zero value
// means that there were none.
type scheduledTries struct {
	failed int
	err    error
	// next is when it is tried again.
	next time.Time
}

// planRotation computes the plan of a state that is not shared yet.
func (e *Engine) planRotation(st *state) { st.rotation = st.conn.RotationPlan(e.now()) }

// scheduleRotation sets the timer of a state's schedule.
func (e *Engine) scheduleRotation(name string, st *state) {
	p := st.rotation
	if p.Next.IsZero() || !e.background.Load() {
		e.rotations.drop(name)
		return
	}
	at := p.Next
	switch {
	case p.Ready():
		at = earliest(latest(st.tries.next, e.now()), earliest(at, p.Closes))
	case !p.Due.IsZero() && !st.counters.reported(p):
		at = e.now()
	}
	e.rotations.set(name, at.Sub(e.now()), func() { e.rotateOnSchedule(name) })
}

// wakeRotation plans another look at a connection's schedule, after a failure of storage
// or after its state was dropped.
func (e *Engine) wakeRotation(name string) {
	if e.background.Load() {
		e.rotations.set(name, noStoragePause, func() { e.rotateOnSchedule(name) })
	}
}

// rotateOnSchedule makes a connection's rotation if it is due, and sets its timer.
func (e *Engine) rotateOnSchedule(name string) {
	ctx, end, err := e.startChange(e.ctx, name)
	if err != nil {
		return
	}
	defer end()
	for errors.Is(e.rotateIfDue(ctx, name), errSuperseded) {
	}
}

// rotateIfDue makes the rotation of the connection as it is now, if it is due and the
// standby has a new secret. The error is errSuperseded if that has changed meanwhile.
func (e *Engine) rotateIfDue(ctx context.Context, name string) error {
	st, err := e.state(ctx, name)
	switch {
	case errors.Is(err, ErrNotConfigured):
		return nil
	case err != nil:
		e.wakeRotation(name)
		return nil
	}
	p := st.conn.RotationPlan(e.now())
	if !p.Ready() {
		e.noteRotation(name, st, p, scheduledTries{err: st.tries.err})
		return nil
	}
	stored, err := e.readEntryInTime(ctx, name)
	switch {
	case err != nil: // this process may have outlived its server
		e.wakeRotation(name)
		return nil
	case !st.isStored(name, stored): // another node has changed it
		e.forget(name)
		return errSuperseded
	}
	standby, _ := st.conn.Pair.Standby()
	limit, end := e.limit(ctx, st.conn)
	defer end()
	r := tokenRequest{connection: name, conn: st.conn, client: standby, via: st.http, awaited: notAwaited}
	proof, err := e.requestConfirmed(limit, r)
	if errors.Is(err, errNoStorage) {
		e.wakeRotation(name)
		return nil
	}
	if err != nil {
		e.recordStandbyRefusal(ctx, name, st.conn, standby, err)
		e.rotationFailed(name, st, p, err)
		return nil
	}
	if now := st.conn.RotationPlan(e.now()); !now.Ready() || !now.Due.Equal(p.Due) {
		return errSuperseded
	}
	next := *st.conn
	if err := e.flip(ctx, name, st, &next, proof, connection.CauseSchedule, nil); err != nil {
		if !errors.Is(err, errSuperseded) {
			e.rotationFailed(name, st, p, err)
		}
		return err
	}
	newStandby, _ := next.Pair.Standby()
	e.logger.Info("rotated", "connection", name, "cause", connection.CauseSchedule, next.PairFields().ActiveKey(), standby.ID, next.PairFields().StandbyKey(), newStandby.ID, "regenerate_after", next.Rotation.RegenerateAfter)
	return nil
}

// readEntryInTime is readEntry within storageTimeout.
func (e *Engine) readEntryInTime(ctx context.Context, name string) (*logical.StorageEntry, error) {
	ctx, end := context.WithTimeout(ctx, storageTimeout)
	defer end()
	return e.readEntry(ctx, name)
}

// isStored reports whether an entry, which may be nil, holds the state's connection.
func (s *state) isStored(name string, stored *logical.StorageEntry) bool {
	if stored == nil {
		return false
	}
	conn, err := connection.Decode(name, stored.Value)
	return err == nil && conn.Equal(s.conn)
}

// rotationFailed notes that a try to make the rotation that is due has failed, and plans
// the next one.
func (e *Engine) rotationFailed(name string, st *state, p connection.RotationPlan, err error) {
	if e.ctx.Err() != nil {
		return
	}
	longest := maxRotationDelay
	if clientRefusal(err) != nil {
		longest = maxRefusedDelay
	}
	tries := scheduledTries{failed: 1, err: err}
	if p.Due.Equal(st.rotation.Due) {
		tries.failed += st.tries.failed
	}
	tries.next = e.now().Add(max(e.delay(tries.failed, firstBackoff, longest), retryAfter(err)))
	if isPowerOfTwo(tries.failed) {
		e.logger.Warn("scheduled rotation failed", "connection", name, "failed", tries.failed, "due_since", p.Since, "window_closes", p.Closes, "next_try", tries.next, "error", err)
	}
	e.noteRotation(name, st, p, tries)
}

// noteRotation makes a plan and the failed tries part of a connection's state, reports a
// rotation that is due and cannot be made, and sets the timer.
func (e *Engine) noteRotation(name string, st *state, p connection.RotationPlan, tries scheduledTries) {
	ok := e.update(name, st.revision, func(now *state) *state {
		next := *now
		next.rotation, next.tries = p, tries
		e.reportRotation(name, &next)
		e.scheduleRotation(name, &next)
		return &next
	})
	if !ok {
		e.wakeRotation(name)
	}
}

// reportRotation reports a rotation that is due and cannot be made to the log and the
// observer, once for each due time.
func (e *Engine) reportRotation(name string, st *state) {
	p := st.rotation
	if p.Due.IsZero() || p.Ready() || !st.counters.report(p) {
		return
	}
	standby, _ := st.conn.Pair.Standby()
	log := e.logger.With("connection", name, st.conn.PairFields().StandbyKey(), standby.ID, "due_since", p.Since, "next_rotation", p.Next)
	ev := eventOf(st.conn, EventRotationDue, name)
	if p.Obstacle == connection.WindowClosed {
		ev.Kind = EventRotationMissed
		if st.tries.err != nil {
			log = log.With("error", st.tries.err)
		}
		log.Warn("scheduled rotation missed: its window has closed")
	} else {
		log.Warn("rotation due, standby has no new secret")
	}
	e.observer.OnEvent(ev)
}

// reportedRotation identifies the rotation that was last reported.
type reportedRotation struct {
	due      time.Time
	obstacle connection.RotationObstacle
}

func reportOf(p connection.RotationPlan) reportedRotation {
	return reportedRotation{due: p.Due, obstacle: p.Obstacle}
}

// reported reports whether the rotation of a plan has been reported.
func (c *counters) reported(p connection.RotationPlan) bool {
	last := c.rotation.Load()
	return last != nil && *last == reportOf(p)
}

// report marks the rotation of a plan as reported, and returns false if it was.
func (c *counters) report(p connection.RotationPlan) bool {
	if c.reported(p) {
		return false
	}
	now := reportOf(p)
	c.rotation.Store(&now)
	return true
}

// warnings returns warnings about the connection for operators, usually nil.
func (s *state) warnings(now time.Time) []string {
	warnings := s.conn.Warnings(now)
	if text := s.conn.RotationWarning(s.rotation, s.tries.err); text != "" {
		warnings = append(warnings, text)
	}
	return warnings
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
