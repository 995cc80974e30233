package e2e

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"gbg.example/vault-plugin-secrets-gbg/client"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// goProgram is a program that calls GBG's API from many goroutines with the client
// package.
type goProgram struct {
	source *client.TokenSource
	gbg    *http.Client
	url    string
	// reads of Vault, and those that failed; newer are those with newer_than.
	reads, failedReads, newer atomic.Int32
	calls, failedCalls        atomic.Int32
	stop                      func()
}

// RoundTrip counts the requests to Vault.
func (p *goProgram) RoundTrip(r *http.Request) (*http.Response, error) {
	p.reads.Add(1)
	if r.URL.Query().Has("newer_than") {
		p.newer.Add(1)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.failedReads.Add(1)
	}
	return resp, err
}

// startGoProgram starts goroutines that call GBG's API all the time.
func startGoProgram(t *testing.T, server *vaultserver.Server, m *mount, g *gbg, goroutines int) *goProgram {
	t.Helper()
	p := &goProgram{url: g.url + gbgsim.APIPath}
	vault, err := api.NewClient(&api.Config{Address: server.Address(), HttpClient: &http.Client{Transport: p}})
	require.NoError(t, err)
	require.NoError(t, m.client.Sys().PutPolicyWithContext(t.Context(), m.path, `path "`+m.path+`/creds" { capabilities = ["read"] }`))
	vault.SetToken(m.as(m.path).client.Token())
	p.source, err = client.New(vault, m.path+"/creds")
	require.NoError(t, err)
	p.gbg = &http.Client{Transport: &client.Transport{Source: p.source}}

	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for range goroutines {
		running.Go(func() {
			for ctx.Err() == nil {
				p.call(t)
				sleep(ctx, 50*time.Millisecond)
			}
		})
	}
	p.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(p.stop)
	return p
}

func (p *goProgram) call(t *testing.T) {
	t.Helper()
	p.calls.Add(1)
	resp, err := p.gbg.Get(p.url)
	if err != nil {
		p.failedCalls.Add(1)
		t.Log("a call failed: ", err)
		return
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		p.failedCalls.Add(1)
		t.Log("GBG answered ", resp.Status)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// A program in Go uses some tokens while Vault is killed and sealed just when the next
// token is due. No call fails, and Vault is read once a token, and once more after each
// start, when the plugin does not know yet that its token is in use.
func TestGoClientWhileVaultIsAway(t *testing.T) {
	t.Parallel()
	const lifetime, overlap, outages = 45 * time.Second, 15 * time.Second, 2
	g := newGBG(t, lifetime)
	server := newRaftServer(t, suite.pluginDir)
	m := newMount(t, server)
	m.write("config", g.pair())
	asked := g.Stats().TokenRequests.Total - 1 // config's verification got the first token
	p := startGoProgram(t, server, m, g, 16)
	var current *oauth2.Token
	awaitNext := func() {
		t.Helper()
		require.Eventually(t, func() bool {
			token, err := p.source.Token()
			if err != nil || current != nil && token.AccessToken == current.AccessToken {
				return false
			}
			current = token
			return true
		}, 2*lifetime, 20*time.Millisecond)
	}
	duringRefresh := func(outage func() error) {
		t.Helper()
		failed := p.failedReads.Load()
		sleep(t.Context(), time.Until(current.Expiry)-overlap-time.Second)
		require.NoError(t, outage())
		require.Eventually(t, func() bool { return p.failedReads.Load() > failed }, overlap, 20*time.Millisecond, "a read that the outage meets")
	}

	awaitNext()
	duringRefresh(server.Kill)
	require.NoError(t, server.StartAgain(t.Context()))
	awaitNext()
	duringRefresh(func() error { return m.client.Sys().SealWithContext(t.Context()) })
	require.NoError(t, server.Restart(t.Context()))
	awaitNext()
	p.stop()
	tokens := int32(g.Stats().TokenRequests.Total - asked)
	t.Logf("%d calls, %d tokens, %d reads, %d of them failed", p.calls.Load(), tokens, p.reads.Load(), p.failedReads.Load())
	assert.Zero(t, p.failedCalls.Load())
	assert.Zero(t, g.Stats().APICalls.Refused)
	assert.Zero(t, p.newer.Load())
	assert.LessOrEqual(t, p.reads.Load()-p.failedReads.Load(), tokens+outages)
	assert.Less(t, p.failedReads.Load(), int32(20), "with growing pauses")
}

// GBG revokes the token that 16 goroutines use: Vault is asked for one newer token, and
// no call fails.
func TestGoClientWithARevokedToken(t *testing.T) {
	t.Parallel()
	const goroutines = 16
	g := newGBG(t, time.Hour)
	m := newMount(t, suite.server)
	pair := g.pair()
	m.write("config", pair)
	p := startGoProgram(t, suite.server, m, g, goroutines)
	accepted := func(more int) {
		t.Helper()
		before := g.Stats().APICalls.Accepted
		require.Eventually(t, func() bool { return g.Stats().APICalls.Accepted >= before+more }, time.Minute, 20*time.Millisecond)
	}
	accepted(2 * goroutines)
	require.NoError(t, g.RevokeTokens(pair["client_id"].(string)))
	accepted(10 * goroutines)
	p.stop()
	refused := g.Stats().APICalls.Refused
	t.Logf("%d calls, %d of them repeated, %d reads", p.calls.Load(), refused, p.reads.Load())
	assert.Zero(t, p.failedCalls.Load())
	assert.Positive(t, refused)
	assert.LessOrEqual(t, refused, goroutines, "each goroutine finds out once")
	assert.Equal(t, int32(2), p.reads.Load())
	assert.Equal(t, int32(1), p.newer.Load())
}
