package plugintest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/automatedrotationutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// hourly is a schedule of every hour, and nightly one of every night with a window.
var (
	hourly  = fields{"rotation_schedule": "0 * * * *"}
	nightly = fields{"rotation_schedule": "0 3 * * *", "rotation_window": "2h"}
)

// noSchedule is what a read of config shows of a connection without a schedule.
var noSchedule = fields{
	"rotation_schedule": "", "rotation_window": int64(0), "rotation_period": int64(0), "disable_automated_rotation": false,
}

// marchAt is a moment of the month in which every test begins, on the 1st at noon.
func marchAt(day, hour, minute int) time.Time {
	return time.Date(2026, time.March, day, hour, minute, 0, 0, time.UTC)
}

// scheduledFlips are the rotations that a schedule has made.
func (w *world) scheduledFlips() (n int) {
	w.t.Helper()
	for line := range strings.Lines(w.heard.log.String()) {
		if strings.Contains(line, "[INFO]  rotated: ") && strings.Contains(line, "cause=schedule") {
			n++
		}
	}
	return n
}

// renew regenerates the standby's secret and stores it by a config write.
func (w *world) renew() {
	w.t.Helper()
	standby := fmt.Sprint(w.read("status")["standby_client_id"])
	w.write("config", fields{secretFieldOf(standby): w.regenerate(standby)})
}

func secretFieldOf(client string) string {
	if client == clientA {
		return "client_secret"
	}
	return "paired_client_secret"
}

// occurrences are how many events of a type there were.
func (w *world) occurrences(kind string) (n int) {
	synctest.Wait()
	for _, event := range w.sent() {
		if event.kind == kind {
			n++
		}
	}
	return n
}

func TestScheduleRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		single := without(pair, "paired_client_id", "paired_client_secret")
		const both = "mutually exclusive fields rotation_schedule and rotation_period were both specified; only one of them can be provided"
		for name, tc := range map[string]struct {
			config fields
			want   string
		}{
			"both":            {with(pair, fields{"rotation_schedule": "0 * * * *", "rotation_period": 3600}), both},
			"window alone":    {with(pair, fields{"rotation_window": 3600}), "cannot use rotation_window without rotation_schedule"},
			"window, period":  {with(pair, fields{"rotation_window": 3600, "rotation_period": "1h"}), "rotation_window does not apply to period"},
			"short window":    {with(pair, fields{"rotation_schedule": "0 * * * *", "rotation_window": 3599}), "rotation_window must be 3600 seconds or more"},
			"short period":    {with(pair, fields{"rotation_period": 9}), "rotation_period must be between 10s and 87600h0m0s, or 0 (off)"},
			"never":           {with(pair, fields{"rotation_schedule": "0 3 31 2 *"}), "rotation_schedule is a date that never comes"},
			"no cron":         {with(pair, fields{"rotation_schedule": "every night"}), "failed to parse provided rotation_schedule: expected exactly 5 fields, found 2: [every night]"},
			"time zone":       {with(pair, fields{"rotation_schedule": "TZ="}), "rotation_schedule must not name a time zone (TZ=, CRON_TZ=): schedules are in UTC"},
			"cron time zone":  {with(pair, fields{"rotation_schedule": "CRON_TZ=Asia/Tokyo 0 3 * * *"}), "rotation_schedule must not name a time zone (TZ=, CRON_TZ=): schedules are in UTC"},
			"a number":        {with(pair, fields{"rotation_schedule": 3}), "rotation_schedule must be a string"},
			"no pair":         {with(single, hourly), "rotation_schedule needs a paired client to rotate to: set paired_client_id and paired_client_secret"},
			"no pair, period": {with(single, fields{"rotation_period": 60}), "rotation_period needs a paired client to rotate to: set paired_client_id and paired_client_secret"},
			"no clients":      {with(w.exchangeOnly(), hourly), "rotation_schedule has no use without idp_token_url: callers bring the tokens to exchange"},
			"policy":          {with(pair, fields{"rotation_policy": "strict"}), "rotation_policy is not supported: rotation policies belong to Vault Enterprise's rotation manager, which this engine does not use"},
		} {
			assert.Equal(t, tc.want, w.refused(w.try(logical.UpdateOperation, "config", tc.config)), name)
			assert.Empty(t, w.storage.content(t), name)
		}
		w.write("config", with(pair, hourly))
		content := w.storage.content(t)
		assert.Equal(t, both, w.refused(w.try(logical.UpdateOperation, "config", fields{"rotation_period": 3600})))
		assert.Equal(t, `paired_client_id cannot be removed: rotations need it, and rotation_schedule is set. Turn that off in the same write: rotation_schedule=""`,
			w.refused(w.try(logical.UpdateOperation, "config", fields{"paired_client_id": ""})))
		assert.Equal(t, content, w.storage.content(t))
		w.write("config", fields{"rotation_period": 3600, "rotation_schedule": ""})
		assert.Equal(t, `paired_client_id cannot be removed: rotations need it, and rotation_period is set. Turn that off in the same write: rotation_period=0`,
			w.refused(w.try(logical.UpdateOperation, "config", fields{"paired_client_id": ""})))
		w.write("config", fields{"paired_client_id": "", "rotation_period": 0})
	})
}

