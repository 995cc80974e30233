package backend

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// ClientVerification is the outcome of the verification of one client.
type ClientVerification struct {
	// ID is the client id, or the username.
	ID     string
	Active bool
	Result ProofResult
	// Error is why the client got no token; empty if it got one.
	Error string
	// Scope and Lifetime are those of the token.
	Scope    string
	Lifetime time.Duration
	// Warnings are for the operator.
	Warnings []string
}

// Verification is the outcome of Verify.
type Verification struct {
	// Fields are the fields of the pair.
	Fields connection.PairFields
	// Organization is the id of the organization's client in the password grant, and
	// empty for other grants.
	Organization string
	// Clients are the outcomes for the clients or users, the active one first.
	Clients []ClientVerification
}

// Verify gets a token with every client of a connection and discards it. Only the status changes: when each client last got a
// token, or why it did not. Verify sends its requests also in the pause after a failure.
// The refusal of a client is part of the result and not an error. The errors are
// ErrNotConfigured, ErrNoClients, ErrClosed, ctx's and the storage's.
func (e *Engine) Verify(ctx context.Context, name string) (*Verification, error) {
	ctx, leave, err := e.join(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	st, err := e.state(ctx, name)
	switch {
	case err != nil:
		return nil, err
	case !st.conn.Settings.HasPair():
		return nil, ErrNoClients
	}
	proofs, err := e.proveAll(ctx, name, st)
	if err != nil {
		return nil, err
	}
	e.recordActiveProof(name, st, proofs[0])
	after, err := e.recordProofs(ctx, name, st, proofs...)
	switch {
	case IsReadOnly(err):
		return nil, logical.ErrReadOnly // bare: Vault forwards the request by it
	case errors.Is(err, ErrNotConfigured), ctx.Err() != nil:
		return nil, err
	case err != nil:
		e.logger.Warn("the outcome of a verification could not be stored", "connection", name, "error", err)
	}
	report := &Verification{Fields: st.conn.PairFields(), Organization: st.conn.Settings.ClientID}
	for i, p := range proofs {
		report.Clients = append(report.Clients, p.verification(i == 0))
	}
	if last := &report.Clients[len(proofs)-1]; after != nil {
		last.Warnings = append(last.Warnings, e.claimsWarnings(name)...)
	}
	return report, nil
}

// proveAll requests a token with all clients of a connection at the same time. The active
// one comes first in the result.
func (e *Engine) proveAll(ctx context.Context, name string, st *state) ([]proof, error) {
	clients := []connection.Client{st.conn.Pair.Active()}
	if standby, ok := st.conn.Pair.Standby(); ok {
		clients = append(clients, standby)
	}
	proofs := make([]proof, len(clients))
	errs := make([]error, len(clients))
	var wait sync.WaitGroup
	for i, client := range clients {
		wait.Go(func() {
			proofs[i], errs[i] = e.prove(ctx, st, tokenRequest{connection: name, conn: st.conn, client: client, via: st.http})
		})
	}
	wait.Wait()
	for i, p := range proofs {
		if p.err != nil {
			e.logger.Warn("client not verified", "connection", name, st.conn.PairFields().IDKey(), p.client.ID, "error", p.err)
		}
		if errs[i] != nil && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return proofs, errors.Join(errs...)
}

// recordActiveProof records the outcome for the active client as that of the last token
// request. A token ends the failures of readers, which it is not served to.
func (e *Engine) recordActiveProof(name string, st *state, p proof) {
	if p.err != nil {
		_ = e.recordFailure(name, st, p.err) // superseded: it no longer matters
		return
	}
	e.update(name, st.revision, func(was *state) *state {
		e.reportToken(name, was.conn, was, p.token)
		next := *was
		next.backoff, next.lifetime = nil, p.token.lifetime()
		if p.token.source.Exchanges() {
			next.exchangeBackoff = nil
		}
		if next.token != nil && was.backoff != nil {
			e.scheduleRefresh(name, &next, latest(e.now(), next.token.refreshStart()))
		}
		return &next
	})
}

func (p proof) verification(active bool) ClientVerification {
	v := ClientVerification{ID: p.client.ID, Active: active, Result: p.result()}
	if p.err != nil {
		v.Error = p.err.Error()
	}
	if p.token != nil {
		v.Scope, v.Lifetime, v.Warnings = p.token.scope, p.token.lifetime(), p.token.warnings()
	}
	return v
}
