package e2e

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

const (
	// soakLifetime is that of GBG's tokens: they are refreshed after two thirds.
	soakLifetime = time.Minute
	// soakFault is how long a fault of GBG lasts: less than what a token has left
	// when it is refreshed, so that who shares one never notices.
	soakFault = 6 * time.Second
	// soakCalm is between two disturbances.
	soakCalm = 15 * time.Second
)

// soak is one Vault with many connections, that is used and disturbed for a long
// time.
type soak struct {
	t      *testing.T
	g      *gbg
	log    *vaultserver.Output
	server *vaultserver.Server
	mount  string

	// gbgFaults and vaultFaults count changes between calm, when they are even, and
	// a disturbance of GBG, or of Vault or the plugin.
	gbgFaults, vaultFaults atomic.Int64
	// lastGBGFault is when GBG was last disturbed, in Unix seconds.
	lastGBGFault atomic.Int64
	stopped      atomic.Bool
	group        sync.WaitGroup

	mu      sync.Mutex
	counts  map[string]int
	longest map[string]time.Duration
	wrong   map[string]int // broken promises, by what they say
	scanned int            // how much of Vault's log was searched for secrets
}

// TestSoak runs for as long as GBG_SOAK says: see make soak.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("GBG_SOAK"))
	if err != nil {
		t.Skip("GBG_SOAK does not say how long; run make soak")
	}
	s := newSoak(t)
	connections := s.connect()
	begin := time.Now()
	memory := &memory{}
	s.group.Go(func() { s.report(begin, memory) })
	for _, c := range connections {
		s.group.Go(func() { s.use(c) })
		// Others read it at the same time.
		if c.shared {
			s.group.Go(func() { s.readOnly(c) })
		}
	}
	// What ends the plugin's process is kept out of the second half, so that its
	// memory can be seen to stay.
	for i := 0; time.Since(begin) < length; i++ {
		if time.Since(begin) < length/2 {
			s.disturbVault(i)
			s.calm(connections)
		} else {
			memory.undisturbed.Store(true)
		}
		s.disturbGBG(i)
		s.calm(connections)
	}
	s.stopped.Store(true)
	s.group.Wait()
	s.searchLog()

	t.Logf("after %s:\n  %s", time.Since(begin).Round(time.Second), strings.Join(s.figures(), "\n  "))
	t.Log(memory)
	s.mu.Lock()
	defer s.mu.Unlock()
	assert.Empty(t, s.wrong, "broken promises")
	assert.NotZero(t, s.counts["rotations"])
	memory.check(t)
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{t: t, g: newGBG(t, soakLifetime), log: &vaultserver.Output{}, mount: "gbg", counts: map[string]int{}, longest: map[string]time.Duration{}, wrong: map[string]int{}}
	var err error
	s.server, err = vaultserver.Start(t.Context(), vaultserver.Options{
		Binary: suite.vault, PluginDir: ownPlugins(t), DataDir: t.TempDir(), Log: s.log, Env: []string{"HOME=" + suite.dir},
	})
	require.NoError(t, err, s.log)
	t.Cleanup(func() { assert.NoError(t, s.server.Stop()) })
	t.Cleanup(func() {
		s.stopped.Store(true)
		s.group.Wait()
	})
	require.NoError(t, s.server.Register(t.Context()))
	require.NoError(t, s.server.Enable(t.Context(), s.mount))
	return s
}

// broken notes a promise that was not kept.
func (s *soak) broken(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if s.wrong[text]++; s.wrong[text] == 1 {
		s.t.Log(time.Now().UTC().Format(time.TimeOnly), "BROKEN:", text)
	}
}

func (s *soak) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what]++
}

func (s *soak) noteLongest(what string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.longest[what] = max(s.longest[what], d)
}

// figures are the counts and times so far.
func (s *soak) figures() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, what := range slices.Sorted(maps.Keys(s.counts)) {
		all = append(all, fmt.Sprintf("%s %d", what, s.counts[what]))
	}
	for _, what := range slices.Sorted(maps.Keys(s.longest)) {
		all = append(all, fmt.Sprintf("longest %s %s", what, s.longest[what].Round(time.Millisecond)))
	}
	return append(all, fmt.Sprintf("broken promises %d", len(s.wrong)))
}

