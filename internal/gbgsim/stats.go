package gbgsim

import "maps"

// Stats counts what a [Simulator] was asked since it was created.
type Stats struct {
	// EndpointCounts are those of GBG GO's endpoint, [TokenPath].
	EndpointCounts

	// Identity are those of GBG Identity Solution's, [IdentityTokenPath].
	Identity EndpointCounts `json:"identity"`

	// IDP are those of the identity provider's, [IDPTokenPath].
	IDP EndpointCounts `json:"idp"`

	// Revocations are those of the revocation endpoint, [RevokePath]. Issued are the
	// tokens revoked.
	Revocations EndpointCounts `json:"revocations"`

	// APICalls are the calls to [APIPath].
	APICalls CallCounts `json:"api_calls"`

	// TLSConnections are the connections to servers with the settings of
	// [Simulator.TLSConfig]. A client that does not like the certificate sends
	// no request, so that this is the only count of it.
	TLSConnections ConnectionCounts `json:"tls_connections"`
}

// EndpointCounts counts the requests to one token endpoint.
type EndpointCounts struct {
	// TokenRequests are all requests, from known clients or not, that used the
	// right method.
	TokenRequests RequestCounts `json:"token_requests"`

	// ByClient are the same requests by the client id they named, known or
	// not. It is never nil. A request that named none is not in it.
	ByClient map[string]RequestCounts `json:"token_requests_by_client"`
}

// RequestCounts counts token requests. Total counts them as they arrive, Issued
// and Refused as they are answered: what is missing is being held by
// [Options.BeforeToken] or a fault, was given up by its sender meanwhile, or was
// answered by a fault alone. Faulted counts all that met a fault, as they meet
// it: those that the fault delayed, or whose answer it changed, are in Issued
// or Refused as well.
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

// ConnectionCounts counts TLS connections as they begin. Faulted are those that
// were shown a certificate not to be accepted.
type ConnectionCounts struct {
	Total   int `json:"total"`
	Faulted int `json:"faulted"`
}

// Stats returns the counts of this moment. A request that its sender has got
// the answer to is in them.
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

// countTokenLocked must be called with the lock held.
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