// The fields are those of Vault's automated rotation, by name and type.
func TestScheduleFieldsAreVaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		vaults := map[string]*framework.FieldSchema{}
		automatedrotationutil.AddAutomatedRotationFields(vaults)
		delete(vaults, "rotation_policy")
		ours := frameworkOf(t, w).Route("config").Fields
		for name, field := range vaults {
			require.Contains(t, ours, name)
			assert.Equal(t, field.Type, ours[name].Type, name)
		}
	})
}

func TestScheduleInConfigAndStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.pair(), nightly))
		config := w.read("config")
		assert.Equal(t, "0 3 * * *", config["rotation_schedule"])
		assert.EqualValues(t, 7200, config["rotation_window"])
		assert.EqualValues(t, 0, config["rotation_period"])
		assert.Equal(t, false, config["disable_automated_rotation"])
		status := w.read("status")
		assert.Equal(t, "2026-03-02T03:00:00Z", status["next_rotation_time"])
		assert.NotContains(t, status, "rotation_due")

		w.write("config", fields{"disable_automated_rotation": true})
		assert.NotContains(t, w.read("status"), "next_rotation_time")
		w.passUntil(marchAt(3, 12, 0))
		assert.Zero(t, w.scheduledFlips())
		w.write("config", fields{"disable_automated_rotation": false})
		assert.Equal(t, "2026-03-04T03:00:00Z", w.read("status")["next_rotation_time"], "what was due meanwhile is not made up for")
		w.write("config", fields{"rotation_schedule": "", "rotation_period": "90m"})
		assert.Equal(t, "2026-03-03T13:30:00Z", w.read("status")["next_rotation_time"])
		w.passUntil(marchAt(3, 13, 30))
		assert.Equal(t, 1, w.scheduledFlips())
	})
}

// A schedule of every hour rotates by itself under readers: none of them fails, and
// each gets a token that GBG takes.
func TestScheduleUnderReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.pair(), hourly))
		var readers sync.WaitGroup
		var reads, failed atomic.Int64
		stop := make(chan struct{})
		for n := range 16 {
			readers.Go(func() {
				for pause := time.Duration(n) * time.Second; ; pause = 17 * time.Second {
					select {
					case <-stop:
						return
					case <-time.After(pause):
					}
					a := w.send(t.Context(), logical.ReadOperation, "creds", nil)
					reads.Add(1)
					if a.failure() != nil || !w.live(a.resp.Data["access_token"]) {
						failed.Add(1)
					}
				}
			})
		}
		active := clientA
		for turn := 1; turn <= 10; turn++ {
			w.passUntil(start.Add(time.Duration(turn)*time.Hour - 10*time.Minute))
			assert.Equal(t, turn-1, w.scheduledFlips())
			if turn > 1 {
				w.renew()
			}
			w.passUntil(start.Truncate(time.Hour).Add(time.Duration(turn) * time.Hour))
			active = map[string]string{clientA: clientB, clientB: clientA}[active]
			status := w.read("status")
			assert.Equal(t, active, status["active_client_id"], turn)
			assert.Equal(t, "schedule", status["last_rotation_cause"])
			assert.Equal(t, timestamp(time.Now()), status["last_rotation_time"])
			assert.NotContains(t, status, "rotation_due")
			assert.Equal(t, active, w.owner(w.read("creds")["access_token"]))
		}
		close(stop)
		readers.Wait()
		assert.Equal(t, 10, w.scheduledFlips())
		assert.Greater(t, reads.Load(), int64(30000))
		assert.Zero(t, failed.Load())
		assert.Contains(t, w.metricsText(), `gbg_rotations_total{cause="schedule",connection="default"} 10`)
	})
}

