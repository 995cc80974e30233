package gbg_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	gbg "vault-plugin-secrets-gbg"
	"vault-plugin-secrets-gbg/internal/gbgsim"
)

// Where the plugin stores the connection "default" and its token.
const (
	freshConnectionKey = "connection/default"
	freshTokenKey      = "token/default"
)

// freshStep is how far the clock goes at once where something may happen.
const freshStep = 50 * time.Millisecond

// firstFreshPause is the least pause between two tries of a token request. If
// the dice show 0 all pauses and timeouts are multiples of it.
const firstFreshPause = 250 * time.Millisecond

// freshWorld is a world whose engine has the fake clock and nothing around it, so
// that its timeouts are as fake as its pauses; and whose clock can be moved only
// while everybody waits, so that what a test sees does not depend on how fast the
// machine is.
type freshWorld struct {
	*world

	// dice gives the numbers that engines draw from now on; nil is options.random.
	dice func() float64
	// pace is how far the clock goes at once while a token request is under way;
	// zero is as far as exact times allow.
	pace time.Duration

	mu sync.Mutex
	// arrivals are when token requests came to GBG.
	arrivals []time.Time
	// writes are how many times storage was written, by key.
	writes map[string]int
}

func newFresh(t *testing.T, options worldOptions) *freshWorld {
	t.Helper()
	f := &freshWorld{writes: map[string]int{}}
	options.gbg = f
	f.world = newWorld(t, options)
	f.storage.failPut(f.put)
	f.mount = f.mountAt(f.clock)
	return f
}

// ServeHTTP is the simulator with a look at the clock.
func (f *freshWorld) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	now := f.clock.Now()
	f.mu.Lock()
	f.arrivals = append(f.arrivals, now)
	f.mu.Unlock()
	// A Retry-After with a date counts from here.
	rw.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	f.sim.ServeHTTP(rw, r)
}

// put stores and counts.
func (f *freshWorld) put(ctx context.Context, entry *logical.StorageEntry) error {
	f.mu.Lock()
	f.writes[entry.Key]++
	f.mu.Unlock()
	return f.storage.InmemStorage.Put(ctx, entry)
}

// refuseWrites makes every write whose key begins like this fail from now on.
func (f *freshWorld) refuseWrites(prefix string, err error) {
	f.storage.failPut(func(ctx context.Context, entry *logical.StorageEntry) error {
		if strings.HasPrefix(entry.Key, prefix) {
			return err
		}
		return f.put(ctx, entry)
	})
}

// takeWrites ends that.
func (f *freshWorld) takeWrites() { f.storage.failPut(f.put) }

func (f *freshWorld) writesOf(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes[key]
}

// pauses are the times between the token requests from the nth on.
func (f *freshWorld) pauses(from int) []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var pauses []time.Duration
	for i := from + 1; i < len(f.arrivals); i++ {
		pauses = append(pauses, f.arrivals[i].Sub(f.arrivals[i-1]))
	}
	return pauses
}

// mountAt makes a backend on the world's storage with this clock.
func (f *freshWorld) mountAt(clock clockwork.Clock) *mount {
	f.t.Helper()
	system := f.options.system
	if system == nil {
		system = &logical.StaticSystemView{MaxLeaseTTLVal: 768 * time.Hour, PluginEnvironment: &logical.PluginEnvironment{VaultVersion: "1.21.2"}}
	}
	dice := f.dice
	if dice == nil {
		dice = func() float64 { return f.options.random }
	}
	backend, err := gbg.NewFactory(gbg.Options{Clock: unpausedClock{clock}, Random: dice})(f.t.Context(), &logical.BackendConfig{
		StorageView:  f.storage,
		Logger:       hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &f.heard.log}),
		System:       system,
		EventsSender: f.bus,
	})
	require.NoError(f.t, err)
	f.t.Cleanup(func() { backend.Cleanup(context.Background()) })
	return &mount{world: f.world, backend: backend}
}

// restart ends the mount and makes another one on the same storage.
func (f *freshWorld) restart() {
	f.t.Helper()
	f.backend.Cleanup(f.t.Context())
	f.mount = f.mountAt(f.clock)
}

// fault makes something go wrong at GBG from now on.
func (f *freshWorld) fault(faults ...gbgsim.Fault) {
	f.t.Helper()
	for _, fault := range faults {
		require.NoError(f.t, f.sim.SetFault(fault))
	}
}

// creds reads the connection "default" as somebody who must not be kept waiting.
func (f *freshWorld) creds(data ...fields) *logical.Response {
	f.t.Helper()
	return f.ok(f.tryCreds(data...))
}

