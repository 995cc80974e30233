package gbgsim

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// portalHandler returns the status and the JSON body of a response, or an error. A
// nil body means none.
type portalHandler func(r *http.Request) (status int, body any, err error)

type clientList struct {
	Clients []Client `json:"clients"`
}

type regeneratedSecret struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
}

type roleList struct {
	Roles []string `json:"roles"`
}

type settings struct {
	TokenLifetime string      `json:"token_lifetime"` // in the format of [time.ParseDuration]
	TokenFormat   TokenFormat `json:"token_format"`
}

type portalError struct {
	Error string `json:"error"`
}

// routePortal adds the routes for what a customer administrator does by hand in the
// Account management portal, and for controlling the simulator. GBG has no API for
// the portal: these paths exist only in the simulator.
func (s *Simulator) routePortal(mux *http.ServeMux) {
	routeClients(mux, "/portal/clients", s.gbg)
	mux.Handle("POST /portal/clients", portalHandler(s.portalCreateClient))
	mux.Handle("PUT /portal/clients/{id}/roles", portalHandler(s.portalSetRoles))
	mux.Handle("POST /portal/clients/{id}/revoke", portalHandler(s.portalRevokeTokens))
	s.routeUsers(mux)
	mux.Handle("GET /portal/settings", portalHandler(s.portalSettings))
	mux.Handle("PUT /portal/settings", portalHandler(s.portalSetSettings))
	mux.Handle("GET /portal/stats", portalHandler(s.portalStats))
	mux.Handle("GET /portal/faults", portalHandler(s.portalFaults))
	mux.Handle("PUT /portal/faults", portalHandler(s.portalSetFault))
	mux.Handle("DELETE /portal/faults", portalHandler(s.portalClearFaults))
	mux.HandleFunc("GET /portal/ca", s.serveCA)
}

// routeClients adds the routes below path that manage the clients of an
// authorization server.
func routeClients(mux *http.ServeMux, path string, server *authServer) {
	mux.Handle("GET "+path, portalHandler(func(*http.Request) (int, any, error) {
		return http.StatusOK, clientList{Clients: server.listClients()}, nil
	}))
	mux.Handle("POST "+path+"/{id}/regenerate", portalHandler(func(r *http.Request) (int, any, error) {
		id := r.PathValue("id")
		secret, err := server.regenerate(id)

		return http.StatusOK, regeneratedSecret{ClientID: id, ClientSecret: secret}, err
	}))
	mux.Handle("DELETE "+path+"/{id}", portalHandler(func(r *http.Request) (int, any, error) {
		return http.StatusNoContent, nil, server.deleteClient(r.PathValue("id"))
	}))
}

func (h portalHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, body, err := h(r)
	switch {
	case errors.Is(err, ErrUnknownClient), errors.Is(err, ErrUnknownUser):
		writeJSON(w, http.StatusNotFound, portalError{Error: err.Error()})
	case errors.Is(err, ErrClientExists), errors.Is(err, ErrUserExists):
		writeJSON(w, http.StatusConflict, portalError{Error: err.Error()})
	case err != nil:
		writeJSON(w, http.StatusBadRequest, portalError{Error: err.Error()})
	case body == nil:
		w.WriteHeader(status)
	default:
		writeJSON(w, status, body)
	}
}

func (s *Simulator) portalCreateClient(r *http.Request) (int, any, error) {
	var request NewClient
	if err := readJSON(r, &request); err != nil {
		return 0, nil, err
	}
	client, err := s.CreateClient(request)

	return http.StatusCreated, client, err
}

func (s *Simulator) portalSetRoles(r *http.Request) (int, any, error) {
	var request roleList
	if err := readJSON(r, &request); err != nil {
		return 0, nil, err
	}
	if request.Roles == nil {
		return 0, nil, errors.New("roles is missing; [] takes all roles away")
	}

	return http.StatusNoContent, nil, s.SetRoles(r.PathValue("id"), request.Roles...)
}

func (s *Simulator) portalRevokeTokens(r *http.Request) (int, any, error) {
	return http.StatusNoContent, nil, s.RevokeTokens(r.PathValue("id"))
}

func (s *Simulator) portalSettings(*http.Request) (int, any, error) {
	return http.StatusOK, settings{TokenLifetime: s.TokenLifetime().String(), TokenFormat: s.TokenFormat()}, nil
}

// portalSetSettings changes the settings that are given.
func (s *Simulator) portalSetSettings(r *http.Request) (int, any, error) {
	var request settings
	if err := readJSON(r, &request); err != nil {
		return 0, nil, err
	}
	if request == (settings{}) {
		return 0, nil, errors.New("token_lifetime and token_format are missing")
	}
	if request.TokenFormat != "" {
		if err := request.TokenFormat.check(); err != nil {
			return 0, nil, err
		}
	}
	if request.TokenLifetime != "" {
		lifetime, err := time.ParseDuration(request.TokenLifetime)
		if err != nil {
			return 0, nil, fmt.Errorf("token_lifetime %q is not a duration such as \"300s\"", request.TokenLifetime)
		}
		if err := s.SetTokenLifetime(lifetime); err != nil {
			return 0, nil, err
		}
	}
	if request.TokenFormat != "" {
		if err := s.SetTokenFormat(request.TokenFormat); err != nil {
			return 0, nil, err
		}
	}

	return s.portalSettings(r)
}

func (s *Simulator) portalStats(*http.Request) (int, any, error) {
	return http.StatusOK, s.Stats(), nil
}