// weather is how things were at a moment.
type weather struct{ gbg, vault int64 }

func (s *soak) weather() weather { return weather{s.gbgFaults.Load(), s.vaultFaults.Load()} }

// vaultCalmSince reports whether nothing has disturbed Vault or the plugin since.
func (s *soak) vaultCalmSince(w weather) bool {
	return w.vault%2 == 0 && s.vaultFaults.Load() == w.vault
}

// calmSince reports whether nothing at all was disturbed since.
func (s *soak) calmSince(w weather) bool {
	return s.vaultCalmSince(w) && w.gbg%2 == 0 && s.gbgFaults.Load() == w.gbg
}

// soakFaults are what GBG does wrong.
var soakFaults = []gbgsim.Fault{
	{Kind: gbgsim.FaultStatus, Status: 503},
	{Kind: gbgsim.FaultClose},
	{Kind: gbgsim.FaultDelay, Delay: 2 * time.Second},
	{Kind: gbgsim.FaultNullToken},
	{Kind: gbgsim.FaultStatus, Status: 429, RetryAfter: "2"},
	{Kind: gbgsim.FaultTruncate},
	{Kind: gbgsim.FaultHang},
	{Kind: gbgsim.FaultReset},
	{Kind: gbgsim.FaultStatus, Status: 403}, // the page of a firewall
	{Kind: gbgsim.FaultStatus, Status: 407},
}

// disturbGBG lets every endpoint have the same fault for a while.
func (s *soak) disturbGBG(i int) {
	s.gbgFaults.Add(1)
	for _, endpoint := range []gbgsim.Endpoint{gbgsim.EndpointGo, gbgsim.EndpointIdentity, gbgsim.EndpointIDP, gbgsim.EndpointRevoke} {
		fault := soakFaults[i%len(soakFaults)]
		fault.Endpoint = endpoint
		require.NoError(s.t, s.g.SetFault(fault))
	}
	time.Sleep(soakFault)
	s.g.ClearFaults()
	s.lastGBGFault.Store(time.Now().Unix())
	s.count("faults of GBG")
}

// disturbVault ends the plugin's process, in each of the ways in turn.
func (s *soak) disturbVault(i int) {
	s.vaultFaults.Add(1)
	switch i % 3 {
	case 0:
		require.NoError(s.t, syscall.Kill(pluginProcess(s.t, s.server), syscall.SIGKILL))
		s.count("kills")
	case 1:
		client, err := s.server.Client("")
		require.NoError(s.t, err)
		_, err = client.Sys().ReloadPluginWithContext(s.t.Context(), &api.ReloadPluginInput{Plugin: vaultserver.PluginName})
		require.NoError(s.t, err)
		s.count("reloads")
	case 2:
		require.NoError(s.t, s.server.Restart(s.t.Context()), s.log)
		s.count("restarts")
	}
}

// calm waits until every connection has got over a disturbance, and a while more.
func (s *soak) calm(connections []*soakConnection) {
	began := time.Now()
	done := make([]int64, len(connections))
	for i, c := range connections {
		done[i] = c.successes.Load()
	}
	for i, c := range connections {
		// Of two rounds, one began afterwards.
		assert.Eventually(s.t, func() bool { return c.successes.Load() > done[i]+1 }, 3*time.Minute, 50*time.Millisecond, "%s gets over it", c.name)
	}
	s.noteLongest("until all got over a disturbance", time.Since(began))
	for _, disturbed := range []*atomic.Int64{&s.gbgFaults, &s.vaultFaults} {
		if disturbed.Load()%2 == 1 {
			disturbed.Add(1)
		}
	}
	time.Sleep(soakCalm)
}

// searchLog looks for secrets in what Vault has logged since the last time.
func (s *soak) searchLog() {
	log := s.log.String()
	s.mu.Lock()
	fresh := log[s.scanned:]
	s.scanned = max(len(log)-len(gbgsim.SecretPrefix)-100, 0)
	s.mu.Unlock()
	for _, secret := range []string{gbgsim.SecretPrefix, gbgsim.TokenPrefix, gbgsim.IDPTokenPrefix} {
		if strings.Contains(fresh, secret) {
			s.broken("Vault's log has %q", secret)
		}
	}
}
