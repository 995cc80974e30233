package backend

import (
	"errors"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"
)

// IsReadOnly reports whether err means that this node may not write: the request has
// to be answered with the bare [logical.ErrReadOnly], by which Vault forwards it to
// a node that may. In a plugin process the storage is at the other end of a gRPC
// connection that carries the text of an error and nothing else.
func IsReadOnly(err error) bool {
	return err != nil && (errors.Is(err, logical.ErrReadOnly) || strings.Contains(err.Error(), logical.ErrReadOnly.Error()))
}
