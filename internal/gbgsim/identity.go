package gbgsim

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// What GBG documents of GBG Identity Solution's token endpoint. Its client is
// the same for everybody.
const (
	IdentityTokenPath    = "/authenticate/v1/connect/token"
	IdentityClientID     = "ro.client"
	IdentityClientSecret = "secret"
)

// IdentityScopes are the scopes that can be asked for at [IdentityTokenPath],
// separated by spaces. They are those of GBG's example.
const IdentityScopes = "api api2"

// LastExchange returns a copy of the form of the last request to
// [IdentityTokenPath], as much of it as could be read, or nil before the first.
// It is as it was sent, the id_token and the secret included: not for logs.
func (s *Simulator) LastExchange() url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()

	form := maps.Clone(s.lastExchange)
	for name, values := range form {
		form[name] = slices.Clone(values)
	}

	return form
}

// grantExchange answers the grant type id_auth: the token of an identity
// provider, whatever its kind, for one of GBG's. Unlike its subject, who may be
// gone from the identity provider the next moment, that one lives until it
// expires.
func (s *Simulator) grantExchange(ctx context.Context, request tokenRequest) (any, *oauthError) {
	if refused := cmp.Or(
		request.requireParameters("client_id", "client_secret"),
		checkIdentityClient(request),
		request.checkGrantType("id_auth"),
		request.requireParameters("id_token"),
	); refused != nil {
		return nil, refused
	}
	subject, err := s.idTokenSubject(ctx, request.form.Get("id_token"))
	if err != nil {
		return nil, invalidGrant("The id_token " + err.Error() + ".")
	}
	if refused := request.checkScope(strings.Fields(IdentityScopes)); refused != nil {
		return nil, refused
	}

	return s.gbg.issueTo(subject), nil
}

// idTokenSubject says whom a token stands for that is an access token of the
// IdP, or a JWT of an issuer that is trusted. Errors are the end of a sentence.
func (s *Simulator) idTokenSubject(ctx context.Context, idToken string) (string, error) {
	held, err := s.idp.check(idToken)
	if errors.Is(err, errUnknownToken) {
		return s.verifier.verify(ctx, idToken)
	}

	return held.subject, err
}

func checkIdentityClient(request tokenRequest) *oauthError {
	if request.clientID == IdentityClientID && request.clientSecret == IdentityClientSecret {
		return nil
	}

	return invalidClient()
}

func invalidGrant(description string) *oauthError {
	return &oauthError{status: http.StatusBadRequest, Code: "invalid_grant", Description: description}
}
