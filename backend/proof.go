package backend

import (
	"context"
	"errors"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// proof is the outcome of a token request that only shows whether a client gets a token.
// The token is discarded.
type proof struct {
	client connection.Client
	// token is nil if the client got none; err is the reason.
	token *token
	err   *ClientError
	// time is when the request ended.
	time time.Time
}

// ProofResult is the result of a proof in a word.
type ProofResult string

// The results of a proof.
const (
	// ProofOK means that the client got a token.
	ProofOK ProofResult = "ok"
	// ProofRefused means that the endpoint refused the client or its request.
	ProofRefused ProofResult = "refused"
	// ProofUnreachable means that there was neither a token nor a refusal.
	ProofUnreachable ProofResult = "unreachable"
)

func (p proof) result() ProofResult {
	switch {
	case p.token != nil:
		return ProofOK
	case p.err != nil && p.err.Refused():
		return ProofRefused
	}
	return ProofUnreachable
}

// prove requests a token for a client, also in the pause after a failure. If the client
// is refused, prove tries once more. The error is errSuperseded if r is stale, or ctx's.
func (e *Engine) prove(ctx context.Context, st *state, r tokenRequest) (proof, error) {
	limit, end := e.limit(ctx, st.conn)
	defer end()
	t, err := e.requestConfirmed(limit, r)
	p := proof{client: r.client, token: t, time: e.now()}
	if err != nil && !errors.As(err, &p.err) {
		return p, err
	}
	if t != nil {
		e.discard(r.connection, t)
	}
	return p, nil
}

// requestConfirmed is requestToken, but requests once more if the client is refused, so
// that one stray answer causes no alarm.
func (e *Engine) requestConfirmed(limit timeLimit, r tokenRequest) (*token, error) {
	t, err := e.requestToken(limit, r)
	if clientRefusal(err) != nil && e.waitRetry(limit, refusedPause) {
		return e.requestToken(limit, r)
	}
	return t, err
}

// discard revokes an unused token in the background, if the connection has a revocation
// endpoint. If that fails, the token stays valid until it expires.
func (e *Engine) discard(name string, t *token) {
	done, ok := e.begin()
	if !ok {
		return
	}
	go func() {
		defer done()
		_ = e.revoke(e.ctx, LeasedToken{Connection: name, ClientID: t.clientID, AccessToken: t.access, Expires: t.expires})
	}()
}

// recordStandbyRefusal stores that the standby was refused in a rotation, if err is a
// refusal and conn requests its tokens as the stored connection does. The lock for changes
// of the connection must be held.
func (e *Engine) recordStandbyRefusal(ctx context.Context, name string, conn *connection.Connection, standby connection.Client, err error) {
	p := proof{client: standby, time: e.now()}
	if !errors.As(err, &p.err) || p.result() != ProofRefused {
		return
	}
	if _, err := e.recordProofsLocked(ctx, name, conn, p); err != nil {
		e.logger.Warn("the outcome of a verification could not be stored", "connection", name, "error", err)
	}
}

// recordProofs stores the outcome of proofs that were made for st, and returns the state
// afterwards. It ignores proofs of requests that the connection no longer makes, and
// failures other than refusals. If there is nothing to store it returns nil. It waits
// for a change that is in progress.
func (e *Engine) recordProofs(ctx context.Context, name string, st *state, proofs ...proof) (*state, error) {
	unlock, err := e.changes.lock(ctx, name)
	if err != nil {
		return nil, context.Cause(ctx)
	}
	defer unlock()
	return e.recordProofsLocked(ctx, name, st.conn, proofs...)
}

// recordProofsLocked is recordProofs for a caller that holds the lock for changes of the
// connection.
func (e *Engine) recordProofsLocked(ctx context.Context, name string, conn *connection.Connection, proofs ...proof) (*state, error) {
	for {
		after, err := e.recordProofsOnce(ctx, name, conn, proofs)
		if !errors.Is(err, errSuperseded) {
			return after, err
		}
	}
}

// recordProofsOnce does so on the connection as it is now. The error is errSuperseded if
// another node has changed the connection meanwhile.
func (e *Engine) recordProofsOnce(ctx context.Context, name string, conn *connection.Connection, proofs []proof) (*state, error) {
	now, err := e.state(ctx, name)
	if err != nil {
		return nil, err
	}
	next := *now.conn
	u := connectionUpdate{was: now, conn: &next, http: now.http}
	changed := false
	for _, p := range proofs {
		if !now.conn.HasClient(conn, p.client) {
			continue
		}
		switch p.result() {
		case ProofOK:
			next.Pair = next.Pair.Verified(p.client.ID, p.token.fetched)
			u.proofs = append(u.proofs, p.token)
			changed = true
		case ProofRefused:
			// For the active client the backoff records it.
			if p.client.ID != next.Pair.Active().ID {
				next.Pair = next.Pair.Refused(p.client.ID, p.err.refusal(p.time))
				changed = true
			}
		case ProofUnreachable:
		}
	}
	if !changed {
		return nil, nil
	}
	if err := e.commit(ctx, name, u); err != nil {
		return nil, err
	}
	return e.states.get(name), nil
}
