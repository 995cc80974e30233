package backend

import (
	"errors"
	"fmt"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

var (
	// ErrNotConfigured says that there is no connection of this name.
	ErrNotConfigured = errors.New("not configured")
	// ErrNoPair says that the connection has one client only, so nothing to rotate to.
	ErrNoPair = errors.New("there is no paired client to rotate to")
	// ErrClosed says that the engine has been shut down.
	ErrClosed = errors.New("the secrets engine is shutting down")
)

// InputError is a value that was refused before anybody was asked.
type InputError struct {
	// Setting is what it was meant for.
	Setting Setting
	// Problem completes the sentence that begins with the setting's name. It
	// never quotes a secret.
	Problem string
}

// Error implements error.
func (e *InputError) Error() string { return string(e.Setting) + " " + e.Problem }

func invalid(setting Setting, format string, args ...any) error {
	return &InputError{Setting: setting, Problem: fmt.Sprintf(format, args...)}
}

// ClientError is a token request that failed, with the client it was for.
type ClientError struct {
	Connection string
	ClientID   string
	// Cause is what the token endpoint did.
	Cause *gbgauth.Error
}

// Error implements error.
func (e *ClientError) Error() string {
	if e.Cause.Temporary() {
		return fmt.Sprintf("connection %q: no token for client %q: %s", e.Connection, e.ClientID, e.Cause)
	}
	return fmt.Sprintf("connection %q: GBG refused client %q: %s", e.Connection, e.ClientID, e.Cause)
}

// Unwrap gives the cause.
func (e *ClientError) Unwrap() error { return e.Cause }

// Temporary says that GBG did not say no: the same request may succeed later.
func (e *ClientError) Temporary() bool { return e.Cause.Temporary() }