// metricsText is what Prometheus scrapes.
func (w *world) metricsText() string {
	w.t.Helper()
	return fmt.Sprint(w.ok(w.send(w.t.Context(), logical.ReadOperation, "metrics", nil)).Data[logical.HTTPRawBody])
}

// A rotation that is due without a new secret is told everywhere, and made when the
// secret comes.
func TestScheduleWithoutANewSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.pair(), hourly))
		w.passUntil(marchAt(1, 13, 0))
		require.Equal(t, 1, w.scheduledFlips())
		const warning = `rotation due, standby has no new secret: due since 2026-03-01T14:00:00Z; regenerate the secret of client "client-a" and store it`
		lines := w.lines(func() { w.passUntil(marchAt(1, 15, 30)) }, "WARN")
		require.Len(t, lines, 2, "once for each time that is due")
		assert.Contains(t, lines[0], `rotation due, standby has no new secret: connection=default due_since="2026-03-01 14:00:00 +0000 UTC" next_rotation="2026-03-01 15:00:00 +0000 UTC" standby_client_id=client-a`)
		assert.Equal(t, 2, w.occurrences("gbg/rotation-due"))
		assert.Equal(t, []string{warning}, w.creds().Warnings)
		resp := w.ok(w.try(logical.ReadOperation, "status", nil))
		assert.Equal(t, "2026-03-01T14:00:00Z", resp.Data["rotation_due"])
		assert.Equal(t, "2026-03-01T16:00:00Z", resp.Data["next_rotation_time"])
		assert.Equal(t, []string{warning}, resp.Warnings)
		assert.Contains(t, w.metricsText(), `gbg_rotation_due_timestamp_seconds{connection="default",reason="no_new_secret"} 1.7723736e+09`)
		assert.Equal(t, 1, w.scheduledFlips(), "not onto a secret that has served")

		// The same secret written again is not new.
		w.write("config", fields{"client_secret": w.secretOf(clientA)})
		w.pass(time.Minute)
		assert.Equal(t, 1, w.scheduledFlips())

		w.restart()
		w.pass(time.Minute)
		assert.Equal(t, []string{warning}, w.creds().Warnings, "after a restart too")

		w.renew()
		w.pass(0)
		assert.Equal(t, 2, w.scheduledFlips(), "at once")
		resp = w.ok(w.try(logical.ReadOperation, "status", nil))
		assert.NotContains(t, resp.Data, "rotation_due")
		assert.Empty(t, resp.Warnings)
		assert.Empty(t, w.creds().Warnings)
		assert.NotContains(t, w.metricsText(), "gbg_rotation_due_timestamp_seconds{")
	})
}

// secretOf is a client's secret as it is stored.
func (w *world) secretOf(client string) string {
	w.t.Helper()
	for _, entry := range w.storage.content(w.t) {
		_, rest, found := strings.Cut(string(entry.Value), `"id":"`+client+`","secret":"`)
		if found {
			secret, _, _ := strings.Cut(rest, `"`)
			return secret
		}
	}
	require.Fail(w.t, "not stored")
	return ""
}

