package backend

import (
	"errors"
	"fmt"
	"time"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

var (
	// ErrNotConfigured says that there is no connection of this name.
	ErrNotConfigured = errors.New("not configured")
	// ErrNoClients says that the connection has no clients of its own: callers bring
	// the tokens to exchange.
	ErrNoClients = errors.New("the connection has no clients of its own")
	// ErrClosed says that the engine has been shut down.
	ErrClosed = errors.New("the secrets engine is shutting down")
)

// PairError says that GBG refused the active client, and that the standby could
// not take over either.
type PairError struct {
	Active, Standby *ClientError
}

// Error implements error.
func (e *PairError) Error() string { return e.Active.Error() + "; " + e.Standby.Error() }

// Unwrap gives both.
func (e *PairError) Unwrap() []error { return []error{e.Active, e.Standby} }

// Temporary reports whether the standby may do better later.
func (e *PairError) Temporary() bool { return e.Standby.Temporary() }

// Refused reports true: the active client was refused.
func (e *PairError) Refused() bool { return true }

// ClientRefused reports true, for the same reason.
func (e *PairError) ClientRefused() bool { return true }

// FailingError is the answer to a reader while there is no valid token and none
// can be had.
type FailingError struct {
	// Cause is the last failure: a *ClientError, a *PairError, or the storage's.
	Cause error
	// Since is when the first of the failures in a row happened, NextTry when GBG
	// is asked again, which is Wait from now.
	Since, NextTry time.Time
	Wait           time.Duration
}

// Error implements error.
func (e *FailingError) Error() string { return e.Cause.Error() }

// Unwrap gives the cause.
func (e *FailingError) Unwrap() error { return e.Cause }

// ShortTokenError is the answer to a reader whose token has come from GBG too late:
// it is valid for less than the reader asked for.
type ShortTokenError struct {
	Connection, ClientID string
	// Lifetime is how long GBG lets the token live, Left how much of that was left
	// when it could be answered.
	Lifetime, Left time.Duration
	// MinTTL is what the reader asked for; zero if any valid token would have done.
	MinTTL time.Duration
}

// Error implements error.
func (e *ShortTokenError) Error() string {
	took := e.Lifetime - e.Left
	if e.MinTTL == 0 {
		return fmt.Sprintf("connection %q: a new token for client %q was not ready until %s after it was asked for, and had expired by then (lifetime %s)",
			e.Connection, e.ClientID, took.Round(time.Millisecond), e.Lifetime)
	}
	return fmt.Sprintf("connection %q: a new token for client %q was ready only %s after it was asked for: it is valid for another %s, less than min_ttl (%s)",
		e.Connection, e.ClientID, took.Round(time.Millisecond), e.Left.Round(time.Millisecond), e.MinTTL)
}

// ClientError is a token request that failed, with the client it was for.
type ClientError struct {
	Connection string
	// ClientID is empty for a caller's own token.
	ClientID string
	Step     Step
	// UsesKey is set if the client has a key, not a secret.
	UsesKey bool
	// Cause is what the token endpoint did.
	Cause *gbgauth.Error
}

// Error implements error.
func (e *ClientError) Error() string {
	return fmt.Sprintf("connection %q: %s: %s", e.Connection, e.outcome(), e.Cause)
}

// outcome returns who did not do what for whom.
func (e *ClientError) outcome() string {
	refused := e.Cause.Refused()
	switch {
	case e.Step == StepIDP && !refused:
		return fmt.Sprintf("no token for client %q from the identity provider", e.ClientID)
	case e.Step == StepExchange && !refused:
		return fmt.Sprintf("no token from GBG in exchange for the identity provider's of client %q", e.ClientID)
	case e.Step == StepExchange:
		return fmt.Sprintf("GBG refused to exchange the identity provider's token of client %q", e.ClientID)
	case e.Step == StepOwnExchange && !refused:
		return "no token from GBG in exchange for the id_token"
	case e.Step == StepOwnExchange:
		return "GBG refused to exchange the id_token"
	case !refused:
		return fmt.Sprintf("no token for client %q", e.ClientID)
	}
	return fmt.Sprintf("%s refused client %q", e.Step.endpointName(), e.ClientID)
}

// Unwrap gives the cause.
func (e *ClientError) Unwrap() error { return e.Cause }

// Temporary reports whether the same request may succeed later.
func (e *ClientError) Temporary() bool { return e.Cause.Temporary() }

// Refused reports whether GBG understood the request and said no.
func (e *ClientError) Refused() bool { return e.Cause.Refused() }

// RevocationError is a leased token that could not be revoked yet.
type RevocationError struct {
	Connection, ClientID string
	// Expires is when the token ends by itself.
	Expires time.Time
	// Cause is what the revocation endpoint did.
	Cause *gbgauth.Error
}

// Error implements error.
func (e *RevocationError) Error() string {
	return fmt.Sprintf("connection %q: a token of client %q was not revoked: %s; the engine goes on trying until it ends by itself at %s",
		e.Connection, e.ClientID, e.Cause, e.Expires.UTC().Format(time.RFC3339))
}

// Unwrap gives the cause.
func (e *RevocationError) Unwrap() error { return e.Cause }

// ClientRefused reports whether GBG refused who asked, not what was asked.
func (e *ClientError) ClientRefused() bool { return e.Cause.Kind == gbgauth.RefusedClient }

// RetryAfter returns how long the endpoint asked to be left alone; zero if it did not.
func (e *ClientError) RetryAfter() time.Duration { return e.Cause.RetryAfter }

// RetryAfter returns the longer of both clients'.
func (e *PairError) RetryAfter() time.Duration {
	return max(e.Active.RetryAfter(), e.Standby.RetryAfter())
}

// clientRefusal returns err as a refusal of the client; nil if it is none.
func clientRefusal(err error) *ClientError {
	var failed *ClientError
	if errors.As(err, &failed) && failed.ClientRefused() {
		return failed
	}
	return nil
}

// pairError is what GBG said of both clients, if it said anything of the second.
func pairError(active *ClientError, err error) error {
	var standby *ClientError
	if !errors.As(err, &standby) {
		return active
	}
	return &PairError{Active: active, Standby: standby}
}

// retryAfter returns how long an endpoint asked to be left alone; zero if it did not.
func retryAfter(err error) time.Duration {
	var failed interface {
		error
		RetryAfter() time.Duration
	}
	if errors.As(err, &failed) {
		return failed.RetryAfter()
	}
	return 0
}
