package gbgsim

import "slices"

// SetFault adds a fault for later requests and connections. At most one fault
// applies to a request: faults for its client come before faults for all clients,
// and newer faults before older ones. A fault is removed after [Fault.Requests]
// requests. SetFault returns an error if the fault is invalid.
//
// A fault applies after [Options.BeforeToken] has returned, also to requests that
// would be refused. The request is counted as Faulted in [Stats], and also as
// Issued or Refused unless the fault replaces the response.
func (s *Simulator) SetFault(fault Fault) error {
	if err := fault.check(); err != nil {
		return err
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	index := 0
	if fault.ClientID == "" {
		for index < len(s.faults) && s.faults[index].ClientID != "" {
			index++
		}
	}
	s.faults = slices.Insert(s.faults, index, fault)

	return nil
}

// Faults returns the faults in the order in which they are tried. Requests is the
// number of requests left. The result is never nil.
func (s *Simulator) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()

	return append([]Fault{}, s.faults...)
}

// ClearFaults removes all faults. Requests that are waiting because of a fault
// continue immediately, as if there had been no fault.
func (s *Simulator) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.faults = nil
	close(s.faultsCleared)
	s.faultsCleared = make(chan struct{})
}

// takeRequestFault returns and counts the fault that applies to a request, or the
// zero Fault if there is none. The channel is closed when the fault is cleared.
func (s *Simulator) takeRequestFault(endpoint Endpoint, clientID string) (fault Fault, cleared <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()

	fault = s.takeFaultLocked(func(fault Fault) bool {
		return !fault.Kind.isConnectionFault() && fault.Endpoint == endpoint &&
			(fault.ClientID == "" || fault.ClientID == clientID)
	})
	if fault.Kind != "" {
		s.countTokenLocked(endpoint, clientID, RequestCounts{Faulted: 1})
	}

	return fault, s.faultsCleared
}

// takeConnectionFault counts a TLS connection and returns the kind of the fault
// that applies to it, or the empty kind if there is none.
func (s *Simulator) takeConnectionFault() FaultKind {
	s.mu.Lock()
	defer s.mu.Unlock()

	kind := s.takeFaultLocked(func(fault Fault) bool { return fault.Kind.isConnectionFault() }).Kind
	s.stats.TLSConnections.Total++
	if kind != "" {
		s.stats.TLSConnections.Faulted++
	}

	return kind
}

// takeFaultLocked returns the first fault that matches and counts down its
// requests. It returns the zero Fault if none matches.
func (s *Simulator) takeFaultLocked(matches func(Fault) bool) Fault {
	index := slices.IndexFunc(s.faults, matches)
	if index < 0 {
		return Fault{}
	}
	fault := s.faults[index]
	switch fault.Requests {
	case 0:
	case 1:
		s.faults = slices.Delete(s.faults, index, index+1)
	default:
		s.faults[index].Requests--
	}

	return fault
}
