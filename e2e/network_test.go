package e2e

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// networkFault is something that goes wrong on the way to GBG.
type networkFault struct {
	name string
	// toxic is Toxiproxy's description of it; empty is no way at all.
	toxic string
	// slow says that tokens come all the same.
	slow bool
}

var networkFaults = []networkFault{
	{name: "latency", toxic: `{"type": "latency", "attributes": {"latency": 500}}`, slow: true},
	{name: "jitter", toxic: `{"type": "latency", "attributes": {"latency": 200, "jitter": 200}}`, slow: true},
	{name: "bandwidth", toxic: `{"type": "bandwidth", "attributes": {"rate": 4}}`, slow: true},
	{name: "slow-close", toxic: `{"type": "slow_close", "attributes": {"delay": 1000}}`, slow: true},
	{name: "too-much-latency", toxic: `{"type": "latency", "attributes": {"latency": 60000}}`},
	{name: "reset-peer", toxic: `{"type": "reset_peer", "attributes": {"timeout": 0}}`},
	{name: "black-hole", toxic: `{"type": "timeout", "attributes": {"timeout": 0}}`},
	{name: "timeout", toxic: `{"type": "timeout", "attributes": {"timeout": 200}}`},
	{name: "limit-data", toxic: `{"type": "limit_data", "attributes": {"bytes": 100}}`},
	{name: "cut"},
}

// The network between the plugin and GBG goes wrong, over TCP and over TLS.
// Readers of a connection with a valid token notice nothing, also when the time
// comes to refresh it; those of one without a token get it late, or a 503. When
// it is over, all is well by itself.
func TestNetworkFaults(t *testing.T) {
	t.Parallel()
	g := newGBG(t, 45*time.Second)
	config, err := g.TLSConfig()
	require.NoError(t, err)
	secure := httptest.NewUnstartedServer(g)
	secure.TLS = config
	secure.StartTLS()
	t.Cleanup(secure.Close)
	m := newMount(t, suite.server)
	var all sync.WaitGroup // they wait more than they work: t.Parallel would let few of them wait at once
	defer all.Wait()
	for _, fault := range networkFaults {
		for _, address := range []string{g.url, secure.URL} {
			u, err := url.Parse(address)
			require.NoError(t, err)
			name := fault.name + "-" + u.Scheme
			all.Go(func() {
				t.Run(name, func(t *testing.T) {
					fault.meet(&mount{t: t, path: m.path, client: m.client}, g, u, name)
				})
			})
		}
	}
}

// meet puts the fault on the way to a GBG of this address.
func (f networkFault) meet(m *mount, g *gbg, u *url.URL, name string) {
	t := m.t
	t.Helper()
	proxy := newFaultyNetwork(t, u.Host)
	ca, err := g.CAPEM()
	require.NoError(t, err)
	settings := g.pair()
	settings["token_url"] = u.Scheme + "://" + proxy.Listen + gbgsim.TokenPath
	settings["ca_pem"] = string(ca)
	settings["request_timeout"] = 2
	if f.slow {
		settings["request_timeout"] = 50
	}
	settings["verify_connection"] = false
	m.write("config/"+name+"-cold", settings)
	m.write("config/"+name+"-warm", settings)
	warm, cold := "creds/"+name+"-warm", "creds/"+name+"-cold"
	first := m.readLive(g, warm)

	repair := f.begin(t, proxy)
	if f.slow {
		m.readLive(g, cold)
	} else {
		status, text := m.refusedRead(cold)
		assert.Equal(t, http.StatusServiceUnavailable, status)
		assert.Contains(t, text, `no token for client "client-a"`)
		assert.Contains(t, text, "Token requests have failed since")
	}
	// Read on until the time to refresh the token has come, and a little longer.
	eventually(t, "a refresh that meets the fault", func() bool {
		token := m.readLive(g, warm)
		if f.slow {
			return token != first
		}
		return token == first && m.read("status/" + name + "-warm").Data["consecutive_errors"] != nil
	})
	repair()
	eventually(t, "a new token", func() bool { return m.readLive(g, warm) != first })
	eventually(t, "the cold connection's", func() bool {
		secret, err := m.client.Logical().ReadWithContext(t.Context(), m.path+"/"+cold)
		return err == nil && secret != nil
	})
	m.readLive(g, cold)
	assert.NotContains(t, m.read("status/"+name+"-warm").Data, "consecutive_errors")
	assert.Equal(t, "client-a", m.read("config/" + name + "-warm").Data["active_client_id"], "no network is a reason to fail over")
}

// begin makes things go wrong until repair is called.
func (f networkFault) begin(t *testing.T, proxy *toxiproxy.Proxy) (repair func()) {
	t.Helper()
	if f.toxic == "" {
		proxy.Stop()
		return func() { require.NoError(t, proxy.Start()) }
	}
	_, err := proxy.Toxics.AddToxicJson(strings.NewReader(f.toxic))
	require.NoError(t, err)
	return func() { proxy.Toxics.ResetToxics(t.Context()) }
}

// newFaultyNetwork is a way to a server, with nothing wrong yet.
func newFaultyNetwork(t *testing.T, upstream string) *toxiproxy.Proxy {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, "gbg", "127.0.0.1:0", upstream)
	require.NoError(t, proxy.Start())
	t.Cleanup(func() {
		proxy.Toxics.ResetToxics(context.Background())
		proxy.Stop()
	})
	return proxy
}

// readLive reads a token, which GBG must accept.
func (m *mount) readLive(g *gbg, path string) (token string) {
	m.t.Helper()
	token = m.read(path).Data["access_token"].(string)
	ok, err := g.call(m.t.Context(), token)
	require.NoError(m.t, err)
	require.True(m.t, ok, "GBG does not take the token")
	return token
}

// eventually waits for something that comes by itself.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); !happened(); time.Sleep(250 * time.Millisecond) {
		require.True(t, time.Now().Before(end), "waited in vain for %s", what)
	}
}
