// Package plugintest tests the whole plugin in memory: a mount with its storage, and
// GBG on a network in memory, in a testing/synctest bubble. Time passes at once there,
// when nothing else can happen.
package plugintest

import (
	"bytes"
	"context"
	"io"
	"log"
	"maps"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	gbg "vault-plugin-secrets-gbg"
	"vault-plugin-secrets-gbg/internal/gbgsim"
	"vault-plugin-secrets-gbg/internal/memnet"
)

// gbgAddress is where GBG is on the network.
const gbgAddress = "localhost:8080"

// The two clients of most tests.
const (
	clientA = "client-a"
	clientB = "client-b"
)

// fields are what a request gives or an answer holds.
type fields = map[string]any

// options shape a world; the zero value is useful.
type options struct {
	// lifetime of the simulator's tokens; zero means an hour.
	lifetime time.Duration
	// random returns the numbers that the backend draws; nil means always 0.
	random func() float64
}

// world is a mount of the plugin with everything around it.
type world struct {
	t       *testing.T
	network *memnet.Network
	sim     *gbgsim.Simulator
	storage *storage
	log     *lockedBuffer
	events  *logical.MockEventSender
	backend logical.Backend

	mu sync.Mutex
	// intercept, if not nil, may answer a request in GBG's place: then it returns true.
	intercept func(w http.ResponseWriter, r *http.Request) bool
}

// inBubble runs a test in a bubble with a world of its own.
func inBubble(t *testing.T, o options, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, network: &memnet.Network{}, storage: &storage{}, log: &lockedBuffer{}, events: logical.NewMockEventSender()}
		w.sim = gbgsim.New(gbgsim.Options{TokenLifetime: o.lifetime})
		server := &http.Server{Handler: w, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Hour}
		listener := w.network.Listen(gbgAddress)
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(func() { _ = server.Close() })
		random := o.random
		if random == nil {
			random = func() float64 { return 0 }
		}
		backend, err := gbg.NewFactory(gbg.Options{Version: "v0.0.0-test", Random: random, DialContext: w.network.DialContext})(t.Context(), &logical.BackendConfig{
			StorageView:  w.storage,
			Logger:       hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: w.log}),
			System:       &logical.StaticSystemView{MaxLeaseTTLVal: 768 * time.Hour, PluginEnvironment: &logical.PluginEnvironment{VaultVersion: "1.21.2"}},
			EventsSender: w.events,
		})
		require.NoError(t, err)
		w.backend = backend
		t.Cleanup(func() { backend.Cleanup(context.Background()) })
		test(w)
	})
}

// ServeHTTP is GBG.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	intercept := w.intercept
	w.mu.Unlock()
	if intercept != nil && intercept(rw, r) {
		return
	}
	w.sim.ServeHTTP(rw, r)
}

// onRequest puts a handler before GBG, or takes it away.
func (w *world) onRequest(intercept func(w http.ResponseWriter, r *http.Request) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.intercept = intercept
}

// url returns a path of GBG's.
func (w *world) url(path string) string { return "http://" + gbgAddress + path }

// client creates a client at GBG and returns its secret.
func (w *world) client(id string) string {
	w.t.Helper()
	c, err := w.sim.CreateClient(gbgsim.NewClient{ID: id, Department: "Fraud", Roles: []string{gbgsim.RoleGoAPIAccess}})
	require.NoError(w.t, err)
	return c.Secret
}

// pair creates both clients and returns a configuration with them.
func (w *world) pair() fields {
	w.t.Helper()
	return fields{
		"token_url": w.url(gbgsim.TokenPath),
		"client_id": clientA, "client_secret": w.client(clientA),
		"paired_client_id": clientB, "paired_client_secret": w.client(clientB),
	}
}

// m2m creates both clients at the identity provider and returns a configuration with
// them.
func (w *world) m2m() fields {
	w.t.Helper()
	secret := func(id string) string {
		c, err := w.sim.CreateIDPClient(id)
		require.NoError(w.t, err)
		return c.Secret
	}
	return fields{
		"grant_type": "id_auth", "token_url": w.url(gbgsim.IdentityTokenPath), "idp_token_url": w.url(gbgsim.IDPTokenPath),
		"client_id": clientA, "client_secret": secret(clientA), "paired_client_id": clientB, "paired_client_secret": secret(clientB),
	}
}

// answer is what a request comes back with.
type answer struct {
	resp *logical.Response
	err  error
}

// send makes a request, from any goroutine.
func (w *world) send(op logical.Operation, path string, data fields) answer {
	req := &logical.Request{Operation: op, Path: path, MountPoint: "gbg/", Data: maps.Clone(data), Storage: w.storage}
	if req.Data == nil {
		req.Data = fields{}
	}
	if op == logical.UpdateOperation {
		if checked, exists, err := w.backend.HandleExistenceCheck(w.t.Context(), req); err != nil {
			return answer{err: err}
		} else if checked && !exists {
			req.Operation = logical.CreateOperation
		}
	}
	resp, err := w.backend.HandleRequest(w.t.Context(), req)
	return answer{resp, err}
}

// sending makes a request in the background.
func (w *world) sending(op logical.Operation, path string, data fields) <-chan answer {
	answered := make(chan answer, 1)
	go func() { answered <- w.send(op, path, data) }()
	return answered
}

// ok returns the data of an answer that must be a success.
func (w *world) ok(a answer) fields {
	w.t.Helper()
	require.NoError(w.t, a.err)
	if a.resp == nil {
		return nil
	}
	require.NoError(w.t, a.resp.Error())
	return a.resp.Data
}

// coded returns the text of an answer that must have a status of 500 or more.
func (w *world) coded(status int, a answer) string {
	w.t.Helper()
	require.Error(w.t, a.err)
	coded, ok := a.err.(logical.HTTPCodedError) //nolint:errorlint // Vault makes a wrapped one a 500
	require.True(w.t, ok, "%v", a.err)
	require.Equal(w.t, status, coded.Code(), coded.Error())
	return coded.Error()
}

func (w *world) read(path string) fields {
	w.t.Helper()
	return w.ok(w.send(logical.ReadOperation, path, nil))
}

func (w *world) write(path string, data fields) fields {
	w.t.Helper()
	return w.ok(w.send(logical.UpdateOperation, path, data))
}

// asked returns how many token requests of a client have reached GBG GO.
func (w *world) asked(client string) int { return w.sim.Stats().ByClient[client].Total }

// lockedBuffer is a bytes.Buffer for many goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// storage is Vault's in-memory storage, whose writes may be slow.
type storage struct {
	logical.InmemStorage

	mu    sync.Mutex
	delay time.Duration
}

// slow makes every write take so long from now on.
func (s *storage) slow(delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = delay
}

func (s *storage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	s.mu.Lock()
	delay := s.delay
	s.mu.Unlock()
	time.Sleep(delay)
	return s.InmemStorage.Put(ctx, entry)
}
