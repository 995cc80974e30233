package gbgsim

import (
	"context"
	"net/http"
	"time"
)

// IDPTokenPath is the token endpoint of the identity provider (IdP) of a
// customer of GBG Identity Solution. It takes any scope.
const IDPTokenPath = "/idp/token"

// IDPTokenPrefix starts every access token of the IdP, so that logs can be
// searched for tokens.
const IDPTokenPrefix = "sim-idp-token-"

// defaultIDPTokenLifetime is the simulator's own.
const defaultIDPTokenLifetime = 5 * time.Minute

type idpClientRequest struct {
	ID string `json:"client_id"`
}

// CreateIDPClient adds a client of the IdP and returns it, secret included. It
// has nothing to do with the clients of [Simulator.CreateClient]. The id is as
// in [NewClient]. It fails with [ErrClientExists], or because the id is not a
// valid one.
func (s *Simulator) CreateIDPClient(id string) (Client, error) {
	return s.idp.createClient(NewClient{ID: id})
}

// IDPClients returns all clients of the IdP by id, without their secrets.
func (s *Simulator) IDPClients() []Client {
	return s.idp.listClients()
}

// RegenerateIDP does for a client of the IdP what [Simulator.Regenerate] does.
func (s *Simulator) RegenerateIDP(id string) (secret string, err error) {
	return s.idp.regenerate(id)
}

// DeleteIDPClient removes a client of the IdP. Its IdP tokens stop working,
// but not those of GBG that it got for them. The only error is
// [ErrUnknownClient].
func (s *Simulator) DeleteIDPClient(id string) error {
	return s.idp.deleteClient(id)
}

// SetIDPTokenLifetime changes how long tokens of the IdP are valid that are
// issued from now on. It fails unless lifetime is one or more whole seconds.
func (s *Simulator) SetIDPTokenLifetime(lifetime time.Duration) error {
	return s.idp.setLifetime(lifetime)
}

// grantIDP answers a client of the IdP.
func (s *Simulator) grantIDP(_ context.Context, request tokenRequest) (any, *oauthError) {
	return s.idp.grantClientCredentials(request)
}

// routeIDP adds what the IdP has besides its token endpoint.
func (s *Simulator) routeIDP(mux *http.ServeMux) {
	routeClients(mux, "/idp/clients", s.idp)
	mux.Handle("POST /idp/clients", portalHandler(s.portalCreateIDPClient))
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
