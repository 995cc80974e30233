package backend

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

var (
	// ErrNotConfigured means that there is no connection with this name.
	ErrNotConfigured = errors.New("not configured")
	// ErrNoClients means that the connection has no clients: callers bring the tokens
	// to exchange.
	ErrNoClients = errors.New("the connection has no clients of its own")
	// ErrClosed means that the engine has been closed.
	ErrClosed = errors.New("the secrets engine is shutting down")
)

// NoPairError means that a connection has no standby to rotate to. It wraps
// connection.ErrNoPair.
type NoPairError struct {
	// Fields are the fields of the pair.
	Fields connection.PairFields
}

// Error implements error.
func (e *NoPairError) Error() string { return connection.ErrNoPair.Error() }

// Unwrap returns connection.ErrNoPair.
func (e *NoPairError) Unwrap() error { return connection.ErrNoPair }

// PairError means that GBG refused the active client and that the standby could not
// take over either.
type PairError struct {
	Active, Standby *ClientError
}

// Error implements error.
func (e *PairError) Error() string { return e.Active.Error() + "; " + e.Standby.problem() }

// Unwrap returns both errors.
func (e *PairError) Unwrap() []error { return []error{e.Active, e.Standby} }

// Temporary reports whether the standby's request may succeed later.
func (e *PairError) Temporary() bool { return e.Standby.Temporary() }

// Refused returns true: the active client was refused.
func (e *PairError) Refused() bool { return true }

// ClientRefused returns true, for the same reason.
func (e *PairError) ClientRefused() bool { return true }

// FailingError is returned to a reader while there is no valid token and none can be
// fetched.
type FailingError struct {
	// Cause is the last failure: a *ClientError, a *PairError, or the storage's.
	Cause error
	// Since is the time of the first of the consecutive failures. NextTry is when the
	// next request is sent, Wait from now.
	Since, NextTry time.Time
	Wait           time.Duration
}

// Error implements error.
func (e *FailingError) Error() string { return e.Cause.Error() }

// Unwrap returns the cause.
func (e *FailingError) Unwrap() error { return e.Cause }

// ShortTokenError is returned to a reader whose new token arrived too late: it is
// valid for less than the reader asked for.
type ShortTokenError struct {
	Connection, ClientID string
	// Fields are the fields of the pair that ClientID belongs to.
	Fields connection.PairFields
	// Lifetime is the token's lifetime, Left what was left of it when the token was
	// ready.
	Lifetime, Left time.Duration
	// MinTTL is what the reader asked for; zero means any valid token.
	MinTTL time.Duration
}

// Error implements error.
func (e *ShortTokenError) Error() string {
	took := e.Lifetime - e.Left
	if e.MinTTL == 0 {
		return fmt.Sprintf("connection %q: a new token for %s %q was not ready until %s after it was asked for, and had expired by then (lifetime %s)",
			e.Connection, e.Fields.Noun(), e.ClientID, took.Round(time.Millisecond), e.Lifetime)
	}
	return fmt.Sprintf("connection %q: a new token for %s %q was ready only %s after it was asked for: it is valid for another %s, less than min_ttl (%s)",
		e.Connection, e.Fields.Noun(), e.ClientID, took.Round(time.Millisecond), e.Left.Round(time.Millisecond), e.MinTTL)
}

// ClientError is a failed token request and the client that it was for.
type ClientError struct {
	Connection string
	// ClientID is the id of the client or user of the pair, which Fields are about. It
	// is empty for a caller's own token.
	ClientID string
	Fields   connection.PairFields
	// Organization is the id of the organization's client in the password grant, and
	// empty for other grants.
	Organization string
	Step         Step
	// Cause is the token endpoint's error.
	Cause *gbgauth.Error
	// QuotedSecret is set if a client was refused whose secret begins and ends with a
	// double quote.
	QuotedSecret bool
}

// Error implements error.
func (e *ClientError) Error() string {
	return fmt.Sprintf("connection %q: %s", e.Connection, e.problem())
}

// problem returns the error without the connection.
func (e *ClientError) problem() string {
	text := e.outcome() + ": " + e.Cause.Error()
	if e.QuotedSecret {
		text += ", and the secret begins and ends with a double quote: if it was copied from JSON, write it without the quotes"
	}
	return text
}

// problemOf returns the text of an error of a connection without the connection.
func problemOf(name string, err error) string {
	return strings.TrimPrefix(err.Error(), fmt.Sprintf("connection %q: ", name))
}

// outcome returns the failure in a few words: the party, the step and the client.
func (e *ClientError) outcome() string {
	refused := e.Cause.Refused()
	switch {
	case e.OrganizationRefused():
		return fmt.Sprintf("GBG refused the organization's client %q", e.Organization)
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
		return fmt.Sprintf("no token for %s %q", e.Fields.Noun(), e.ClientID)
	}
	return fmt.Sprintf("%s refused %s %q", e.Step.endpointName(), e.Fields.Noun(), e.ClientID)
}

// Unwrap returns the cause.
func (e *ClientError) Unwrap() error { return e.Cause }

// Temporary reports whether the same request may succeed later.
func (e *ClientError) Temporary() bool { return e.Cause.Temporary() }

// Refused reports whether GBG understood the request and refused it.
func (e *ClientError) Refused() bool { return e.Cause.Refused() }

// RevocationError means that a leased token could not be revoked yet.
type RevocationError struct {
	Connection, ClientID string
	// Fields are the fields of the pair that ClientID belongs to.
	Fields connection.PairFields
	// Expires is when the token expires.
	Expires time.Time
	// Cause is the revocation endpoint's error.
	Cause *gbgauth.Error
}

// Error implements error.
func (e *RevocationError) Error() string {
	return fmt.Sprintf("connection %q: a token of %s %q was not revoked: %s; the engine retries until the token expires at %s",
		e.Connection, e.Fields.Noun(), e.ClientID, e.Cause, e.Expires.UTC().Format(time.RFC3339))
}

// Unwrap returns the cause.
func (e *RevocationError) Unwrap() error { return e.Cause }

// ClientRefused reports whether GBG refused the client or user itself, not what it
// requested. The standby may then take over.
func (e *ClientError) ClientRefused() bool {
	if e.Fields.Users() {
		return e.Cause.Kind == gbgauth.RefusedUser
	}
	return e.Cause.Kind == gbgauth.RefusedClient
}

// OrganizationRefused reports whether GBG refused the organization's client, which both
// users share.
func (e *ClientError) OrganizationRefused() bool {
	return e.Fields.Users() && e.Cause.Kind == gbgauth.RefusedClient
}

// RetryAfter returns the endpoint's Retry-After; zero if it sent none.
func (e *ClientError) RetryAfter() time.Duration { return e.Cause.RetryAfter }

// RetryAfter returns the longer Retry-After of the two clients.
func (e *PairError) RetryAfter() time.Duration {
	return max(e.Active.RetryAfter(), e.Standby.RetryAfter())
}

// clientRefusal returns err as a *ClientError if the client was refused, otherwise nil.
func clientRefusal(err error) *ClientError {
	var failed *ClientError
	if errors.As(err, &failed) && failed.ClientRefused() {
		return failed
	}
	return nil
}

// pairError returns the error of both clients, or the active one's alone if the
// standby got no answer.
func pairError(active *ClientError, err error) error {
	var standby *ClientError
	if !errors.As(err, &standby) {
		return active
	}
	return &PairError{Active: active, Standby: standby}
}

// retryAfter returns the Retry-After of the endpoint that err comes from; zero if it
// sent none.
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
