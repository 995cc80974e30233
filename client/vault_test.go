package client_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/client"
	"gbg.example/vault-plugin-secrets-gbg/internal/memnet"
)

// Where the servers of a test are on its network.
const (
	vaultAddress = "127.0.0.1:8200"
	apiAddress   = "127.0.0.1:8443"
)

// The times of the fake Vault's tokens.
const (
	lifetime = time.Hour
	ttl      = 55 * time.Minute
)

// tokenPrefix is in every token, so that tests can look for one.
const tokenPrefix = "fake-token-"

// request is one that the fake Vault received.
type request struct {
	at     time.Time
	query  url.Values
	header http.Header
}

// world is a fake Vault that issues another token for each read, and the network.
type world struct {
	t       *testing.T
	network memnet.Network
	vault   *api.Client
	source  *client.TokenSource

	mu       sync.Mutex
	requests []request
	issued   int
	// intercept, if not nil, answers in place of the fake Vault if it returns true.
	intercept func(w http.ResponseWriter, r *http.Request) bool
	// change, if not nil, changes an answer.
	change func(answer map[string]any)
	delay  time.Duration
	skew   time.Duration // of Vault's clock
}

// inBubble runs a test in a bubble with a world.
func inBubble(t *testing.T, test func(w *world), options ...client.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t}
		w.serve(vaultAddress, w)
		config := &api.Config{Address: "http://" + vaultAddress, HttpClient: w.httpClient(), MaxRetries: 2}
		var err error
		w.vault, err = api.NewClient(config)
		require.NoError(t, err)
		w.vault.SetToken("fake-vault-token")
		w.source, err = client.New(w.vault, "gbg/creds", options...)
		require.NoError(t, err)
		test(w)
	})
}

func (w *world) httpClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: w.network.DialContext, DisableKeepAlives: true}}
}

// serve starts a server on the network.
func (w *world) serve(address string, handler http.Handler) {
	server := httptest.NewUnstartedServer(handler)
	_ = server.Listener.Close() // a real one
	server.Listener = w.network.Listen(address)
	server.Start()
	w.t.Cleanup(server.Close)
}

// ServeHTTP is Vault.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.requests = append(w.requests, request{time.Now(), r.URL.Query(), r.Header.Clone()})
	intercept, change, delay := w.intercept, w.change, w.delay
	w.issued++
	token := fmt.Sprint(tokenPrefix, w.issued)
	w.mu.Unlock()
	time.Sleep(delay)
	now := time.Now().Add(w.skew)
	rw.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	if intercept != nil && intercept(rw, r) {
		return
	}
	data := map[string]any{
		"access_token": token, "token_type": "Bearer", "client_id": "client-a", "scope": "gbg.token", "connection": "default",
		"expire_time": now.Add(lifetime).UTC().Format(time.RFC3339), "ttl": int(ttl / time.Second),
		"rotation_period": int(ttl / time.Second), "last_vault_rotation": lastRotation(now),
	}
	answer := map[string]any{"data": data}
	if change != nil {
		change(answer)
	}
	_ = json.NewEncoder(rw).Encode(answer)
}

func lastRotation(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// refuse makes Vault answer with a status.
func (w *world) refuse(status int, header ...string) {
	w.onRequest(func(rw http.ResponseWriter, _ *http.Request) bool {
		for i := 0; i < len(header); i += 2 {
			rw.Header().Set(header[i], header[i+1])
		}
		rw.WriteHeader(status)
		fmt.Fprintf(rw, `{"errors":["status %d"]}`, status)
		return true
	})
}

func (w *world) onRequest(intercept func(http.ResponseWriter, *http.Request) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.intercept = intercept
}

// count returns the number of requests that Vault received.
func (w *world) count() int { return len(w.received()) }

func (w *world) received() []request {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests
}

// token reads the source, which must not take time.
func (w *world) token() string {
	w.t.Helper()
	began := time.Now()
	token, err := w.source.Token()
	require.NoError(w.t, err)
	require.Zero(w.t, time.Since(began), "a caller waited")
	synctest.Wait()
	return token.AccessToken
}
