package gbgsim

import (
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
)

// apiResponse is a successful response of the API. ClientID is the subject of the
// token, which is a person's if GBG Identity Solution issued the token to one.
type apiResponse struct {
	ClientID   string `json:"client_id"`
	Department string `json:"department"`
	Result     string `json:"result"`
}

// gbgErrorResponse is an error response as GBG GO documents it for its API.
type gbgErrorResponse struct {
	Errors []GBGError `json:"errors"`
}

// GBGError is one error of GBG GO's API. GBG documents Code as digits in a
// string and Location as Body, Authorization, Path or Service. The codes and
// names that the simulator returns are not GBG's.
type GBGError struct {
	Code     string `json:"code"`
	Name     string `json:"name"`
	Location string `json:"location"`
	Problem  string `json:"problem"`
	Action   string `json:"action"`
}

// apiError is an error response of the API with its status.
type apiError struct {
	status int
	GBGError
}

func (s *Simulator) serveAPI(w http.ResponseWriter, r *http.Request) {
	// GBG sends this id with every response, for requests to its support.
	w.Header().Set("X-Request-ID", rand.Text())

	response, refused := s.callAPI(bearerToken(r))
	if refused != nil {
		if refused.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		writeJSON(w, refused.status, gbgErrorResponse{Errors: []GBGError{refused.GBGError}})

		return
	}
	writeJSON(w, http.StatusOK, response)
}

// callAPI processes and counts one call. An empty accessToken means none.
func (s *Simulator) callAPI(accessToken string) (apiResponse, *apiError) {
	response, refused := s.authorize(accessToken)
	s.countAPICall(refused == nil)

	return response, refused
}

// authorize checks a token. It requires a role only if GBG GO issued the token.
func (s *Simulator) authorize(accessToken string) (apiResponse, *apiError) {
	if accessToken == "" {
		return apiResponse{}, unauthorized("4011", "MISSING_TOKEN", "The request has no bearer token.")
	}
	accepted, err := s.gbg.check(accessToken)
	switch {
	case errors.Is(err, errExpiredToken):
		return apiResponse{}, unauthorized("4013", "EXPIRED_TOKEN", "The token "+err.Error()+".")
	case errors.Is(err, errRevokedToken):
		return apiResponse{}, unauthorized("4015", "REVOKED_TOKEN", "The token "+err.Error()+".")
	case errors.Is(err, errDeletedClient):
		return apiResponse{}, unauthorized("4014", "DELETED_CLIENT", "The token "+err.Error()+".")
	case err != nil:
		return apiResponse{}, unauthorized("4012", "UNKNOWN_TOKEN", "The token "+err.Error()+".")
	case accepted.client == nil:
		return apiResponse{ClientID: accepted.subject, Result: "ok"}, nil
	case !slices.Contains(accepted.client.Roles, RoleGoAPIAccess):
		return apiResponse{}, &apiError{status: http.StatusForbidden, GBGError: GBGError{
			Code:     "4031",
			Name:     "MISSING_ROLE",
			Location: "Authorization",
			Problem:  "The client of the token does not have the role " + RoleGoAPIAccess + ".",
			Action:   "Ask a customer administrator to give the client the role.",
		}}
	}

	return apiResponse{ClientID: accepted.subject, Department: accepted.client.Department, Result: "ok"}, nil
}

func unauthorized(code, name, problem string) *apiError {
	return &apiError{status: http.StatusUnauthorized, GBGError: GBGError{
		Code:     code,
		Name:     name,
		Location: "Authorization",
		Problem:  problem,
		Action:   "Get a token at " + TokenPath + " or " + IdentityTokenPath + " and send it in the Authorization header.",
	}}
}

// bearerToken returns a request's bearer token (RFC 6750, section 2.1), or ""
// if it has none.
func bearerToken(r *http.Request) string {
	scheme, accessToken, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}

	return strings.TrimSpace(accessToken)
}
