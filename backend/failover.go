package backend

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// FailoverNotice tells a reader that the standby has taken over.
type FailoverNotice struct {
	// Text names both clients and why the one was refused.
	Text string
	// RefusedID is the id of the client or user that was active. Fields are about it.
	RefusedID string
	Fields    connection.PairFields
	// AtExchange is set if GBG refused to exchange the client's token. A new secret
	// does not change that.
	AtExchange bool
}

// pendingNotice is a notice for the next reader only. Nil means none.
type pendingNotice struct {
	notice FailoverNotice
	taken  atomic.Bool
}

// take returns the notice on the first call, and nil afterwards.
func (w *pendingNotice) take() *FailoverNotice {
	if w == nil || w.taken.Load() || w.taken.Swap(true) {
		return nil
	}
	return &w.notice
}

// mayFailOver reports whether there is a standby and failover is enabled.
func (s *state) mayFailOver() bool {
	standby, ok := s.conn.Pair.Standby()
	if s.conn.Settings.UsesKeys() && s.clientStatus(standby).VerifiedTime.IsZero() {
		return false // its key may not be registered yet
	}
	return ok && !s.conn.Settings.NoFailover
}

// failOver makes the standby active after GBG refused the active client, if the
// standby can get a token, which it returns. Otherwise the state stays as it is and
// the error is refused, together with the standby's if it has one. The error is
// errSuperseded if the connection's token request has changed.
func (e *Engine) failOver(limit timeLimit, name string, st *state, refused *ClientError) (proof *token, err error) {
	if now := e.states.get(name); now == nil || !now.mayFailOver() {
		return nil, refused
	}
	unlock, err := e.changes.lock(limit.ctx, name)
	if err != nil {
		return nil, refused
	}
	defer unlock()
	// The settings may have changed during the wait for GBG and for the lock.
	now := e.states.get(name)
	switch {
	case now == nil || now.revision != st.revision:
		return nil, errSuperseded
	case !now.mayFailOver():
		return nil, refused
	}
	standby, _ := now.conn.Pair.Standby()
	r := e.activeRequest(name, now)
	r.client = standby
	proof, err = e.requestToken(limit, r)
	if errors.Is(err, errSuperseded) {
		return nil, err
	}
	if err != nil {
		return nil, pairError(refused, err)
	}
	next, fields := *now.conn, now.conn.PairFields()
	next.Pair = next.Pair.Refused(refused.ClientID, refused.refusal(e.now()))
	notice := &pendingNotice{notice: FailoverNotice{
		Text:       fmt.Sprintf("%s (%s), so %s %q has taken over", refused.outcome(), refused.Cause.Code, fields.Noun(), standby.ID),
		RefusedID:  refused.ClientID,
		Fields:     fields,
		AtExchange: refused.Step == StepExchange,
	}}
	if err := e.flip(e.ctx, name, now, &next, proof, connection.CauseFailover, notice); err != nil {
		return nil, err
	}
	e.logger.Warn("failed over", "connection", name, fields.ActiveKey(), standby.ID, "refused_"+fields.IDKey(), refused.ClientID, "error", refused.Cause)
	return proof, nil
}

// refusal returns what is stored of the refusal of a client.
func (e *ClientError) refusal(now time.Time) connection.Refusal {
	return connection.Refusal{
		Error: e.problem(), Result: resultOf(e), Time: wallTime(now),
		AtExchange: e.Step == StepExchange, OfOrganization: e.OrganizationRefused(),
	}
}
