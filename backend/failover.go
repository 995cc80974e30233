package backend

import (
	"errors"
	"fmt"
	"sync/atomic"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// pendingWarning is a warning for the next reader only. Nil means none.
type pendingWarning struct {
	text  string
	taken atomic.Bool
}

// take returns the text on the first call, and "" afterwards.
func (w *pendingWarning) take() string {
	if w == nil || w.taken.Load() || w.taken.Swap(true) {
		return ""
	}
	return w.text
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
	todo := fmt.Sprintf("write the refused %s's current %s to config", fields.Noun(), fields.SecretNoun())
	if fields.Keys() {
		todo = "make a new key for the refused client and register it there"
	}
	if refused.Step == StepExchange {
		todo = "ask GBG what that client's tokens lack"
	}
	warning := fmt.Sprintf("%s (%s), so %s %q has taken over: %s", refused.outcome(), refused.Cause.Code, fields.Noun(), standby.ID, todo)
	if err := e.flip(e.ctx, name, now, &next, proof, connection.CauseFailover, &pendingWarning{text: warning}); err != nil {
		return nil, err
	}
	e.logger.Warn("failed over", "connection", name, fields.ActiveKey(), standby.ID, "refused_"+fields.IDKey(), refused.ClientID, "error", refused.Cause)
	return proof, nil
}
