package e2e

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRotateAnswer(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	expires := m.read("creds").Data["expire_time"].(string)

	s := m.write("rotate", map[string]any{"client_secret": g.regenerate(t, "client-b")})
	assert.Empty(t, s.Warnings)
	assert.Equal(t, []string{
		"active_client_id", "next_step", "regenerate_after", "rotated", "rotation_time", "standby_client_id",
	}, sortedKeys(s.Data))
	assert.Equal(t, true, s.Data["rotated"])
	assert.Equal(t, "client-b", s.Data["active_client_id"])
	assert.Equal(t, "client-a", s.Data["standby_client_id"])
	assert.Contains(t, s.Data["next_step"], `regenerate the secret of client "client-a"`)

	after, err := time.Parse(time.RFC3339, s.Data["regenerate_after"].(string))
	require.NoError(t, err)
	last, err := time.Parse(time.RFC3339, expires)
	require.NoError(t, err)
	assert.WithinDuration(t, last, after, time.Second, "when the last token of client-a has expired")
	assert.False(t, after.Before(last))

	assert.Equal(t, "client-b", m.read("creds").Data["client_id"])
	assert.Equal(t, "client-b", m.read("config").Data["active_client_id"])
}

func TestRotateCanBeRetried(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	s := m.write("rotate", map[string]any{"client_id": "client-b"})
	assert.Equal(t, true, s.Data["rotated"])
	s = m.write("rotate", map[string]any{"client_id": "client-b", "client_secret": "fake-secret"})
	assert.Equal(t, false, s.Data["rotated"])
	assert.Equal(t, "client-b", s.Data["active_client_id"])
	assert.Equal(t, []string{`client "client-b" is active already: nothing was rotated, and the client_secret that was given has not been stored`}, s.Warnings)

	status, text := m.refused("rotate", map[string]any{"client_id": "client-c"})
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Contains(t, text, `client_id "client-c" is not a client of this connection; its clients are "client-b" (active) and "client-a" (standby)`)
}

// A bare request that is sent again, as Vault's own client does if no answer came,
// does not rotate back; it is told how to.
func TestRotateBareRequestAgain(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	assert.Equal(t, "client-b", m.write("rotate", nil).Data["active_client_id"])
	before, asked := m.read("status").Data, g.Stats().TokenRequests.Total
	for range 2 {
		status, text := m.refused("rotate", nil)
		assert.Equal(t, http.StatusBadRequest, status)
		assert.Regexp(t, `connection "default" was rotated at \S+Z \(rotate\), \d+s ago, and client "client-b" is active: this may be the same request again, so nothing was rotated\. `+
			`To make client "client-a" active: vault write `+m.path+`/rotate client_id=client-a`, text)
	}
	assert.Equal(t, before, m.read("status").Data)
	assert.Equal(t, asked, g.Stats().TokenRequests.Total)
	assert.Equal(t, "client-a", m.write("rotate", map[string]any{"client_id": "client-a"}).Data["active_client_id"])
}

func TestRotateWarnsOfAnOldSecret(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	assert.Empty(t, m.write("rotate", nil).Warnings)
	assert.Equal(t, []string{
		`client "client-a" is active again with the secret it had the last time; regenerate the standby's secret before each rotation to renew it`,
	}, m.write("rotate", map[string]any{"client_id": "client-a"}).Warnings)
}

func TestRotateRefused(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	before := m.read("status").Data

	status, text := m.refused("rotate", map[string]any{"client_secret": "fake-wrong-secret"})
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Contains(t, text, `GBG refused client "client-b": invalid_client`)
	assert.Contains(t, text, "Nothing has changed.")
	assert.Equal(t, before, m.read("status").Data)

	assert.Equal(t, true, m.write("rotate", nil).Data["rotated"], "the stored secret still works")
}

func TestRotateWithoutAPair(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := newMount(t, suite.server)
	m.write("config/solo", map[string]any{"token_url": g.tokenURL(), "client_id": g.a.ID, "client_secret": g.a.Secret})
	status, text := m.refused("rotate/solo", nil)
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Contains(t, text, `connection "solo" has no paired client to rotate to; add one with: vault write `+m.path+"/config/solo paired_client_id=ID paired_client_secret=@FILE")
}

func TestRotateWhileGBGIsGone(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := newMount(t, suite.server)
	write := g.pair()
	write["token_url"], write["request_timeout"], write["verify_connection"] = nowhere, "1s", false
	m.write("config", write)
	status, text := m.refused("rotate", nil)
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Contains(t, text, `client "client-b"`)
	assert.Contains(t, text, "Nothing has changed.")
	assert.Equal(t, "client-a", m.read("config").Data["active_client_id"])
}

// The promise: 16 readers, 50 rotations with a secret regenerated each time;
// every token works at GBG, and once a rotation has answered nobody who asks
// gets a token of the client that left.
func TestRotateUnderLoad(t *testing.T) {
	const readers, rotations = 16, 50
	g := newGBG(t, time.Hour)
	m := configured(t, g)

	// The active client alternates: these count its turns.
	var started, answered, stale atomic.Int64
	active := func(rotations int64) string { return [2]string{"client-a", "client-b"}[rotations%2] }
	load := startLoad(t, m, "creds", g, readers, func() func(*api.Secret) {
		before := answered.Load()
		return func(s *api.Secret) {
			// With a rotation under way meanwhile, either client is right.
			if before == started.Load() && s.Data["client_id"] != active(before) {
				stale.Add(1)
			}
		}
	})
	for i := range int64(rotations) {
		secret := g.regenerate(t, active(i+1))
		started.Store(i + 1)
		m.write("rotate", map[string]any{"client_secret": secret})
		answered.Store(i + 1)
		// Nobody who asks now gets the old client's token.
		require.Equal(t, active(i+1), m.read("creds").Data["client_id"])
	}
	r := load.stop()
	t.Log(r, "; rotations:", rotations)
	assert.Empty(t, r.failures)
	assert.Empty(t, r.refused)
	assert.Zero(t, stale.Load(), "reads of a client that had left before they were asked")
	assert.Greater(t, r.reads, rotations, "the readers did read")
}
