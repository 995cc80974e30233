package backend

import (
	"errors"
	"fmt"
	"sync/atomic"

	"vault-plugin-secrets-gbg/backend/connection"
)

// pendingWarning is a sentence for the next reader, once. Nil stands for none.
type pendingWarning struct {
	text  string
	taken atomic.Bool
}

// take returns the text to the first caller, and "" to all others.
func (w *pendingWarning) take() string {
	if w == nil || w.taken.Load() || w.taken.Swap(true) {
		return ""
	}
	return w.text
}

// mayFailOver reports whether there is a standby that may take over by itself.
func (s *state) mayFailOver() bool {
	standby, ok := s.conn.Pair.Standby()
	if s.conn.Settings.UsesKeys() && s.clientStatus(standby).VerifiedTime.IsZero() {
		return false // its key may not be registered yet
	}
	return ok && !s.conn.Settings.NoFailover
}

// failOver makes the standby active because GBG refuses the active client, if
// the standby can prove itself: with the token that it gets. If it cannot, or
// must not, the state stays as it is and the error is refused, with what GBG said
// of the standby. If the connection's token request has changed the error is
// errSuperseded.
func (e *Engine) failOver(limit timeLimit, name string, st *state, refused *ClientError) (proof *token, err error) {
	if now := e.states.get(name); now == nil || !now.mayFailOver() {
		return nil, refused
	}
	unlock, err := e.changes.lock(limit.ctx, name)
	if err != nil {
		return nil, refused
	}
	defer unlock()
	// The settings may have changed while this waited for GBG and for the lock.
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
	next := *now.conn
	todo := "write the refused client's current secret to config"
	if next.Settings.UsesKeys() {
		todo = "make a new key for the refused client and register it there"
	}
	if refused.Step == StepExchange {
		todo = "ask GBG what that client's tokens lack"
	}
	warning := fmt.Sprintf("%s (%s), so client %q has taken over: %s", refused.outcome(), refused.Cause.Code, standby.ID, todo)
	if err := e.flip(e.ctx, name, now, &next, proof, connection.CauseFailover, &pendingWarning{text: warning}); err != nil {
		return nil, err
	}
	e.logger.Warn("failed over", "connection", name, "active_client_id", standby.ID, "refused_client_id", refused.ClientID, "error", refused.Cause)
	return proof, nil
}
