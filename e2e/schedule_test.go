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

// The leader is killed at the time of a rotation: there is one flip all the same.
func TestScheduleWhenTheLeaderIsKilled(t *testing.T) {
	g := newGBG(t, time.Hour)
	c := newCluster(t)
	c.mounts[0].write("config", g.pair())
	c.mounts[0].write("config", map[string]any{"rotation_period": 60})
	times := 2
	if longTests {
		times = 10
	}
	for n := range times {
		leader := c.settle()
		m := c.present()[0]
		if n > 0 {
			m.renewStandby(g) // the time before is met, so this waits for the next one
		}
		was := fmt.Sprint(m.read("status").Data["active_client_id"])
		next := m.nextRotation()
		c.disturb("the leader is killed", func() {
			time.Sleep(time.Until(next.Add(time.Duration(n%5) * 250 * time.Millisecond)))
			require.NoError(t, leader.Kill())
			c.settle(leader)
		})
		m = c.present(leader)[0]
		require.Eventually(t, func() bool {
			s, err := m.client.Logical().ReadWithContext(t.Context(), "gbg/status")
			return err == nil && s.Data["active_client_id"] != was && s.Data["last_rotation_cause"] == "schedule"
		}, 30*time.Second, 100*time.Millisecond)
		rotated := m.read("status").Data["last_rotation_time"]
		require.NoError(t, leader.StartAgain(t.Context()))
		c.settle()
		time.Sleep(time.Until(next.Add(30 * time.Second)))
		assert.Equal(t, rotated, c.agreed("status")["last_rotation_time"], "flipped twice")
	}
}
