package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// renewStandby regenerates the standby's secret and stores it.
func (m *mount) renewStandby(g *gbg) {
	m.t.Helper()
	standby := fmt.Sprint(m.read("status").Data["standby_client_id"])
	field := "client_secret"
	if m.read("config").Data["paired_client_id"] == standby {
		field = "paired_client_secret"
	}
	m.write("config", map[string]any{field: g.regenerate(m.t, standby)})
}

// nextRotation is when the schedule's next time is, in whole seconds.
func (m *mount) nextRotation() time.Time {
	m.t.Helper()
	next, err := time.Parse(time.RFC3339, fmt.Sprint(m.read("status").Data["next_rotation_time"]))
	require.NoError(m.t, err)
	return next
}

// The shortest schedule that there is rotates ten times under readers: each read gets a
// token that GBG takes, and each time there is one flip.
func TestScheduleUnderReaders(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	m.write("config", map[string]any{"rotation_period": 10})
	load := startLoad(t, m, "creds", g, 16, nil)
	active := "client-a"
	for turn := range 10 {
		if turn > 0 {
			m.renewStandby(g)
		}
		require.Eventually(t, func() bool { return m.read("status").Data["active_client_id"] != active }, 30*time.Second, 100*time.Millisecond, "turn %d", turn)
		status := m.read("status").Data
		active = fmt.Sprint(status["active_client_id"])
		assert.Equal(t, "schedule", status["last_rotation_cause"])
	}
	r := load.stop()
	t.Log(r)
	assert.Empty(t, r.failures)
	assert.Empty(t, r.refused)
	assert.Len(t, r.tokens, 11, "one for each flip")
}

// A time that passes while Vault is sealed is made up for once, when it is unsealed.
func TestScheduleWhileSealed(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	server := newRaftServer(t, suite.pluginDir)
	m := newMount(t, server)
	m.write("config", g.pair())
	m.write("config", map[string]any{"rotation_period": 20})
	due := m.nextRotation()
	require.NoError(t, m.client.Sys().SealWithContext(t.Context()))
	time.Sleep(time.Until(due.Add(3 * time.Second)))
	assert.Equal(t, 1, g.Stats().ByClient["client-b"].Total, "the first write's verification")
	require.NoError(t, server.Unseal(t.Context()))
	require.Eventually(t, func() bool { return m.read("status").Data["active_client_id"] == "client-b" }, time.Minute, 100*time.Millisecond)
	status := m.read("status").Data
	assert.Equal(t, "schedule", status["last_rotation_cause"])
	assert.NotContains(t, status, "rotation_due")
	assert.Equal(t, "client-b", m.read("creds").Data["client_id"])

	// The next time finds a secret that has served.
	require.Eventually(t, func() bool { return m.read("status").Data["rotation_due"] != nil }, time.Minute, 100*time.Millisecond)
	after := m.read("status").Data
	assert.Equal(t, status["last_rotation_time"], after["last_rotation_time"], "flipped twice")
	assert.Equal(t, due.Add(20*time.Second).UTC().Format(time.RFC3339), after["rotation_due"])
}
