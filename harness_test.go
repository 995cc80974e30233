package gbg_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/errutil"
	"github.com/hashicorp/vault/sdk/helper/testhelpers/schema"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	gbg "vault-plugin-secrets-gbg"
	"vault-plugin-secrets-gbg/internal/gbgsim"
)

// TestMain sees that no test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m, sdkWorker) }

// sdkWorker is a goroutine that a dependency of the SDK starts when it is loaded.
var sdkWorker = goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start")

// The two clients that most tests create at the simulator.
const (
	clientA = "client-a"
	clientB = "client-b"
)

// wrongSecret is refused by every client. It begins like the simulator's own,
// so that what a test hears is searched for it too.
const wrongSecret = gbgsim.SecretPrefix + "WRONG"

// start is when every test begins: not on a whole second, to show roundings.
var start = time.Date(2026, time.March, 1, 12, 0, 0, 250_000_000, time.UTC)

// restsInTenSeconds are the pauses between the tries of one request while GBG
// gives nothing but trouble, without dice and with the default request_timeout:
// one more of them would end too late.
var restsInTenSeconds = []time.Duration{
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second,
}

// fields are what a request gives or an answer holds.
type fields = map[string]any

// worldOptions shape a world; the zero value is useful.
type worldOptions struct {
	// lifetime of the simulator's tokens; zero is an hour.
	lifetime time.Duration
	// random is every number that the backend draws.
	random float64
	// gbg answers instead of the simulator.
	gbg http.Handler
	// tls makes the world's GBG speak TLS, for those who trust the simulator's CA.
	tls bool
	// system is Vault as the backend sees it; nil is an active node.
	system logical.SystemView
}

// refusedPause is the pause before a client that was refused is asked once more.
const refusedPause = 300 * time.Millisecond

// unpausedClock is a clock on which that pause is over at once.
type unpausedClock struct{ clockwork.Clock }

func (c unpausedClock) NewTimer(d time.Duration) clockwork.Timer {
	if d == refusedPause {
		d = 0
	}
	return c.Clock.NewTimer(d)
}

// hookedClock is a world's clock as its backends see it.
type hookedClock struct {
	clockwork.Clock

	onNow *atomic.Pointer[func()]
	rests chan<- time.Duration
}

func (c hookedClock) Now() time.Time {
	if f := c.onNow.Swap(nil); f != nil {
		(*f)()
	}
	return c.Clock.Now()
}

// NewTimer tells of a rest: the engine waits by such a timer between two tries,
// and for nothing else.
func (c hookedClock) NewTimer(d time.Duration) clockwork.Timer {
	if d == refusedPause {
		return unpausedClock{c.Clock}.NewTimer(d)
	}
	timer := c.Clock.NewTimer(d)
	c.rests <- d
	return timer
}

// world is a mount of the plugin with everything around it: storage, a clock,
// and GBG.
type world struct {
	*mount

	t       *testing.T
	options worldOptions
	clock   *clockwork.FakeClock
	storage *storage
	gate    *gate
	sim     *gbgsim.Simulator
	gbg     *httptest.Server
	heard   *transcript
	// bus takes the events.
	bus *logical.MockEventSender
	// onNow, if it holds something, is called once, when a backend next asks for
	// the time.
	onNow atomic.Pointer[func()]
	// rests are the pauses between tries that backends have begun.
	rests chan time.Duration
}

func newWorld(t *testing.T, options worldOptions) *world {
	t.Helper()
	w := &world{
		t:       t,
		options: options,
		clock:   clockwork.NewFakeClockAt(start),
		storage: &storage{},
		gate:    newGate(),
		heard:   &transcript{},
		bus:     logical.NewMockEventSender(),
		rests:   make(chan time.Duration, 1000),
	}
	w.sim = gbgsim.New(gbgsim.Options{Clock: w.clock, TokenLifetime: options.lifetime, BeforeToken: w.gate.before})
	var handler http.Handler = w.sim
	if options.gbg != nil {
		handler = options.gbg
	}
	w.gbg = httptest.NewUnstartedServer(handler)
	w.gbg.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of every broken connection
	if options.tls {
		config, err := w.sim.TLSConfig()
		require.NoError(t, err)
		w.gbg.TLS = config
		w.gbg.StartTLS()
	} else {
		w.gbg.Start()
	}
	t.Cleanup(w.gbg.Close)
	w.mount = w.newMount()
	t.Cleanup(func() {
		for _, sent := range w.sent() {
			w.heard.hear(fmt.Sprint(sent))
		}
		w.heard.mustHoldNoSecret(t)
	})
	return w
}

