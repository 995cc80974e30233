package gbgsim

import (
	"context"
	"net/http"
	"time"
)

// IDPTokenPath is the token endpoint of the identity provider (IdP) of a customer
// of GBG Identity Solution. It grants any scope.
const IDPTokenPath = "/idp/token"

// IDPTokenPrefix is the prefix of every access token of the IdP, so that tests can
// search logs for tokens.
const IDPTokenPrefix = "sim-idp-token-"

// defaultIDPTokenLifetime is a typical lifetime; GBG does not specify one.
const defaultIDPTokenLifetime = 5 * time.Minute

type idpClientRequest struct {
	ID string `json:"client_id"`
}

// CreateIDPClient adds a client of the IdP and returns it, secret included. IdP
// clients are independent of the clients of [Simulator.CreateClient]. The id is as
// in [NewClient]. It returns [ErrClientExists] if the id is taken, and an error if
// the id is invalid.
func (s *Simulator) CreateIDPClient(id string) (Client, error) {
	return s.idp.createClient(NewClient{ID: id})
}

// IDPClients returns all clients of the IdP without their secrets, sorted by id.
func (s *Simulator) IDPClients() []Client {
	return s.idp.listClients()
}

// RegenerateIDP is [Simulator.Regenerate] for a client of the IdP.
func (s *Simulator) RegenerateIDP(id string) (secret string, err error) {
	return s.idp.regenerate(id)
}

// DeleteIDPClient removes a client of the IdP. Its IdP tokens become invalid; GBG
// tokens it has exchanged them for stay valid. It fails only with
// [ErrUnknownClient].
func (s *Simulator) DeleteIDPClient(id string) error {
	return s.idp.deleteClient(id)
}

// SetIDPTokenLifetime sets the lifetime of new IdP tokens. It returns an error
// unless lifetime is a positive number of whole seconds.
func (s *Simulator) SetIDPTokenLifetime(lifetime time.Duration) error {
	return s.idp.setLifetime(lifetime)
}

// grantIDP issues a token to a client of the IdP.
func (s *Simulator) grantIDP(ctx context.Context, request tokenRequest) (any, *oauthError) {
	keys := s.assertions.keysOf(s.idp.findClient(request.clientID))
	switch {
	case request.form.Has("client_assertion"):
		if refused := s.assertions.check(ctx, keys, request); refused != nil {
			return nil, refused
		}
		request.authenticated = true
	case keys != nil:
		return nil, invalidClient()
	}

	return s.idp.grantClientCredentials(request)
}

// routeIDP adds the routes of the IdP except its token endpoint.
func (s *Simulator) routeIDP(mux *http.ServeMux) {
	routeClients(mux, "/idp/clients", s.idp)
	mux.Handle("POST /idp/clients", portalHandler(s.portalCreateIDPClient))
	mux.Handle("PUT /idp/clients/{id}/keys", portalHandler(s.portalSetIDPKeys))
	mux.Handle("POST /idp/login", portalHandler(s.portalLogin))
	mux.Handle("GET /idp/jwks", portalHandler(s.portalKeys))
	mux.Handle("PUT /idp/trust", portalHandler(s.portalTrust))
}

func (s *Simulator) portalCreateIDPClient(r *http.Request) (int, any, error) {
	var request idpClientRequest
	if err := readJSON(r, &request); err != nil {
		return 0, nil, err
	}
	client, err := s.CreateIDPClient(request.ID)

	return http.StatusCreated, client, err
}
