package backend

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/helper/locksutil"
	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/singleflight"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// Options are what an engine is made with.
type Options struct {
	// Storage is the mount's own. It must live as long as the engine: background
	// work uses it between requests.
	Storage logical.Storage
	// Logger; nil discards.
	Logger hclog.Logger
	// Now returns the current time; nil means time.Now. It is for tests of a wall
	// clock that is set: timers go by package time whatever it returns.
	Now func() time.Time
	// Random gives numbers in [0, 1), from many goroutines at once; nil is
	// math/rand/v2's.
	Random func() float64
	// Observer hears what happens; nil is nobody.
	Observer Observer
	// UserAgent is what requests to GBG name themselves; empty means
	// gbgauth.DefaultUserAgent.
	UserAgent string
	// DialContext connects to a host and port; nil means over TCP.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// MaxLeaseTTL gives the longest lease that the mount allows; nil is no bound.
	MaxLeaseTTL func() time.Duration
}

// Engine keeps the connections of one mount and gets their tokens. Its methods
// may be called from many goroutines at once.
type Engine struct {
	storage logical.Storage
	logger  hclog.Logger
	now     func() time.Time
	random  func() float64
	// observer is not nil.
	observer Observer
	// maxLeaseTTL is the mount's.
	maxLeaseTTL func() time.Duration

	// http are the clients of all connections without roots of their own.
	http httpClients

	// states holds what is known of each connection in use.
	states states
	// changes puts the changes of one connection in a row. It is held while GBG
	// is asked, so readers never take it.
	changes keyedLock
	// entryLocks make reading or writing a storage entry and noting it in states
	// one step. They are never held while GBG is asked.
	entryLocks []*locksutil.LockEntry
	// timers wake what has to be refreshed.
	timers timers
	// revocations is what is known of the revocations that failed.
	revocations revocations
	// fetches lets concurrent readers share one token request, or one probe.
	fetches singleflight.Group
	// hosts bounds the requests that are under way at once.
	hosts hostLimiter

	// ctx is the life of the engine, and that of what it does for everybody.
	ctx  context.Context
	stop context.CancelFunc
	// work counts what runs on ctx; closing guards the step from "open" to
	// "waiting for the last of it".
	work    sync.WaitGroup
	closing sync.RWMutex
}

// New returns an engine. Close ends it.
func New(o Options) *Engine {
	e := &Engine{
		storage:     o.Storage,
		logger:      o.Logger,
		now:         o.Now,
		random:      o.Random,
		observer:    o.Observer,
		maxLeaseTTL: o.MaxLeaseTTL,
		http:        httpClients{options: gbgauth.ClientOptions{UserAgent: o.UserAgent, DialContext: o.DialContext}},
		entryLocks:  locksutil.CreateLocks(),
	}
	if e.logger == nil {
		e.logger = hclog.NewNullLogger()
	}
	if e.now == nil {
		e.now = time.Now
	}
	if e.random == nil {
		e.random = rand.Float64 //nolint:forbidigo // what is injected by default
	}
	if e.observer == nil {
		e.observer = noObserver{}
	}
	if e.maxLeaseTTL == nil {
		e.maxLeaseTTL = func() time.Duration { return gbgauth.MaxLifetime }
	}
	e.http.options.Now = e.now
	e.ctx, e.stop = context.WithCancel(context.Background())
	return e
}

// Close ends what runs in the background and waits for it. Requests that still
// wait for a token get ErrClosed.
func (e *Engine) Close() {
	e.closing.Lock()
	e.stop()
	e.closing.Unlock()
	e.timers.close()
	e.work.Wait()
	e.http.closeIdle()
	e.states.each((*state).closeIdle)
}

// Closed reports whether Close has been called.
func (e *Engine) Closed() bool { return e.ctx.Err() != nil }

// startChange begins a change of one connection, which waits for the one before.
// The ctx it gives also ends with the engine. If err is nil, end must be called.
func (e *Engine) startChange(ctx context.Context, name string) (_ context.Context, end func(), err error) {
	ctx, leave, err := e.join(ctx)
	if err != nil {
		return nil, nil, err
	}
	unlock, err := e.changes.lock(ctx, name)
	if err != nil {
		leave()
		return nil, nil, context.Cause(ctx)
	}
	return ctx, func() { unlock(); leave() }, nil
}

// join makes a request's work a part of the engine's life: the ctx it gives also
// ends with the engine, which waits for leave. If err is nil, leave must be
// called.
func (e *Engine) join(ctx context.Context) (_ context.Context, leave func(), err error) {
	done, ok := e.begin()
	if !ok {
		return nil, nil, ErrClosed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	detach := context.AfterFunc(e.ctx, func() { cancel(ErrClosed) })
	return ctx, func() {
		detach()
		cancel(nil)
		done()
	}, nil
}

// begin reserves the engine's life for a piece of work. If ok, done must be
// called at its end.
func (e *Engine) begin() (done func(), ok bool) {
	e.closing.RLock()
	defer e.closing.RUnlock()
	if e.ctx.Err() != nil {
		return nil, false
	}
	e.work.Add(1)
	return e.work.Done, true
}
