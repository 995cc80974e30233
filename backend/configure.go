package backend

import (
	"context"
	"errors"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// Change is a configuration write.
type Change struct {
	Fields connection.Change
	// SkipVerification stores the connection without requesting tokens first.
	SkipVerification bool
}

// verifyConnection is the field of a write that sets SkipVerification.
const verifyConnection connection.Field = "verify_connection"

// Configure creates a connection or changes it. Unless SkipVerification is set, it
// first gets a token with every client whose token request changes; if one fails,
// nothing is stored. A change that makes no difference is not stored. The warnings
// are for the operator. The errors are *InputError, *ClientError, ctx's and the
// storage's.
func (e *Engine) Configure(ctx context.Context, name string, change Change) (warnings []string, err error) {
	ctx, unlock, err := e.startChange(ctx, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for {
		warnings, err = e.configure(ctx, name, change)
		if !errors.Is(err, errSuperseded) {
			return warnings, err
		}
	}
}

// configure applies a configuration write to the connection's current state. The
// error is errSuperseded if another node has changed the connection in the meantime.
func (e *Engine) configure(ctx context.Context, name string, change Change) (warnings []string, err error) {
	var old *connection.Connection
	st, err := e.state(ctx, name)
	switch {
	case err == nil:
		old = st.conn
	case !errors.Is(err, ErrNotConfigured):
		return nil, err
	}
	next, err := old.Apply(change.Fields, e.now())
	if err != nil {
		return nil, err
	}
	newKeys := next.ClientsWithoutKey()
	if len(newKeys) > 0 && !change.SkipVerification {
		return nil, connection.Invalid(verifyConnection, "must be false: this write makes the key of client %q, which must be registered at the identity provider before it can get a token; afterwards read it at keys", newKeys[0])
	}
	if err := next.MakeMissingKeys(e.newKey, e.now()); err != nil {
		return nil, err
	}
	if old.Equal(next) {
		e.endPause(name, st)
		return nil, nil
	}

	client, err := e.http.client(next, st)
	if err != nil {
		return nil, &connection.InputError{Field: connection.CAPEM, Problem: err.Error()}
	}
	defer func() {
		if err != nil && next.Settings.CAPEM != "" && (st == nil || client != st.http) {
			client.CloseIdleConnections()
		}
	}()
	var tokens []*token
	if !change.SkipVerification {
		if tokens, err = e.verify(ctx, name, next, client, next.ClientsToVerify(old)); err != nil {
			return nil, err
		}
	}
	warnings = next.ReplacedClients(old)
	for _, t := range tokens {
		next.Pair = next.Pair.Verified(t.clientID, t.fetched)
		next.TokenLifetime = t.lifetime()
		warnings = append(warnings, t.warnings()...)
	}
	if err := e.commit(ctx, name, connectionUpdate{was: st, conn: next, http: client, tokens: tokens}); err != nil {
		return nil, err
	}
	if len(tokens) > 0 {
		warnings = append(warnings, e.claimsWarnings(name)...)
	}
	e.logger.Info("connection configured", "connection", name, next.PairFields().ActiveKey(), next.Pair.Active().ID, "verified_clients", len(tokens))
	e.reportNewKeys(name, next, newKeys...)
	e.observer.OnEvent(eventOf(next, EventConfigured, name))
	return warnings, nil
}

// verify gets a token with each of the clients, one after another. Each has its own
// request timeout.
func (e *Engine) verify(ctx context.Context, name string, conn *connection.Connection, via *gbgauth.Client, clients []connection.Client) ([]*token, error) {
	var tokens []*token
	for _, client := range clients {
		t, err := e.verifyClient(ctx, name, conn, via, client)
		if err != nil {
			e.logger.Warn("client not verified", "connection", name, conn.PairFields().IDKey(), client.ID, "error", err)
			return nil, err
		}
		tokens = append(tokens, t)
	}
	return tokens, nil
}

func (e *Engine) verifyClient(ctx context.Context, name string, conn *connection.Connection, via *gbgauth.Client, client connection.Client) (*token, error) {
	limit, end := e.limit(ctx, conn)
	defer end()
	return e.requestToken(limit, tokenRequest{connection: name, conn: conn, client: client, via: via})
}
