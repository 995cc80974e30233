package gbgsim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// Endpoint is one of the simulator's OAuth endpoints.
type Endpoint string

// The OAuth endpoints: three for tokens, one to revoke them.
const (
	EndpointGo       Endpoint = ""         // GBG GO's, at [TokenPath]
	EndpointIdentity Endpoint = "identity" // GBG Identity Solution's, at [IdentityTokenPath]
	EndpointIDP      Endpoint = "idp"      // the identity provider's, at [IDPTokenPath]
	EndpointRevoke   Endpoint = "revoke"   // GBG GO\'s, at [RevokePath]
)

// grantFunc answers a request that is not malformed: a tokenResponse, or whatever
// else stands for success.
type grantFunc func(context.Context, tokenRequest) (any, *oauthError)

// tokenResponse is a successful answer (RFC 6749, section 5.1) with the members
// that GBG documents. ExpiresIn is a number of seconds, and Scope is left out,
// unless there is a fault.
type tokenResponse struct {
	AccessToken string          `json:"access_token"`
	TokenType   string          `json:"token_type"`
	ExpiresIn   json.RawMessage `json:"expires_in,omitempty"`
	Scope       string          `json:"scope,omitempty"`
}

// oauthError is an error answer (RFC 6749, section 5.2).
type oauthError struct {
	status      int
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// tokenHandler is what the endpoints have in common.
func (s *Simulator) tokenHandler(endpoint Endpoint, grant grantFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// RFC 6749, section 5.1, asks for this besides Cache-Control.
		w.Header().Set("Pragma", "no-cache")

		request, refused := readTokenRequest(r, endpoint == EndpointIDP)
		if refused == nil && endpoint != EndpointRevoke {
			refused = request.requireParameters("grant_type")
		}
		s.recordRequest(endpoint, request)

		if s.beforeToken != nil {
			s.beforeToken(r.Context(), request.clientID)
			if requestEnded(w, r) {
				return
			}
		}

		fault, cleared := s.takeRequestFault(endpoint, request.clientID)
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

		var answer any
		if refused == nil {
			answer, refused = grant(r.Context(), request)
		}
		s.countTokenAnswer(endpoint, request.clientID, refused == nil)

		if refused != nil {
			if _, _, basic := r.BasicAuth(); basic && refused.status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Basic realm="gbg-simulator"`)
			}
			fault.writeResponse(w, refused.status, refused)

			return
		}
		if token, ok := answer.(tokenResponse); ok {
			answer = fault.modify(token)
		}
		fault.writeResponse(w, http.StatusOK, answer)
	}
}

// recordRequest takes note of a token request.
func (s *Simulator) recordRequest(endpoint Endpoint, request tokenRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.countTokenLocked(endpoint, request.clientID, RequestCounts{Total: 1})
	if endpoint == EndpointIdentity {
		s.lastExchange = request.form
	}
}

// requestEnded says whether a request that was held has requestEnded meanwhile, and then
// answers it in case that anyone listens.
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
