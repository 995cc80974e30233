// Package gbgsim is a stand-in for GBG GO on loopback, for tests and for the
// demo: the token endpoint, one protected API to call with its tokens, and the
// part of the Account management portal where API clients are created and
// their secrets regenerated. It does what goes wrong at GBG too, if it is told
// to with a [Fault].
//
// It follows GBG's public documentation, and PingFederate (the product whose
// path GBG's token endpoint has) and RFC 6749 where GBG's documentation is
// silent. Everything is kept in memory, every token ever issued included.
package gbgsim

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

// Paths of the simulator. TokenPath is GBG GO's own; APIPath is the
// simulator's, for GBG GO has no call that only checks a token.
const (
	TokenPath = "/as/token.oauth2"
	APIPath   = "/api/check"
)

// defaultTokenLifetime is what GBG's public platform grants.
const defaultTokenLifetime = time.Hour

// maxBody limits a request's body, in bytes. No request of GBG's comes near.
const maxBody = 64 << 10

const help = `GBG GO simulator: nothing here is real.

POST   ` + TokenPath + `                  get a token (form: grant_type, client_id, client_secret, scope)
GET    ` + APIPath + `                        call the API with a token (Authorization: Bearer)

GET    /portal/clients                   list the API clients
POST   /portal/clients                   create one {"name","department","roles":[],"client_id"}
POST   /portal/clients/{id}/regenerate   replace its secret
PUT    /portal/clients/{id}/roles        replace its roles {"roles":["` + RoleGoAPIAccess + `"]}
DELETE /portal/clients/{id}              delete it
GET    /portal/settings                  read the settings
PUT    /portal/settings                  change them {"token_lifetime":"300s"}
GET    /portal/stats                     count token requests, API calls and TLS connections
GET    /portal/faults                    list the faults in the order in which they are tried
PUT    /portal/faults                    add one {"kind":"status","status":503,"client_id":"a","requests":2}
DELETE /portal/faults                    clear them all, and answer the requests that wait for one
GET    /portal/ca                        get the certificate that HTTPS clients must trust

A fault is what goes wrong at ` + TokenPath + `. A request meets one at most: one
with its client_id before one without, and of these the newest. A fault counts
for the next requests, as many as it says, or until it is cleared. A delay is
like "1.5s"; retry_after is the header as it is, and retry_after_date is like
"30s" for the HTTP date in 30 seconds.

`

// Options are the settings of a new Simulator. The zero value is useful.
type Options struct {
	// Clock says when a token expires. Nil is the real clock.
	Clock clockwork.Clock

	// TokenLifetime is how long a new token is valid, in whole seconds. Zero
	// is one hour, as on GBG's public platform.
	TokenLifetime time.Duration

	// BeforeToken, unless nil, is called once for every token request after
	// it was read and before anything about it is decided, so that a test can
	// hold a request and change the world under it. No lock is held. The
	// context is the request's: BeforeToken must return when it ends, and the
	// request then gets no token. The client id is as it was sent, which may
	// be empty or unknown. Calls may be concurrent.
	BeforeToken func(ctx context.Context, clientID string)
}

// Simulator is a GBG GO of one's own. It is an [http.Handler] and safe for
// concurrent use. Create it with [New].
type Simulator struct {
	clock       clockwork.Clock
	beforeToken func(ctx context.Context, clientID string)
	handler     http.Handler

	certificates func() (certificates, error) // made when first called

	mu            sync.Mutex
	tokenLifetime time.Duration
	clients       map[string]*Client // by client id
	tokens        map[string]token   // by access token
	stats         Stats
	faults        []Fault       // those of a client first, then the newest first
	faultsCleared chan struct{} // closed when faults that are set now are cleared
}

// New returns a Simulator without any clients. It panics if the token lifetime
// is one that [Simulator.SetTokenLifetime] refuses, zero aside.
func New(options Options) *Simulator {
	if options.Clock == nil {
		options.Clock = clockwork.NewRealClock()
	}
	if options.TokenLifetime == 0 {
		options.TokenLifetime = defaultTokenLifetime
	}
	if err := checkTokenLifetime(options.TokenLifetime); err != nil {
		panic("gbgsim: " + err.Error())
	}

	s := &Simulator{
		clock:         options.Clock,
		beforeToken:   options.BeforeToken,
		tokenLifetime: options.TokenLifetime,
		clients:       map[string]*Client{},
		tokens:        map[string]token{},
		stats:         Stats{ByClient: map[string]RequestCounts{}},
		faultsCleared: make(chan struct{}),
		certificates:  sync.OnceValues(newCertificates),
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", serveHelp)
	mux.HandleFunc("POST "+TokenPath, s.serveToken)
	mux.HandleFunc("GET "+APIPath, s.serveAPI)
	s.routePortal(mux)
	s.handler = http.MaxBytesHandler(mux, maxBody)

	return s
}

// ServeHTTP answers one request.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.handler.ServeHTTP(w, r)
}

func serveHelp(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, help+helpOnFaults())
}
