package gbgsim

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
)

// RoleGoAPIAccess is the role that a client needs to call the API. Without it, a
// client gets tokens but cannot use them.
const RoleGoAPIAccess = "Go API Access"

// SecretPrefix is the prefix of every client secret and every generated password, so
// that tests can search logs for secrets.
const SecretPrefix = "sim-secret-"

const maxClientID = 256

// Errors of the methods for clients, wrapped with the client's id.
var (
	ErrUnknownClient = errors.New("no such client")
	ErrClientExists  = errors.New("client id is taken")
)

// NewClient are the parameters of [Simulator.CreateClient]. The zero value creates
// a client with a random id and without roles.
type NewClient struct {
	// ID is the client id: printable ASCII (RFC 6749, appendix A.1), at most
	// 256 bytes. Empty means a random one.
	ID string `json:"client_id"`

	// Name is the display name. Empty means the client id.
	Name string `json:"name"`

	// Department is the client's department. Empty means none, which GBG's portal
	// does not allow.
	Department string `json:"department"`

	// Roles are the names of roles, in any order. Empty means none, as for every
	// new client in GBG's portal.
	Roles []string `json:"roles"`
}

// Client is an API client of the Account management portal, or a client of the
// identity provider, which has neither a department nor roles.
type Client struct {
	ID string `json:"client_id"`

	// Secret is set only when the client has just been created.
	Secret string `json:"client_secret,omitempty"`

	Name       string `json:"name"`
	Department string `json:"department"`

	// Roles are sorted, without duplicates, and never nil.
	Roles []string `json:"roles"`
}

// CreateClient adds a client and returns it, secret included. It returns
// [ErrClientExists] if the id is taken, and an error if the id or a role is
// invalid.
func (s *Simulator) CreateClient(request NewClient) (Client, error) {
	return s.gbg.createClient(request)
}

// Clients returns all clients without their secrets, sorted by id.
func (s *Simulator) Clients() []Client {
	return s.gbg.listClients()
}

// Regenerate replaces the secret of a client and returns the new one. The old
// secret is invalid immediately; tokens already issued stay valid. It fails only
// with [ErrUnknownClient].
func (s *Simulator) Regenerate(clientID string) (string, error) {
	return s.gbg.regenerate(clientID)
}

// SetRoles replaces a client's roles, also for tokens already issued. Without
// roles it removes all of them. It returns [ErrUnknownClient] if there is no such
// client, and an error if the name of a role is empty.
func (s *Simulator) SetRoles(clientID string, roles ...string) error {
	roles, err := normalizeRoles(roles)
	if err != nil {
		return err
	}

	return s.gbg.updateClient(clientID, func(client *Client) { client.Roles = roles })
}

// DeleteClient removes a client. Its tokens become invalid and stay so even if a
// client with the same id is created later. It fails only with
// [ErrUnknownClient].
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

// normalizeRoles returns roles sorted and without duplicates.
func normalizeRoles(roles []string) ([]string, error) {
	if slices.Contains(roles, "") {
		return nil, errors.New("a role has no name")
	}
	normalized := append([]string{}, roles...)
	slices.Sort(normalized)

	return slices.Compact(normalized), nil
}
