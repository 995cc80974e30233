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

// The token endpoint of GBG Identity Solution as GBG documents it. All customers
// use the same client.
const (
	IdentityTokenPath    = "/authenticate/v1/connect/token"
	IdentityClientID     = "ro.client"
	IdentityClientSecret = "secret"
)

// IdentityScopes are the scopes that [IdentityTokenPath] grants, separated by
// spaces. They are those of GBG's example.
const IdentityScopes = "api api2"

// LastExchange returns a copy of the form of the last request to
// [IdentityTokenPath], or nil if there was none. If the form was malformed, it
// returns the part that could be parsed. It contains the id_token and the client
// secret and must not be logged.
func (s *Simulator) LastExchange() url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()

	form := maps.Clone(s.lastExchange)
	for name, values := range form {
		form[name] = slices.Clone(values)
	}

	return form
}

// grantExchange issues a token for the grant type id_auth, which exchanges a token
// of an identity provider for one of GBG. The new token is valid until it expires,
// even if its subject is removed from the identity provider.
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

// idTokenSubject returns the subject of an access token of the IdP or of a JWT of a
// trusted issuer. Errors are worded to follow "The id_token".
func (s *Simulator) idTokenSubject(ctx context.Context, idToken string) (string, error) {
	accepted, err := s.idp.check(idToken)
	if errors.Is(err, errUnknownToken) {
		return s.verifier.verify(ctx, idToken)
	}

	return accepted.subject, err
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
