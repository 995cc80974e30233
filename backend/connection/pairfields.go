package connection

// PairFields are the fields that describe a pair, and the words for what is in it: two
// API clients with their secrets or, in the password grant, two API users with their
// passwords.
type PairFields struct {
	// IDs and Secrets are by Slot.
	IDs, Secrets [2]Field
	// Noun is "client" or "user", and SecretNoun "secret" or "password".
	Noun, SecretNoun string
}

var (
	clientFields = PairFields{
		IDs: [2]Field{ClientID, PairedClientID}, Secrets: [2]Field{ClientSecret, PairedClientSecret},
		Noun: "client", SecretNoun: "secret",
	}
	userFields = PairFields{
		IDs: [2]Field{Username, PairedUsername}, Secrets: [2]Field{Password, PairedPassword},
		Noun: "user", SecretNoun: "password",
	}
)

// Users reports whether the pair is two API users.
func (f PairFields) Users() bool { return f == userFields }

// ID returns the field that names one of the pair, as rotations take it.
func (f PairFields) ID() Field { return f.IDs[First] }

// Secret returns the field of the secret of one of the pair, as rotations take it.
func (f PairFields) Secret() Field { return f.Secrets[First] }

// ActiveID returns the key of the active one's id in answers, and StandbyID that of the
// other one's.
func (f PairFields) ActiveID() string { return "active_" + string(f.ID()) }

// StandbyID returns the key of the standby's id in answers.
func (f PairFields) StandbyID() string { return "standby_" + string(f.ID()) }

// slotOf returns the place whose id is a field's value; ok is false if there is none.
func (f PairFields) slotOf(field Field) (slot Slot, ok bool) {
	switch field {
	case f.IDs[First]:
		return First, true
	case f.IDs[Paired]:
		return Paired, true
	}
	return First, false
}

// PairFields returns the fields of the pair of a connection with these settings.
func (s Settings) PairFields() PairFields {
	if s.GrantType == GrantPassword {
		return userFields
	}
	return clientFields
}

// PairFields returns the fields of the connection's pair.
func (c *Connection) PairFields() PairFields { return c.Settings.PairFields() }
