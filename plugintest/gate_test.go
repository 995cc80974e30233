package plugintest

import (
	"context"
	"sync"
	"testing"
	"time"
)

// patience is longer than anything takes.
const patience = 10 * time.Minute

// gate is GBG's door: it can hold a client's token requests before GBG decides
// anything about them.
type gate struct {
	mu      sync.Mutex
	closed  map[string]chan struct{}
	arrived chan string
}

func newGate() *gate {
	return &gate{closed: map[string]chan struct{}{}, arrived: make(chan string, 1000)}
}

// before is the simulator's hook.
func (g *gate) before(ctx context.Context, clientID string) {
	g.mu.Lock()
	opened, held := g.closed[clientID]
	g.mu.Unlock()
	if !held {
		return
	}
	g.arrived <- clientID
	select {
	case <-opened:
	case <-ctx.Done():
	}
}

// hold closes the gate to a client until release is called.
func (g *gate) hold(clientID string) (release func()) {
	opened := make(chan struct{})
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed[clientID] = opened
	return sync.OnceFunc(func() {
		g.mu.Lock()
		delete(g.closed, clientID)
		g.mu.Unlock()
		close(opened)
	})
}

// admit lets requests of a client through again. Those that are held stay so until
// release is called.
func (g *gate) admit(clientID string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.closed, clientID)
}

// await receives from a channel, or fails the test if nothing comes for long.
func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// waitingContext tells when somebody begins to wait for its end.
type waitingContext struct {
	context.Context //nolint:containedctx // it is one

	once    sync.Once
	waiting chan struct{}
}

func watch(ctx context.Context) *waitingContext {
	return &waitingContext{Context: ctx, waiting: make(chan struct{})}
}

func (c *waitingContext) Done() <-chan struct{} {
	c.once.Do(func() { close(c.waiting) })
	return c.Context.Done()
}

// later runs a request in a goroutine and gives the channel of its answer.
func later(request func() answer) <-chan answer {
	answered := make(chan answer, 1)
	go func() { answered <- request() }()
	return answered
}
