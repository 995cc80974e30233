// Package plugintest tests the whole plugin in memory: a mount with its storage, and
// GBG on a network in memory, in a testing/synctest bubble. Time passes at once there,
// when nothing else can happen.
package plugintest

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	gbg "gbg.example/vault-plugin-secrets-gbg"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
	"gbg.example/vault-plugin-secrets-gbg/internal/memnet"
)

// TestMain fails if a test leaves a goroutine behind.
func TestMain(m *testing.M) {
	hclog.DefaultOutput = io.Discard // go-plugin's test server logs every connection
	goleak.VerifyTestMain(m, sdkWorker)
}

// sdkWorker is a goroutine that a dependency of the SDK starts when it is loaded.
var sdkWorker = goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start")

// gbgAddress is where GBG is on the network.
const gbgAddress = "127.0.0.1:8080"

// The two clients of most tests.
const (
	clientA = "client-a"
	clientB = "client-b"
)

// Where the plugin stores the connection "default" and its token.
const (
	connectionKey = "connection/default"
	tokenKey      = "token/default"
)

// wrongSecret is refused for every client. It begins like the simulator's secrets, so
// that the transcript is searched for it too.
const wrongSecret = gbgsim.SecretPrefix + "WRONG"

// start is when every test begins: not on a whole second, to show how times are rounded.
var start = time.Date(2026, time.March, 1, 12, 0, 0, 250_000_000, time.UTC)

// refusedPause is the pause before a refused client is tried once more.
const refusedPause = 300 * time.Millisecond

// retryPauses are the pauses between the tries of one request to a failing GBG, with
// the default request_timeout and without jitter: one more would end too late.
var retryPauses = []time.Duration{
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second,
}

// fields are what a request gives or an answer holds.
type fields = map[string]any

// worldOptions describe a world; the zero value is useful.
type worldOptions struct {
	// lifetime of the simulator's tokens; zero means an hour.
	lifetime time.Duration
	// random is every number that the backend draws.
	random float64
	// gbg answers in the simulator's place.
	gbg http.Handler
	// tls makes GBG speak TLS, with a certificate of the simulator's CA.
	tls bool
	// system is the backend's view of Vault; nil means an active node.
	system logical.SystemView
}

// world is a mount of the plugin with everything around it: storage, network and GBG.
// It lives in a bubble.
type world struct {
	*mount

	t       *testing.T
	options worldOptions
	network *memnet.Network
	storage *storage
	gate    *gate
	sim     *gbgsim.Simulator
	gbg     *httptest.Server
	heard   *transcript
	// events receives the backend's events.
	events *logical.MockEventSender
	// dice returns the numbers that the backends draw from now on; nil means
	// options.random.
	dice func() float64

	servers int // listening beside GBG

	mu sync.Mutex
	// intercept, if not nil, may answer a request in GBG's place: then it returns true.
	intercept func(w http.ResponseWriter, r *http.Request) bool
	// arrivals are when requests reached GBG; tries are also when backends connected.
	arrivals, tries []time.Time
	// held is how many requests GBG has not answered yet.
	held int
}

// newWorld returns a world for the bubble of a test, at the time start.
func newWorld(t *testing.T, options worldOptions) *world {
	t.Helper()
	time.Sleep(time.Until(start))
	w := &world{
		t:       t,
		options: options,
		network: &memnet.Network{},
		storage: &storage{},
		gate:    newGate(),
		heard:   &transcript{},
		events:  logical.NewMockEventSender(),
	}
	w.sim = gbgsim.New(gbgsim.Options{TokenLifetime: options.lifetime, BeforeToken: w.gate.before})
	w.gbg = w.unstartedServer(gbgAddress, w)
	if options.tls {
		config, err := w.sim.TLSConfig()
		require.NoError(t, err)
		w.gbg.TLS = config
		w.gbg.StartTLS()
	} else {
		w.gbg.Start()
	}
	w.mount = w.newMount()
	t.Cleanup(func() {
		for _, event := range w.sent() {
			w.heard.hear(fmt.Sprint(event))
		}
		w.heard.mustHoldNoSecret(t)
	})
	return w
}

