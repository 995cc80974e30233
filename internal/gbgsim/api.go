package gbgsim

import (
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
)

// apiResponse says whom the token stands for, which is a person if GBG Identity
// Solution issued it to one.
type apiResponse struct {
	ClientID   string `json:"client_id"`
	Department string `json:"department"`
	Result     string `json:"result"`
}

// gbgErrorResponse is the form in which GBG GO documents the errors of its API.
type gbgErrorResponse struct {
	Errors []GBGError `json:"errors"`
}

// GBGError is one error of GBG GO's API. GBG documents Code as digits in a
// string and Location as Body, Authorization, Path or Service. The codes and
// names with which the simulator's API answers are its own.
type GBGError struct {
	Code     string `json:"code"`
	Name     string `json:"name"`
	Location string `json:"location"`
	Problem  string `json:"problem"`
	Action   string `json:"action"`
}

// apiError is an error answer of the API.
type apiError struct {
	status int
	GBGError
}

func (s *Simulator) serveAPI(w http.ResponseWriter, r *http.Request) {
	// GBG's support asks for this id, so GBG sends it with every answer.
	w.Header().Set("X-Request-ID", rand.Text())

	answer, refused := s.callAPI(bearerToken(r))
	if refused != nil {
		if refused.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		writeJSON(w, refused.status, gbgErrorResponse{Errors: []GBGError{refused.GBGError}})

		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// callAPI answers and counts one call. An empty accessToken is none.
func (s *Simulator) callAPI(accessToken string) (apiResponse, *apiError) {
	answer, refused := s.authorize(accessToken)
	s.countAPICall(refused == nil)

	return answer, refused
}

// authorize asks for a role only where GBG GO issued the token.
func (s *Simulator) authorize(accessToken string) (apiResponse, *apiError) {
	if accessToken == "" {
		return apiResponse{}, unauthorized("4011", "MISSING_TOKEN", "The request has no bearer token.")
	}
	held, err := s.gbg.check(accessToken)
	switch {
	case errors.Is(err, errExpiredToken):
		return apiResponse{}, unauthorized("4013", "EXPIRED_TOKEN", "The token "+err.Error()+".")
	case errors.Is(err, errRevokedToken):
		return apiResponse{}, unauthorized("4015", "REVOKED_TOKEN", "The token "+err.Error()+".")
	case errors.Is(err, errDeletedClient):
		return apiResponse{}, unauthorized("4014", "DELETED_CLIENT", "The token "+err.Error()+".")
	case err != nil:
		return apiResponse{}, unauthorized("4012", "UNKNOWN_TOKEN", "The token "+err.Error()+".")
	case held.client == nil:
		return apiResponse{ClientID: held.subject, Result: "ok"}, nil
	case !slices.Contains(held.client.Roles, RoleGoAPIAccess):
		return apiResponse{}, &apiError{status: http.StatusForbidden, GBGError: GBGError{
			Code:     "4031",
			Name:     "MISSING_ROLE",
			Location: "Authorization",
			Problem:  "The client of the token does not have the role " + RoleGoAPIAccess + ".",
			Action:   "Ask a customer administrator to give the client the role.",
		}}
	}

	return apiResponse{ClientID: held.subject, Department: held.client.Department, Result: "ok"}, nil
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
