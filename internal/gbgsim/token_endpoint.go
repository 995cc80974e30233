package gbgsim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// Endpoint is one of the simulator's OAuth endpoints.
type Endpoint string

// The OAuth endpoints: three issue tokens, one revokes them.
const (
	EndpointGo       Endpoint = ""         // GBG GO's, at [TokenPath]
	EndpointIdentity Endpoint = "identity" // GBG Identity Solution's, at [IdentityTokenPath]
	EndpointIDP      Endpoint = "idp"      // the identity provider's, at [IDPTokenPath]
	EndpointRevoke   Endpoint = "revoke"   // GBG GO's, at [RevokePath]
)

// grantFunc processes a well-formed request. It returns the successful response,
// which is a tokenResponse at the token endpoints, or an error.
type grantFunc func(context.Context, tokenRequest) (any, *oauthError)

// tokenResponse is a successful response (RFC 6749, section 5.1) with the members
// that GBG documents. Without a fault, ExpiresIn is a number of seconds and Scope
// is empty.
type tokenResponse struct {
	AccessToken string          `json:"access_token"`
	TokenType   string          `json:"token_type"`
	ExpiresIn   json.RawMessage `json:"expires_in,omitempty"`
	Scope       string          `json:"scope,omitempty"`
}

// oauthError is an error response (RFC 6749, section 5.2) with its status.
type oauthError struct {
	status      int
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// tokenHandler returns the handler of an OAuth endpoint.
func (s *Simulator) tokenHandler(endpoint Endpoint, grant grantFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// RFC 6749, section 5.1, requires this besides Cache-Control.
		w.Header().Set("Pragma", "no-cache")

		request, refused := readTokenRequest(r, endpoint == EndpointIDP)
		if refused == nil && endpoint != EndpointRevoke {
			refused = request.requireParameters("grant_type")
		}
		s.recordRequest(endpoint, request)

		if s.beforeToken != nil {
			s.beforeToken(r.Context(), request.requester())
			if requestEnded(w, r) {
				return
			}
		}

		fault, cleared := s.takeRequestFault(endpoint, request.requester())
		if fault.Kind != "" {
			if !fault.wait(w, r, cleared) {
				fault = Fault{}
			}
			if requestEnded(w, r) {
				return
			}
		}
		if writeFault(w, fault) {
			return
		}

		var response any
		if refused == nil {
			response, refused = grant(r.Context(), request)
		}
		s.countTokenAnswer(endpoint, request.requester(), refused == nil)

		if refused != nil {
			if _, _, basic := r.BasicAuth(); basic && refused.status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Basic realm="gbg-simulator"`)
			}
			fault.writeResponse(w, refused.status, refused)

			return
		}
		if token, ok := response.(tokenResponse); ok {
			response = fault.modify(token)
		}
		fault.writeResponse(w, http.StatusOK, response)
	}
}

// recordRequest counts a request and remembers the last exchange.
func (s *Simulator) recordRequest(endpoint Endpoint, request tokenRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.countTokenLocked(endpoint, request.requester(), RequestCounts{Total: 1})
	if endpoint == EndpointIdentity {
		s.lastExchange = request.form
	}
}

// requestEnded reports whether a request ended while it was blocked. If so, it
// writes a response, which the client can receive while the server shuts down.
func requestEnded(w http.ResponseWriter, r *http.Request) bool {
	if r.Context().Err() == nil {
		return false
	}
	writeJSON(w, http.StatusServiceUnavailable, oauthError{
		Code:        "temporarily_unavailable",
		Description: "The request ended before it was answered.",
	})

	return true
}

func (e Endpoint) check() error {
	switch e {
	case EndpointGo, EndpointIdentity, EndpointIDP, EndpointRevoke:
		return nil
	default:
		return fmt.Errorf("endpoint %q is not one of %s, %s, %s; without one it is %s", e, EndpointIdentity, EndpointIDP, EndpointRevoke, TokenPath)
	}
}