// newMount makes a backend on the world's storage, as a restart of Vault would.
func (w *world) newMount() *mount {
	w.t.Helper()
	return w.mountAt(hookedClock{w.clock, &w.onNow, w.rests})
}

// mountAt makes a backend on the world's storage with this clock.
func (w *world) mountAt(clock clockwork.Clock) *mount {
	w.t.Helper()
	m := &mount{world: w}
	system := w.options.system
	if system == nil {
		system = activeNode()
	}
	backend, err := gbg.NewFactory(gbg.Options{
		Version: "v0.0.0-test",
		Clock:   clock,
		Random:  func() float64 { return w.options.random },
	})(w.t.Context(), &logical.BackendConfig{
		StorageView:  w.storage,
		Logger:       hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &w.heard.log}),
		System:       system,
		EventsSender: w.bus,
	})
	require.NoError(w.t, err)
	m.backend = backend
	w.t.Cleanup(func() { m.backend.Cleanup(context.Background()) })
	return m
}

// activeNode is Vault as a backend on its active node sees it.
func activeNode() logical.SystemView {
	return &logical.StaticSystemView{MaxLeaseTTLVal: 768 * time.Hour, PluginEnvironment: &logical.PluginEnvironment{VaultVersion: "1.21.2"}}
}

// tokenURL is where the world's GBG issues tokens.
func (w *world) tokenURL() string { return w.gbg.URL + gbgsim.TokenPath }

// revokeURL is where the world's GBG revokes them.
func (w *world) revokeURL() string { return w.gbg.URL + gbgsim.RevokePath }

// client creates a client at the simulator and gives its secret.
func (w *world) client(id string) (secret string) {
	w.t.Helper()
	c, err := w.sim.CreateClient(gbgsim.NewClient{ID: id, Department: "Fraud", Roles: []string{gbgsim.RoleGoAPIAccess}})
	require.NoError(w.t, err)
	return c.Secret
}

// regenerate gives a client a new secret at the simulator.
func (w *world) regenerate(id string) (secret string) {
	w.t.Helper()
	secret, err := w.sim.Regenerate(id)
	require.NoError(w.t, err)
	return secret
}

// single creates client A and gives a configuration with it.
func (w *world) single() fields {
	w.t.Helper()
	return fields{"client_id": clientA, "client_secret": w.client(clientA), "token_url": w.tokenURL()}
}

// pair creates clients A and B and gives a configuration with both.
func (w *world) pair() fields {
	w.t.Helper()
	return with(w.single(), fields{"paired_client_id": clientB, "paired_client_secret": w.client(clientB)})
}

// fault makes something go wrong at the simulator.
func (w *world) fault(fault gbgsim.Fault) {
	w.t.Helper()
	require.NoError(w.t, w.sim.SetFault(fault))
}

// asked is how many token requests reached the simulator.
func (w *world) asked() int { return w.sim.Stats().TokenRequests.Total }

// askedBy is how many of them were one client's.
func (w *world) askedBy(id string) int { return w.sim.Stats().ByClient[id].Total }

// owner is the client that the simulator issued a token to.
func (w *world) owner(accessToken any) string {
	w.t.Helper()
	id, ok := w.sim.TokenClient(fmt.Sprint(accessToken))
	require.True(w.t, ok, "GBG has not issued this token")
	return id
}

// mount is one backend, driven as Vault drives it.
type mount struct {
	world   *world
	backend logical.Backend
}

// answer is what a request comes back with.
type answer struct {
	resp *logical.Response
	err  error
}

// send makes a request the way Vault does, from any goroutine.
func (m *mount) send(ctx context.Context, op logical.Operation, path string, data fields) answer {
	if data == nil {
		data = fields{}
	}
	req := &logical.Request{
		Operation:  op,
		Path:       path,
		MountPoint: "gbg/",
		Data:       maps.Clone(data),
		Storage:    m.world.storage,
	}
	a := m.handle(ctx, req)
	m.world.heard.note(a)
	return a
}

// errInternal is all that Vault shows of an existence check's error, unless that is
// about what the caller wrote.
var errInternal = errors.New("internal error")

