package gbgsim

import (
	"crypto/subtle"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Scope is the only scope that can be asked for.
const Scope = "gbg.token"

// tokenAnswer is a successful answer (RFC 6749, section 5.1) with the members
// that GBG documents. ExpiresIn is a number of seconds, and Scope is left out,
// unless there is a fault.
type tokenAnswer struct {
	AccessToken string          `json:"access_token"`
	TokenType   string          `json:"token_type"`
	ExpiresIn   json.RawMessage `json:"expires_in,omitempty"`
	Scope       string          `json:"scope,omitempty"`
}

// refusal is an error answer (RFC 6749, section 5.2).
type refusal struct {
	status      int
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

func (s *Simulator) serveToken(w http.ResponseWriter, r *http.Request) {
	// RFC 6749, section 5.1, asks for this besides Cache-Control.
	w.Header().Set("Pragma", "no-cache")

	form, refused := tokenForm(r)
	clientID := form.Get("client_id")
	s.countTokenRequest(clientID)

	if s.beforeToken != nil {
		s.beforeToken(r.Context(), clientID)
		if ended(w, r) {
			return
		}
	}

	fault, cleared := s.takeRequestFault(clientID)
	if fault.Kind != "" {
		if !fault.hold(w, r, cleared) {
			fault = Fault{}
		}
		if ended(w, r) {
			return
		}
	}
	if s.answerFault(w, fault) {
		return
	}

	var answer tokenAnswer
	if refused == nil {
		answer, refused = s.grantToken(form)
	}
	s.countTokenAnswer(clientID, refused == nil)

	if refused != nil {
		if _, _, basic := r.BasicAuth(); basic && refused.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="gbg-simulator"`)
		}
		fault.send(w, refused.status, refused)

		return
	}
	fault.send(w, http.StatusOK, fault.grant(answer))
}

// ended says whether a request that was held has ended meanwhile, and then
// answers it in case that anyone listens.
func ended(w http.ResponseWriter, r *http.Request) bool {
	if r.Context().Err() == nil {
		return false
	}
	writeJSON(w, http.StatusServiceUnavailable, refusal{
		Code:        "temporarily_unavailable",
		Description: "The request ended before it was answered.",
	})

	return true
}

// tokenForm reads a token request and refuses what is malformed in itself
// (RFC 6749, sections 2.3 and 3.2). Parameters in the URL do not count. The
// form is as much as could be read, and may be nil.
func tokenForm(r *http.Request) (url.Values, *refusal) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" {
		return nil, invalidRequest("The body must be application/x-www-form-urlencoded.")
	}
	if err := r.ParseForm(); err != nil {
		return r.PostForm, invalidRequest("The form cannot be read.")
	}

	form := r.PostForm
	for _, values := range form {
		if len(values) > 1 {
			return form, invalidRequest("A parameter is there more than once.")
		}
	}
	if form.Get("grant_type") == "" {
		return form, invalidRequest("The parameter grant_type is missing.")
	}
	if _, _, basic := r.BasicAuth(); basic && form.Get("client_secret") != "" {
		return form, invalidRequest("The client authenticates both in the form and in a Basic header.")
	}

	return form, nil
}

// grantToken answers a well-formed request. The client authenticates in the
// form and nowhere else, as GBG documents it.
func (s *Simulator) grantToken(form url.Values) (tokenAnswer, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()

	client, ok := s.clients[form.Get("client_id")]
	if !ok || subtle.ConstantTimeCompare([]byte(client.Secret), []byte(form.Get("client_secret"))) == 0 {
		return tokenAnswer{}, &refusal{
			status:      http.StatusUnauthorized,
			Code:        "invalid_client",
			Description: "Invalid client or client credentials.",
		}
	}
	if grantType := form.Get("grant_type"); grantType != "client_credentials" {
		return tokenAnswer{}, &refusal{
			status:      http.StatusBadRequest,
			Code:        "unsupported_grant_type",
			Description: "Only the grant type client_credentials is supported here.",
		}
	}
	for scope := range strings.FieldsSeq(form.Get("scope")) {
		if scope != Scope {
			return tokenAnswer{}, &refusal{
				status:      http.StatusBadRequest,
				Code:        "invalid_scope",
				Description: "Only the scope " + Scope + " can be asked for.",
			}
		}
	}

	return tokenAnswer{
		AccessToken: s.issueToken(client),
		TokenType:   "Bearer",
		ExpiresIn:   strconv.AppendInt(nil, int64(s.tokenLifetime/time.Second), 10),
	}, nil
}

func invalidRequest(description string) *refusal {
	return &refusal{status: http.StatusBadRequest, Code: "invalid_request", Description: description}
}
