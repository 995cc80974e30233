package gbg

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-gbg/backend"
)

// retryAfter is what a 503 asks a client to wait, in seconds.
const retryAfter = "1"

// caller says who has to act when GBG refuses.
type caller bool

const (
	// configurer gave what GBG refused: 400.
	configurer caller = true
	// reader has no part in it: 502.
	reader caller = false
)

// failed turns an engine's error into what Vault passes on to the client: 400
// is a plain error response; 502 and 503 are coded errors, outermost, because
// Vault makes a wrapped one a 500.
func failed(req *logical.Request, connection string, who caller, err error) (*logical.Response, error) {
	var input *backend.InputError
	var refused *backend.ClientError
	switch {
	case errors.Is(err, backend.ErrNotConfigured):
		return logical.ErrorResponse("connection %q is not configured; configure it with: vault write %s client_id=ID client_secret=@FILE",
			connection, pathFor(req, "config", connection)), nil
	case errors.Is(err, backend.ErrNoPair):
		return logical.ErrorResponse("connection %q has no paired client to rotate to; add one with: vault write %s paired_client_id=ID paired_client_secret=@FILE",
			connection, pathFor(req, "config", connection)), nil
	case errors.As(err, &input):
		return logical.ErrorResponse(input.Error()), nil
	case errors.As(err, &refused):
		text := oneLine(refused.Error(), nextMove(req, connection, who, refused))
		switch {
		case refused.Temporary():
			return unavailable(text)
		case who == configurer:
			return logical.ErrorResponse(text), nil
		}
		return nil, logical.CodedError(http.StatusBadGateway, text)
	case errors.Is(err, backend.ErrClosed):
		return unavailable(err.Error())
	}
	return nil, err
}

// unavailable is a 503 that says when to come back.
func unavailable(text string) (*logical.Response, error) {
	return &logical.Response{Headers: map[string][]string{"Retry-After": {retryAfter}}},
		logical.CodedError(http.StatusServiceUnavailable, text)
}

// nextMove tells what to do about a token request that failed.
func nextMove(req *logical.Request, connection string, who caller, err *backend.ClientError) string {
	switch {
	case who == configurer:
		return "Nothing has changed."
	case err.Temporary():
		return "Try again."
	}
	return fmt.Sprintf("If its secret was regenerated at GBG, write the new one to %s, or rotate with %s.",
		pathFor(req, "config", connection), pathFor(req, "rotate", connection))
}

func oneLine(sentences ...string) string {
	for i, s := range sentences {
		sentences[i] = strings.TrimSuffix(s, ".")
	}
	return strings.Join(sentences, ". ") + "."
}
