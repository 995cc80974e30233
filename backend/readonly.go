package backend

import (
	"errors"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"
)

// IsReadOnly reports whether err means that this node is not allowed to write. The
// request must then be answered with the bare [logical.ErrReadOnly], so that Vault
// forwards it to a node that is. In a plugin process the storage is behind a gRPC
// connection, which preserves only the text of an error.
func IsReadOnly(err error) bool {
	return err != nil && (errors.Is(err, logical.ErrReadOnly) || strings.Contains(err.Error(), logical.ErrReadOnly.Error()))
}
