package backend

import (
	"errors"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// A standby that GBG refuses should be noticed before it is needed. So the engine requests
// a token with each standby once every standby_check, and discards it. Each connection
// has one timer for that, also if it is never read; in between, checks cost nothing.

const (
	// checkRetry is the time after which a connection that could not be read is tried
	// again.
	checkRetry = 10 * time.Minute
	// checkSpread is the fraction of the period over which checks are spread.
	checkSpread = 0.1
)

// standbyChecks is the outcome of the last checks of a standby: how many in a row were
// refused, or got neither a token nor a refusal. The zero value means none.
type standbyChecks struct {
	refused, unreachable int
	// last is when the last check ended, and err why it failed; nil if it succeeded.
	last time.Time
	err  *ClientError
}

// next returns the checks after one more.
func (c standbyChecks) next(p proof) standbyChecks {
	n := standbyChecks{last: p.time, err: p.err}
	switch p.result() {
	case ProofRefused:
		n.refused = c.refused + 1
	case ProofUnreachable:
		n.refused, n.unreachable = c.refused, c.unreachable+1
	case ProofOK:
	}
	return n
}

// lastCheckStored returns when the standby of a connection was last verified or refused,
// as far as that is stored. A new secret counts as verified.
func lastCheckStored(conn *connection.Connection) time.Time {
	standby, _ := conn.Pair.Standby()
	return latest(latest(standby.VerifiedTime, standby.Refusal.Time), standby.SecretSetTime)
}

// lastCheck is lastCheckStored, including what is only in memory.
func (s *state) lastCheck() time.Time {
	standby, _ := s.conn.Pair.Standby()
	return latest(latest(lastCheckStored(s.conn), wallTime(s.checks.last)), verifiedTime(standby, s.activity[standby.ID]))
}

// scheduleFirstCheck is scheduleCheck for a connection that was read from storage. It
// keeps a check that is already planned.
func (e *Engine) scheduleFirstCheck(name string, conn *connection.Connection, last time.Time) {
	if !e.checks.has(name) {
		e.scheduleCheck(name, conn, last)
	}
}

// scheduleCheck plans the next check of a connection's standby. last is the time of the
// last one. Without a standby, or with checks off, there is none.
func (e *Engine) scheduleCheck(name string, conn *connection.Connection, last time.Time) {
	period, ok := checkPeriod(conn)
	if !ok {
		e.checks.drop(name)
		return
	}
	spread := time.Duration(e.random() * checkSpread * float64(period))
	due := min(last.Sub(wallTime(e.now())), 0) + period - spread // min: a clock may have been wrong
	if due < 0 {
		due = spread // overdue after a restart: not all at once
	}
	e.scheduleCheckIn(name, due)
}

func (e *Engine) scheduleCheckIn(name string, d time.Duration) {
	if e.background.Load() {
		e.checks.set(name, d, func() { e.runCheck(name) })
	}
}

// checkPeriod returns the time from one check of a connection's standby to the next; ok
// is false if it is not checked.
func checkPeriod(conn *connection.Connection) (period time.Duration, ok bool) {
	period = conn.Settings.WithDefaults().StandbyCheck
	_, hasStandby := conn.Pair.Standby()
	return period, hasStandby && period > 0
}

// runCheck checks a connection's standby if that is due, and plans the next check.
func (e *Engine) runCheck(name string) {
	done, ok := e.begin()
	if !ok {
		return
	}
	defer done()
	st, err := e.state(e.ctx, name)
	if err != nil {
		e.checks.drop(name)
		if !errors.Is(err, ErrNotConfigured) {
			e.scheduleCheckIn(name, checkRetry)
		}
		return
	}
	period, ok := checkPeriod(st.conn)
	earliest := st.lastCheck().Add(time.Duration((1 - checkSpread) * float64(period)))
	if !ok || wallTime(e.now()).Before(earliest) {
		e.scheduleCheck(name, st.conn, st.lastCheck()) // it has got a token in another way
		return
	}
	if !st.counters.checkRunning.CompareAndSwap(false, true) {
		return // that one plans the next
	}
	err = e.checkStandby(name, st)
	st.counters.checkRunning.Store(false)
	if st := e.states.get(name); st != nil && !errors.Is(err, errNoStorage) {
		e.scheduleCheck(name, st.conn, st.lastCheck())
	} else {
		e.scheduleCheckIn(name, checkRetry)
	}
}

// checkStandby requests a token with the standby, and stores and reports the outcome. It
// holds no lock during the request, so a rotation does not wait for it. The outcome
// counts only if the standby's request is still the same afterwards. The error is why
// there is no outcome.
func (e *Engine) checkStandby(name string, st *state) error {
	standby, _ := st.conn.Pair.Standby()
	p, err := e.prove(e.ctx, st, tokenRequest{
		connection: name, conn: st.conn, client: standby, via: st.http, awaited: notAwaited,
		stale: func() bool {
			now := e.states.get(name)
			return now != nil && !now.conn.SameStandby(st.conn)
		},
	})
	if err != nil {
		return err // also if the standby is another one now, or the engine shuts down
	}
	if _, err := e.recordProofs(e.ctx, name, st, p); err != nil {
		if e.ctx.Err() != nil || errors.Is(err, ErrNotConfigured) {
			return err
		}
		e.logger.Warn("the outcome of a standby check could not be stored", "connection", name, st.conn.PairFields().IDKey(), standby.ID, "error", err)
	}
	now := e.states.get(name)
	if now == nil {
		return nil
	}
	counted := e.update(name, now.revision, func(now *state) *state {
		next := *now
		if now.conn.SameStandby(st.conn) {
			next.checks = st.checks.next(p)
		}
		return &next
	})
	if now = e.states.get(name); !counted || now == nil || !now.conn.SameStandby(st.conn) {
		return nil
	}
	now.counters.countCheck(p.result())
	e.reportCheck(name, st, now, p)
	return nil
}

// reportCheck reports a check: failures less and less often, and no single check that got
// neither a token nor a refusal.
func (e *Engine) reportCheck(name string, before, now *state, p proof) {
	log := e.logger.With("connection", name, now.conn.PairFields().IDKey(), p.client.ID)
	switch p.result() {
	case ProofRefused:
		if n := now.checks.refused; isPowerOfTwo(n) {
			log.Warn("standby refused", "refused", n, "error", p.err)
			ev := eventOf(now.conn, EventStandbyRefused, name)
			ev.Result = resultOf(p.err)
			e.observer.OnEvent(ev)
		}
	case ProofUnreachable:
		if n := now.checks.unreachable; n > 1 && isPowerOfTwo(n) {
			log.Warn("standby checks fail", "failed", n, "error", p.err)
		}
	case ProofOK:
		if standby, _ := before.conn.Pair.Standby(); before.checks.refused > 0 || standby.Refusal != (connection.Refusal{}) {
			log.Info("standby accepted again")
			e.observer.OnEvent(eventOf(now.conn, EventStandbyAccepted, name))
		}
		e.reportClaims(name, now)
	}
}

// standbyRefused reports whether the last answer to the standby was a refusal.
func (s *state) standbyRefused() bool {
	standby, _ := s.conn.Pair.Standby()
	return standby.Refusal != connection.Refusal{} || s.checks.refused > 0
}

// standbyError returns why the last check of the standby failed; zero if it did not, or
// if it is too early to report it.
func (s *state) standbyError() connection.Refusal {
	standby, _ := s.conn.Pair.Standby()
	switch {
	case standby.Refusal != connection.Refusal{}:
		return standby.Refusal
	case s.checks.refused > 0 || s.checks.unreachable > 1:
		return s.checks.err.refusal(s.checks.last)
	}
	return connection.Refusal{}
}
