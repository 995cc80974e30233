package backend

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/helper/locksutil"
	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/singleflight"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// Options configures an Engine.
type Options struct {
	// Storage is the mount's storage. It must remain usable until Close: background
	// work uses it between requests.
	Storage logical.Storage
	// Logger receives the log; nil discards it.
	Logger hclog.Logger
	// Now returns the current time; nil means time.Now. It is for tests of a wall
	// clock that is set: timers go by package time whatever it returns.
	Now func() time.Time
	// Random returns a number in [0, 1). It must be safe for concurrent use; nil means
	// math/rand/v2's Float64.
	Random func() float64
	// Observer is notified of requests and events; nil means none.
	Observer Observer
	// UserAgent is the User-Agent header of requests to GBG; empty means
	// gbgauth.DefaultUserAgent.
	UserAgent string
	// DialContext connects to a host and port; nil means a plain TCP dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// ReadOnly is true on a node that serves reads and cannot write to storage.
	ReadOnly bool
	// Replicated is true if other clusters share the connections and fetch their own
	// tokens (performance replication).
	Replicated bool
	// MaxLeaseTTL returns the maximum lease that the mount allows; nil means no limit.
	MaxLeaseTTL func() time.Duration
}

// Engine manages the connections of one mount and gets their tokens. It is safe for
// concurrent use.
type Engine struct {
	storage logical.Storage
	logger  hclog.Logger
	now     func() time.Time
	random  func() float64
	// observer is not nil.
	observer Observer
	// readOnly and replicated are as in Options.
	readOnly, replicated bool
	// maxLeaseTTL is not nil.
	maxLeaseTTL func() time.Duration

	// http holds the shared clients of all connections without ca_pem.
	http httpClients

	// states holds the current state of each connection in use.
	states states
	// changes serializes the changes of one connection. It is held during requests to
	// GBG, so readers never take it.
	changes keyedLock
	// entryLocks make it one step to read or write a storage entry and to update
	// states. They are never held during requests to GBG.
	entryLocks []*locksutil.LockEntry
	// timers start the refresh of tokens.
	timers timers
	// rotations start the rotations on a schedule, and checks the checks of standbys,
	// once background is set.
	rotations, checks timers
	background        atomic.Bool
	// revocations tracks the failed revocations.
	revocations revocations
	// fetches lets concurrent readers share one token request, or one probe.
	fetches singleflight.Group
	// hosts limits the number of concurrent requests per host.
	hosts hostLimiter

	// ctx ends with the engine. Background work and shared requests run on it.
	ctx  context.Context
	stop context.CancelFunc
	// work counts what runs on ctx. closing keeps it from growing once Close has begun
	// to wait.
	work    sync.WaitGroup
	closing sync.RWMutex
}

// New returns an engine. It must be closed with Close.
func New(o Options) *Engine {
	e := &Engine{
		storage:     o.Storage,
		logger:      o.Logger,
		now:         o.Now,
		random:      o.Random,
		observer:    o.Observer,
		readOnly:    o.ReadOnly,
		replicated:  o.Replicated,
		maxLeaseTTL: o.MaxLeaseTTL,
		http:        httpClients{options: gbgauth.ClientOptions{UserAgent: o.UserAgent, DialContext: o.DialContext}},
		entryLocks:  locksutil.CreateLocks(),
	}
	if e.logger == nil {
		e.logger = hclog.NewNullLogger()
	}
	if e.now == nil {
		e.now = time.Now //nolint:forbidigo // the default
	}
	if e.random == nil {
		e.random = rand.Float64 //nolint:forbidigo // the default of Options.Random
	}
	if e.observer == nil {
		e.observer = noObserver{}
	}
	if e.maxLeaseTTL == nil {
		e.maxLeaseTTL = func() time.Duration { return gbgauth.MaxLifetime }
	}
	e.http.options.Now = e.now
	if e.readOnly {
		e.timers.close()
	}
	e.ctx, e.stop = context.WithCancel(context.Background())
	return e
}

// Close stops all background work and waits for it to end. Requests that are still
// waiting for a token fail with ErrClosed.
func (e *Engine) Close() {
	e.closing.Lock()
	e.stop()
	e.closing.Unlock()
	e.timers.close()
	e.rotations.close()
	e.checks.close()
	e.work.Wait()
	e.http.closeIdle()
	e.states.each((*state).closeIdle)
}

// Closed reports whether Close has been called.
func (e *Engine) Closed() bool { return e.ctx.Err() != nil }

// startChange begins a change of a connection, after waiting for the change in
// progress. The returned context also ends with the engine. If err is nil, end must
// be called.
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

// join registers a request as work that Close waits for. The returned context also
// ends with the engine. If err is nil, leave must be called. On a node that cannot write
// the error is [logical.ErrReadOnly].
func (e *Engine) join(ctx context.Context) (_ context.Context, leave func(), err error) {
	if e.readOnly {
		return nil, nil, logical.ErrReadOnly
	}
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

// begin registers a piece of work that Close waits for. It returns false if the
// engine is closed. If ok, done must be called when the work ends.
func (e *Engine) begin() (done func(), ok bool) {
	e.closing.RLock()
	defer e.closing.RUnlock()
	if e.ctx.Err() != nil {
		return nil, false
	}
	e.work.Add(1)
	return e.work.Done, true
}