// A new secret goes into service in the window, and past it waits for the next one.
func TestScheduleWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.pair(), nightly))
		w.rotate(fields{"client_id": clientB}) // which meets the first night
		w.passUntil(marchAt(2, 4, 0))
		assert.Zero(t, w.scheduledFlips())
		assert.NotContains(t, w.read("status"), "rotation_due")

		w.passUntil(marchAt(3, 4, 59))
		assert.Equal(t, "2026-03-03T03:00:00Z", w.read("status")["rotation_due"])
		w.renew()
		w.pass(0)
		assert.Equal(t, 1, w.scheduledFlips(), "a minute before the window closes")
		assert.NotContains(t, w.read("status"), "rotation_due")

		w.passUntil(marchAt(4, 5, 0))
		w.renew()
		w.pass(time.Minute)
		assert.Equal(t, 1, w.scheduledFlips(), "the window has closed")
		resp := w.ok(w.try(logical.ReadOperation, "status", nil))
		assert.Equal(t, "2026-03-04T03:00:00Z", resp.Data["rotation_due"])
		assert.Equal(t, []string{`rotation due since 2026-03-04T03:00:00Z was missed: its window closed at 2026-03-04T05:00:00Z; client "client-b" goes into service at 2026-03-05T03:00:00Z, or when somebody rotates`}, resp.Warnings)
		assert.Contains(t, w.metricsText(), `gbg_rotation_due_timestamp_seconds{connection="default",reason="window_closed"}`)

		w.passUntil(marchAt(5, 2, 59))
		assert.Equal(t, 1, w.scheduledFlips())
		w.passUntil(marchAt(5, 3, 0))
		assert.Equal(t, 2, w.scheduledFlips())
		assert.NotContains(t, w.read("status"), "rotation_due")
	})
}

// With GBG down the rotation is tried until the window closes; then that is said.
func TestScheduleWhileGBGIsDown(t *testing.T) {
	down := gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusServiceUnavailable}
	for name, fault := range map[string]gbgsim.Fault{"down": down, "refused": {Kind: gbgsim.FaultStatus, Status: http.StatusUnauthorized, Error: "invalid_client", ClientID: clientB}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", with(with(w.pair(), nightly), fields{"standby_check": 0}))
				w.passUntil(marchAt(2, 2, 59))
				w.fault(fault)
				asked := w.askedBy(clientB)
				w.passUntil(marchAt(2, 4, 59))
				assert.Zero(t, w.scheduledFlips())
				assert.Contains(t, w.heard.log.String(), `[WARN]  scheduled rotation failed: connection=default failed=1 due_since="2026-03-02 03:00:00 +0000 UTC" window_closes="2026-03-02 05:00:00 +0000 UTC"`)
				assert.Less(t, w.askedBy(clientB)-asked, 200)
				assert.Greater(t, w.askedBy(clientB)-asked, 5)
				resp := w.ok(w.try(logical.ReadOperation, "status", nil))
				assert.Equal(t, "2026-03-02T03:00:00Z", resp.Data["rotation_due"])
				require.Len(t, resp.Warnings, 1)
				assert.Contains(t, resp.Warnings[0], `rotation due since 2026-03-02T03:00:00Z: client "client-b" cannot go into service yet: `)
				assert.Contains(t, w.metricsText(), `gbg_rotation_due_timestamp_seconds{connection="default",reason="pending"}`)
				assert.Zero(t, w.occurrences("gbg/rotation-missed"))

				w.passUntil(marchAt(2, 5, 0))
				assert.Contains(t, w.heard.log.String(), "[WARN]  scheduled rotation missed: its window has closed: connection=default due_since=")
				assert.Equal(t, 1, w.occurrences("gbg/rotation-missed"))
				asked = w.askedBy(clientB)
				w.passUntil(marchAt(3, 2, 0))
				assert.Equal(t, asked, w.askedBy(clientB), "not outside the window")
				w.sim.ClearFaults()
				w.passUntil(marchAt(3, 3, 0))
				assert.Equal(t, 1, w.scheduledFlips())
			})
		})
	}
	t.Run("back in the window", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			w.write("config", with(w.pair(), nightly))
			w.passUntil(marchAt(2, 2, 59))
			w.fault(down)
			w.passUntil(marchAt(2, 4, 0))
			w.sim.ClearFaults()
			w.passUntil(marchAt(2, 4, 6))
			assert.Equal(t, 1, w.scheduledFlips())
		})
	})
}

