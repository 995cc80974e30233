package gbgsim

import (
	"context"
	"net/http"
)

// RevokePath is the revocation endpoint. GBG documents none; the path is
// PingFederate's.
const RevokePath = "/as/revoke_token.oauth2"

// revoke processes a revocation request (RFC 7009). Only the client that a token was
// issued to may revoke it. An unknown token counts as revoked.
func (s *Simulator) revoke(_ context.Context, request tokenRequest) (any, *oauthError) {
	if refused := request.requireParameters("client_id", "client_secret", "token"); refused != nil {
		return nil, refused
	}
	return struct{}{}, s.gbg.revoke(request)
}

func (a *authServer) revoke(request tokenRequest) *oauthError {
	a.mu.Lock()
	defer a.mu.Unlock()

	client, refused := a.authenticateLocked(request)
	if refused != nil && checkIdentityClient(request) != nil {
		return refused
	}
	accessToken := request.form.Get("token")
	issued, ok := a.tokens[accessToken]
	switch {
	case !ok:
		return nil
	case issued.client != client:
		return &oauthError{
			status:      http.StatusBadRequest,
			Code:        "invalid_request",
			Description: "The token was issued to another client.",
		}
	}
	issued.revoked = true
	a.tokens[accessToken] = issued
	return nil
}
