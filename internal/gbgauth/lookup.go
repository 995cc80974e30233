package gbgauth

import (
	"context"
	"sync"
	"time"
)

const (
	// lookupTimeout bounds one lookup. A resolver waits 5 s for each name server before
	// it asks the next one, and then begins again (resolv.conf(5), timeout and attempts).
	lookupTimeout = 20 * time.Second
	// lookupTTL is how long the addresses that a lookup has found are used again: at
	// least as long as it takes until the try after the one that did not wait for them.
	lookupTTL = 5 * time.Second
)

// resolver resolves hosts for tries that may end sooner than a resolver with a dead name
// server takes. A lookup goes on when the request that began it has ended, and is there
// for the next one. It is safe for concurrent use.
type resolver struct {
	lookupHost func(ctx context.Context, host string) ([]string, error)

	mu     sync.Mutex
	lookups map[string]*lookup
}

// lookup is one of a host. The results may be read when done is closed.
type lookup struct {
	done      chan struct{}
	addresses []string
	err       error
}

func newResolver(resolve func(ctx context.Context, host string) ([]string, error)) *resolver {
	return &resolver{lookupHost: resolve, lookups: make(map[string]*lookup)}
}

// resolve returns those of a host. Those of an IP address are itself.
func (l *resolver) resolve(ctx context.Context, host string) ([]string, error) {
	found := l.start(ctx, host)
	select {
	case <-found.done:
		return found.addresses, found.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// start returns the lookup of a host, which may have begun before.
func (l *resolver) start(ctx context.Context, host string) *lookup {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := l.lookups[host]
	if found != nil {
		return found
	}
	found = &lookup{done: make(chan struct{})}
	l.lookups[host] = found
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
		defer cancel()
		found.addresses, found.err = l.lookupHost(ctx, host)
		if found.err != nil {
			l.remove(host)
		} else {
			time.AfterFunc(lookupTTL, func() { l.remove(host) })
		}
		close(found.done)
	}()
	return found
}

// remove makes the next request of a host begin a lookup.
func (l *resolver) remove(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.lookups, host)
}
