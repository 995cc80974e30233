package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/storage"
	"github.com/ory/fosite/token/jwt"
)

// audiences are what clients may name.
var audiences = []string{"https://api.gbg.example"}

// scopes are what clients may ask for.
var scopes = []string{"gbg.token", "api"}

// provider is fosite with its clients and its key.
type provider struct {
	oauth  fosite.OAuth2Provider
	hasher fosite.Hasher
	issuer string
	key    jose.JSONWebKey

	mu    sync.Mutex // of store's clients, which fosite only reads
	store *storage.MemoryStore
}

func newProvider(issuer string, key *ecdsa.PrivateKey, lifetime time.Duration) *provider {
	// The least cost: there is nothing here worth guessing.
	config := &fosite.Config{AccessTokenLifespan: lifetime, AccessTokenIssuer: issuer, TokenURL: issuer + "/oauth2/token", HashCost: 4, GlobalSecret: []byte(rand.Text() + rand.Text())}
	p := &provider{
		hasher: &fosite.BCrypt{Config: config},
		issuer: issuer,
		key:    jose.JSONWebKey{Key: key, KeyID: rand.Text(), Algorithm: "ES256", Use: "sig"},
		store:  storage.NewMemoryStore(),
	}
	keyOf := func(context.Context) (any, error) { return &p.key, nil }
	strategy := compose.NewOAuth2JWTStrategy(keyOf, compose.NewOAuth2HMACStrategy(config), config)
	p.oauth = compose.Compose(config, p.store, strategy,
		compose.OAuth2ClientCredentialsGrantFactory, compose.OAuth2TokenIntrospectionFactory, compose.OAuth2TokenRevocationFactory)
	return p
}

// renew gives a client a new secret, and makes it if it is not there.
func (p *provider) renew(id string) (secret string, err error) {
	secret = "sim-secret-" + rand.Text()
	hash, err := p.hasher.Hash(context.Background(), []byte(secret))
	if err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	client := newClient(id)
	client.Secret = hash
	p.store.Clients[id] = client
	return secret, nil
}

func newClient(id string) *fosite.DefaultClient {
	return &fosite.DefaultClient{ID: id, GrantTypes: []string{"client_credentials"}, Scopes: scopes, Audience: audiences}
}

// keys are the public keys of a client that has no secret.
type keys struct {
	// JWKSURI is where the keys are read.
	JWKSURI string `json:"jwks_uri"`
	// Algorithm is that of the client's assertions.
	Algorithm string `json:"token_endpoint_auth_signing_alg"`
}

// setKeys makes a client one that authenticates by private_key_jwt.
func (p *provider) setKeys(id string, k keys) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.store.Clients[id] = &fosite.DefaultOpenIDConnectClient{
		DefaultClient: newClient(id), JSONWebKeysURI: k.JWKSURI,
		TokenEndpointAuthMethod: "private_key_jwt", TokenEndpointAuthSigningAlgorithm: k.Algorithm,
	}
}

func (p *provider) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth2/token", p.token)
	mux.HandleFunc("POST /oauth2/revoke", p.revoke)
	mux.HandleFunc("GET /api", p.api)
	mux.HandleFunc("GET /jwks", p.jwks)
	mux.HandleFunc("POST /clients/{id}/renew", p.renewClient)
	mux.HandleFunc("PUT /clients/{id}/keys", p.setClientKeys)
	return mux
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx := r.Context()
	session := &oauth2.JWTSession{JWTClaims: &jwt.JWTClaims{Issuer: p.issuer}, JWTHeader: &jwt.Headers{Extra: map[string]any{"kid": p.key.KeyID}}}
	request, err := p.oauth.NewAccessRequest(ctx, r, session)
	if err != nil {
		p.oauth.WriteAccessError(ctx, w, request, err)
		return
	}
	session.JWTClaims.Subject = request.GetClient().GetID()
	for _, scope := range request.GetRequestedScopes() {
		request.GrantScope(scope)
	}
	response, err := p.oauth.NewAccessResponse(ctx, request)
	if err != nil {
		p.oauth.WriteAccessError(ctx, w, request, err)
		return
	}
	p.oauth.WriteAccessResponse(ctx, w, request, response)
}

func (p *provider) revoke(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.oauth.WriteRevocationResponse(r.Context(), w, p.oauth.NewRevocationRequest(r.Context(), r))
}

// api is what the tokens are for: it says whether one is good.
func (p *provider) api(w http.ResponseWriter, r *http.Request) {
	_, token, err := p.oauth.IntrospectToken(r.Context(), fosite.AccessTokenFromRequest(r), fosite.AccessToken, &oauth2.JWTSession{})
	if err != nil {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	answer(w, map[string]string{"client_id": token.GetClient().GetID()})
}

func (p *provider) jwks(w http.ResponseWriter, _ *http.Request) {
	answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{p.key.Public()}})
}

func (p *provider) renewClient(w http.ResponseWriter, r *http.Request) {
	secret, err := p.renew(r.PathValue("id"))
	if err != nil {
		http.Error(w, "no secret", http.StatusInternalServerError)
		return
	}
	answer(w, map[string]string{"client_secret": secret})
}

func (p *provider) setClientKeys(w http.ResponseWriter, r *http.Request) {
	var k keys
	if err := json.NewDecoder(r.Body).Decode(&k); err != nil {
		http.Error(w, "no keys", http.StatusBadRequest)
		return
	}
	p.setKeys(r.PathValue("id"), k)
	w.WriteHeader(http.StatusNoContent)
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}
