package gbg

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-gbg/backend"
	"vault-plugin-secrets-gbg/backend/connection"
)

// refusal is an engine's error that comes from GBG.
type refusal interface {
	error
	Temporary() bool
	// Refused reports whether GBG understood the request and said no; ClientRefused,
	// whether to who asked.
	Refused() bool
	ClientRefused() bool
	// RetryAfter returns how long GBG asked to be left alone; zero if it did not.
	RetryAfter() time.Duration
}

// errorResponse turns an engine's error into what Vault passes on to the client: 400
// is a plain error response; 502 and 503 are coded errors, outermost, because
// Vault makes a wrapped one a 500.
func (d *handlers) errorResponse(req *logical.Request, name string, err error) (*logical.Response, error) {
	var input *connection.InputError
	var recent *backend.RecentRotationError
	var failing *backend.FailingError
	var refused refusal
	var asked *backend.ClientError
	var short *backend.ShortTokenError
	switch {
	case errors.Is(err, backend.ErrNotConfigured):
		return logical.ErrorResponse("connection %q is not configured; configure it with: vault write %s client_id=ID client_secret=@FILE",
			name, pathFor(req, "config", name)), nil
	case errors.Is(err, connection.ErrNoPair):
		return logical.ErrorResponse("connection %q has no paired client to rotate to; add one with: vault write %s paired_client_id=ID paired_client_secret=@FILE",
			name, pathFor(req, "config", name)), nil
	case errors.Is(err, backend.ErrNoClients):
		return logical.ErrorResponse("connection %q has no clients of its own, it exchanges tokens that callers bring: %s", name, exchangeCommand(req, name)), nil
	case errors.As(err, &input):
		return logical.ErrorResponse(input.Error()), nil
	case errors.As(err, &recent):
		return logical.ErrorResponse(repeatedRotation(req, name, recent)), nil
	case errors.As(err, &failing) && errors.As(failing.Cause, &refused):
		return failingResponse(req, name, failing, refused)
	case errors.As(err, &asked) && asked.Step == backend.StepOwnExchange:
		return exchangeResponse(req, name, asked)
	case errors.As(err, &refused) && refused.Temporary():
		return unavailable(sentences(refused.Error(), "Nothing has changed"), refused.RetryAfter())
	case errors.As(err, &refused) && !refused.Refused():
		return nil, logical.CodedError(http.StatusBadGateway, sentences(refused.Error(), "Nothing has changed"))
	case errors.As(err, &refused):
		return logical.ErrorResponse(sentences(refused.Error(), "Nothing has changed")), nil
	case errors.As(err, &short):
		return unavailable(short.Error(), 0)
	case backend.IsReadOnly(err):
		return nil, logical.ErrReadOnly // bare: Vault forwards the request by it
	case errors.Is(err, backend.ErrClosed), d.engine.Closed(): // its storage goes with it
		return unavailable(backend.ErrClosed.Error(), 0)
	}
	return nil, err
}

// exchangeResponse answers a caller whose own token was not exchanged. That is the
// caller's affair, unless it was the exchange's own client that GBG refused.
func exchangeResponse(req *logical.Request, name string, err *backend.ClientError) (*logical.Response, error) {
	switch {
	case err.Temporary():
		return unavailable(sentences(err.Error()), err.RetryAfter())
	case err.ClientRefused():
		return nil, logical.CodedError(http.StatusBadGateway, sentences(err.Error(),
			"GBG refuses not the id_token but who sends it: see exchange_client_id and exchange_client_secret at "+pathFor(req, "config", name)))
	case !err.Refused():
		return nil, logical.CodedError(http.StatusBadGateway, sentences(err.Error()))
	}
	return logical.ErrorResponse(err.Error()), nil
}

// failingResponse answers a reader for whom there is no token.
func failingResponse(req *logical.Request, name string, failing *backend.FailingError, refused refusal) (*logical.Response, error) {
	when := fmt.Sprintf("Token requests fail since %s; the next try is at %s", timestamp(failing.Since), timestamp(failing.NextTry))
	if refused.Temporary() {
		return unavailable(sentences(refused.Error(), when), failing.Wait)
	}
	answer := []string{refused.Error(), when}
	var asked *backend.ClientError
	switch {
	case errors.As(refused, &asked) && asked.Step == backend.StepExchange && refused.Refused():
		answer = append(answer, "The identity provider's part went well: check scope, idp_scope and the exchange client at "+pathFor(req, "config", name))
	case asked != nil && asked.UsesKey && refused.ClientRefused():
		answer = append(answer, "Check that its key is registered at the identity provider: vault read "+pathFor(req, "keys", name))
	case refused.ClientRefused():
		answer = append(answer, "If its secret was regenerated, write the new one: "+secretCommand(req, name))
	}
	return nil, logical.CodedError(http.StatusBadGateway, sentences(answer...))
}

// secretCommand is how a person replaces the secret of a client.
func secretCommand(req *logical.Request, name string) string {
	return fmt.Sprintf("vault write %s client_secret=@FILE (paired_client_secret for the paired client)", pathFor(req, "config", name))
}

// unavailable returns a 503 that says when to come back, at least a second from now.
func unavailable(text string, wait time.Duration) (*logical.Response, error) {
	after := strconv.FormatInt(max(seconds(wait+time.Second-1), 1), 10)
	return &logical.Response{Headers: map[string][]string{"Retry-After": {after}}},
		logical.CodedError(http.StatusServiceUnavailable, text)
}

// sentences joins them, whether they end in a full stop or not.
func sentences(all ...string) string {
	for i, s := range all {
		all[i] = strings.TrimSuffix(s, ".")
	}
	return strings.Join(all, ". ") + "."
}