// inBubble runs a test in a bubble with a world of its own.
func inBubble(t *testing.T, options worldOptions, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newWorld(t, options)) })
}

// unstartedServer returns a server for an address on the network. It is closed with
// the test.
func (w *world) unstartedServer(address string, handler http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(handler)
	_ = server.Listener.Close() // a real one
	server.Listener = w.network.Listen(address)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it reports every broken connection
	w.t.Cleanup(server.Close)
	return server
}

// server starts another server on the network and returns its URL.
func (w *world) server(handler http.Handler) string {
	w.t.Helper()
	server := w.anotherServer(handler)
	server.Start()
	return server.URL
}

// anotherServer returns an unstarted server with an address of its own.
func (w *world) anotherServer(handler http.Handler) *httptest.Server {
	w.servers++
	return w.unstartedServer(fmt.Sprintf("127.0.0.1:%d", 9000+w.servers), handler)
}

// ServeHTTP is GBG.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.arrivals = append(w.arrivals, time.Now())
	w.tries = append(w.tries, time.Now())
	w.held++
	intercept := w.intercept
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.held--
		w.mu.Unlock()
	}()
	switch {
	case intercept != nil && intercept(rw, r):
	case w.options.gbg != nil:
		w.options.gbg.ServeHTTP(rw, r)
	default:
		w.sim.ServeHTTP(rw, r)
	}
}

// closeGBG makes GBG unreachable. The backends' connections to it are closed.
func (w *world) closeGBG() {
	w.gbg.Close()
	synctest.Wait() // until the backends have noticed
}

// onRequest puts a handler before GBG, or with nil takes it away.
func (w *world) onRequest(intercept func(w http.ResponseWriter, r *http.Request) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.intercept = intercept
}

// newMount returns another backend on the world's storage, as a restart of Vault makes
// it.
func (w *world) newMount() *mount {
	w.t.Helper()
	return w.mountWith(gbg.Options{})
}

// mountWith returns a backend with options, to which it adds the world's.
func (w *world) mountWith(options gbg.Options) *mount {
	w.t.Helper()
	backend, err := gbg.NewFactory(w.factoryOptions(options))(w.t.Context(), w.backendConfig())
	require.NoError(w.t, err)
	w.t.Cleanup(func() { backend.Cleanup(context.Background()) })
	return &mount{world: w, backend: backend}
}

// factoryOptions adds the world's network and dice to options.
func (w *world) factoryOptions(options gbg.Options) gbg.Options {
	options.Version = "v0.0.0-test"
	options.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		w.mu.Lock()
		w.tries = append(w.tries, time.Now())
		w.mu.Unlock()
		return w.network.DialContext(ctx, network, address)
	}
	options.Random = func() float64 {
		if w.dice != nil {
			return w.dice()
		}
		return w.options.random
	}
	return options
}

// backendConfig is what Vault gives a backend.
func (w *world) backendConfig() *logical.BackendConfig {
	system := w.options.system
	if system == nil {
		system = activeNode()
	}
	return &logical.BackendConfig{
		StorageView:  w.storage,
		Logger:       hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &w.heard.log}),
		System:       system,
		EventsSender: w.events,
	}
}

// activeNode is Vault as a backend on its active node sees it.
func activeNode() logical.SystemView {
	return &logical.StaticSystemView{MaxLeaseTTLVal: 768 * time.Hour, PluginEnvironment: &logical.PluginEnvironment{VaultVersion: "1.21.2"}}
}

// restart ends the mount and makes another one on the same storage.
func (w *world) restart() {
	w.t.Helper()
	w.backend.Cleanup(w.t.Context())
	w.mount = w.newMount()
}

// pass lets time pass, with everything that is due in it.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// passUntil lets time pass until a moment.
func (w *world) passUntil(end time.Time) { w.pass(time.Until(end)) }

// url returns a path of GBG's.
func (w *world) url(path string) string { return w.gbg.URL + path }

// tokenURL is where GBG issues tokens.
func (w *world) tokenURL() string { return w.url(gbgsim.TokenPath) }

