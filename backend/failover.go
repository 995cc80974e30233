package backend

import (
	"fmt"
	"sync/atomic"
)

// notice is a sentence for the next reader, once. Nil has nothing to say.
type notice struct {
	text  string
	taken atomic.Bool
}

// take gives the text to the first who asks.
func (n *notice) take() string {
	if n == nil || n.taken.Load() || n.taken.Swap(true) {
		return ""
	}
	return n.text
}

// failOver makes the standby active because GBG refuses the active client, if
// the standby can prove itself: with the token that it gives. If it cannot, or
// must not, the state stays as it is and the error is refused, with what GBG said
// of the standby.
func (e *Engine) failOver(limit timeLimit, name string, st *state, refused *ClientError) (proof *token, err error) {
	if _, ok := st.conn.Pair.Standby(); !ok || st.conn.Settings.NoFailover {
		return nil, refused
	}
	unlock, err := e.changes.lock(limit.ctx, name)
	if err != nil {
		return nil, refused
	}
	defer unlock()
	now := e.states.get(name)
	if now == nil || now.revision != st.revision {
		return nil, errSuperseded
	}
	standby, _ := now.conn.Pair.Standby()
	proof, err = e.ask(limit, name, now.conn, standby, now.http)
	if err != nil {
		return nil, alsoFailed(refused, err)
	}
	next := *now.conn
	todo := "write the refused client's current secret to config"
	if refused.Step == StepExchange {
		todo = "ask GBG what that client's tokens lack"
	}
	warning := fmt.Sprintf("%s (%s), so client %q has taken over: %s", refused.outcome(), refused.Cause.Code, standby.ID, todo)
	if err := e.flip(e.ctx, name, now, &next, proof, CauseFailover, &notice{text: warning}); err != nil {
		return nil, err
	}
	e.logger.Warn("failed over", "connection", name, "active_client_id", standby.ID, "refused_client_id", refused.ClientID, "error", refused.Cause)
	return proof, nil
}
