package plugintest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	gbg "gbg.example/vault-plugin-secrets-gbg"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// benchConnections are many connections.
const benchConnections = 10_000

// benchMount is a backend on a storage of its own, with a simulated GBG.
type benchMount struct {
	tb      testing.TB
	storage *logical.InmemStorage
	gbg     *gbgsim.Simulator
	url     string
	backend logical.Backend
}

func newBenchMount(tb testing.TB) *benchMount {
	tb.Helper()
	m := &benchMount{tb: tb, storage: &logical.InmemStorage{}, gbg: gbgsim.New(gbgsim.Options{})}
	server := httptest.NewServer(benchLongTokens(m.gbg))
	m.url = server.URL + gbgsim.TokenPath
	tb.Cleanup(func() {
		if m.backend != nil {
			m.backend.Cleanup(tb.Context())
		}
		server.Close()
	})
	m.open()
	return m
}

// benchLongTokens makes the simulator's tokens as long as a signed JWT is: about
// 900 bytes.
func benchLongTokens(simulator http.Handler) http.Handler {
	short := []byte(`"access_token":"`)
	long := append(bytes.Clone(short), bytes.Repeat([]byte("0"), 864)...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := httptest.NewRecorder()
		simulator.ServeHTTP(recorder, r)
		w.WriteHeader(recorder.Code)
		_, _ = w.Write(bytes.Replace(recorder.Body.Bytes(), short, long, 1))
	})
}

// open makes the backend, as Vault does when it mounts.
func (m *benchMount) open() {
	m.tb.Helper()
	backend, err := gbg.NewFactory(gbg.Options{})(m.tb.Context(), m.config())
	require.NoError(m.tb, err)
	m.backend = backend
}

// config is what Vault gives a backend.
func (m *benchMount) config() *logical.BackendConfig {
	return &logical.BackendConfig{StorageView: m.storage, Logger: hclog.NewNullLogger(), System: &logical.StaticSystemView{}}
}

// close ends the backend; the storage stays.
func (m *benchMount) close() {
	m.backend.Cleanup(m.tb.Context())
	m.backend = nil
}

func benchName(i int) string { return fmt.Sprintf("connection-%05d", i) }

// configure makes a connection with a client of its own.
func (m *benchMount) configure(name string) {
	m.tb.Helper()
	client, err := m.gbg.CreateClient(gbgsim.NewClient{ID: name})
	require.NoError(m.tb, err)
	resp, err := m.backend.HandleRequest(m.tb.Context(), &logical.Request{
		Operation: logical.UpdateOperation, Path: "config/" + name, Storage: m.storage,
		Data: map[string]any{"token_url": m.url, "client_id": name, "client_secret": client.Secret, "verify_connection": false},
	})
	require.NoError(m.tb, err)
	require.False(m.tb, resp.IsError(), "%v", resp)
}

// read reads a path once.
func (m *benchMount) read(path string) {
	resp, err := m.backend.HandleRequest(m.tb.Context(), &logical.Request{Operation: logical.ReadOperation, Path: path, Storage: m.storage})
	if err != nil || resp == nil || resp.IsError() || resp.Data["access_token"] == "" {
		m.tb.Fatalf("reading %s: %v, %v", path, resp, err)
	}
}

// BenchmarkCredsRead reads a current token. Compare it with BenchmarkCredsFloor.
func BenchmarkCredsRead(b *testing.B) {
	m := newBenchMount(b)
	m.configure("default")
	m.read("creds")
	b.ReportAllocs()
	for b.Loop() {
		m.read("creds")
	}
	require.Equal(b, 1, m.gbg.Stats().TokenRequests.Total)
}

// BenchmarkCredsReadParallel does so on all processors.
func BenchmarkCredsReadParallel(b *testing.B) {
	m := newBenchMount(b)
	m.configure("default")
	m.read("creds")
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.read("creds")
		}
	})
}

// BenchmarkCredsReadNamed does so by a connection's name, of which there is one.
func BenchmarkCredsReadNamed(b *testing.B) {
	m := newBenchMount(b)
	m.configure(benchName(0))
	m.read("creds/" + benchName(0))
	b.ReportAllocs()
	for b.Loop() {
		m.read("creds/" + benchName(0))
	}
}

// BenchmarkCredsReadNamedOf10000 reads ten thousand connections in turn.
func BenchmarkCredsReadNamedOf10000(b *testing.B) {
	m := newBenchMount(b)
	paths := make([]string, benchConnections)
	for i := range paths {
		m.configure(benchName(i))
		paths[i] = "creds/" + benchName(i)
		m.read(paths[i])
	}
	next := 0
	b.ReportAllocs()
	for b.Loop() {
		// A prime apart, so that neighbours in memory do not follow each other.
		next = (next + 7919) % benchConnections
		m.read(paths[next])
	}
	require.Equal(b, benchConnections, m.gbg.Stats().TokenRequests.Total)
}

// BenchmarkCredsFloor is the least that a handler with such an answer costs: the
// SDK's own way to a path, and the answer made anew.
func BenchmarkCredsFloor(b *testing.B) {
	m := &benchMount{tb: b, storage: &logical.InmemStorage{}}
	m.backend = &framework.Backend{Paths: []*framework.Path{{
		Pattern: "creds",
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: &framework.PathOperation{Callback: benchAnswer},
		},
	}}}
	b.ReportAllocs()
	for b.Loop() {
		m.read("creds")
	}
}

var benchToken = strings.Repeat("0", 900)

// benchAnswer is an answer like that of creds.
func benchAnswer(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
	return &logical.Response{Data: map[string]any{
		"access_token":        benchToken,
		"token_type":          "Bearer",
		"expire_time":         "2026-01-01T00:00:00Z",
		"ttl":                 int64(3301),
		"rotation_period":     int64(3300),
		"last_vault_rotation": "2026-01-01T00:00:00.000000000Z",
		"client_id":           "default",
		"scope":               "gbg.token",
		"connection":          "default",
	}}, nil
}

// BenchmarkConnectionMemory tells what the state of a connection in use takes on
// the heap, its token and its timer included, and how long it takes to load one:
// a plugin starts again on the storage of ten thousand and serves a token of
// each, without asking GBG.
func BenchmarkConnectionMemory(b *testing.B) {
	m := newBenchMount(b)
	for i := range benchConnections {
		m.configure(benchName(i))
		m.read("creds/" + benchName(i))
	}
	m.close()
	var bytes uint64
	var took time.Duration
	loads := 0
	for b.Loop() {
		before := benchHeap()
		m.open()
		begun := time.Now()
		for i := range benchConnections {
			m.read("creds/" + benchName(i))
		}
		took += time.Since(begun)
		bytes += benchHeap() - before
		loads += benchConnections
		m.close()
	}
	require.Equal(b, benchConnections, m.gbg.Stats().TokenRequests.Total, "stored tokens are used")
	b.ReportMetric(float64(bytes)/float64(loads), "B/connection")
	b.ReportMetric(float64(took.Nanoseconds())/float64(loads), "ns/load")
}

// benchHeap gives the bytes of the heap that are in use.
func benchHeap() uint64 {
	for range 3 { // what a collection lets go of may free more in the next
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// BenchmarkCredsReadGRPC reads a current token as Vault does from a plugin process:
// over the plugin protocol, here on a loopback connection within one process.
func BenchmarkCredsReadGRPC(b *testing.B) {
	m := newBenchMount(b)
	m.configure("default")
	m.close()
	m.backend = newGRPCBackend(b, gbg.Options{}, m.config())
	m.read("creds")
	b.ReportAllocs()
	for b.Loop() {
		m.read("creds")
	}
}
