package gbg

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/backend"
	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// refusal is an error of the engine that comes from GBG.
type refusal interface {
	error
	Temporary() bool
	// Refused reports whether GBG understood the request and refused it; ClientRefused,
	// whether it refused the client itself.
	Refused() bool
	ClientRefused() bool
	// RetryAfter returns GBG's Retry-After; zero if it sent none.
	RetryAfter() time.Duration
}

// errorResponse returns the answer for an error of the engine. 400 is a plain error
// response. 502 and 503 are coded errors, which must not be wrapped: Vault turns a
// wrapped one into a 500.
func (d *handlers) errorResponse(req *logical.Request, name string, err error) (*logical.Response, error) {
	var input *connection.InputError
	var recent *backend.RecentRotationError
	var alone *backend.NoPairError
	var failing *backend.FailingError
	var refused refusal
	var asked *backend.ClientError
	var short *backend.ShortTokenError
	switch {
	case errors.Is(err, backend.ErrNotConfigured):
		return logical.ErrorResponse("connection %q is not configured; configure it with: vault write %s client_id=ID client_secret=@FILE",
			name, pathFor(req, "config", name)), nil
	case errors.As(err, &alone):
		return logical.ErrorResponse("connection %q has no paired %s to rotate to; add one with: %s", name, alone.Fields.Noun(), advice{req: req, name: name, fields: alone.Fields}.addPairedCommand()), nil
	case errors.Is(err, backend.ErrNoClients):
		return logical.ErrorResponse("connection %q has no clients of its own: it exchanges tokens that callers bring: %s", name, exchangeCommand(req, name)), nil
	case errors.As(err, &input):
		return logical.ErrorResponse(input.Error()), nil
	case errors.As(err, &recent):
		return logical.ErrorResponse(repeatedRotation(req, name, recent)), nil
	case errors.As(err, &failing) && errors.As(failing.Cause, &refused):
		return failingResponse(req, name, d.engine.StandbyID(name), failing, refused)
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
		return nil, logical.ErrReadOnly // bare, so that Vault forwards the request
	case errors.Is(err, backend.ErrClosed), d.engine.Closed(): // its storage may fail then
		return unavailable(backend.ErrClosed.Error(), 0)
	}
	return nil, err
}

// exchangeResponse returns the answer to a caller whose own token could not be
// exchanged. It is the caller's error, unless GBG refused the client of the exchange.
func exchangeResponse(req *logical.Request, name string, err *backend.ClientError) (*logical.Response, error) {
	switch {
	case err.Temporary():
		return unavailable(sentences(err.Error()), err.RetryAfter())
	case err.ClientRefused():
		return nil, logical.CodedError(http.StatusBadGateway, sentences(err.Error(),
			"GBG refused the client that sends the id_token, not the id_token: check exchange_client_id and exchange_client_secret at "+pathFor(req, "config", name)))
	case !err.Refused():
		return nil, logical.CodedError(http.StatusBadGateway, sentences(err.Error()))
	}
	return logical.ErrorResponse(err.Error()), nil
}

// failingResponse returns the answer to a reader while token requests fail.
func failingResponse(req *logical.Request, name, standby string, failing *backend.FailingError, refused refusal) (*logical.Response, error) {
	when := fmt.Sprintf("Token requests have failed since %s; the next try is at %s", timestamp(failing.Since), timestamp(failing.NextTry))
	if refused.Temporary() {
		return unavailable(sentences(refused.Error(), when), failing.Wait)
	}
	answer := []string{refused.Error(), when}
	if step := (advice{req: req, name: name, fields: pairFields(refused)}).refusal(standby, refused); step != "" {
		answer = append(answer, step)
	}
	return nil, logical.CodedError(http.StatusBadGateway, sentences(answer...))
}

// pairFields returns the fields of the pair that a refusal is about.
func pairFields(err error) connection.PairFields {
	var client *backend.ClientError
	if errors.As(err, &client) {
		return client.Fields
	}
	return connection.PairFields{}
}

// unavailable returns a 503 with a Retry-After of wait, rounded up to whole seconds and
// at least one.
func unavailable(text string, wait time.Duration) (*logical.Response, error) {
	after := strconv.FormatInt(max(seconds(wait+time.Second-1), 1), 10)
	return &logical.Response{Headers: map[string][]string{"Retry-After": {after}}},
		logical.CodedError(http.StatusServiceUnavailable, text)
}

// sentences joins texts, each with or without a full stop, into sentences.
func sentences(all ...string) string {
	for i, s := range all {
		all[i] = strings.TrimSuffix(s, ".")
	}
	return strings.Join(all, ". ") + "."
}
