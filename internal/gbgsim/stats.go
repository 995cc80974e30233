package gbgsim

import "maps"

// Stats are the counts of a [Simulator] since it was created.
type Stats struct {
	// EndpointCounts are the counts of GBG GO's token endpoint, [TokenPath].
	EndpointCounts

	// Identity are the counts of [IdentityTokenPath].
	Identity EndpointCounts `json:"identity"`

	// IDP are the counts of [IDPTokenPath].
	IDP EndpointCounts `json:"idp"`

	// Revocations are the counts of [RevokePath]. Issued counts successful
	// revocations.
	Revocations EndpointCounts `json:"revocations"`

	// APICalls are the calls to [APIPath].
	APICalls CallCounts `json:"api_calls"`

	// TLSConnections are the TLS connections to servers that use
	// [Simulator.TLSConfig]. A client that rejects the certificate sends no request
	// and is counted only here.
	TLSConnections ConnectionCounts `json:"tls_connections"`
}

// EndpointCounts counts the requests to one OAuth endpoint.
type EndpointCounts struct {
	// TokenRequests are all POST requests, also those of unknown clients.
	TokenRequests RequestCounts `json:"token_requests"`

	// ByClient are the same requests by client id, also of unknown clients, but
	// without requests that had no client id. Requests with grant_type=password are
	// counted by username. It is never nil.
	ByClient map[string]RequestCounts `json:"token_requests_by_client"`
}

// RequestCounts counts token requests. A request is added to Total when it arrives,
// to Faulted when a fault applies to it, and to Issued or Refused when it is
// answered. It is in neither of the last two while [Options.BeforeToken] or a fault
// blocks it, if its client cancelled it meanwhile, or if a fault replaced the
// response.
type RequestCounts struct {
	Total   int `json:"total"`
	Issued  int `json:"issued"`
	Refused int `json:"refused"`
	Faulted int `json:"faulted"`
}

// CallCounts counts calls to the protected API.
type CallCounts struct {
	Accepted int `json:"accepted"`
	Refused  int `json:"refused"`
}

// ConnectionCounts counts TLS connections when they begin. Faulted are those with a
// certificate that clients must reject.
type ConnectionCounts struct {
	Total   int `json:"total"`
	Faulted int `json:"faulted"`
}

// Stats returns the current counts. They include every request that has been
// answered.
func (s *Simulator) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()

	stats := s.stats
	for _, counts := range []*EndpointCounts{&stats.EndpointCounts, &stats.Identity, &stats.IDP, &stats.Revocations} {
		counts.ByClient = maps.Clone(counts.ByClient)
	}

	return stats
}

func newStats() Stats {
	empty := func() EndpointCounts { return EndpointCounts{ByClient: map[string]RequestCounts{}} }

	return Stats{EndpointCounts: empty(), Identity: empty(), IDP: empty(), Revocations: empty()}
}

func (s *Simulator) countTokenAnswer(endpoint Endpoint, clientID string, issued bool) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if issued {
		s.countTokenLocked(endpoint, clientID, RequestCounts{Issued: 1})
	} else {
		s.countTokenLocked(endpoint, clientID, RequestCounts{Refused: 1})
	}
}

func (s *Simulator) countAPICall(accepted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if accepted {
		s.stats.APICalls.Accepted++
	} else {
		s.stats.APICalls.Refused++
	}
}

// countTokenLocked adds to the counts of an endpoint and of a client.
func (s *Simulator) countTokenLocked(endpoint Endpoint, clientID string, more RequestCounts) {
	counts := s.stats.forEndpoint(endpoint)
	counts.TokenRequests = counts.TokenRequests.add(more)
	if clientID != "" {
		counts.ByClient[clientID] = counts.ByClient[clientID].add(more)
	}
}

func (s *Stats) forEndpoint(endpoint Endpoint) *EndpointCounts {
	switch endpoint {
	case EndpointIdentity:
		return &s.Identity
	case EndpointIDP:
		return &s.IDP
	case EndpointRevoke:
		return &s.Revocations
	default:
		return &s.EndpointCounts
	}
}

func (c RequestCounts) add(more RequestCounts) RequestCounts {
	return RequestCounts{
		Total:   c.Total + more.Total,
		Issued:  c.Issued + more.Issued,
		Refused: c.Refused + more.Refused,
		Faulted: c.Faulted + more.Faulted,
	}
}
