package backend

import "gbg.example/vault-plugin-secrets-gbg/backend/connection"

// ConnectionState is how a connection is, in a word.
type ConnectionState string

// The states of a connection, worst first. The first that applies is the connection's.
const (
	// StateUnreadable means that the storage entry cannot be read.
	StateUnreadable ConnectionState = "unreadable"
	// StateDown means that the last token request failed and there is no valid token.
	StateDown ConnectionState = "down"
	// StateFailing means that the last token request failed, and a valid token is still
	// served.
	StateFailing ConnectionState = "failing"
	// StateStandbyRefused means that the standby was refused with the secret it has.
	StateStandbyRefused ConnectionState = "standby_refused"
	// StateSecretOld means that the active client's secret has reached its maximum age.
	StateSecretOld ConnectionState = "secret_old"
	// StateRotationDue means that a scheduled rotation is due and was not made.
	StateRotationDue ConnectionState = "rotation_due"
	// StateStandbyUnproven means that the standby has not got a token with the secret it
	// has, or that the last checks got no answer to it.
	StateStandbyUnproven ConnectionState = "standby_unproven"
	// StateOK means none of the others.
	StateOK ConnectionState = "ok"
)

// ConnectionStates returns all states, worst first.
func ConnectionStates() []ConnectionState {
	return []ConnectionState{
		StateUnreadable, StateDown, StateFailing, StateStandbyRefused, StateSecretOld, StateRotationDue, StateStandbyUnproven, StateOK,
	}
}

// state returns the state of a connection that is otherwise described by s.
func (s *Status) state() ConnectionState {
	switch {
	case !s.Readable():
		return StateUnreadable
	case s.LastFailure != nil && s.TokenExpireTime.IsZero():
		return StateDown
	case s.LastFailure != nil:
		return StateFailing
	case s.StandbyRefused && !s.standbyKeyUnregistered():
		return StateStandbyRefused
	case !s.SecretDueTime.IsZero() && !s.Time.Before(s.SecretDueTime):
		return StateSecretOld
	case !s.RotationDue.IsZero():
		return StateRotationDue
	case s.Standby.ID != "" && (s.Standby.VerifiedTime.IsZero() || s.Standby.Refusal != connection.Refusal{}):
		return StateStandbyUnproven
	}
	return StateOK
}

// standbyKeyUnregistered reports whether the standby has a key that has not got a token
// yet, perhaps because it is not registered at the identity provider.
func (s *Status) standbyKeyUnregistered() bool {
	return s.Fields.Keys() && s.Standby.VerifiedTime.IsZero()
}
