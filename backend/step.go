package backend

// Step says which request to which endpoint it was.
type Step int

const (
	// StepToken is the one request to GBG GO.
	StepToken Step = iota
	// StepIDP is the request to the identity provider, whose token is then
	// exchanged.
	StepIDP
	// StepExchange is the exchange at GBG Identity Solution, for a client of the
	// connection.
	StepExchange
	// StepOwnExchange is the exchange of a caller's own token.
	StepOwnExchange
	// StepRevoke is the revocation of a leased token.
	StepRevoke
)

// String is the step as metrics name it.
func (s Step) String() string {
	switch s {
	case StepToken:
		return "token"
	case StepIDP:
		return "idp"
	case StepExchange:
		return "exchange"
	case StepOwnExchange:
		return "own_exchange"
	case StepRevoke:
		return "revoke"
	default:
		return "unknown"
	}
}

// asked is who was asked.
func (s Step) asked() string {
	if s == StepIDP {
		return "the identity provider"
	}
	return "GBG"
}
