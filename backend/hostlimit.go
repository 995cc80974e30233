package backend

import (
	"context"
	"slices"
	"sync"
)

// maxRequestsPerHost is how many requests of a mount may be under way at one host
// (name and port) at once.
const maxRequestsPerHost = 16

// hostLimiter bounds how many requests are under way at each host. A request that
// somebody waits for goes before one that nobody waits for; among equals the one
// that came first does. The zero value is ready. It is safe for concurrent use.
type hostLimiter struct {
	mu    sync.Mutex
	hosts map[string]*hostQueue
}

// hostQueue is the requests of one host. It exists as long as there are any.
type hostQueue struct {
	running int
	waiting []*hostWaiter
}

// hostWaiter is a request that waits for its turn.
type hostWaiter struct {
	// awaited reports whether somebody waits for the request. That may change while
	// it waits: a reader can join a refresh.
	awaited func() bool
	turn    chan struct{}
}

// acquire waits for a turn at a host. A nil awaited stands for "always". If ctx ends
// first, the error is its cause. If err is nil, release must be called.
func (l *hostLimiter) acquire(ctx context.Context, host string, awaited func() bool) (release func(), err error) {
	w := l.enqueue(host, awaited)
	select {
	case <-w.turn:
		return func() { l.release(host) }, nil
	case <-ctx.Done():
	}
	if !l.abandon(host, w) { // it got its turn at the same moment
		l.release(host)
	}
	return nil, context.Cause(ctx)
}

// enqueue adds a waiter, whose turn may have come already.
func (l *hostLimiter) enqueue(host string, awaited func() bool) *hostWaiter {
	w := &hostWaiter{awaited: awaited, turn: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hosts == nil {
		l.hosts = make(map[string]*hostQueue)
	}
	q := l.hosts[host]
	if q == nil {
		q = &hostQueue{}
		l.hosts[host] = q
	}
	if q.running < maxRequestsPerHost {
		q.running++
		close(w.turn)
	} else {
		q.waiting = append(q.waiting, w)
	}
	return w
}

// abandon removes a waiter and reports whether it was still waiting.
func (l *hostLimiter) abandon(host string, w *hostWaiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.hosts[host]
	i := slices.Index(q.waiting, w)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

// release ends a turn and gives it to the next waiter.
func (l *hostLimiter) release(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.hosts[host]
	if len(q.waiting) > 0 {
		i := max(slices.IndexFunc(q.waiting, (*hostWaiter).isAwaited), 0)
		close(q.waiting[i].turn)
		q.waiting = slices.Delete(q.waiting, i, i+1)
		return
	}
	if q.running--; q.running == 0 {
		delete(l.hosts, host)
	}
}

func (w *hostWaiter) isAwaited() bool { return w.awaited == nil || w.awaited() }
