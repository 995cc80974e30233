package gbgauth

import (
	"fmt"
	"strconv"
)

// redacted stands wherever a secret would have been printed.
const redacted = "[redacted]"

// Secret is a client secret or a token. Whatever prints it shows "[redacted]":
// every fmt verb, hclog, encoding/json and encoding/xml. Only Reveal gives the
// value. The zero value is the empty secret. Secrets compare with ==.
type Secret struct {
	value string
}

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{value: value} }

// Reveal gives the value itself, for the wire and for Vault's storage.
func (s Secret) Reveal() string { return s.value }

// IsEmpty says that there is no value.
func (s Secret) IsEmpty() bool { return s.value == "" }

// String implements fmt.Stringer.
func (s Secret) String() string { return redacted }

// Format implements fmt.Formatter, so that no verb (%x and %#v included)
// reaches the value.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText implements encoding.TextMarshaler, for encoders that know it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON implements json.Marshaler.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(strconv.Quote(redacted)), nil }
