package gbg

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// endsInSlash reports whether a request's path ends in a slash, as it does when a
// variable in place of a name was empty. Vault itself adds one to the path of a list.
func endsInSlash(req *logical.Request) bool {
	return strings.HasSuffix(req.Path, "/") && req.Operation != logical.ListOperation && req.Operation != logical.HelpOperation
}

// inputProblem returns what is wrong with a request's name or with one of its fields;
// "" if nothing is. It quotes no value. Of several problems it returns that of the
// first field by name. It replaces the values of maps by what keyValuePairs returns.
func (b gbgBackend) inputProblem(req *logical.Request) string {
	validName := validName(req.Path)
	if req.Operation == logical.HelpOperation || len(req.Data) == 0 && validName {
		return "" // true for nearly every read, which saves looking up the path
	}
	path := b.Route(req.Path)
	switch {
	case path == nil:
		return ""
	case !validName && path.Fields[nameField] != nil:
		return nameField + ` must not contain ".."`
	case path.Operations[req.Operation] == nil:
		return "" // not supported, or the end of a lease, which carries its answer
	}
	for _, field := range slices.Sorted(maps.Keys(req.Data)) {
		if req.Operation == logical.ReadOperation && (field == "list" || field == "scan") {
			continue // the server's own: it was false, else this were no read
		}
		if schema := path.Fields[field]; schema != nil && schema.Type == framework.TypeKVPairs {
			if pairs, ok := keyValuePairs(req.Data[field]); ok {
				req.Data[field] = pairs
			}
		}
		if problem := fieldProblem(path.Fields, field, req.Data[field]); problem != "" {
			return problem
		}
	}
	return ""
}

// fieldProblem returns what is wrong with a value that is given for a field of a path
// with these fields; "" if nothing is.
func fieldProblem(fields map[string]*framework.FieldSchema, field string, value any) string {
	schema, known := fields[field]
	switch text, isText := value.(string); {
	case field == nameField:
		return nameField + " is not a field: it is the last part of the path"
	case !known:
		return unknownField(fields, field)
	case value == nil:
		return "" // not given
	case schema.Type == framework.TypeString && !isText:
		return field + " must be a string"
	case schema.Type == framework.TypeString:
		return ""
	case isText && strings.TrimSpace(text) == "":
		return field + " is empty: give a value or leave the field out"
	case schema.Type == framework.TypeKVPairs:
		if _, ok := value.(map[string]string); !ok {
			return field + ` must be a map of strings: NAME=VALUE, or {"NAME": "VALUE"}`
		}
		return ""
	}
	one := framework.FieldData{Raw: map[string]any{field: value}, Schema: fields}
	if one.Validate() == nil {
		return ""
	}
	return field + " " + cmp.Or(validValues[schema.Type], "has a value of the wrong type")
}

// validValues completes, by type, the sentence about a value of another type.
var validValues = map[framework.FieldType]string{
	framework.TypeBool:           "must be true or false",
	framework.TypeDurationSecond: `must be a duration such as "90s" or "5m", or a number of seconds, and not negative`,
}

// rotationPolicyField is the one field of Vault's automated rotation that is refused.
const rotationPolicyField = "rotation_policy"

// plainFieldName is a name that an error may show. Others may be anything, a secret
// that was given without its field included.
var plainFieldName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,32}$`)

// unknownField returns what is wrong with a field that a path with these fields does
// not have.
func unknownField(fields map[string]*framework.FieldSchema, field string) string {
	if field == rotationPolicyField {
		return field + " is not supported: rotation policies belong to Vault Enterprise's rotation manager, which this engine does not use"
	}
	known := slices.DeleteFunc(slices.Sorted(maps.Keys(fields)), func(name string) bool { return name == nameField })
	problem, suggestion := "unknown field, with a name that cannot be shown", ""
	if plainFieldName.MatchString(field) {
		problem, suggestion = fmt.Sprintf("unknown field %q", field), similarField(known, field)
	}
	switch {
	case len(known) == 0:
		return problem + ": this path has no fields"
	case suggestion == "":
		if len(known) == 1 {
			return problem + ": the field is " + known[0]
		}
		return problem + ": the fields are " + strings.Join(known, ", ")
	}
	return fmt.Sprintf("%s: did you mean %q?", problem, suggestion)
}

// similarField returns the one of the fields that a name resembles most; "" if it
// resembles none.
func similarField(fields []string, name string) string {
	name = strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToLower(name))
	nearest, least := "", max(len(name)/2, 1)
	for _, field := range fields {
		// Of fields as near, the one that is more like it as a whole.
		d := wordDistance(name, field)
		if d < least || d == least && (nearest == "" || levenshtein.Distance(name, field, nil) < levenshtein.Distance(name, nearest, nil)) {
			nearest, least = field, d
		}
	}
	return nearest
}

// wordDistance returns the least edit distance between a name and a field of which words
// may be left out. Each word left out counts as one edit, so that "secret" is near
// "client_secret" and not near "scope".
func wordDistance(name, field string) int {
	words := strings.Split(field, "_")
	least := len(words) + len(name)
	for kept := range 1 << len(words) { // a bit for each word
		var part []string
		for i, word := range words {
			if kept&(1<<i) != 0 {
				part = append(part, word)
			}
		}
		least = min(least, levenshtein.Distance(name, strings.Join(part, "_"), nil)+len(words)-len(part))
	}
	return least
}