// A time that passed while Vault was sealed is made up for in its window, on
// connections that nobody has read since too.
func TestScheduleWhileSealed(t *testing.T) {
	for name, tc := range map[string]struct {
		unsealed time.Time
		want     int
	}{
		"in the window":   {marchAt(2, 4, 59), 1},
		"past the window": {marchAt(2, 5, 0), 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", with(w.pair(), nightly))
				w.write("config/idle", fields{"client_id": "c", "client_secret": w.client("c"), "paired_client_id": "d", "paired_client_secret": w.client("d"), "token_url": w.tokenURL(), "rotation_period": "1000h"})
				w.passUntil(marchAt(2, 2, 59))
				w.backend.Cleanup(t.Context())
				w.passUntil(tc.unsealed)
				w.restart()
				w.pass(time.Second)
				assert.Equal(t, tc.want, w.scheduledFlips())
				assert.Equal(t, 1-tc.want, w.occurrences("gbg/rotation-missed"))
				w.passUntil(marchAt(3, 3, 0))
				assert.Equal(t, 1, w.scheduledFlips(), "and the next night nothing new")
			})
		})
	}
}

// A rotation by hand meets the time that is due or else the next one, and moves none.
func TestScheduleAndRotationsByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.pair(), hourly))
		w.passUntil(marchAt(1, 12, 50))
		w.rotateToStandby()
		assert.Equal(t, "2026-03-01T13:00:00Z", w.read("status")["next_rotation_time"])
		w.renew()
		w.passUntil(marchAt(1, 13, 59))
		assert.Zero(t, w.scheduledFlips(), "12:50 has met 13:00")
		w.passUntil(marchAt(1, 14, 0))
		assert.Equal(t, 1, w.scheduledFlips())

		w.passUntil(marchAt(1, 15, 10))
		assert.Equal(t, "2026-03-01T15:00:00Z", w.read("status")["rotation_due"])
		w.rotate(fields{"client_id": w.read("status")["standby_client_id"]})
		assert.Equal(t, "2026-03-01T15:00:00Z", w.read("status")["rotation_due"], "onto a secret that has served")
		standby := fmt.Sprint(w.read("status")["standby_client_id"])
		w.rotate(fields{"client_id": standby, "client_secret": w.regenerate(standby)})
		assert.NotContains(t, w.read("status"), "rotation_due")
		w.renew()
		w.passUntil(marchAt(1, 15, 59))
		assert.Equal(t, 1, w.scheduledFlips(), "15:10 has met 15:00")
		w.passUntil(marchAt(1, 16, 0))
		assert.Equal(t, 2, w.scheduledFlips())
	})
}

// A failover meets nothing, and undoes nothing that was met.
func TestScheduleAndFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.pair(), hourly))
		w.passUntil(marchAt(1, 12, 50))
		w.regenerate(clientA)
		w.pass(time.Hour) // no token is left
		require.Equal(t, 1, w.scheduledFlips(), "client B, at 13:00")
		w.renew()
		w.regenerate(clientB)
		w.pass(5 * time.Minute)
		w.read("creds")
		assert.Equal(t, "schedule", w.read("status")["last_rotation_cause"], "the token is still good")
		w.write("config", fields{"scope": "gbg.token", "verify_connection": false})
		w.passUntil(marchAt(1, 13, 59))
		w.pass(0)
		assert.Equal(t, 1, w.scheduledFlips())
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.pair(), fields{"rotation_schedule": "0 * * * *", "verify_connection": false}))
		w.regenerate(clientA)
		w.read("creds")
		require.Equal(t, "failover", w.read("status")["last_rotation_cause"])
		w.passUntil(marchAt(1, 13, 30))
		assert.Equal(t, "2026-03-01T13:00:00Z", w.read("status")["rotation_due"])
		w.renew()
		w.pass(0)
		require.Equal(t, 1, w.scheduledFlips())

		w.renew()                                       // client B, for 14:00
		w.write("config", fields{"refresh_before": 60}) // and nothing at 13:30
		w.regenerate(clientA)
		w.pass(29 * time.Minute)
		assert.Equal(t, 1, w.scheduledFlips())
		w.passUntil(marchAt(1, 14, 0))
		assert.Equal(t, 2, w.scheduledFlips())
	})
}

