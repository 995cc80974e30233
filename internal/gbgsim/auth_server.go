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

// authServer is an authorization server as RFC 6749 means it: it has clients,
// and issues opaque access tokens, all of one lifetime. GBG is one, the
// identity provider is another. It is safe for concurrent use.
type authServer struct {
	tokenPrefix string

	mu       sync.Mutex
	lifetime time.Duration
	clients  map[string]*Client // by client id
	tokens   map[string]token   // by access token
}

// token is what an authorization server knows of an access token.
type token struct {
	// subject is whom the token stands for: a client's id, or a person.
	subject string

	// client is the one that the token was issued to, or nil if that is none
	// of this server's. It is a pointer, not an id, so that the token of a
	// deleted client does not pass for one of a later client with the same id.
	client *Client

	expires time.Time
	revoked bool
}

// Why a token is not good, as the end of a sentence.
var (
	errUnknownToken  = errors.New("was not issued here")
	errExpiredToken  = errors.New("has expired")
	errRevokedToken  = errors.New("has been revoked")
	errDeletedClient = errors.New("was issued to a client that has been deleted")
)

// newAuthServer panics if the lifetime is not one that setLifetime takes.
func newAuthServer(tokenPrefix string, lifetime time.Duration) *authServer {
	a := &authServer{
		tokenPrefix: tokenPrefix,
		clients:     map[string]*Client{},
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

// listClients returns all clients by id, without their secrets.
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

// updateClient calls change with the lock held. The only error is
// [ErrUnknownClient].
func (a *authServer) updateClient(id string, change func(*Client)) error {
	a.mu.Lock()
	defer a.mu.Unlock()

	client, ok := a.clients[id]
	if !ok {
		return fmt.Errorf("%w: %q", ErrUnknownClient, id)
	}
	change(client)

	return nil
}

// grantClientCredentials answers the grant of RFC 6749, section 4.4. Without
// scopes, any may be asked for.
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

// authenticateLocked must be called with the lock held.
func (a *authServer) authenticateLocked(request tokenRequest) (*Client, *oauthError) {
	client, ok := a.clients[request.clientID]
	if !ok || subtle.ConstantTimeCompare([]byte(client.Secret), []byte(request.clientSecret)) == 0 {
		return nil, invalidClient()
	}
	return client, nil
}

// issueTo gives a token to someone who is no client of this server.
func (a *authServer) issueTo(subject string) tokenResponse {
	a.mu.Lock()
	defer a.mu.Unlock()

	return a.issueLocked(token{subject: subject})
}

// issueLocked must be called with the lock held. It sets when the token expires.
func (a *authServer) issueLocked(issued token) tokenResponse {
	accessToken := a.tokenPrefix + rand.Text()
	issued.expires = time.Now().Add(a.lifetime)
	a.tokens[accessToken] = issued

	return tokenResponse{
		AccessToken: accessToken,
		TokenType:   "Bearer",
		ExpiresIn:   strconv.AppendInt(nil, int64(a.lifetime/time.Second), 10),
	}
}

// tokenSubject says whom a token stands for, whether or not it is still good. ok
// is false if it was not issued here.
func (a *authServer) tokenSubject(accessToken string) (subject string, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()

	issued, ok := a.tokens[accessToken]

	return issued.subject, ok
}

// check returns what is known of a token that is good, with a copy of its
// client, or one of the errors of tokens.
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