// revokeURL is where GBG revokes them.
func (w *world) revokeURL() string { return w.url(gbgsim.RevokePath) }

// client creates a client at GBG and returns its secret.
func (w *world) client(id string) (secret string) {
	w.t.Helper()
	c, err := w.sim.CreateClient(gbgsim.NewClient{ID: id, Department: "Fraud", Roles: []string{gbgsim.RoleGoAPIAccess}})
	require.NoError(w.t, err)
	return c.Secret
}

// regenerate gives a client a new secret at GBG and returns it.
func (w *world) regenerate(id string) (secret string) {
	w.t.Helper()
	secret, err := w.sim.Regenerate(id)
	require.NoError(w.t, err)
	return secret
}

// single creates client A and returns a configuration with it.
func (w *world) single() fields {
	w.t.Helper()
	return fields{"client_id": clientA, "client_secret": w.client(clientA), "token_url": w.tokenURL()}
}

// pair creates clients A and B and returns a configuration with both.
func (w *world) pair() fields {
	w.t.Helper()
	return with(w.single(), fields{"paired_client_id": clientB, "paired_client_secret": w.client(clientB)})
}

// fault makes something go wrong at GBG from now on.
func (w *world) fault(faults ...gbgsim.Fault) {
	w.t.Helper()
	for _, fault := range faults {
		require.NoError(w.t, w.sim.SetFault(fault))
	}
}

// asked is how many token requests reached GBG.
func (w *world) asked() int { return w.sim.Stats().TokenRequests.Total }

// askedBy is how many of them were one client's.
func (w *world) askedBy(id string) int { return w.sim.Stats().ByClient[id].Total }

// underWay returns how many requests GBG has not answered, once nothing else happens.
func (w *world) underWay() int {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held
}

// pauses returns the times between the requests that reached GBG, from the nth on.
func (w *world) pauses(from int) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return between(w.arrivals[from:])
}

func between(times []time.Time) (pauses []time.Duration) {
	for i := 1; i < len(times); i++ {
		pauses = append(pauses, times[i].Sub(times[i-1]))
	}
	return pauses
}

// retries returns the pauses between the tries of the requests that f makes: not those
// within a request of two steps, nor before a refused client is tried once more.
func (w *world) retries(f func()) (pauses []time.Duration) {
	w.mu.Lock()
	from := len(w.tries)
	w.mu.Unlock()
	f()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, pause := range between(w.tries[from:]) {
		if pause != 0 && pause != refusedPause {
			pauses = append(pauses, pause)
		}
	}
	return pauses
}

// owner is the client that GBG issued a token to.
func (w *world) owner(accessToken any) string {
	w.t.Helper()
	id, ok := w.sim.TokenClient(fmt.Sprint(accessToken))
	require.True(w.t, ok, "GBG has not issued this token")
	return id
}

// live reports whether GBG's API accepts a token now.
func (w *world) live(accessToken any) bool { return simTakes(w.sim, accessToken) }

func simTakes(sim *gbgsim.Simulator, accessToken any) bool {
	r := httptest.NewRequest(http.MethodGet, gbgsim.APIPath, nil)
	r.Header.Set("Authorization", fmt.Sprint("Bearer ", accessToken))
	answered := httptest.NewRecorder()
	sim.ServeHTTP(answered, r)
	return answered.Code == http.StatusOK
}

// mustBeWhole checks that everything that names the active client names the same one,
// in memory and after a restart.
func (w *world) mustBeWhole(active string) {
	w.t.Helper()
	config, status := w.read("config"), w.read("status")
	assert.Equal(w.t, active, config["active_client_id"])
	assert.Equal(w.t, active, status["active_client_id"])
	w.restart()
	assert.Equal(w.t, config, w.read("config"))
	restarted := w.read("status")
	for _, key := range []string{"active_client_id", "standby_client_id", "last_rotation_time", "last_rotation_cause", "regenerate_after", "active_secret_set_time", "standby_secret_set_time", "token_expire_time"} {
		assert.Equal(w.t, status[key], restarted[key], key)
	}
}