func (m *mount) handle(ctx context.Context, req *logical.Request) answer {
	if req.Operation == logical.UpdateOperation {
		checked, exists, err := m.backend.HandleExistenceCheck(ctx, req)
		var wrong errutil.UserError
		switch {
		case errors.As(err, &wrong):
			return answer{err: err}
		case err != nil:
			return answer{err: errInternal}
		case checked && !exists:
			req.Operation = logical.CreateOperation
		}
	}
	resp, err := m.backend.HandleRequest(ctx, req)
	return answer{resp, err}
}

// try is send for the test's own goroutine: what succeeds fits the schema. It
// must not come to a rest: see carry.
func (m *mount) try(op logical.Operation, path string, data fields) answer {
	t := m.world.t
	t.Helper()
	a := await(t, later(func() answer { return m.send(t.Context(), op, path, data) }), "an answer")
	m.mustFit(op, path, a)
	return a
}

// carry is try for a request that GBG gives trouble: whenever the engine rests
// before it tries again, the clock goes on by just that much. The rests are
// those.
func (m *mount) carry(op logical.Operation, path string, data fields) (a answer, rests []time.Duration) {
	t := m.world.t
	t.Helper()
	answered := later(func() answer { return m.send(t.Context(), op, path, data) })
	rests = m.world.until("an answer", func() bool { return len(answered) == 1 })
	a = <-answered
	m.mustFit(op, path, a)
	return a, rests
}

// until waits for what happens in the background, and carries it through the
// engine's rests.
func (w *world) until(what string, happened func() bool) (rests []time.Duration) {
	w.t.Helper()
	inVain := time.After(patience)
	for !happened() {
		select {
		case d := <-w.rests:
			rests = append(rests, d)
			w.clock.Advance(d)
		case <-inVain:
			w.t.Fatalf("waited in vain for %s, through rests of %v", what, rests)
		default:
			runtime.Gosched()
		}
	}
	return rests
}

// pass lets time pass, and carries to its end what the engines do then.
func (w *world) pass(d time.Duration) (rests []time.Duration) {
	w.t.Helper()
	w.clock.Advance(d)
	return w.until("the engines to have done", enginesAreIdle)
}

// enginesAreIdle says that no goroutine is in any engine, or about to be.
func enginesAreIdle() bool {
	stacks := make([]byte, 1<<20)
	n := runtime.Stack(stacks, true)
	return n < len(stacks) && !bytes.Contains(stacks[:n], []byte("/backend.(*Engine)."))
}

// mustFit checks that an answer fits the schema, if it is a success.
func (m *mount) mustFit(op logical.Operation, path string, a answer) {
	m.world.t.Helper()
	if a.err == nil && a.resp != nil && !a.resp.IsError() {
		m.mustFitSchema(op, path, a.resp)
	}
}

func (m *mount) mustFitSchema(op logical.Operation, path string, resp *logical.Response) {
	t := m.world.t
	t.Helper()
	route := m.backend.(interface{ Route(string) *framework.Path }).Route(path)
	require.NotNil(t, route, path)
	declared := schema.GetResponseSchema(t, route, op)
	schema.ValidateResponse(t, declared, resp, true)
	if declared.Fields == nil {
		require.Empty(t, resp.Data, "an answer without a declared field holds data")
	}
}

// read reads a path that must be there.
func (m *mount) read(path string) fields {
	m.world.t.Helper()
	resp := m.ok(m.try(logical.ReadOperation, path, nil))
	require.NotNil(m.world.t, resp, "%s is 404", path)
	return resp.Data
}

// write writes what must be accepted, and gives the warnings.
func (m *mount) write(path string, data fields) (warnings []string) {
	m.world.t.Helper()
	if resp := m.ok(m.try(logical.UpdateOperation, path, data)); resp != nil {
		return resp.Warnings
	}
	return nil
}

// rotate rotates the connection "default", which must succeed.
func (m *mount) rotate(data fields) *logical.Response {
	m.world.t.Helper()
	resp := m.ok(m.try(logical.UpdateOperation, "rotate", data))
	require.NotNil(m.world.t, resp)
	return resp
}

// rotateToStandby rotates the connection "default" to its standby by name, which may
// be done again at once.
func (m *mount) rotateToStandby() *logical.Response {
	m.world.t.Helper()
	return m.rotate(fields{"client_id": m.read("status")["standby_client_id"]})
}

// ok gives the response of a request that must have succeeded.
func (m *mount) ok(a answer) *logical.Response {
	m.world.t.Helper()
	require.NoError(m.world.t, a.err)
	if a.resp != nil {
		require.NoError(m.world.t, a.resp.Error())
	}
	return a.resp
}

