// Package gbgsim is a stand-in for GBG on loopback, for tests and for the demo:
//
//   - GBG GO's token endpoint, and the part of the Account management portal
//     where API clients are created and their secrets regenerated;
//   - GBG Identity Solution's token endpoint, and a customer's identity
//     provider (IdP) to get the tokens from that are exchanged there;
//   - one protected API to call with the tokens of either.
//
// It does what goes wrong at GBG too, if it is told to with a [Fault].
//
// It follows GBG's public documentation, and PingFederate (the product whose
// path GBG GO's token endpoint has) and RFC 6749 where GBG's documentation is
// silent. Everything is kept in memory, every token ever issued included.
//
// Time is that of package time: in a testing/synctest bubble, tokens expire and
// delays end by the bubble's fake clock.
package gbgsim

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Paths of the simulator. TokenPath is GBG GO's own; APIPath is the
// simulator's, for GBG GO has no call that only checks a token.
const (
	TokenPath = "/as/token.oauth2"
	APIPath   = "/api/check"
)

// Scope is the only scope that can be asked for at [TokenPath].
const Scope = "gbg.token"

// defaultTokenLifetime is what GBG's public platform grants.
const defaultTokenLifetime = time.Hour

// maxBody limits a request's body, in bytes. No request of GBG's comes near.
const maxBody = 64 << 10

// Options are the settings of a new Simulator. The zero value is useful.
type Options struct {
	// TokenLifetime is how long a new token of GBG's is valid, in whole
	// seconds. Zero is one hour, as on GBG's public platform.
	TokenLifetime time.Duration

	// IDPTokenLifetime is how long a new token of the IdP is valid, in whole
	// seconds. Zero is five minutes.
	IDPTokenLifetime time.Duration

	// BeforeToken, unless nil, is called once for every request to any of the
	// token endpoints after it was read and before anything about it is
	// decided, so that a test can hold a request and change the world under
	// it. No lock is held. The context is the request's: BeforeToken must
	// return when it ends, and the request then gets no token. The client id
	// is as it was sent, which may be empty or unknown. Calls may be
	// concurrent.
	BeforeToken func(ctx context.Context, clientID string)
}

// Simulator is a GBG of one's own. It is an [http.Handler] and safe for
// concurrent use. Create it with [New].
type Simulator struct {
	beforeToken func(ctx context.Context, clientID string)
	handler     http.Handler

	gbg *authServer // of GBG GO and GBG Identity Solution
	idp *authServer

	idTokenKey jose.JSONWebKey // of the IdP, with the private key
	verifier    *jwtVerifier

	certificates func() (certificates, error) // made when first called

	mu            sync.Mutex
	stats         Stats
	lastExchange  url.Values    // nil before the first
	faults        []Fault       // those of a client first, then the newest first
	faultsCleared chan struct{} // closed when faults that are set now are cleared
}

// New returns a Simulator without any clients. It panics if a token lifetime is
// one that [Simulator.SetTokenLifetime] refuses, zero aside.
func New(options Options) *Simulator {
	if options.TokenLifetime == 0 {
		options.TokenLifetime = defaultTokenLifetime
	}
	if options.IDPTokenLifetime == 0 {
		options.IDPTokenLifetime = defaultIDPTokenLifetime
	}

	idTokenKey := newIDTokenKey()
	s := &Simulator{
		beforeToken:   options.BeforeToken,
		gbg:           newAuthServer(TokenPrefix, options.TokenLifetime),
		idp:           newAuthServer(IDPTokenPrefix, options.IDPTokenLifetime),
		idTokenKey:    idTokenKey,
		verifier:       newJWTVerifier(idTokenKey),
		stats:         newStats(),
		faultsCleared: make(chan struct{}),
		certificates:  sync.OnceValues(newCertificates),
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", serveHelp)
	mux.HandleFunc("POST "+TokenPath, s.tokenHandler(EndpointGo, s.grantGo))
	mux.HandleFunc("POST "+IdentityTokenPath, s.tokenHandler(EndpointIdentity, s.grantExchange))
	mux.HandleFunc("POST "+IDPTokenPath, s.tokenHandler(EndpointIDP, s.grantIDP))
	mux.HandleFunc("POST "+RevokePath, s.tokenHandler(EndpointRevoke, s.revoke))
	mux.HandleFunc("GET "+APIPath, s.serveAPI)
	s.routePortal(mux)
	s.routeIDP(mux)
	s.handler = http.MaxBytesHandler(mux, maxBody)

	return s
}

// ServeHTTP answers one request.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.handler.ServeHTTP(w, r)
}

// grantGo answers a client of GBG GO.
func (s *Simulator) grantGo(_ context.Context, request tokenRequest) (any, *oauthError) {
	return s.gbg.grantClientCredentials(request, Scope)
}
