package connection

import (
	"errors"
	"fmt"
)

// ErrNoPair is the error of an operation that needs a standby, on a connection with
// one client only.
var ErrNoPair = errors.New("there is no paired client to rotate to")

// InputError is a value that is not valid, whatever GBG would say to it.
type InputError struct {
	// Field is what the value was given for.
	Field Field
	// Problem completes the sentence that begins with the field's name. It never
	// quotes a secret.
	Problem string
}

// Error implements error.
func (e *InputError) Error() string { return string(e.Field) + " " + e.Problem }

// Invalid returns an *InputError whose problem is formatted.
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
