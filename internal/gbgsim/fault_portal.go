package gbgsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// portalFault is the JSON form of a [Fault]. Durations are in the format of
// [time.ParseDuration]; empty means zero.
type portalFault struct {
	Fault

	Delay          string          `json:"delay,omitempty"`
	RetryAfterDate string          `json:"retry_after_date,omitempty"`
	ExpiresIn      json.RawMessage `json:"expires_in,omitempty"`
}

type faultList struct {
	Faults []portalFault `json:"faults"`
}

func (s *Simulator) portalFaults(*http.Request) (int, any, error) {
	list := faultList{Faults: []portalFault{}}
	for _, fault := range s.Faults() {
		list.Faults = append(list.Faults, newPortalFault(fault))
	}

	return http.StatusOK, list, nil
}

func (s *Simulator) portalSetFault(r *http.Request) (int, any, error) {
	var request portalFault
	if err := readJSON(r, &request); err != nil {
		return 0, nil, err
	}
	fault, err := request.fault()
	if err != nil {
		return 0, nil, err
	}
	if err := s.SetFault(fault); err != nil {
		return 0, nil, err
	}

	return s.portalFaults(r)
}

func (s *Simulator) portalClearFaults(*http.Request) (int, any, error) {
	s.ClearFaults()

	return http.StatusNoContent, nil, nil
}

func newPortalFault(fault Fault) portalFault {
	portal := portalFault{Fault: fault, ExpiresIn: json.RawMessage(fault.ExpiresIn)}
	if fault.Delay != 0 {
		portal.Delay = fault.Delay.String()
	}
	if fault.RetryAfterDate != 0 {
		portal.RetryAfterDate = fault.RetryAfterDate.String()
	}

	return portal
}

func (p portalFault) fault() (Fault, error) {
	fault := p.Fault
	fault.ExpiresIn = string(p.ExpiresIn)
	for _, duration := range []struct {
		name, text string
		value      *time.Duration
	}{
		{"delay", p.Delay, &fault.Delay},
		{"retry_after_date", p.RetryAfterDate, &fault.RetryAfterDate},
	} {
		if duration.text == "" {
			continue
		}
		parsed, err := time.ParseDuration(duration.text)
		if err != nil {
			return Fault{}, fmt.Errorf("%s %q is not a duration such as \"1.5s\"", duration.name, duration.text)
		}
		*duration.value = parsed
	}

	return fault, nil
}
