package gbg

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-gbg/backend"
)

// value is a field's value. A field that was not given, or is JSON's null, has
// none: the framework alone would take null for the zero value, and so turn
// verify_connection off or remove the paired client.
func value[T any](data *framework.FieldData, field backend.Setting) (v T, ok bool) {
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

// text is a field's value, or nil if it has none.
func text(data *framework.FieldData, field backend.Setting) *string {
	return pointer(value[string](data, field))
}

func flag(data *framework.FieldData, field backend.Setting) *bool {
	return pointer(value[bool](data, field))
}

func secret(data *framework.FieldData, field backend.Setting) *backend.Secret {
	plain, ok := value[string](data, field)
	return pointer(backend.NewSecret(plain), ok)
}

func duration(data *framework.FieldData, field backend.Setting) *time.Duration {
	whole, ok := value[int](data, field)
	return pointer(time.Duration(whole)*time.Second, ok)
}

func pointer[T any](v T, ok bool) *T {
	if !ok {
		return nil
	}
	return &v
}

// gbgBackend is a backend whose secret fields must be texts. The framework would
// refuse anything else as well, but quotes it in its error.
type gbgBackend struct {
	*framework.Backend

	// reads answers reads of creds.
	reads *framework.Backend
}

// HandleRequest implements logical.Backend.
func (b gbgBackend) HandleRequest(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	if field := oddSecret(req); field != "" {
		return logical.ErrorResponse("%s must be a string", field), nil
	}
	if req.Operation == logical.ReadOperation && (req.Path == "creds" || strings.HasPrefix(req.Path, "creds/")) {
		return b.reads.HandleRequest(ctx, req)
	}
	return b.Backend.HandleRequest(ctx, req)
}

// HandleExistenceCheck implements logical.Backend. A request that cannot be read
// is passed on as one that creates, and then refused.
func (b gbgBackend) HandleExistenceCheck(ctx context.Context, req *logical.Request) (checkFound, exists bool, err error) {
	if oddSecret(req) != "" {
		return true, false, nil
	}
	return b.Backend.HandleExistenceCheck(ctx, req)
}

// oddSecret names a secret field that was given and is no text.
func oddSecret(req *logical.Request) string {
	for _, field := range []backend.Setting{backend.ClientSecret, backend.PairedClientSecret, backend.ExchangeClientSecret, backend.IDToken} {
		given, ok := req.Data[string(field)]
		if _, isText := given.(string); ok && given != nil && !isText {
			return string(field)
		}
	}
	return ""
}