// refused gives the message of a request that must be a 400: a plain error
// response and no error.
func (m *mount) refused(a answer) string {
	m.world.t.Helper()
	require.NoError(m.world.t, a.err)
	require.NotNil(m.world.t, a.resp, "succeeded without an answer")
	require.True(m.world.t, a.resp.IsError(), "succeeded: %v", a.resp.Data)
	return a.resp.Error().Error()
}

// coded gives the message of a request that must fail with a status: the coded
// error is the outermost one, for Vault makes a wrapped one a 500, and a 503
// says when to come back.
func (m *mount) coded(status int, a answer) string {
	t := m.world.t
	t.Helper()
	require.Error(t, a.err)
	outermost, ok := a.err.(logical.HTTPCodedError) //nolint:errorlint // wrapped is wrong
	require.True(t, ok, "not a coded error: %v", a.err)
	require.Equal(t, status, outermost.Code(), a.err)
	if status == http.StatusServiceUnavailable {
		require.NotNil(t, a.resp)
		require.False(t, a.resp.IsError(), "a coded error and an error response at once are a 400")
		require.Len(t, a.resp.Headers["Retry-After"], 1)
		require.Regexp(t, "^[1-9][0-9]*$", a.resp.Headers["Retry-After"][0])
	} else {
		require.Nil(t, a.resp)
	}
	return a.err.Error()
}

// with gives a copy of some fields with more of them, or other ones.
func with(base, more fields) fields {
	all := maps.Clone(base)
	maps.Copy(all, more)
	return all
}

// without gives a copy without some of them.
func without(base fields, names ...string) fields {
	rest := maps.Clone(base)
	for _, name := range names {
		delete(rest, name)
	}
	return rest
}

// transcript is everything that a test hears from the plugin.
type transcript struct {
	mu   sync.Mutex
	said []string
	log  lockedBuffer
	// marked are secrets that do not begin like the simulator's.
	marked []string
}

// mark makes a text one that must not be heard.
func (h *transcript) mark(secret string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.marked = append(h.marked, secret)
}

// note keeps every text of an answer, the one place aside where a token belongs.
func (h *transcript) note(a answer) {
	var said []string
	if a.err != nil {
		for err := a.err; err != nil; err = errors.Unwrap(err) {
			said = append(said, fmt.Sprintf("%v %+v", err, err))
		}
	}
	if a.resp != nil {
		said = append(said, a.resp.Warnings...)
		said = append(said, fmt.Sprint(without(a.resp.Data, "access_token"), a.resp.Headers))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, said...)
}

// hear keeps texts that came from the plugin in another way.
func (h *transcript) hear(said ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, said...)
}

func (h *transcript) mustHoldNoSecret(t *testing.T) {
	t.Helper()
	require.Empty(t, h.secrets(), "a secret got out")
}

// secrets gives what was heard that holds one.
func (h *transcript) secrets() (said []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var sought []string
	for _, marked := range append([]string{gbgsim.SecretPrefix, gbgsim.TokenPrefix, gbgsim.IDPTokenPrefix}, h.marked...) {
		sought = append(sought, writtenForms(marked)...)
	}
	for _, text := range append(slices.Clone(h.said), h.log.String()) {
		if slices.ContainsFunc(sought, func(form string) bool { return strings.Contains(text, form) }) {
			said = append(said, text)
		}
	}
	return said
}

// writtenForms are the ways a text is written by what prints or encodes it, also
// as the beginning of a longer one or in the middle.
func writtenForms(text string) []string {
	forms := []string{
		text, url.QueryEscape(text), fmt.Sprintf("%x", text), fmt.Sprintf("%X", text),
		strings.Trim(fmt.Sprintf("%d", []byte(text)), "[]"), strings.Trim(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(text)), "[]byte"), "{}"),
	}
	// Three bytes make four letters of base64: it looks different by where the text
	// begins, and the letters at its edges belong to its neighbours too.
	for before := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString([]byte("xx"[:before] + text))
		forms = append(forms, encoded[[]int{0, 2, 3}[before]:len(encoded)-1])
	}
	return forms
}

// lockedBuffer is a buffer for many goroutines.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// timestamp is a time as the answers write it.
func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// long is a text of so many characters.
func long(n int) string { return strings.Repeat("x", n) }
