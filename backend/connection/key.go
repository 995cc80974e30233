package connection

import (
	"slices"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// Key is a key pair by which a client authenticates in place of a secret.
type Key = gbgauth.Key

// NewKey returns a new key pair of an algorithm for the client with this id.
type NewKey func(algorithm, clientID string) (Key, error)

// UsesKeys reports whether the clients authenticate with keys that the engine makes, and
// have no secrets.
func (s Settings) UsesKeys() bool { return s.IDPAuthMethod == AuthPrivateKey }

// withNewKey returns the client with a new key, which has not served yet.
func (c Client) withNewKey(newKey NewKey, s Settings, now time.Time) (Client, error) {
	key, err := newKey(s.WithDefaults().KeyAlgorithm, c.ID)
	if err != nil {
		return c, err
	}
	return Client{ID: c.ID, Key: key, SecretSetTime: now.Round(0), Claims: c.Claims}, nil
}

// ClientsWithoutKey returns the ids of the clients that need a key and have none.
func (c *Connection) ClientsWithoutKey() (ids []string) {
	for _, client := range c.Pair.Clients {
		if c.Settings.UsesKeys() && client.ID != "" && client.Key.IsZero() {
			ids = append(ids, client.ID)
		}
	}
	return ids
}

// MakeMissingKeys makes a key for each of ClientsWithoutKey.
func (c *Connection) MakeMissingKeys(newKey NewKey, now time.Time) (err error) {
	ids := c.ClientsWithoutKey()
	for slot, client := range c.Pair.Clients {
		if !slices.Contains(ids, client.ID) {
			continue
		}
		if c.Pair.Clients[slot], err = client.withNewKey(newKey, c.Settings, now); err != nil {
			return err
		}
	}
	return nil
}

// WithStandbyKey returns the connection with a new key of the standby. Without a standby
// the error is ErrNoPair.
func (c *Connection) WithStandbyKey(newKey NewKey, now time.Time) (*Connection, error) {
	standby, ok := c.Pair.Standby()
	if !ok {
		return c, ErrNoPair
	}
	standby, err := standby.withNewKey(newKey, c.Settings, now)
	if err != nil {
		return c, err
	}
	next := *c
	next.Pair.Clients[next.Pair.ActiveSlot.other()] = standby
	return &next, nil
}

// rejectSecrets returns an error if the write has secrets. It is for clients that have
// keys.
func (p PairChange) rejectSecrets() error {
	for slot := range p.Secrets {
		if p.Secrets[slot] != nil {
			return Invalid(clientFields.Secret(Slot(slot)), "has no use with idp_auth_method %q: the clients have keys that the engine makes", AuthPrivateKey)
		}
	}
	return nil
}

// checkImmutableKeys refuses changes that would have assertions accepted elsewhere, or
// need secrets in place of keys.
func (s Settings) checkImmutableKeys(next Settings) error {
	const again = "delete the connection and write it again, or use another name"
	was, now := s.WithDefaults(), next.WithDefaults()
	if was.UsesKeys() != now.UsesKeys() {
		return Invalid(IDPAuthMethod, "cannot be changed from %q to %q: %s", was.IDPAuthMethod, now.IDPAuthMethod, again)
	}
	if !was.UsesKeys() {
		return nil
	}
	for _, setting := range []struct {
		field   Field
		changed bool
	}{
		{TokenURL, was.TokenURL != now.TokenURL},
		{IDPTokenURL, was.IDPTokenURL != now.IDPTokenURL},
		{IDPAudience, was.IDPAudience != now.IDPAudience},
	} {
		if setting.changed {
			return Invalid(setting.field, "cannot be changed with idp_auth_method %q: the keys are for one address and audience; %s", AuthPrivateKey, again)
		}
	}
	return nil
}
