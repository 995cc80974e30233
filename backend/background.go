package backend

import (
	"errors"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// StartBackground starts the checks of standbys and the rotations on a schedule, for all
// stored connections, also for those that nobody reads. It returns at once. It must be
// called only on the node that may write the connections.
func (e *Engine) StartBackground() {
	if e.background.Swap(true) {
		return
	}
	done, ok := e.begin()
	if !ok {
		return
	}
	go func() {
		defer done()
		for failed := 1; ; failed++ {
			err := e.planStored()
			if err == nil {
				return
			}
			pause := e.delay(failed, firstBackoff, maxBackoff)
			e.logger.Warn("standby checks and rotations could not be planned; trying again", "next_try", e.now().Add(pause), "error", err)
			if !e.sleep(pause) {
				return
			}
		}
	}()
}

// planStored sets the timers of all stored connections. It keeps only those in memory
// that have a schedule. The error is the storage's.
func (e *Engine) planStored() error {
	names, err := e.Names(e.ctx)
	if err != nil {
		return err
	}
	var failed error
	for _, name := range names {
		if e.ctx.Err() != nil {
			break
		}
		failed = errors.Join(failed, e.plan(name))
	}
	return failed
}

// plan sets the timers of one stored connection.
func (e *Engine) plan(name string) error {
	if st := e.states.get(name); st != nil {
		e.update(name, st.revision, func(st *state) *state {
			e.scheduleRotation(name, st)
			e.scheduleFirstCheck(name, st.conn, st.lastCheck())
			return st
		})
		return nil
	}
	stored, err := e.readEntry(e.ctx, name)
	if err != nil || stored == nil {
		return err
	}
	conn, err := connection.Decode(name, stored.Value)
	switch {
	case err != nil:
		return nil //nolint:nilerr // it is reported to who reads the connection
	case conn.Settings.HasSchedule():
		if _, err := e.state(e.ctx, name); !errors.Is(err, ErrNotConfigured) {
			return err
		}
	default:
		e.scheduleFirstCheck(name, conn, lastCheckStored(conn))
	}
	return nil
}

// sleep waits, and reports whether the engine is still running then.
func (e *Engine) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-e.ctx.Done():
		return false
	}
}
