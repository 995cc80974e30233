package gbgsim

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// authServer is an OAuth authorization server (RFC 6749): it has clients and
// issues access tokens, all with the same lifetime. GBG is one and the
// identity provider is another. It is safe for concurrent use.
type authServer struct {
	tokenPrefix string

	mu       sync.Mutex
	lifetime time.Duration
	sign     func(token) string // returns the next access token; nil means an opaque one
	clients  map[string]*Client // by client id
	users    map[string]User    // by username
	tokens   map[string]token   // by access token
}

// token is the state of an access token.
type token struct {
	// subject is a client's id, or identifies a person.
	subject string

	// client is the client that the token was issued to, or nil if it was issued
	// to no client of this server. It is a pointer, not an id: a token of a deleted
	// client is not valid for a later client with the same id.
	client *Client

	expires time.Time
	revoked bool
}

// Reasons why a token is invalid, worded to follow "The token".
var (
	errUnknownToken  = errors.New("was not issued here")
	errExpiredToken  = errors.New("has expired")
	errRevokedToken  = errors.New("has been revoked")
	errDeletedClient = errors.New("was issued to a client that has been deleted")
)

// newAuthServer panics if setLifetime rejects the lifetime.
func newAuthServer(tokenPrefix string, lifetime time.Duration) *authServer {
	a := &authServer{
		tokenPrefix: tokenPrefix,
		clients:     map[string]*Client{},
		users:       map[string]User{},
		tokens:      map[string]token{},
	}
	if err := a.setLifetime(lifetime); err != nil {
		panic("gbgsim: " + err.Error())
	}

	return a
}

func (a *authServer) setLifetime(lifetime time.Duration) error {
	if lifetime < time.Second || lifetime%time.Second != 0 {
		return fmt.Errorf("token lifetime %v is not one or more whole seconds", lifetime)
	}

	a.mu.Lock()
	defer a.mu.Unlock()

	a.lifetime = lifetime

	return nil
}

func (a *authServer) tokenLifetime() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()

	return a.lifetime
}

func (a *authServer) createClient(request NewClient) (Client, error) {
	id := cmp.Or(request.ID, "sim-client-"+rand.Text())
	if err := checkClientID(id); err != nil {
		return Client{}, err
	}
	roles, err := normalizeRoles(request.Roles)
	if err != nil {
		return Client{}, err
	}

	a.mu.Lock()
	defer a.mu.Unlock()

	if _, taken := a.clients[id]; taken {
		return Client{}, fmt.Errorf("%w: %q", ErrClientExists, id)
	}
	client := &Client{
		ID:         id,
		Secret:     newSecret(),
		Name:       cmp.Or(request.Name, id),
		Department: request.Department,
		Roles:      roles,
	}
	a.clients[id] = client

	return client.clone(), nil
}

// listClients returns all clients without their secrets, sorted by id.
func (a *authServer) listClients() []Client {
	a.mu.Lock()
	defer a.mu.Unlock()

	clients := make([]Client, 0, len(a.clients))
	for _, id := range slices.Sorted(maps.Keys(a.clients)) {
		client := a.clients[id].clone()
		client.Secret = ""
		clients = append(clients, client)
	}

	return clients
}

// findClient returns a client, or nil if there is none with this id. Only its address
// may be used.
func (a *authServer) findClient(id string) *Client {
	a.mu.Lock()
	defer a.mu.Unlock()

	return a.clients[id]
}

func (a *authServer) regenerate(clientID string) (string, error) {
	secret := newSecret()
	err := a.updateClient(clientID, func(client *Client) { client.Secret = secret })
	if err != nil {
		return "", err
	}

	return secret, nil
}

func (a *authServer) deleteClient(clientID string) error {
	return a.updateClient(clientID, func(*Client) { delete(a.clients, clientID) })
}

// updateClient calls update with the lock held. It fails only with
// [ErrUnknownClient].
func (a *authServer) updateClient(id string, update func(*Client)) error {
	a.mu.Lock()
	defer a.mu.Unlock()

	client, ok := a.clients[id]
	if !ok {
		return fmt.Errorf("%w: %q", ErrUnknownClient, id)
	}
	update(client)

	return nil
}

// grantClientCredentials issues a token for the client credentials grant (RFC
// 6749, section 4.4). If scopes is empty, any scope may be requested.
func (a *authServer) grantClientCredentials(request tokenRequest, scopes ...string) (tokenResponse, *oauthError) {
	a.mu.Lock()
	defer a.mu.Unlock()

	client, refused := a.authenticateLocked(request)
	if refused != nil {
		return tokenResponse{}, refused
	}
	if refused := request.checkGrantType("client_credentials"); refused != nil {
		return tokenResponse{}, refused
	}
	if refused := request.checkScope(scopes); refused != nil {
		return tokenResponse{}, refused
	}

	return a.issueLocked(token{subject: client.ID, client: client}), nil
}

// authenticateLocked returns the client that a request authenticates.
func (a *authServer) authenticateLocked(request tokenRequest) (*Client, *oauthError) {
	client, ok := a.clients[request.clientID]
	if !ok || !request.authenticated && subtle.ConstantTimeCompare([]byte(client.Secret), []byte(request.clientSecret)) == 0 {
		return nil, invalidClient()
	}
	return client, nil
}

// issueTo issues a token for a subject that is not a client of this server.
func (a *authServer) issueTo(subject string) tokenResponse {
	a.mu.Lock()
	defer a.mu.Unlock()

	return a.issueLocked(token{subject: subject})
}

// issueLocked sets the expiry of a new token, stores it and returns it.
func (a *authServer) issueLocked(issued token) tokenResponse {
	issued.expires = time.Now().Add(a.lifetime)
	accessToken := a.tokenPrefix + rand.Text()
	if a.sign != nil && issued.client != nil {
		accessToken = a.sign(issued)
	}
	a.tokens[accessToken] = issued

	return tokenResponse{
		AccessToken: accessToken,
		TokenType:   "Bearer",
		ExpiresIn:   strconv.AppendInt(nil, int64(a.lifetime/time.Second), 10),
	}
}

// tokenSubject returns the subject of a token, even if the token is no longer
// valid. ok is false if it was not issued here.
func (a *authServer) tokenSubject(accessToken string) (subject string, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()

	issued, ok := a.tokens[accessToken]

	return issued.subject, ok
}

// check returns the state of a valid token, with a copy of its client, or an error
// that is the reason why it is invalid.
func (a *authServer) check(accessToken string) (token, error) {
	a.mu.Lock()
	defer a.mu.Unlock()

	issued, ok := a.tokens[accessToken]
	switch {
	case !ok:
		return token{}, errUnknownToken
	case !time.Now().Before(issued.expires):
		return token{}, errExpiredToken
	case issued.revoked:
		return token{}, errRevokedToken
	case issued.client == nil:
		return issued, nil
	case a.clients[issued.client.ID] != issued.client:
		return token{}, errDeletedClient
	}
	client := issued.client.clone()
	issued.client = &client

	return issued, nil
}
