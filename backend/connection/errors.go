package connection

import (
	"cmp"
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
	// Message, if not empty, is the whole text in place of that sentence: it is Vault's.
	Message string
}

// Error implements error.
func (e *InputError) Error() string {
	return cmp.Or(e.Message, string(e.Field)+" "+e.Problem)
}

// Invalid returns an *InputError whose problem is formatted.
func Invalid(field Field, format string, args ...any) error {
	return &InputError{Field: field, Problem: fmt.Sprintf(format, args...)}
}
