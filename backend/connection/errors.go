package connection

import (
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
}

// Error implements error.
func (e *InputError) Error() string { return string(e.Field) + " " + e.Problem }

// Invalid returns an *InputError with a formatted problem.
func Invalid(field Field, format string, args ...any) error {
	return &InputError{Field: field, Problem: fmt.Sprintf(format, args...)}
}