// A write or a delete that coincides with a rotation on schedule waits for it.
func TestScheduleAndWritesMeanwhile(t *testing.T) {
	for name, tc := range map[string]struct {
		op   logical.Operation
		path string
		data fields
		want fields
	}{
		"config":   {logical.UpdateOperation, "config", fields{"refresh_before": 60}, fields{"active_client_id": clientB, "last_rotation_cause": "schedule"}},
		"schedule": {logical.UpdateOperation, "config", fields{"rotation_schedule": ""}, fields{"active_client_id": clientB, "last_rotation_cause": "schedule"}},
		"rotate":   {logical.UpdateOperation, "rotate", fields{"client_id": clientB}, fields{"active_client_id": clientB, "last_rotation_cause": "schedule"}},
		"delete":   {logical.DeleteOperation, "config/default", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", with(w.pair(), hourly))
				release := w.gate.hold(clientB)
				w.passUntil(marchAt(1, 13, 0))
				require.Equal(t, 1, w.underWay())
				writing := w.begin(tc.op, tc.path, tc.data)
				synctest.Wait()
				release()
				w.ok(await(t, writing, "the write"))
				w.pass(time.Minute)
				assert.Equal(t, 1, w.scheduledFlips())
				if tc.want == nil {
					assert.Empty(t, w.storage.content(t))
					w.passUntil(marchAt(2, 13, 0))
					assert.Equal(t, 1, w.scheduledFlips())
					return
				}
				status := w.read("status")
				for key, value := range tc.want {
					assert.Equal(t, value, status[key], key)
				}
			})
		})
	}
	t.Run("another node", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			w.write("config", with(w.pair(), hourly))
			w.read("creds")
			require.NoError(t, w.storage.Delete(t.Context(), connectionKey))
			asked := w.askedBy(clientB)
			w.passUntil(marchAt(1, 13, 30))
			assert.Equal(t, asked, w.askedBy(clientB), "what is stored counts")
			assert.Zero(t, w.scheduledFlips())
		})
	})
}

// Storage goes wrong at any call of the minute in which a rotation is due, or the
// leader dies there: there is one flip all the same.
func TestScheduleCrashSafety(t *testing.T) {
	cases := 0
	for _, fault := range storageFaults {
		for n, met := 1, true; met; n++ {
			t.Run(fmt.Sprint(fault.name, "/", n), func(t *testing.T) {
				met = false
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, worldOptions{})
					w.write("config", with(w.pair(), hourly))
					w.restart()
					w.passUntil(marchAt(1, 12, 59))
					trap := &trap{storageFault: fault, nth: n}
					w.storage.trap.Store(trap)
					w.passUntil(marchAt(1, 13, 0))
					w.storage.heal()
					if met = trap.sprung(); met && fault.crash {
						w.restart()
					}
					w.pass(10 * time.Second)
					status := w.read("status")
					assert.Equal(t, clientB, status["active_client_id"])
					assert.Equal(t, "schedule", status["last_rotation_cause"])
					assert.NotContains(t, status, "rotation_due")
					w.renew()
					w.passUntil(marchAt(1, 13, 59))
					assert.Equal(t, clientB, w.read("status")["active_client_id"], "flipped twice")
					w.passUntil(marchAt(1, 14, 0))
					assert.Equal(t, clientA, w.read("status")["active_client_id"])
				})
			})
			if met {
				cases++
			}
		}
	}
	assert.Greater(t, cases, 10, "hardly a call was met")
}

