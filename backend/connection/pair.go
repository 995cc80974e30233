package connection

import (
	"time"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// Secret is a client secret or a token, in a type that prints as "[redacted]".
type Secret = gbgauth.Secret

// NewSecret wraps a value.
func NewSecret(value string) Secret { return gbgauth.NewSecret(value) }

// Client is one API client of a pair.
type Client struct {
	// ID is the client id at GBG.
	ID string
	// Secret is the client secret; empty if the client has a key.
	Secret Secret
	// Key is the client's key; zero if it has a secret. What the other fields say of the
	// secret is then true of the key.
	Key Key
	// SecretSetTime is when Secret was set, by the wall clock.
	SecretSetTime time.Time
	// VerifiedTime is when the client last got a token from GBG, by the wall clock;
	// zero if it never did with this secret.
	VerifiedTime time.Time
	// SecretServed is set if the client has been active with this secret before, and
	// is not any more. Rotating back to it is safe but renews nothing.
	SecretServed bool
}

// withSecret returns the client with a secret. The same secret changes nothing.
func (c Client) withSecret(secret Secret, now time.Time) Client {
	if c.Secret == secret {
		return c
	}
	return Client{ID: c.ID, Secret: secret, SecretSetTime: now.Round(0)}
}

// Slot is a place in a pair. A client keeps its place when another becomes active.
type Slot int

const (
	// First is the place of client_id.
	First Slot = iota
	// Paired is the place of paired_client_id. It may be empty.
	Paired
)

// other returns the other place.
func (s Slot) other() Slot { return 1 - s }

// Pair is two API clients of which one is active, or one client that is. It is
// a value: every transition returns a new pair and leaves the old one as it was.
type Pair struct {
	// Clients are the two places. Clients[Paired].ID is empty if there is no
	// second client.
	Clients [2]Client
	// ActiveSlot is the place of the active client.
	ActiveSlot Slot
}

// Active returns the client that tokens are requested for.
func (p Pair) Active() Client { return p.Clients[p.ActiveSlot] }

// Standby returns the other client; ok is false if there is none.
func (p Pair) Standby() (standby Client, ok bool) {
	standby = p.Clients[p.ActiveSlot.other()]
	return standby, standby.ID != ""
}

// PairChange is the part of a configuration write that is about the pair. A nil value
// is not changed.
type PairChange struct {
	// IDs and Secrets are by Slot. An empty paired id removes the second client.
	IDs     [2]*string
	Secrets [2]*Secret
	// Keys is set if the clients have keys, so that they need no secrets.
	Keys bool
}

// Change applies a configuration write. A secret belongs to its id: a new id
// needs its secret in the same write, unless the pair knows that id already.
// The active client stays active wherever the write puts it; if its id is
// replaced, the client that takes its place is active. The errors are
// *InputError.
func (p Pair) Change(change PairChange, now time.Time) (Pair, error) {
	next := p
	for slot := range next.Clients {
		client, err := p.changedClient(Slot(slot), change, now)
		if err != nil {
			return p, err
		}
		next.Clients[slot] = client
	}
	first, paired := next.Clients[First], next.Clients[Paired]
	if first.ID == paired.ID {
		return p, Invalid(PairedClientID, "is the same as client_id; a pair is two different clients")
	}
	switch active := p.Active().ID; {
	case active == "":
		next.ActiveSlot = First
	case active == first.ID:
		next.ActiveSlot = First
	case active == paired.ID:
		next.ActiveSlot = Paired
	case paired.ID == "" && p.ActiveSlot == Paired:
		return p, Invalid(PairedClientID, "cannot be removed: it is the active client. Rotate first, then remove it")
	}
	return next, nil
}

// fieldsOf returns the fields of a place's id and secret.
func fieldsOf(slot Slot) (id, secret Field) {
	if slot == First {
		return ClientID, ClientSecret
	}
	return PairedClientID, PairedClientSecret
}

// slotOf returns the place whose id is a field's value; ok is false if there is none.
func slotOf(field Field) (slot Slot, ok bool) {
	switch field {
	case ClientID:
		return First, true
	case PairedClientID:
		return Paired, true
	}
	return First, false
}

// changedClient returns the client that a write leaves in a place.
func (p Pair) changedClient(slot Slot, change PairChange, now time.Time) (Client, error) {
	idField, secretField := fieldsOf(slot)
	client := p.Clients[slot]
	if id := change.IDs[slot]; id != nil && *id != client.ID {
		switch other := p.Clients[slot.other()]; {
		case *id == "" && slot == Paired:
			if change.Secrets[slot] != nil && !change.Secrets[slot].IsEmpty() {
				return Client{}, Invalid(secretField, "has no client: paired_client_id is empty")
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
		return Client{}, Invalid(idField, "is missing: a secret was given for it")
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

// WithStandbySecret returns the pair with a new secret of the standby, which must not
// be empty.
// Without a standby the error is ErrNoPair.
func (p Pair) WithStandbySecret(secret Secret, now time.Time) (Pair, error) {
	standby, ok := p.Standby()
	if !ok {
		return p, ErrNoPair
	}
	p.Clients[p.ActiveSlot.other()] = standby.withSecret(secret, now)
	return p, nil
}

// Flip returns the pair with the standby active. Without a standby the error is
// ErrNoPair.
func (p Pair) Flip() (Pair, error) {
	if _, ok := p.Standby(); !ok {
		return p, ErrNoPair
	}
	p.Clients[p.ActiveSlot].SecretServed = true
	p.ActiveSlot = p.ActiveSlot.other()
	return p, nil
}

// Verified returns the pair after the client with this id has got a token.
func (p Pair) Verified(clientID string, now time.Time) Pair {
	for slot := range p.Clients {
		if clientID != "" && p.Clients[slot].ID == clientID {
			p.Clients[slot].VerifiedTime = now.Round(0)
		}
	}
	return p
}
