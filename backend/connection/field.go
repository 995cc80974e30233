package connection

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// Field is the name of a setting of a connection in requests, answers and error
// messages. OAuth parameters have their names from RFC 6749.
type Field string

// Type is the type of a field's value in a Change.
type Type int

const (
	// Text is a string.
	Text Type = iota
	// Confidential is a Secret.
	Confidential
	// Duration is a time.Duration, in whole seconds.
	Duration
	// Flag is a bool.
	Flag
	// Map is a map[string]string.
	Map
)

// FieldSchema declares a field: its documentation, its valid values, and where its
// value is kept.
type FieldSchema struct {
	Field Field
	// Title and Group are for forms; Description is for help and the OpenAPI document.
	Title, Group, Description string
	// Default is the default in the unit of requests; nil if there is none or if it
	// depends on other fields.
	Default any
	// AllowedValues are all valid values; nil means that they cannot be listed.
	AllowedValues []any
	// Multiline is set if the value may have several lines.
	Multiline bool
	// GrantType is the only grant type that the field applies to; empty means all.
	GrantType string
	// AuthMethod is the only idp_auth_method that the field is for; empty means all.
	AuthMethod string

	// since is the version of the stored form that has the setting; zero means all.
	since int
	// value accesses the value. It is nil for the fields of the pair.
	value value
	// pairType is the type of a field of the pair.
	pairType Type
}

// Type returns the type of the field's values.
func (f FieldSchema) Type() Type {
	if f.value == nil {
		return f.pairType
	}
	return f.value.typ()
}

// Value returns the field's value as answers show it, with durations in whole seconds
// and parameters as a map. ok is false if the field does not apply to the connection,
// or if the value is secret.
func (f FieldSchema) Value(c *Connection) (v any, ok bool) {
	s := c.Settings.WithDefaults()
	switch {
	case f.Type() == Confidential:
		return nil, false
	case f.value == nil:
		return c.id(f.Field)
	case !f.isFor(s):
		return nil, false
	}
	switch v := f.value.get(&s).(type) {
	case time.Duration:
		return int64(v / time.Second), true
	case Params:
		return v.Map(), true
	default:
		return v, true
	}
}

// id returns the value of a field that is the id of one of the pair, or of the
// organization's client; ok is false if the connection has none.
func (c *Connection) id(field Field) (id string, ok bool) {
	if slot, ok := c.PairFields().slotOf(field); ok {
		return c.Pair.Clients[slot].ID, c.Settings.HasPair()
	}
	return c.Settings.ClientID, field == ClientID && c.PairFields().Users()
}

// Always reports whether answers have a value of this field for every connection.
func (f FieldSchema) Always() bool {
	return f.Type() != Confidential && f.value != nil && f.GrantType == ""
}

// isFor reports whether the field applies to connections with these settings.
func (f FieldSchema) isFor(s Settings) bool {
	s = s.WithDefaults()
	return (f.GrantType == "" || f.GrantType == s.GrantType) && (f.AuthMethod == "" || f.AuthMethod == s.IDPAuthMethod)
}

// value validates the value of a field and accesses it in Settings.
type value interface {
	typ() Type
	// set validates and stores a value of the type typ. The error is an *InputError.
	set(s *Settings, field Field, given any) error
	get(s *Settings) any
	isZero(s *Settings) bool
	// isDefault reports whether the value is the default.
	isDefault(s *Settings) bool
	// fill sets the default in place of the zero value.
	fill(s *Settings)
}

// setting is a value that is stored in its normalized form.
type setting[T comparable] struct {
	of Type
	at func(*Settings) *T
	// normalize returns the value to store. The error is an *InputError.
	normalize func(Field, T) (T, error)
	// fallback returns the default; nil means the zero value.
	fallback func(Settings) T
}

func (v setting[T]) typ() Type { return v.of }

func (v setting[T]) set(s *Settings, field Field, given any) (err error) {
	t, ok := given.(T)
	if !ok {
		return Invalid(field, "has a value of the wrong type")
	}
	*v.at(s), err = v.normalize(field, t)
	return err
}

func (v setting[T]) get(s *Settings) any { return *v.at(s) }

func (v setting[T]) isZero(s *Settings) bool {
	var zero T
	return *v.at(s) == zero
}

