package gbgauth

import (
	"fmt"
	"strconv"
	"unique"
)

// redacted is printed in place of a secret.
const redacted = "[redacted]"

// Secret is a client secret or a token. It prints as "[redacted]": with every fmt verb,
// in hclog, encoding/json and encoding/xml. Only Reveal returns the value. The zero
// value is the empty secret. Secrets are comparable with ==.
//
// The value is in a handle because fmt calls no method for %p, %w and unexported
// fields; for a handle it prints an address.
type Secret struct {
	value unique.Handle[string]
}

// NewSecret returns a Secret with the given value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: unique.Make(value)}
}

// Reveal returns the value, for a request or for storage.
func (s Secret) Reveal() string {
	if s.IsEmpty() {
		return ""
	}
	return s.value.Value()
}

// IsEmpty reports whether the value is empty.
func (s Secret) IsEmpty() bool { return s == Secret{} }

// String implements fmt.Stringer.
func (s Secret) String() string { return redacted }

// Format implements fmt.Formatter. It redacts the value for every verb, including %x
// and %#v.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON implements json.Marshaler.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(strconv.Quote(redacted)), nil }
