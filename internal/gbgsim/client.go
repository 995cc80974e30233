package gbgsim

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
)

// RoleGoAPIAccess is the role without which a client gets tokens but may not
// call the API with them.
const RoleGoAPIAccess = "Go API Access"

// SecretPrefix starts every client secret, so that logs can be searched for
// secrets.
const SecretPrefix = "sim-secret-"

const maxClientID = 256

// Errors of the methods that deal with clients, wrapped with the client's id.
var (
	ErrUnknownClient = errors.New("no such client")
	ErrClientExists  = errors.New("client id is taken")
)

// NewClient is what [Simulator.CreateClient] needs to know. The zero value
// makes a client without roles.
type NewClient struct {
	// ID is the client id: printable ASCII (RFC 6749, appendix A.1), at most
	// 256 bytes. Empty lets the simulator choose one.
	ID string `json:"client_id"`

	// Name is for people. Empty is the client id.
	Name string `json:"name"`

	// Department is the one the client belongs to. Empty is no department,
	// which GBG's portal does not allow.
	Department string `json:"department"`

	// Roles are the names of roles, in any order. Empty is none, as for every
	// new client in GBG's portal.
	Roles []string `json:"roles"`
}

// Client is an API client of the Account management portal, or a client of the
// identity provider, which has neither a department nor roles.
type Client struct {
	ID string `json:"client_id"`

	// Secret is only set in the answer that creates the client.
	Secret string `json:"client_secret,omitempty"`

	Name       string `json:"name"`
	Department string `json:"department"`

	// Roles are sorted, without duplicates, and never nil.
	Roles []string `json:"roles"`
}

// CreateClient adds a client and returns it, secret included. It fails with
// [ErrClientExists], or because the id or a role is not a valid one.
func (s *Simulator) CreateClient(request NewClient) (Client, error) {
	return s.gbg.createClient(request)
}

// Clients returns all clients by id, without their secrets.
func (s *Simulator) Clients() []Client {
	return s.gbg.listClients()
}

// Regenerate gives a client a new secret and returns it. The old secret stops
// working at this moment; tokens that it got stay valid. The only error is
// [ErrUnknownClient].
func (s *Simulator) Regenerate(clientID string) (string, error) {
	return s.gbg.regenerate(clientID)
}

// SetRoles replaces a client's roles, which also counts for tokens that it
// already has. No roles takes them all away. It fails with [ErrUnknownClient],
// or because a role has no name.
func (s *Simulator) SetRoles(clientID string, roles ...string) error {
	roles, err := normalizeRoles(roles)
	if err != nil {
		return err
	}

	return s.gbg.updateClient(clientID, func(client *Client) { client.Roles = roles })
}

// DeleteClient removes a client; its tokens stop working, also if a client of
// the same id is created later. The only error is [ErrUnknownClient].
func (s *Simulator) DeleteClient(clientID string) error {
	return s.gbg.deleteClient(clientID)
}

func (c *Client) clone() Client {
	clone := *c
	clone.Roles = slices.Clone(c.Roles)

	return clone
}

func newSecret() string {
	return SecretPrefix + rand.Text()
}

func checkClientID(id string) error {
	if len(id) > maxClientID {
		return fmt.Errorf("client id is %d bytes long, at most %d are allowed", len(id), maxClientID)
	}
	for _, char := range []byte(id) {
		if char < ' ' || char > '~' {
			return fmt.Errorf("client id %q is not printable ASCII", id)
		}
	}

	return nil
}

// normalizeRoles returns roles as [Client] keeps them.
func normalizeRoles(roles []string) ([]string, error) {
	if slices.Contains(roles, "") {
		return nil, errors.New("a role has no name")
	}
	normal := append([]string{}, roles...)
	slices.Sort(normal)

	return slices.Compact(normal), nil
}
