// Package gbgsim simulates GBG on loopback, for tests and for the demo:
//
//   - GBG GO's token endpoint, and the part of the Account management portal
//     where API clients are created and their secrets regenerated;
//   - GBG Identity Solution's token endpoint, and a customer's identity
//     provider (IdP) that issues the tokens exchanged there;
//   - one protected API that accepts the tokens of both.
//
// A [Fault] makes it fail in the ways that GBG can fail.
//
// It follows GBG's public documentation. Where that has a gap, it follows RFC
// 6749 and PingFederate, the product that the path of GBG GO's token endpoint
// belongs to. All state is in memory, including every token ever issued.
//
// The simulator uses package time, so in a testing/synctest bubble tokens expire
// and delays end by the bubble's fake clock.
package gbgsim

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Paths of the simulator. TokenPath is GBG GO's path. APIPath exists only in the
// simulator: GBG GO has no call that only checks a token.
const (
	TokenPath = "/as/token.oauth2"
	APIPath   = "/api/check"
)

// Scope is the only scope that [TokenPath] grants.
const Scope = "gbg.token"

// defaultTokenLifetime is the lifetime on GBG's public platform.
const defaultTokenLifetime = time.Hour

// maxBody is the maximum size of a request's body, in bytes, far above that of any
// real request.
const maxBody = 64 << 10

// Options are the settings of a new Simulator. The zero value is valid.
type Options struct {
	// TokenLifetime is the lifetime of new GBG tokens, in whole seconds. Zero
	// means one hour, as on GBG's public platform.
	TokenLifetime time.Duration

	// IDPTokenLifetime is the lifetime of new IdP tokens, in whole seconds. Zero
	// means five minutes.
	IDPTokenLifetime time.Duration

	// BeforeToken, unless nil, is called once for every request to an OAuth
	// endpoint, after the request has been read and before it is processed, so
	// that a test can block a request and change state meanwhile. No lock is
	// held. ctx is the request's context: BeforeToken must return when it is
	// done, and the request then gets no token. clientID is the client id as
	// sent, or the username of a request with grant_type=password; it may be empty
	// or unknown. Calls may be concurrent.
	BeforeToken func(ctx context.Context, clientID string)
}

// Simulator simulates GBG and an identity provider. It is an [http.Handler] and
// safe for concurrent use. Create it with [New].
type Simulator struct {
	beforeToken func(ctx context.Context, clientID string)
	handler     http.Handler

	gbg *authServer // for GBG GO and GBG Identity Solution
	idp *authServer

	assertions *assertions // of the clients of the IdP

	idTokenKey jose.JSONWebKey // the key of the IdP, private part included
	verifier   *jwtVerifier

	certificates func() (certificates, error) // creates them on the first call

	mu            sync.Mutex
	stats         Stats
	lastExchange  url.Values    // nil before the first
	faults        []Fault       // faults for one client first, then the newest first
	faultsCleared chan struct{} // closed when the current faults are cleared
}

// New returns a Simulator without clients. It panics if a token lifetime is not
// zero and [Simulator.SetTokenLifetime] rejects it.
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
		assertions:    newAssertions(),
		idTokenKey:    idTokenKey,
		verifier:      newJWTVerifier(idTokenKey),
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

// ServeHTTP implements [http.Handler].
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.handler.ServeHTTP(w, r)
}

// grantGo issues a token to a client or a user of GBG GO.
func (s *Simulator) grantGo(_ context.Context, request tokenRequest) (any, *oauthError) {
	if request.isUser() {
		return s.gbg.grantPassword(request, Scope)
	}
	return s.gbg.grantClientCredentials(request, Scope)
}
