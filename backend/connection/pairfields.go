package connection

// PairFields are the fields that describe a pair, and the words for its members: two API
// clients with their secrets or keys or, in the password grant, two API users with their
// passwords. The zero value is for clients with secrets.
type PairFields struct{ users, keys bool }

var (
	clientFields = PairFields{}
	userFields   = PairFields{users: true}
)

// Users reports whether the pair is two API users.
func (f PairFields) Users() bool { return f.users }

// Keys reports whether the clients have keys, not secrets.
func (f PairFields) Keys() bool { return f.keys }

// ID returns the field of the id in a slot.
func (f PairFields) ID(slot Slot) Field {
	if f.users {
		return [2]Field{Username, PairedUsername}[slot]
	}
	return [2]Field{ClientID, PairedClientID}[slot]
}

// Secret returns the field of the secret in a slot.
func (f PairFields) Secret(slot Slot) Field {
	if f.users {
		return [2]Field{Password, PairedPassword}[slot]
	}
	return [2]Field{ClientSecret, PairedClientSecret}[slot]
}

// IDKey returns the name of an id in answers, logs and events: "client_id" or
// "username".
func (f PairFields) IDKey() string { return string(f.ID(First)) }

// ActiveKey returns the name of the active id, such as "active_client_id".
func (f PairFields) ActiveKey() string { return "active_" + f.IDKey() }

// StandbyKey returns the name of the standby's id, such as "standby_client_id".
func (f PairFields) StandbyKey() string { return "standby_" + f.IDKey() }

// Noun returns "client" or "user".
func (f PairFields) Noun() string {
	if f.users {
		return "user"
	}
	return "client"
}

// SecretNoun returns "secret", "password" or "key".
func (f PairFields) SecretNoun() string {
	switch {
	case f.users:
		return "password"
	case f.keys:
		return "key"
	}
	return "secret"
}

// RenewVerb returns the verb for renewing a secret, password or key.
func (f PairFields) RenewVerb() string {
	switch {
	case f.users:
		return "change"
	case f.keys:
		return "replace"
	}
	return "regenerate"
}

// slotOf returns the slot of an id field; ok is false for any other field.
func (f PairFields) slotOf(field Field) (slot Slot, ok bool) {
	for _, slot := range []Slot{First, Paired} {
		if f.ID(slot) == field {
			return slot, true
		}
	}
	return First, false
}

// PairFields returns the fields of the pair of a connection with these settings.
func (s Settings) PairFields() PairFields {
	return PairFields{users: s.GrantType == GrantPassword, keys: s.UsesKeys()}
}

// PairFields returns the fields of the connection's pair.
func (c *Connection) PairFields() PairFields { return c.Settings.PairFields() }
