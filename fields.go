package gbg

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// value returns a field's value. ok is false if the field was not given or is null in
// JSON: the framework would treat null as the zero value, and so turn
// verify_connection off or remove the paired client.
func value[T any](data *framework.FieldData, field connection.Field) (v T, ok bool) {
	if data.Raw[string(field)] == nil {
		return v, false
	}
	raw, ok := data.GetOk(string(field))
	if !ok {
		return v, false
	}
	v, ok = raw.(T)
	return v, ok
}

// text returns a field's value, or nil if it has none.
func text(data *framework.FieldData, field connection.Field) *string {
	return pointer(value[string](data, field))
}

func flag(data *framework.FieldData, field connection.Field) *bool {
	return pointer(value[bool](data, field))
}

func secret(data *framework.FieldData, field connection.Field) *connection.Secret {
	plain, ok := value[string](data, field)
	return pointer(connection.NewSecret(plain), ok)
}

func duration(data *framework.FieldData, field connection.Field) *time.Duration {
	s, ok := value[int](data, field)
	return pointer(time.Duration(s)*time.Second, ok)
}

// fieldValue returns what a pointer points to; ok is false if it is nil.
func fieldValue[T any](p *T) (v any, ok bool) {
	if p == nil {
		return nil, false
	}
	return *p, true
}

func pointer[T any](v T, ok bool) *T {
	if !ok {
		return nil
	}
	return &v
}

// gbgBackend checks the fields of a request before the framework does. The framework
// would convert numbers (rounded) and true ("1") to text, and quotes other values,
// including secrets, in its error.
type gbgBackend struct {
	*framework.Backend

	// reads handles the requests that readsCreds reports.
	reads *framework.Backend
}

// HandleRequest implements logical.Backend.
func (b gbgBackend) HandleRequest(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	if problem := b.fieldProblem(req); problem != "" {
		return logical.ErrorResponse(problem), nil
	}
	if readsCreds(req) {
		return b.reads.HandleRequest(ctx, req)
	}
	return b.Backend.HandleRequest(ctx, req)
}

// HandleExistenceCheck implements logical.Backend. Whether a connection exists
// depends on its name alone. HandleRequest reports errors in the rest of the request,
// after Vault has checked the capabilities.
func (b gbgBackend) HandleExistenceCheck(ctx context.Context, req *logical.Request) (checkFound, exists bool, err error) {
	return b.Backend.HandleExistenceCheck(ctx, &logical.Request{Operation: req.Operation, Path: req.Path, Storage: req.Storage})
}

// fieldProblem returns what is wrong with a request's name or with a value of a text
// field or a map, starting with the name of the field. It returns "" if nothing is, and
// never quotes a value. It replaces the values of maps with the result of keyValuePairs.
func (b gbgBackend) fieldProblem(req *logical.Request) string {
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
	}
	var fields []string
	for field, value := range req.Data {
		schema, known := path.Fields[field]
		if known && schema.Type == framework.TypeKVPairs && value != nil {
			pairs, ok := keyValuePairs(value)
			if !ok {
				return field + ` must be a map of strings: NAME=VALUE, or {"NAME": "VALUE"}`
			}
			req.Data[field] = pairs
			continue
		}
		if _, isText := value.(string); known && schema.Type == framework.TypeString && value != nil && !isText {
			fields = append(fields, field)
		}
	}
	if len(fields) == 0 {
		return ""
	}
	return slices.Min(fields) + " must be a string"
}

// keyValuePairs returns a map of strings as JSON has it, or as the command line does:
// NAME=VALUE, several of these, or JSON in a text. ok is false if it is none. The
// framework would make texts of numbers, does not take JSON in a text, and quotes what
// it cannot read.
func keyValuePairs(value any) (pairs map[string]string, ok bool) {
	pairs = map[string]string{}
	switch value := value.(type) {
	case map[string]string:
		return value, true
	case map[string]any:
		for name, v := range value {
			if pairs[name], ok = v.(string); !ok {
				return nil, false
			}
		}
		return pairs, true
	case []any:
		for _, v := range value {
			text, _ := v.(string)
			name, v, ok := strings.Cut(text, "=")
			if !ok {
				return nil, false
			}
			pairs[name] = v
		}
		return pairs, true
	case string:
		switch text := strings.TrimSpace(value); {
		case text == "":
			return pairs, true
		case strings.HasPrefix(text, "{"):
			var object map[string]any
			if json.Unmarshal([]byte(text), &object) != nil {
				return nil, false
			}
			return keyValuePairs(object)
		}
		return keyValuePairs([]any{value})
	}
	return nil, false
}
