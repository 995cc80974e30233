package gbg

import (
	"context"
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
	p := new(T) // v itself would be allocated also if it is not given
	*p = v
	return p
}

// gbgBackend checks the fields of a request before the framework does. The framework
// would convert numbers (rounded) and true ("1") to text, take an empty text for false or
// zero, ignore unknown fields, and quote values, including secrets, in its errors.
type gbgBackend struct {
	*framework.Backend

	// reads handles the requests that readsCreds reports.
	reads *framework.Backend
}

// HandleRequest implements logical.Backend.
func (b gbgBackend) HandleRequest(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	if endsInSlash(req) {
		return nil, logical.ErrUnsupportedPath // 404
	}
	if problem := b.inputProblem(req); problem != "" {
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
