package connection

import (
	"maps"
	"slices"
	"strings"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// Limits of the parameters of a connection. The length is in bytes.
const (
	maxParams           = 50
	maxParamNameLength  = 128
	maxParamValueLength = 2 << 10
)

// Params are further form fields of a token request, as a text that is equal for equal
// fields. It is empty if there are none.
type Params string

// Map returns the fields; it is never nil.
func (p Params) Map() map[string]string { return gbgauth.DecodeParams(string(p)) }

// paramsSetting is a setting whose values are given as a map.
func paramsSetting(at func(*Settings) *Params) value {
	return paramsValue{setting[Params]{of: Map, at: at}}
}

type paramsValue struct{ setting[Params] }

func (v paramsValue) set(s *Settings, field Field, given any) error {
	params, ok := given.(map[string]string)
	if !ok {
		return Invalid(field, "has a value of the wrong type")
	}
	if len(params) > maxParams {
		return Invalid(field, "has more than %d parameters", maxParams)
	}
	normalized := make(map[string]string, len(params))
	for _, name := range slices.Sorted(maps.Keys(params)) { // the first error is the same each time
		if err := checkParamName(field, name); err != nil {
			return err
		}
		value := trimText(params[name])
		if len(value) > maxParamValueLength {
			return Invalid(field, "has a value longer than %d bytes: %s", maxParamValueLength, name)
		}
		if err := checkText(field, value); err != nil {
			return err
		}
		normalized[name] = value
	}
	*v.at(s) = Params(gbgauth.EncodeParams(normalized))
	return nil
}

// requestFields are the fields that a token request has without parameters, or has with
// another way to authenticate.
var requestFields = []string{
	"grant_type", "scope", "client_id", "client_secret", "client_assertion", "client_assertion_type", "username", "password",
}

// secretWords are the parts of a name, without separators, that make it look like that
// of a secret.
var secretWords = []string{"secret", "password", "passwd", "passphrase", "pwd", "credential", "assertion", "apikey", "privatekey", "accesskey", "signature"}

// checkParamName refuses a name that is not that of a form field, that the request has
// anyway, or that looks like the name of a secret: parameters are shown by a read.
func checkParamName(field Field, name string) error {
	switch word := strings.NewReplacer("_", "", "-", "", ".", "").Replace(strings.ToLower(name)); {
	case name == "":
		return Invalid(field, "has a parameter without a name")
	case len(name) > maxParamNameLength:
		return Invalid(field, "has a name longer than %d bytes", maxParamNameLength)
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }):
		return Invalid(field, "has a name with a character that is not valid in one: letters, digits and punctuation of ASCII are")
	case slices.Contains(requestFields, strings.ToLower(name)):
		return Invalid(field, "must not have %s: the request has that field from other settings", name)
	case strings.HasSuffix(word, "token"), slices.ContainsFunc(secretWords, func(part string) bool { return strings.Contains(word, part) }):
		return Invalid(field, "must not have %s, which looks like the name of a secret: parameters are shown by a read", name)
	}
	return nil
}
