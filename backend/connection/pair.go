package connection

import (
	"time"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// Secret is a client secret or a token, in a type that prints as "[redacted]".
type Secret = gbgauth.Secret

// NewSecret returns value as a Secret.
func NewSecret(value string) Secret { return gbgauth.NewSecret(value) }

// Client is one API client of a pair or, in the password grant, one API user.
type Client struct {
	// ID is the client id, or the username.
	ID string
	// Secret is the client secret, or the user's password; empty if the client has a
	// key.
	Secret Secret
	// Key is the client's key; zero if it has a secret. SecretSetTime and SecretServed
	// then apply to the key.
	Key Key
	// SecretSetTime is when Secret was set, by the wall clock.
	SecretSetTime time.Time
	// VerifiedTime is when the client last got a token from GBG, by the wall clock;
	// zero if it never did with this secret.
	VerifiedTime time.Time
	// SecretServed is set if the client was active with this secret and no longer is.
	// Rotating back to it is safe but renews nothing.
	SecretServed bool
	// Refusal is the last time that the standby was refused with this secret; zero if it
	// was not, or has got a token since.
	Refusal Refusal
	// Claims are those of the client's last token; empty if that was not a JWT.
	Claims Claims
}

// Claims are digests of a token's claims: a JSON object with sorted keys.
type Claims string

// Refusal is the refusal of a client.
type Refusal struct {
	// Error is the error of the token request.
	Error string `json:"error"`
	// Result is its result, as in the metrics.
	Result string `json:"result"`
	// Time is when the client was refused, by the wall clock.
	Time time.Time `json:"time"`
	// AtExchange is set if the client's token was refused by the exchange at GBG, and
	// not the client by its identity provider.
	AtExchange bool `json:"at_exchange,omitempty"`
	// OfOrganization is set if the organization's client was refused, which both users
	// of the password grant share.
	OfOrganization bool `json:"of_organization,omitempty"`
}

// SameSecret reports whether both have the same secret or key.
func (c Client) SameSecret(o Client) bool { return c.Secret == o.Secret && c.Key == o.Key }

// withSecret returns the client with a secret. It returns c unchanged if it already has
// that secret.
func (c Client) withSecret(secret Secret, now time.Time) Client {
	if c.Secret == secret {
		return c
	}
	return Client{ID: c.ID, Secret: secret, SecretSetTime: now.Round(0), Claims: c.Claims}
}

// Slot is a position in a pair. A client keeps its slot when the other one becomes
// active.
type Slot int

const (
	// First is the slot of client_id.
	First Slot = iota
	// Paired is the slot of paired_client_id. It may be empty.
	Paired
)

// other returns the other slot.
func (s Slot) other() Slot { return 1 - s }

// Pair is two API clients of which one is active, or a single active client. It is a
// value: its methods return a new pair and leave the old one unchanged.
type Pair struct {
	// Clients are the clients by Slot. Clients[Paired].ID is empty if there is no second
	// client.
	Clients [2]Client
	// ActiveSlot is the slot of the active client.
	ActiveSlot Slot
}

// Active returns the client that tokens are requested for.
func (p Pair) Active() Client { return p.Clients[p.ActiveSlot] }

// Standby returns the other client; ok is false if there is none.
func (p Pair) Standby() (standby Client, ok bool) {
	standby = p.Clients[p.ActiveSlot.other()]
	return standby, standby.ID != ""
}

// PairChange is the part of a configuration write that concerns the pair. Nil means
// unchanged.
type PairChange struct {
	// IDs and Secrets are indexed by Slot. An empty paired id removes the second client.
	IDs     [2]*string
	Secrets [2]*Secret
	// Users is set if the pair is two API users.
	Users bool
	// Keys is set if the clients have keys, so that they need no secrets.
	Keys bool
}

// fields returns the fields that the values are of.
func (c PairChange) fields() PairFields {
	return PairFields{users: c.Users, keys: c.Keys}
}

// Change returns the pair after a configuration write. A secret belongs to its id: a
// new id needs its secret in the same write, unless the pair already has that id. The
// active client stays active in whichever slot the write puts it; if its id is
// replaced, the new client in its slot is active. The errors are *InputError.
func (p Pair) Change(change PairChange, now time.Time) (Pair, error) {
	next, fields := p, change.fields()
	for slot := range next.Clients {
		client, err := p.changedClient(Slot(slot), change, now)
		if err != nil {
			return p, err
		}
		next.Clients[slot] = client
	}
	first, paired := next.Clients[First], next.Clients[Paired]
	if first.ID == paired.ID {
		return p, Invalid(fields.ID(Paired), "is the same as %s; a pair is two different %ss", fields.ID(First), fields.Noun())
	}
	switch active := p.Active().ID; {
	case active == "":
		next.ActiveSlot = First
	case active == first.ID:
		next.ActiveSlot = First
	case active == paired.ID:
		next.ActiveSlot = Paired
	case paired.ID == "" && p.ActiveSlot == Paired:
		return p, Invalid(fields.ID(Paired), "cannot be removed: it is the active %s. Rotate first, then remove it", fields.Noun())
	}
	next.Clients[next.ActiveSlot].Refusal = Refusal{} // it was a standby's
	return next, nil
}

// changedClient returns the client in a slot after a write.
func (p Pair) changedClient(slot Slot, change PairChange, now time.Time) (Client, error) {
	fields := change.fields()
	idField, secretField := fields.ID(slot), fields.Secret(slot)
	client := p.Clients[slot]
	if id := change.IDs[slot]; id != nil && *id != client.ID {
		switch other := p.Clients[slot.other()]; {
		case *id == "" && slot == Paired:
			if change.Secrets[slot] != nil && !change.Secrets[slot].IsEmpty() {
				return Client{}, Invalid(secretField, "has no %s: %s is empty", fields.Noun(), idField)
			}
			return Client{}, nil
		case *id == other.ID:
			client = other
		default:
			client = Client{ID: *id}
		}
	}
	secret := change.Secrets[slot]
	switch {
	case client.ID == "" && slot == First:
		return Client{}, Invalid(idField, "is missing")
	case client.ID == "" && secret != nil && !secret.IsEmpty():
		return Client{}, Invalid(idField, "is missing: a %s was given for it", fields.SecretNoun())
	case client.ID == "":
		return Client{}, nil
	case secret != nil:
		client = client.withSecret(*secret, now)
	}
	if client.Secret.IsEmpty() && !change.Keys {
		return Client{}, Invalid(secretField, "is missing")
	}
	return client, nil
}

// WithStandbySecret returns the pair with a new secret for the standby. The secret must
// not be empty. If there is no standby, the error is ErrNoPair.
func (p Pair) WithStandbySecret(secret Secret, now time.Time) (Pair, error) {
	standby, ok := p.Standby()
	if !ok {
		return p, ErrNoPair
	}
	p.Clients[p.ActiveSlot.other()] = standby.withSecret(secret, now)
	return p, nil
}

// Flip returns the pair with the standby active. If there is no standby, the error is
// ErrNoPair.
func (p Pair) Flip() (Pair, error) {
	if _, ok := p.Standby(); !ok {
		return p, ErrNoPair
	}
	p.Clients[p.ActiveSlot].SecretServed = true
	p.ActiveSlot = p.ActiveSlot.other()
	return p, nil
}

// Verified returns the pair with the VerifiedTime of a client set to now, and without
// its Refusal.
func (p Pair) Verified(clientID string, now time.Time) Pair {
	for slot := range p.Clients {
		if clientID != "" && p.Clients[slot].ID == clientID {
			p.Clients[slot].VerifiedTime = now.Round(0)
			p.Clients[slot].Refusal = Refusal{}
		}
	}
	return p
}

// Refused returns the pair with the Refusal of a client.
func (p Pair) Refused(clientID string, refusal Refusal) Pair {
	for slot := range p.Clients {
		if clientID != "" && p.Clients[slot].ID == clientID {
			p.Clients[slot].Refusal = refusal
		}
	}
	return p
}