// Only the active node of the cluster whose connections they are rotates.
func TestScheduleNodes(t *testing.T) {
	for name, tc := range map[string]struct {
		system *logical.StaticSystemView
		want   int
	}{
		"performance standby":                         {&logical.StaticSystemView{ReplicationStateVal: consts.ReplicationPerformanceStandby}, 0},
		"performance secondary":                       {&logical.StaticSystemView{ReplicationStateVal: consts.ReplicationPerformanceSecondary}, 0},
		"a local mount of a performance secondary":    {&logical.StaticSystemView{ReplicationStateVal: consts.ReplicationPerformanceSecondary, LocalMountVal: true}, 1},
		"the standby of such":                         {&logical.StaticSystemView{ReplicationStateVal: consts.ReplicationPerformanceSecondary | consts.ReplicationPerformanceStandby, LocalMountVal: true}, 0},
		"the active node of a primary":                {&logical.StaticSystemView{ReplicationStateVal: consts.ReplicationPerformancePrimary}, 1},
		"the active node of a disaster recovery site": {&logical.StaticSystemView{ReplicationStateVal: consts.ReplicationDRPrimary}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", with(w.pair(), hourly))
				w.backend.Cleanup(t.Context())
				w.options.system = tc.system
				w.mount = w.newMount()
				w.passUntil(marchAt(1, 13, 30))
				assert.Equal(t, tc.want, w.scheduledFlips())
			})
		})
	}
}

// Leased connections are rotated as well.
func TestScheduleWithLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.leasing(), hourly))
		w.passUntil(marchAt(1, 13, 0))
		assert.Equal(t, clientB, w.lease("creds").Data["client_id"])
		w.passUntil(marchAt(1, 14, 0))
		assert.Len(t, w.lease("creds").Warnings, 1)
	})
}

// A year of months, with a new secret in each.
func TestScheduleForAYear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.pair(), fields{"rotation_period": "730h"}))
		for month := 1; month <= 12; month++ {
			if month > 1 {
				w.renew()
			}
			w.passUntil(start.Add(time.Duration(month)*730*time.Hour - time.Second))
			assert.Equal(t, month-1, w.scheduledFlips())
			w.pass(time.Second)
			assert.Equal(t, month, w.scheduledFlips())
			if month%4 == 0 {
				w.restart()
			}
		}
	})
}

// Whatever happens meanwhile, no schedule makes a secret active that has been active,
// and no time is met twice.
func TestScheduleNeverOntoASecretThatHasServed(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				dice := rand.New(rand.NewPCG(seed, 1))
				w.write("config", with(w.pair(), fields{"rotation_schedule": "0 * * * *"}))
				active := func() string { return fmt.Sprint(w.read("status")["active_client_id"]) }
				standbyWorks := true
				served := map[string]bool{w.secretOf(clientA): true}
				was := clientA
				note := func(bySchedule bool) {
					if now := active(); now != was {
						if bySchedule {
							assert.False(t, served[w.secretOf(now)], "it has served")
						}
						was = now
						served[w.secretOf(now)] = true
					}
				}
				for step := range 200 {
					hour := time.Now().Truncate(time.Hour)
					flips := w.scheduledFlips()
					w.pass(10 * time.Minute)
					note(true)
					assert.LessOrEqual(t, w.scheduledFlips()-flips, 1, step)
					if time.Now().Truncate(time.Hour).Equal(hour) && time.Since(hour) > 20*time.Minute {
						assert.Equal(t, flips, w.scheduledFlips(), "nothing has become due")
					}
					switch dice.IntN(8) {
					case 0:
						w.renew()
						standbyWorks = true
						w.pass(time.Second)
						note(true)
					case 1:
						w.write("config", fields{secretFieldOf(clientA): w.secretOf(clientA)})
					case 2:
						if standbyWorks {
							w.rotateToStandby()
							note(false)
						}
					case 3:
						w.restart()
					case 4: // fail over
						if standbyWorks {
							w.regenerate(active())
							w.pass(2 * time.Hour) // no token is left
							w.restart()
							w.read("creds")
							note(false)
							standbyWorks = false
						}
					case 5:
						w.read("creds")
					}
				}
				assert.Positive(t, w.scheduledFlips())
			})
		})
	}
}
