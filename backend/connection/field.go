package connection

import (
	"strconv"
	"strings"
	"time"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// Field is the name of a setting of a connection, as requests, answers and error
// messages have it. The names of OAuth's own parameters are those of RFC 6749.
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

// FieldSchema declares a field: what it means to people, which values it takes, and
// where they are kept.
type FieldSchema struct {
	Field Field
	// Title and Group are for forms, Description for help and the OpenAPI document.
	Title, Group, Description string
	// Default is the default in the unit that requests use; nil if there is none, or
	// if it depends on other fields.
	Default any
	// AllowedValues are all valid values; nil means that any may be.
	AllowedValues []any
	// Multiline is set if the value is a text of several lines.
	Multiline bool
	// GrantType is the only grant type that the field is for; empty means all.
	GrantType string
	// AuthMethod is the only idp_auth_method that the field is for; empty means all.
	AuthMethod string

	// value is where the value is kept. It is nil for the fields of the pair.
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

// Value returns the field's value as an answer shows it, with durations in whole
// seconds and parameters as a map. ok is false if the connection has no use for the field, or if the value is
// secret.
func (f FieldSchema) Value(c *Connection) (v any, ok bool) {
	s := c.Settings.WithDefaults()
	switch {
	case f.Type() == Confidential:
		return nil, false
	case f.value == nil:
		slot, ok := slotOf(f.Field)
		return c.Pair.Clients[slot].ID, ok && s.HasPair()
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

// Always reports whether every connection has a value that answers show.
func (f FieldSchema) Always() bool {
	return f.Type() != Confidential && f.value != nil && f.GrantType == ""
}

// isFor reports whether connections with these settings have a use for the field.
func (f FieldSchema) isFor(s Settings) bool {
	s = s.WithDefaults()
	return (f.GrantType == "" || f.GrantType == s.GrantType) && (f.AuthMethod == "" || f.AuthMethod == s.IDPAuthMethod)
}

// value is where the value of a field is kept, and what is valid there.
type value interface {
	typ() Type
	// set stores a given value, which has the type typ. The error is an *InputError.
	set(s *Settings, field Field, given any) error
	get(s *Settings) any
	isZero(s *Settings) bool
	// fill sets the default in place of the zero value.
	fill(s *Settings)
}

// setting is a value that is kept as it is given, once it is normalized.
type setting[T comparable] struct {
	of Type
	at func(*Settings) *T
	// normalize returns the value to keep. The error is an *InputError.
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

func (v setting[T]) fill(s *Settings) {
	if v.fallback != nil && v.isZero(s) {
		*v.at(s) = v.fallback(*s)
	}
}

// withDefault returns the setting with a default that depends on nothing.
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
	return setting[string]{of: Text, at: at, normalize: NormalizedID}
}

func secretSetting(at func(*Settings) *Secret) setting[Secret] {
	return setting[Secret]{of: Confidential, at: at, normalize: NormalizedSecret}
}

// option is a valid value of a setting, and what it means.
type option struct{ value, meaning string }

// choiceSetting is a setting with a few valid values, of which the first is the
// default. An empty text means the default.
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

// keyAlgorithmSetting is key_algorithm, which has a default only where there are keys.
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

// durationSetting is a setting between two bounds. Zero is valid too if it turns off
// what the setting is for.
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

// invertedFlag is a flag that is true unless it is turned off: what is kept is the
// opposite.
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