func (f *freshWorld) tryCreds(data ...fields) answer {
	f.t.Helper()
	var given fields
	for _, more := range data {
		given = more
	}
	before := f.clock.Now()
	a := f.try(logical.ReadOperation, "creds", given)
	require.Equal(f.t, before, f.clock.Now())
	return a
}

// unavailable gives the message of a 503, which says when to come back in
// seconds.
func (f *freshWorld) unavailable(a answer) (text string, retryAfter int) {
	f.t.Helper()
	text = f.outermost(http.StatusServiceUnavailable, a)
	require.NotNil(f.t, a.resp)
	require.False(f.t, a.resp.IsError(), "a coded error and an error response at once are a 400")
	require.Len(f.t, a.resp.Headers["Retry-After"], 1)
	retryAfter, err := strconv.Atoi(a.resp.Headers["Retry-After"][0])
	require.NoError(f.t, err)
	require.Positive(f.t, retryAfter)
	return text, retryAfter
}

// badGateway gives the message of a 502.
func (f *freshWorld) badGateway(a answer) (text string) {
	f.t.Helper()
	require.Nil(f.t, a.resp)
	return f.outermost(http.StatusBadGateway, a)
}

func (f *freshWorld) outermost(status int, a answer) string {
	f.t.Helper()
	require.Error(f.t, a.err)
	outermost, ok := a.err.(logical.HTTPCodedError) //nolint:errorlint // Vault makes a wrapped one a 500
	require.True(f.t, ok, "not a coded error: %v", a.err)
	require.Equal(f.t, status, outermost.Code(), a.err)
	return a.err.Error()
}

// live says whether GBG takes a token now.
func (f *freshWorld) live(accessToken any) bool { return simTakes(f.sim, accessToken) }

func simTakes(sim *gbgsim.Simulator, accessToken any) bool {
	r := httptest.NewRequest(http.MethodGet, gbgsim.APIPath, nil)
	r.Header.Set("Authorization", fmt.Sprint("Bearer ", accessToken))
	answered := httptest.NewRecorder()
	sim.ServeHTTP(answered, r)
	return answered.Code == http.StatusOK
}

// moment is a time of an answer's.
func (f *freshWorld) moment(text any) time.Time {
	f.t.Helper()
	at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(text))
	require.NoError(f.t, err)
	return at
}

// secondsOf is a number of seconds of an answer's.
func secondsOf(v any) time.Duration { return time.Duration(v.(int64)) * time.Second }

// roundedUp is a time in whole seconds that is no earlier.
func roundedUp(at time.Time) time.Time { return at.Add(time.Second - 1).Truncate(time.Second) }

// stillness is what goes on while nothing happens.
type stillness struct {
	// held are the token requests that GBG holds, resting the engine's pauses
	// between two tries.
	held, resting int
}

// settle waits until nothing happens any more unless the clock moves, or GBG
// lets go of a request that it holds: until every goroutine waits, and every
// token request that is under way is held. It looks at all of them at one moment,
// several times.
func (f *freshWorld) settle() stillness {
	f.t.Helper()
	var busy string
	calm := 0
	for end := time.Now().Add(patience); time.Now().Before(end); runtime.Gosched() {
		var still stillness
		if still, busy = lookAround(); busy != "" {
			calm = 0
			continue
		}
		// More than one look: what the kernel has received wakes its goroutine a
		// moment later.
		if calm++; calm == 3 {
			return still
		}
	}
	require.FailNow(f.t, "it never settles", busy)
	panic("unreachable")
}

var (
	stackDump     = make([]byte, 1<<20) // tests run one at a time
	goroutineHead = regexp.MustCompile(`^goroutine \d+ [^\[]*\[([^],]*)`)
)

// lookAround gives in busy why things are not still.
func lookAround() (still stillness, busy string) {
	n := runtime.Stack(stackDump, true)
	for n == len(stackDump) {
		stackDump = make([]byte, 2*n)
		n = runtime.Stack(stackDump, true)
	}
	asking := 0
	for i, stack := range bytes.Split(stackDump[:n], []byte("\n\n")) {
		head := goroutineHead.FindSubmatch(stack)
		if i == 0 || head == nil || bytes.Contains(stack, []byte("runtime/pprof.")) {
			continue // the one that looks
		}
		switch string(head[1]) { // not semacquire: who wants the garbage collected waits for this look
		case "select", "select (no cases)", "chan receive", "chan send", "IO wait",
			"sync.Mutex.Lock", "sync.RWMutex.Lock", "sync.RWMutex.RLock", "sync.Cond.Wait", "sync.WaitGroup.Wait":
		default:
			return still, string(stack)
		}
		switch {
		case bytes.Contains(stack, []byte("gbgauth.ClientCredentials.Fetch(")):
			asking++
		case bytes.Contains(stack, []byte("(*gate).before(")), bytes.Contains(stack, []byte("gbgsim.Fault.hold(")):
			still.held++
		case bytes.Contains(stack, []byte("(*Engine).waitRetry(")):
			still.resting++
		}
	}
	if asking != still.held {
		return still, fmt.Sprintf("%d token requests are under way, GBG holds %d", asking, still.held)
	}
	return still, ""
}

