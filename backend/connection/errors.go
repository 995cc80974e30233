package connection

import (
	"cmp"
	"errors"
	"fmt"
)

// ErrNoPair is returned by operations that need a standby if there is only one client.
var ErrNoPair = errors.New("there is no paired client to rotate to")

// InputError means that a value is invalid, independent of GBG.
type InputError struct {
	// Field is the field with the invalid value.
	Field Field
	// Problem completes the sentence that begins with the field's name. It never
	// quotes a secret.
	Problem string
	// Message, if not empty, is the whole text in place of that sentence: it is Vault's.
	Message string
}

// Error implements error.
func (e *InputError) Error() string {
	return cmp.Or(e.Message, string(e.Field)+" "+e.Problem)
}

// Invalid returns an *InputError with a formatted problem.
func Invalid(field Field, format string, args ...any) error {
	return &InputError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// EntryError is the error of a stored connection that this release cannot read.
type EntryError struct {
	Connection string
	// Problem says what is wrong with the entry, and what to do.
	Problem string
}

// Error implements error.
func (e *EntryError) Error() string { return fmt.Sprintf("connection %q: %s", e.Connection, e.Problem) }
