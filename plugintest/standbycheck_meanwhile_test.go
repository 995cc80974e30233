package plugintest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStandbyCheckSettingRefused(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		pair := w.pair()
		for name, tc := range map[string]struct {
			config fields
			want   string
		}{
			"too short":      {with(pair, fields{"standby_check": 9}), "standby_check must be between 10s and 87600h0m0s, or 0 (off)"},
			"too long":       {with(pair, fields{"standby_check": "87601h"}), "standby_check must be between 10s and 87600h0m0s, or 0 (off)"},
			"negative":       {with(pair, fields{"standby_check": "-24h"}), "standby_check"},
			"empty":          {with(pair, fields{"standby_check": ""}), "standby_check"},
			"a word":         {with(pair, fields{"standby_check": "daily"}), "standby_check"},
			"misspelt":       {with(pair, fields{"standby_checks": "1h"}), "standby_check"},
			"another's name": {with(pair, fields{"check_standby": "1h"}), "check_standby"},
		} {
			assert.Contains(t, w.refused(w.try(logical.UpdateOperation, "config", tc.config)), tc.want, name)
			assert.Empty(t, w.storage.content(w.t), name)
		}
		// Without a standby there is nothing to check, until there is one.
		w.write("config", with(without(pair, "paired_client_id", "paired_client_secret"), fields{"standby_check": "10s"}))
		w.pass(time.Hour)
		assert.Zero(t, w.askedBy(clientB))
		w.write("config", fields{"paired_client_id": clientB, "paired_client_secret": pair["paired_client_secret"]})
		asked := w.askedBy(clientB)
		w.pass(11 * time.Second)
		assert.Equal(t, asked+1, w.askedBy(clientB))
	})
}

// slowCheck begins a check that GBG does not answer before release is called, with the
// next requests of the standby answered at once.
func (w *world) slowCheck() (release func()) {
	w.t.Helper()
	w.passUntil(start.Add(day - time.Minute))
	release = w.gate.hold(clientB)
	w.pass(time.Minute + time.Second)
	await(w.t, w.gate.arrived, "the check's request")
	w.gate.admit(clientB)
	return release
}

// What is done while a check waits for GBG does not wait for it. The outcome counts if
// the standby is asked in the same way afterwards, and changes nothing else.
func TestStandbyCheckAndWritesMeanwhile(t *testing.T) {
	type changed struct {
		op   logical.Operation
		path string
		data func(*world) fields
		// counts is set if the outcome has a bearing afterwards.
		counts bool
		active string
	}
	some := func(data fields) func(*world) fields { return func(*world) fields { return data } }
	for name, tc := range map[string]changed{
		"config": {logical.UpdateOperation, "config", some(fields{"refresh_before": 60}), true, clientA},
		"new secret": {logical.UpdateOperation, "config", func(w *world) fields {
			return fields{"paired_client_secret": w.regenerate(clientB)}
		}, false, clientA},
		"checks off":  {logical.UpdateOperation, "config", some(fields{"standby_check": 0}), true, clientA},
		"no standby":  {logical.UpdateOperation, "config", some(fields{"paired_client_id": ""}), false, clientA},
		"rotate":      {logical.UpdateOperation, "rotate", some(fields{"client_id": clientB}), false, clientB},
		"verify":      {logical.UpdateOperation, "verify", some(nil), true, clientA},
		"delete":      {logical.DeleteOperation, "config/default", some(nil), false, ""},
		"read status": {logical.ReadOperation, "status", some(nil), true, clientA},
	} {
		for _, refused := range []bool{false, true} {
			t.Run(map[bool]string{false: name, true: name + ", refused"}[refused], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, worldOptions{})
					w.write("config", w.pair())
					release := w.slowCheck()
					data := tc.data(w)
					a, took := w.tryTimed(tc.op, tc.path, data)
					w.ok(a)
					assert.Zero(t, took)
					if refused && tc.counts {
						w.regenerate(clientB)
					}
					release()
					w.pass(time.Second)
					if tc.active == "" {
						assert.Empty(t, w.storage.content(t))
						w.pass(10 * day)
						assert.Empty(t, w.storage.content(t))
						assert.Zero(t, w.underWay())
						return
					}
					for range 2 {
						status := w.read("status")
						assert.Equal(t, tc.active, status["active_client_id"])
						if tc.counts && refused {
							assert.Contains(t, status["standby_error"], "invalid_client")
						} else {
							assert.NotContains(t, status, "standby_error")
						}
						for key, value := range data {
							if key == "refresh_before" || key == "standby_check" {
								assert.EqualValues(t, value, w.read("config")[key], "lost")
							}
						}
						w.restart()
					}
				})
			})
		}
	}
}

// A scheduled rotation does not wait for a slow check either, and is made once.
func TestStandbyCheckAndScheduledRotation(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		release := w.slowCheck()
		w.write("config", hourly)
		w.passUntil(start.Add(day + time.Hour))
		assert.Equal(t, 1, w.scheduledFlips())
		release()
		w.pass(time.Minute)
		w.mustBeWhole(clientB)
		assert.Equal(t, 1, w.scheduledFlips())
		assert.NotContains(t, w.read("status"), "standby_error")
	})
}

// A check that becomes due while a scheduled rotation is under way stores its outcome
// after it, on what it has made of the connection.
func TestScheduledRotationAndStandbyCheck(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", with(w.pair(), fields{"rotation_schedule": "0 * * * *", "standby_check": "1h"}))
		w.passUntil(marchAt(1, 12, 59))
		release := w.gate.hold(clientB)
		w.passUntil(marchAt(1, 13, 0).Add(2 * time.Second))
		require.Equal(t, 2, w.underWay(), "the rotation and the check")
		release()
		w.pass(time.Minute)
		assert.Equal(t, 1, w.scheduledFlips())
		w.mustBeWhole(clientB)
		assert.NotContains(t, w.read("status"), "standby_error")
	})
}

// The leader dies while a check waits for GBG: the next one checks again, and nothing is
// told of the first.
func TestStandbyCheckAndANewLeader(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		asked := w.askedBy(clientB)
		release := w.slowCheck()
		stored := w.storage.content(w.t)
		w.restart()
		release()
		w.pass(day / 5)
		assert.Equal(t, asked+2, w.askedBy(clientB))
		assert.NotEqual(t, stored, w.storage.content(w.t))
		w.mustBeWhole(clientA)
		assert.NotContains(t, w.read("status"), "standby_error")
	})
}