func (v setting[T]) isDefault(s *Settings) bool {
	return v.isZero(s) || v.fallback != nil && *v.at(s) == v.fallback(*s)
}

func (v setting[T]) fill(s *Settings) {
	if v.fallback != nil && v.isZero(s) {
		*v.at(s) = v.fallback(*s)
	}
}

// withDefault returns the setting with a fixed default.
func (v setting[T]) withDefault(fallback T) setting[T] {
	v.fallback = func(Settings) T { return fallback }
	return v
}

// withDefaultFor returns the setting with a default for each grant type.
func (v setting[T]) withDefaultFor(byGrantType map[string]T) setting[T] {
	v.fallback = func(s Settings) T { return byGrantType[s.GrantType] }
	return v
}

func urlSetting(at func(*Settings) *string) setting[string] {
	return setting[string]{of: Text, at: at, normalize: normalizedURL}
}

func scopeSetting(at func(*Settings) *string) setting[string] {
	return setting[string]{of: Text, at: at, normalize: normalizedScope}
}

func idSetting(at func(*Settings) *string) setting[string] {
	return setting[string]{of: Text, at: at, normalize: requiredID}
}

func secretSetting(at func(*Settings) *Secret) setting[Secret] {
	return setting[Secret]{of: Confidential, at: at, normalize: requiredSecret}
}

// option is a valid value of a setting and its meaning.
type option struct{ value, meaning string }

// choiceSetting returns a setting with the given valid values. The first is the default,
// which an empty text also means.
func choiceSetting(at func(*Settings) *string, options ...option) setting[string] {
	return setting[string]{of: Text, at: at, normalize: func(field Field, given string) (string, error) {
		words := make([]string, len(options))
		for i, o := range options {
			if given == "" || given == o.value {
				return given, nil
			}
			words[i] = strconv.Quote(o.value)
			if o.meaning != "" {
				words[i] += " (" + o.meaning + ")"
			}
		}
		last := len(words) - 1
		return "", Invalid(field, "must be %s or %s", strings.Join(words[:last], ", "), words[last])
	}}.withDefault(options[0].value)
}

// keyAlgorithmSetting returns key_algorithm, which has a default only for keys.
func keyAlgorithmSetting() setting[string] {
	v := choiceSetting(func(s *Settings) *string { return &s.KeyAlgorithm },
		option{gbgauth.RS256, ""}, option{gbgauth.PS256, ""}, option{gbgauth.ES256, ""})
	v.fallback = func(s Settings) string {
		if s.UsesKeys() {
			return gbgauth.RS256
		}
		return ""
	}
	return v
}

// durationSetting returns a setting with a minimum and a maximum. If the minimum is
// zero, zero means off.
func durationSetting(at func(*Settings) *time.Duration, least, most time.Duration) setting[time.Duration] {
	return setting[time.Duration]{of: Duration, at: at, normalize: func(field Field, d time.Duration) (time.Duration, error) {
		switch {
		case d >= least && d <= most:
			return d, nil
		case least == 0:
			return 0, Invalid(field, "must be between 0 (off) and %s", most)
		}
		return 0, Invalid(field, "must be between %s and %s", least, most)
	}}
}

func flagSetting(at func(*Settings) *bool) setting[bool] {
	return setting[bool]{of: Flag, at: at, normalize: func(_ Field, given bool) (bool, error) { return given, nil }}
}

// invertedFlag is a flag that is true by default. Its opposite is stored.
type invertedFlag struct{ setting[bool] }

func (v invertedFlag) set(s *Settings, field Field, given any) error {
	on, ok := given.(bool)
	if !ok {
		return Invalid(field, "has a value of the wrong type")
	}
	*v.at(s) = !on
	return nil
}

func (v invertedFlag) get(s *Settings) any { return !*v.at(s) }

// optionalDuration is a duration with a default other than zero. A given zero turns it
// off, which is stored as -1.
type optionalDuration struct{ setting[time.Duration] }

func (v optionalDuration) set(s *Settings, field Field, given any) error {
	if given == time.Duration(0) {
		*v.at(s) = -1
		return nil
	}
	err := v.setting.set(s, field, given)
	var invalid *InputError
	if errors.As(err, &invalid) {
		invalid.Problem += ", or 0 (off)"
	}
	return err
}

func (v optionalDuration) get(s *Settings) any { return max(*v.at(s), 0) }
