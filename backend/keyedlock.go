package backend

import (
	"context"
	"sync"
)

// keyedLock is a mutex per key. A context can cancel the wait for it. Keys that are
// neither held nor waited for use no memory. The zero value is ready to use.
type keyedLock struct {
	mu   sync.Mutex
	held map[string]*keyHolder
}

type keyHolder struct {
	token chan struct{}
	users int
}

// lock acquires the key's lock, or returns ctx's error.
func (l *keyedLock) lock(ctx context.Context, key string) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = make(map[string]*keyHolder)
	}
	h := l.held[key]
	if h == nil {
		h = &keyHolder{token: make(chan struct{}, 1)}
		l.held[key] = h
	}
	h.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if h.users--; h.users == 0 {
			delete(l.held, key)
		}
	}
	select {
	case h.token <- struct{}{}:
		return func() { <-h.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
