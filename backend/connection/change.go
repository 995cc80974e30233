package connection

import (
	"bytes"
	"time"
)

// Change is a configuration write: values by field, each of its field's Type. A
// missing field keeps its value. An empty text means the default, or removes the paired
// client; any other id or secret must not be empty.
type Change map[Field]any

// Apply returns the connection after a write to c, which is nil for a new connection.
// The errors are *InputError.
func (c *Connection) Apply(change Change, now time.Time) (*Connection, error) {
	next := &Connection{}
	if c != nil {
		*next = *c
	}
	var err error
	if next.Settings, err = next.Settings.change(change); err != nil {
		return nil, err
	}
	if c != nil {
		if err := c.Settings.checkImmutable(next.Settings); err != nil {
			return nil, err
		}
	}
	if _, given := change[RotationWindow]; !given && next.Settings.RotationSchedule == "" {
		next.Settings.RotationWindow = 0 // it ends with its schedule
	}
	if err := next.Settings.check(); err != nil {
		return nil, err
	}
	if err := change.checkPairFields(next.Settings); err != nil {
		return nil, err
	}
	fields := next.PairFields()
	if fields.Users() {
		if err := next.Settings.changeClient(change); err != nil {
			return nil, err
		}
	}
	pair, err := change.pair(fields)
	if err != nil {
		return nil, err
	}
	if fields.Keys() {
		if err := pair.rejectSecrets(); err != nil {
			return nil, err
		}
	}
	if !next.Settings.HasPair() {
		if err := pair.rejectClients(); err != nil {
			return nil, err
		}
	} else if next.Pair, err = next.Pair.Change(pair, now); err != nil {
		return nil, err
	}
	if err := c.checkSchedulePair(next); err != nil {
		return nil, err
	}
	if c != nil {
		if err := c.requireSecrets(next, change); err != nil {
			return nil, err
		}
	}
	c.withSchedule(next, now)
	return next, nil
}

// pair returns the part of a write that concerns the pair, normalized.
func (c Change) pair(fields PairFields) (p PairChange, err error) {
	p.Users, p.Keys = fields.Users(), fields.Keys()
	for slot := range p.IDs {
		idField, secretField := fields.ID(Slot(slot)), fields.Secret(Slot(slot))
		if id, ok := c[idField].(string); ok {
			normalize := requiredID
			if Slot(slot) == Paired {
				normalize = NormalizedID // an empty one removes the client
			}
			if id, err = normalize(idField, id); err != nil {
				return p, err
			}
			p.IDs[slot] = &id
		}
		if secret, ok := c[secretField].(Secret); ok {
			if secret, err = requiredSecret(secretField, secret); err != nil {
				return p, err
			}
			p.Secrets[slot] = &secret
		}
	}
	return p, nil
}

// rejectClients returns an error if the write has clients. It is for connections
// without a pair.
func (p PairChange) rejectClients() error {
	for slot := range p.IDs {
		id, secret := clientFields.ID(Slot(slot)), clientFields.Secret(Slot(slot))
		if p.IDs[slot] != nil && *p.IDs[slot] != "" {
			return Invalid(id, "has no use without idp_token_url: callers bring the tokens to exchange")
		}
		if p.Secrets[slot] != nil {
			return Invalid(secret, "has no use without idp_token_url: callers bring the tokens to exchange")
		}
	}
	return nil
}

// requireSecrets returns an error if a write would send a stored secret to a new
// address: only those who know the secrets may change where they are sent.
func (c *Connection) requireSecrets(next *Connection, change Change) error {
	if next.Settings.UsesKeys() {
		return nil // its addresses cannot be changed
	}
	was, now := c.Settings.WithDefaults(), next.Settings.WithDefaults()
	fields := next.PairFields()
	again := "the secrets of both clients"
	if fields.Users() {
		again = "client_secret and both passwords"
	}
	const why = "is missing: a write that changes %s must give %s again, so that no stored secret is sent to a new address"
	for _, url := range []struct {
		field   Field
		changed bool
	}{
		{TokenURL, was.TokenURL != now.TokenURL},
		{IDPTokenURL, was.IDPTokenURL != now.IDPTokenURL},
		{RevokeURL, was.RevokeURL != now.RevokeURL},
	} {
		if !url.changed {
			continue
		}
		if _, given := change[ClientSecret]; fields.Users() && !given {
			return Invalid(ClientSecret, why, url.field, again)
		}
		for slot, client := range next.Pair.Clients {
			secret := fields.Secret(Slot(slot))
			if _, given := change[secret]; client.ID != "" && !given {
				return Invalid(secret, why, url.field, again)
			}
		}
		if _, given := change[ExchangeClientSecret]; url.field != IDPTokenURL && !next.Settings.ExchangeClientSecret.IsEmpty() && !given {
			return Invalid(ExchangeClientSecret, "is missing: a write that changes %s must give it again, so that it is not sent to a new address", url.field)
		}
	}
	return nil
}

// Equal reports whether both connections have the same stored form. A nil c equals none.
func (c *Connection) Equal(o *Connection) bool {
	if c == nil {
		return false
	}
	a, errA := c.Encode()
	b, errB := o.Encode()
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// ClientsToVerify returns the clients of c with token requests that old does not
// have, and the active client if it was not active in old.
func (c *Connection) ClientsToVerify(old *Connection) []Client {
	known := map[Request]bool{}
	if old != nil && old.Settings.CAPEM == c.Settings.CAPEM {
		for _, client := range old.Pair.Clients {
			known[old.Request(client)] = true
		}
		if !old.SameRequest(c) {
			delete(known, c.Request(c.Pair.Active()))
		}
	}
	var clients []Client
	for _, client := range c.Pair.Clients {
		if client.ID != "" && !known[c.Request(client)] {
			clients = append(clients, client)
		}
	}
	return clients
}
