package gbgauth

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
)

// maxTransports is the maximum number of hosts to which connections are kept.
const maxTransports = 64

// transport holds the connections to one host.
type transport interface {
	http.RoundTripper
	CloseIdleConnections()
}

// transportPool has a transport for each host. It is safe for concurrent use.
type transportPool struct {
	newTransport func() transport

	mu     sync.Mutex
	byHost map[string]transport // by scheme and host
}

func newTransportPool(newTransport func() transport) *transportPool {
	return &transportPool{newTransport: newTransport, byHost: make(map[string]transport)}
}

// get returns the transport for the host of a URL. The caller must release it.
func (p *transportPool) get(u *url.URL) transport {
	var removed []transport
	defer func() { closeIdle(removed) }() // after p.mu is unlocked
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.byHost[hostKey(u)]
	if t == nil {
		if len(p.byHost) >= maxTransports {
			removed = slices.Collect(maps.Values(p.byHost))
			clear(p.byHost)
		}
		t = p.newTransport()
		p.byHost[hostKey(u)] = t
	}
	return t
}

// release ends the use of t by a request to the host of a URL. If the request was not
// answered, later requests use a new transport: over HTTP/2 they would otherwise use a
// silent connection again, and if one connection was reset the others may be dead too.
// A transport that has been replaced closes its connections once they are idle.
func (p *transportPool) release(u *url.URL, t transport, answered bool) {
	p.mu.Lock()
	current := p.byHost[hostKey(u)] == t
	if current && !answered {
		delete(p.byHost, hostKey(u))
		current = false
	}
	p.mu.Unlock()
	if !current {
		t.CloseIdleConnections()
	}
}

// closeIdle closes all connections on which no request is in flight.
func (p *transportPool) closeIdle() {
	p.mu.Lock()
	transports := slices.Collect(maps.Values(p.byHost))
	p.mu.Unlock()
	closeIdle(transports)
}

// closeIdle closes the idle connections of transports. As closing one may block, the
// caller must hold no lock.
func closeIdle(transports []transport) {
	for _, t := range transports {
		t.CloseIdleConnections()
	}
}

func hostKey(u *url.URL) string { return u.Scheme + "://" + u.Host }
