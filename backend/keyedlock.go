package backend

import (
	"context"
	"sync"
)

// keyedLock is a mutex per key. Waiting for it ends with the waiter's context,
// and a key that nobody holds or waits for costs nothing. The zero value is
// ready.
type keyedLock struct {
	mu   sync.Mutex
	held map[string]*keyHolder
}

type keyHolder struct {
	token chan struct{}
	users int
}

// lock takes the key's lock, or gives ctx's error.
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
