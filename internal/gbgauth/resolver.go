package gbgauth

import (
	"context"
	"sync"
	"time"
)

const (
	// lookupTimeout is the maximum time of one lookup. By default a resolver waits 5 s
	// for each name server and tries all of them twice (resolv.conf(5), timeout and
	// attempts).
	lookupTimeout = 20 * time.Second
	// lookupTTL is how long the addresses of a host are reused: long enough for the
	// retry of a request that ended before its lookup did.
	lookupTTL = 5 * time.Second
)

// resolver looks up hosts for requests that may end before a lookup does, as when the
// first name server does not respond. A lookup continues after the request that
// started it, and later requests for the same host share it. A resolver is safe for
// concurrent use.
type resolver struct {
	lookupHost func(ctx context.Context, host string) ([]string, error)

	mu      sync.Mutex
	lookups map[string]*lookup // by host
}

// lookup is one lookup of a host. Its result may be read once done is closed.
type lookup struct {
	done      chan struct{}
	addresses []string
	err       error
}

// newResolver returns a resolver that calls lookupHost for each lookup.
func newResolver(lookupHost func(ctx context.Context, host string) ([]string, error)) *resolver {
	return &resolver{lookupHost: lookupHost, lookups: make(map[string]*lookup)}
}

// resolve returns the IP addresses of a host. If host is an IP address, resolve
// returns it.
func (r *resolver) resolve(ctx context.Context, host string) ([]string, error) {
	l := r.start(ctx, host)
	select {
	case <-l.done:
		return l.addresses, l.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// start returns the current lookup of a host, and starts one if there is none.
func (r *resolver) start(ctx context.Context, host string) *lookup {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.lookups[host]; l != nil {
		return l
	}
	l := &lookup{done: make(chan struct{})}
	r.lookups[host] = l
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
		defer cancel()
		l.addresses, l.err = r.lookupHost(ctx, host)
		if l.err != nil {
			r.remove(host)
		} else {
			time.AfterFunc(lookupTTL, func() { r.remove(host) })
		}
		close(l.done)
	}()
	return l
}

// remove removes the lookup of a host, so that the next request starts a new one.
func (r *resolver) remove(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.lookups, host)
}
