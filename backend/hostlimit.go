package backend

import (
	"context"
	"slices"
	"sync"
)

// maxRequestsPerHost is the maximum number of concurrent requests of a mount to one
// host (name and port).
const maxRequestsPerHost = 16

// hostLimiter limits the number of concurrent requests to each host. A request that a
// reader is waiting for goes before background requests; otherwise the order is first
// in, first out. The zero value is ready to use. It is safe for concurrent use.
type hostLimiter struct {
	mu    sync.Mutex
	hosts map[string]*hostQueue
}

// hostQueue holds the requests to one host. It exists as long as there are any.
type hostQueue struct {
	running int
	waiting []*hostWaiter
}

// hostWaiter is a request in the queue.
type hostWaiter struct {
	// awaited reports whether a reader is waiting for the request. That may change
	// while it is queued: a reader can join a refresh.
	awaited func() bool
	turn    chan struct{}
}

// acquire waits for a free slot at a host. A nil awaited means always. If ctx ends
// first, the error is its cause. If err is nil, release must be called.
func (l *hostLimiter) acquire(ctx context.Context, host string, awaited func() bool) (release func(), err error) {
	w := l.enqueue(host, awaited)
	select {
	case <-w.turn:
		return func() { l.release(host) }, nil
	case <-ctx.Done():
	}
	if !l.abandon(host, w) { // its turn came at the same moment
		l.release(host)
	}
	return nil, context.Cause(ctx)
}

// enqueue adds a waiter. Its turn comes at once if there is a free slot.
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

// release frees a slot, or passes it to the next waiter.
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
