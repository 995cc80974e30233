package gbgsim

import "slices"

// SetFault adds a fault, which counts for requests and connections from now
// on. Of several that fit a request it meets one only: one of its client
// before one of all, and of these the newest. A fault that has hit as many as
// [Fault.Requests] says is gone, and the next in this order is met. SetFault
// fails if the fault makes no sense.
//
// A fault of a request is met after [Options.BeforeToken] has returned, by a
// request that would be refused too. It is counted as Faulted in [Stats], and
// as Issued or Refused as well unless the fault answers by itself.
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

// Faults returns the faults in the order in which they are tried, with as many
// Requests as are left to each. It is never nil.
func (s *Simulator) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()

	return append([]Fault{}, s.faults...)
}

// ClearFaults ends all faults. The requests that wait for one, also for one
// that has hit as many as it should, are answered at once and as if they had
// not met it.
func (s *Simulator) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.faults = nil
	close(s.faultsCleared)
	s.faultsCleared = make(chan struct{})
}

// takeRequestFault returns and counts the fault that a token request meets, or
// the zero Fault if there is none. The channel is closed when it is cleared.
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

// takeConnectionFault counts a TLS connection and returns the kind of fault
// that it meets, which is empty if there is none.
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

// takeFaultLocked returns the first fault that fits, and takes one request from it.
// It must be called with the lock held.
func (s *Simulator) takeFaultLocked(fits func(Fault) bool) Fault {
	index := slices.IndexFunc(s.faults, fits)
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
