package gbgauth

import (
	"fmt"
	"strconv"
	"unique"
)

// redacted stands wherever a secret would have been printed.
const redacted = "[redacted]"

// Secret is a client secret or a token. Whatever prints it shows "[redacted]":
// every fmt verb, hclog, encoding/json and encoding/xml. Only Reveal gives the
// value. The zero value is the empty secret. Secrets compare with ==.
//
// The value is behind a handle because fmt calls no method for %p, %w and
// unexported fields: there it prints an address.
type Secret struct {
	value unique.Handle[string]
}

// NewSecret wraps a value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: unique.Make(value)}
}

// Reveal gives the value itself, for the wire and for Vault's storage.
func (s Secret) Reveal() string {
	if s.IsEmpty() {
		return ""
	}
	return s.value.Value()
}

// IsEmpty says that there is no value.
func (s Secret) IsEmpty() bool { return s == Secret{} }

// String implements fmt.Stringer.
func (s Secret) String() string { return redacted }

// Format implements fmt.Formatter, so that no verb (%x and %#v included)
// reaches the value.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText implements encoding.TextMarshaler, for encoders that know it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON implements json.Marshaler.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(strconv.Quote(redacted)), nil }