// advance moves the clock at once, and waits for what comes of it.
func (f *freshWorld) advance(d time.Duration) stillness {
	f.t.Helper()
	f.settle()
	f.clock.Advance(d)
	return f.settle()
}

// pass lets time pass, in small steps where the connection "default" may have
// something to do and in large ones elsewhere.
func (f *freshWorld) pass(d time.Duration) {
	f.t.Helper()
	f.passUntil(f.clock.Now().Add(d))
}

func (f *freshWorld) passUntil(end time.Time) {
	f.t.Helper()
	still := f.settle()
	for now := f.clock.Now(); now.Before(end); now = f.clock.Now() {
		still = f.advance(min(end.Sub(now), f.stride(now, still)))
	}
}

// stride is how far the clock may go without passing over anything.
func (f *freshWorld) stride(now time.Time, still stillness) time.Duration {
	f.t.Helper()
	if still.held > 0 || still.resting > 0 {
		switch {
		case f.pace > 0:
			return f.pace
		case f.dice == nil && f.options.random == 0:
			return firstFreshPause
		}
		return freshStep
	}
	stride := 24 * time.Hour
	status := f.handle(f.t.Context(), &logical.Request{Operation: logical.ReadOperation, Path: "status", Storage: f.storage})
	if status.err != nil || status.resp.IsError() {
		return stride
	}
	for key, ahead := range map[string]time.Duration{"token_refresh_time": f.refreshLead(), "next_try_time": 0} {
		if status.resp.Data[key] == nil {
			continue
		}
		// Answers give whole seconds, rounded down.
		whole := f.moment(status.resp.Data[key])
		switch from := whole.Add(-ahead); {
		case now.Before(from):
			stride = min(stride, from.Sub(now))
		case !now.After(whole.Add(time.Second)):
			stride = min(stride, freshStep)
		}
	}
	return stride
}

// refreshLead is how long before its time a token of the default settings may be
// refreshed.
func (f *freshWorld) refreshLead() time.Duration {
	random := f.options.random
	if f.dice != nil {
		random = 1
	}
	return 5*time.Second + time.Duration(random*float64(30*time.Second))
}

// begin makes a request in the background.
func (f *freshWorld) begin(op logical.Operation, path string, data fields) <-chan answer {
	m := f.mount
	return later(func() answer { return m.send(f.t.Context(), op, path, data) })
}

// carry makes a request and lets time pass until it is answered; took is how
// long that was.
func (f *freshWorld) carry(op logical.Operation, path string, data fields) (a answer, took time.Duration) {
	f.t.Helper()
	began := f.clock.Now()
	a = f.finish(f.begin(op, path, data))
	return a, f.clock.Since(began)
}

// finish lets time pass until a request is answered.
func (f *freshWorld) finish(answered <-chan answer) answer {
	f.t.Helper()
	for end := f.clock.Now().Add(10 * time.Minute); f.clock.Now().Before(end); f.clock.Advance(max(f.pace, freshStep)) {
		f.settle()
		if len(answered) > 0 {
			return <-answered
		}
	}
	require.FailNow(f.t, "it is never answered")
	panic("unreachable")
}

// mustBeWhole checks that everything that tells of the active client tells the
// same, in memory and after a restart.
func (f *freshWorld) mustBeWhole(active string) {
	f.t.Helper()
	config, status := f.read("config"), f.read("status")
	assert.Equal(f.t, active, config["active_client_id"])
	assert.Equal(f.t, active, status["active_client_id"])
	f.restart()
	assert.Equal(f.t, config, f.read("config"))
	restarted := f.read("status")
	for _, key := range []string{"active_client_id", "standby_client_id", "last_rotation_time", "last_rotation_cause", "regenerate_after", "active_secret_set_time", "standby_secret_set_time", "token_expire_time"} {
		assert.Equal(f.t, status[key], restarted[key], key)
	}
}

var errFreshDisk = errors.New("the disk is full")
