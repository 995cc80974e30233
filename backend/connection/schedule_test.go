package connection_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/automatedrotationutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// noon is when the schedules of these tests are set.
var noon = time.Date(2026, time.March, 1, 12, 0, 0, 250_000_000, time.UTC)

func after(d time.Duration) time.Time { return noon.Add(d) }

func at(day, hour, minute int) time.Time {
	return time.Date(2026, time.March, day, hour, minute, 0, 0, time.UTC)
}

func pairChange(more connection.Change) connection.Change {
	change := connection.Change{
		connection.ClientID: "a", connection.ClientSecret: connection.NewSecret("secret-a"),
		connection.PairedClientID: "b", connection.PairedClientSecret: connection.NewSecret("secret-b"),
	}
	for field, value := range more {
		change[field] = value
	}
	return change
}

func scheduled(t *testing.T, change connection.Change) *connection.Connection {
	t.Helper()
	var none *connection.Connection
	c, err := none.Apply(pairChange(change), noon)
	require.NoError(t, err)
	return c
}

func TestRotationPlan(t *testing.T) {
	t.Parallel()
	hourly := connection.Change{connection.RotationSchedule: "0 * * * *"}
	nightly := connection.Change{connection.RotationSchedule: "0 3 * * *", connection.RotationWindow: 2 * time.Hour}
	period := connection.Change{connection.RotationPeriod: 90 * time.Minute}
	for _, tc := range []struct {
		name   string
		change connection.Change
		met    time.Time
		now    time.Time
		want   connection.RotationPlan
	}{
		{"off", nil, time.Time{}, at(2, 0, 0), connection.RotationPlan{}},
		{"disabled", connection.Change{connection.RotationSchedule: "0 * * * *", connection.DisableAutomatedRotation: true}, time.Time{}, at(2, 0, 0), connection.RotationPlan{}},
		{"a time before it was set is not due", hourly, time.Time{}, noon, connection.RotationPlan{Next: at(1, 13, 0)}},
		{"just before", hourly, time.Time{}, at(1, 13, 0).Add(-1), connection.RotationPlan{Next: at(1, 13, 0)}},
		{"due", hourly, time.Time{}, at(1, 13, 0), connection.RotationPlan{Next: at(1, 14, 0), Due: at(1, 13, 0), Since: at(1, 13, 0), Closes: at(1, 14, 0)}},
		{"due for three hours", hourly, time.Time{}, at(1, 15, 30), connection.RotationPlan{Next: at(1, 16, 0), Due: at(1, 15, 0), Since: at(1, 13, 0), Closes: at(1, 16, 0)}},
		{"met", hourly, at(1, 15, 0), at(1, 15, 30), connection.RotationPlan{Next: at(1, 16, 0)}},
		{"met ahead", hourly, at(1, 16, 0), at(1, 16, 30), connection.RotationPlan{Next: at(1, 17, 0)}},
		{"due again", hourly, at(1, 15, 0), at(1, 16, 0), connection.RotationPlan{Next: at(1, 17, 0), Due: at(1, 16, 0), Since: at(1, 16, 0), Closes: at(1, 17, 0)}},
		{"in the window", nightly, time.Time{}, at(2, 4, 59), connection.RotationPlan{Next: at(3, 3, 0), Due: at(2, 3, 0), Since: at(2, 3, 0), Closes: at(2, 5, 0)}},
		{
			"past the window", nightly,
			time.Time{},
			at(2, 5, 0),
			connection.RotationPlan{Next: at(3, 3, 0), Due: at(2, 3, 0), Since: at(2, 3, 0), Closes: at(2, 5, 0), Obstacle: connection.WindowClosed},
		},
		{
			"a window longer than the time to the next one",
			connection.Change{connection.RotationSchedule: "0 * * * *", connection.RotationWindow: 5 * time.Hour},
			time.Time{},
			at(1, 13, 30),
			connection.RotationPlan{Next: at(1, 14, 0), Due: at(1, 13, 0), Since: at(1, 13, 0), Closes: at(1, 14, 0)},
		},
		{"period, not yet", period, time.Time{}, after(90*time.Minute - 1), connection.RotationPlan{Next: after(90 * time.Minute)}},
		{
			"period, due", period,
			time.Time{},
			after(90 * time.Minute),
			connection.RotationPlan{Next: after(180 * time.Minute), Due: after(90 * time.Minute), Since: after(90 * time.Minute), Closes: after(180 * time.Minute)},
		},
		{
			"period, due for a year", period,
			time.Time{},
			after(365*24*time.Hour + time.Hour),
			connection.RotationPlan{Next: after(365*24*time.Hour + 90*time.Minute), Due: after(365 * 24 * time.Hour), Since: after(90 * time.Minute), Closes: after(365*24*time.Hour + 90*time.Minute)},
		},
		{"a clock that was set back", period, time.Time{}, after(-24 * time.Hour), connection.RotationPlan{Next: after(90 * time.Minute)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := scheduled(t, tc.change)
			c.Schedule.MetTime = tc.met
			assert.Equal(t, tc.want, c.RotationPlan(tc.now))
			assert.Equal(t, tc.want.Obstacle == "" && !tc.want.Due.IsZero(), c.RotationPlan(tc.now).Ready())
			if c.Pair, _ = c.Pair.Flip(); !tc.want.Due.IsZero() {
				tc.want.Obstacle = connection.NoNewSecret
			}
			assert.Equal(t, tc.want, c.RotationPlan(tc.now), "the standby's secret has served")
		})
	}
}

// Each rotation meets one time: the one that is due, or else the next one.
func TestScheduleMet(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name           string
		window         time.Duration
		met, now, want time.Time
	}{
		{"before the first", 0, time.Time{}, at(1, 12, 30), at(2, 3, 0)},
		{"in the window", time.Hour, time.Time{}, at(2, 3, 59), at(2, 3, 0)},
		{"past the window", time.Hour, time.Time{}, at(2, 4, 0), at(3, 3, 0)},
		{"without a window", 0, time.Time{}, at(3, 2, 0), at(2, 3, 0)},
		{"after that", 0, at(2, 3, 0), at(3, 2, 0), at(3, 3, 0)},
		{"a second one ahead", 0, at(3, 3, 0), at(3, 2, 30), at(3, 3, 0)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := scheduled(t, connection.Change{connection.RotationSchedule: "0 3 * * *", connection.RotationWindow: tc.window})
			c.Schedule.MetTime = tc.met
			assert.Equal(t, connection.ScheduleRecord{SetTime: noon, MetTime: tc.want}, c.ScheduleMet(tc.now))
		})
	}
}

// A schedule begins when it is set, changed or turned on, and no other write moves it.
func TestScheduleBegins(t *testing.T) {
	t.Parallel()
	set := scheduled(t, connection.Change{connection.RotationPeriod: time.Hour})
	for _, tc := range []struct {
		name   string
		change connection.Change
		moved  bool
	}{
		{"the same", connection.Change{connection.RotationPeriod: time.Hour}, false},
		{"another setting", connection.Change{connection.RefreshBefore: time.Minute}, false},
		{"a new secret", connection.Change{connection.PairedClientSecret: connection.NewSecret("new")}, false},
		{"another period", connection.Change{connection.RotationPeriod: 2 * time.Hour}, true},
		{"a schedule instead", connection.Change{connection.RotationPeriod: time.Duration(0), connection.RotationSchedule: "0 * * * *"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			next, err := set.Apply(tc.change, after(time.Minute))
			require.NoError(t, err)
			want := noon
			if tc.moved {
				want = after(time.Minute)
			}
			assert.Equal(t, want, next.Schedule.SetTime)
		})
	}
	off, err := set.Apply(connection.Change{connection.DisableAutomatedRotation: true}, after(time.Minute))
	require.NoError(t, err)
	assert.Zero(t, off.Schedule)
	on, err := off.Apply(connection.Change{connection.DisableAutomatedRotation: false}, after(time.Hour))
	require.NoError(t, err)
	assert.Equal(t, after(time.Hour), on.Schedule.SetTime)
}

func TestScheduleRefused(t *testing.T) {
	t.Parallel()
	const (
		both  = "mutually exclusive fields rotation_schedule and rotation_period were both specified; only one of them can be provided"
		zone  = "rotation_schedule must not name a time zone (TZ=, CRON_TZ=): schedules are in UTC"
		never = "rotation_schedule is a date that never comes"
	)
	schedule := func(text string) connection.Change { return connection.Change{connection.RotationSchedule: text} }
	for _, tc := range []struct {
		name   string
		change connection.Change
		want   string
	}{
		{"both", connection.Change{connection.RotationSchedule: "0 * * * *", connection.RotationPeriod: time.Hour}, both},
		{"window and period", connection.Change{connection.RotationWindow: time.Hour, connection.RotationPeriod: time.Hour}, "rotation_window does not apply to period"},
		{"window alone", connection.Change{connection.RotationWindow: time.Hour}, "cannot use rotation_window without rotation_schedule"},
		{"window too short", connection.Change{connection.RotationSchedule: "0 * * * *", connection.RotationWindow: time.Hour - 1}, "rotation_window must be 3600 seconds or more"},
		{"window too long", connection.Change{connection.RotationSchedule: "0 * * * *", connection.RotationWindow: 87600*time.Hour + 1}, "rotation_window must be at most 87600h0m0s"},
		{"period too short", connection.Change{connection.RotationPeriod: 9 * time.Second}, "rotation_period must be between 10s and 87600h0m0s, or 0 (off)"},
		{"period too long", connection.Change{connection.RotationPeriod: 87600*time.Hour + 1}, "rotation_period must be between 10s and 87600h0m0s, or 0 (off)"},
		{"no cron", schedule("nightly"), "failed to parse provided rotation_schedule: expected exactly 5 fields, found 1: [nightly]"},
		{"six fields", schedule("0 0 3 * * *"), "failed to parse provided rotation_schedule: expected exactly 5 fields, found 6: [0 0 3 * * *]"},
		{"descriptor", schedule("@daily"), "failed to parse provided rotation_schedule: parser does not accept descriptors: @daily"},
		{"out of range", schedule("60 * * * *"), "failed to parse provided rotation_schedule: end of range (60) above maximum (59): 60"},
		{"zone", schedule("TZ=Europe/Berlin 0 3 * * *"), zone},
		{"zone alone", schedule(" TZ="), zone},
		{"cron zone alone", schedule("CRON_TZ=UTC"), zone},
		{"February 30th", schedule("0 3 30 2 *"), never},
		{"no minute", schedule(", * * * *"), never},
		{"long", schedule(strings.Repeat("0,", 300) + "0 * * * *"), "rotation_schedule is longer than 512 bytes"},
		{"control characters", schedule("0 3\x00 * * *"), "rotation_schedule has control characters"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var none *connection.Connection
			_, err := none.Apply(pairChange(tc.change), noon)
			var input *connection.InputError
			require.ErrorAs(t, err, &input)
			assert.EqualError(t, err, tc.want)
		})
	}
}

// The errors of Vault's own field helper are these.
func TestScheduleErrorsAreVaults(t *testing.T) {
	t.Parallel()
	schema := map[string]*framework.FieldSchema{}
	automatedrotationutil.AddAutomatedRotationFields(schema)
	for name, raw := range map[string]map[string]any{
		"both":              {"rotation_schedule": "0 * * * *", "rotation_period": 3600},
		"window and period": {"rotation_window": 3600, "rotation_period": 3600},
		"window alone":      {"rotation_window": 3600},
		"no cron":           {"rotation_schedule": "nightly"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := new(automatedrotationutil.AutomatedRotationParams).ParseAutomatedRotationFields(&framework.FieldData{Raw: raw, Schema: schema})
			change := connection.Change{}
			for field, value := range raw {
				if n, ok := value.(int); ok {
					value = time.Duration(n) * time.Second
				}
				change[connection.Field(field)] = value
			}
			var none *connection.Connection
			_, err := none.Apply(pairChange(change), noon)
			require.EqualError(t, err, want.Error())
		})
	}
}

func TestScheduleOfStoredSettings(t *testing.T) {
	t.Parallel()
	cron := scheduled(t, connection.Change{connection.RotationSchedule: "0 3 * * *", connection.RotationWindow: 2 * time.Hour})
	for _, tc := range []struct {
		name   string
		change connection.Change
		want   string // error
	}{
		{"a window alone", connection.Change{connection.RotationWindow: time.Hour}, ""},
		{"a period beside it", connection.Change{connection.RotationPeriod: time.Hour}, "mutually exclusive fields rotation_schedule and rotation_period were both specified; only one of them can be provided"},
		{"a period in its place", connection.Change{connection.RotationPeriod: time.Hour, connection.RotationSchedule: ""}, ""},
		{"off", connection.Change{connection.RotationSchedule: ""}, ""},
		{"off, with a window", connection.Change{connection.RotationSchedule: "", connection.RotationWindow: time.Hour}, "cannot use rotation_window without rotation_schedule"},
		{"without the pair", connection.Change{connection.PairedClientID: ""}, `paired_client_id cannot be removed: rotations need it, and rotation_schedule is set. Turn that off in the same write: rotation_schedule=""`},
		{"off, without the pair", connection.Change{connection.PairedClientID: "", connection.RotationSchedule: ""}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			next, err := cron.Apply(tc.change, after(time.Hour))
			if tc.want != "" {
				require.EqualError(t, err, tc.want)
				return
			}
			require.NoError(t, err)
			if next.Settings.RotationSchedule == "" {
				assert.Zero(t, next.Settings.RotationWindow)
			}
		})
	}
	t.Run("one client", func(t *testing.T) {
		t.Parallel()
		change := pairChange(connection.Change{connection.RotationPeriod: time.Hour})
		delete(change, connection.PairedClientID)
		delete(change, connection.PairedClientSecret)
		var none *connection.Connection
		_, err := none.Apply(change, noon)
		require.EqualError(t, err, "rotation_period needs a paired client to rotate to: set paired_client_id and paired_client_secret")
	})
	t.Run("no clients", func(t *testing.T) {
		t.Parallel()
		var none *connection.Connection
		_, err := none.Apply(connection.Change{connection.GrantType: connection.GrantIDAuth, connection.RotationSchedule: "0 3 * * *"}, noon)
		require.EqualError(t, err, "rotation_schedule has no use without idp_token_url: callers bring the tokens to exchange")
	})
}

// No text makes the parser panic.
func FuzzRotationSchedule(f *testing.F) {
	for _, seed := range []string{"0 3 * * *", "TZ=", "CRON_TZ= ", "*/5 0-23/2 1,15 JAN sun", ", , , , ,", "?", "0/0 * * * *", "-1 * * * *", "1-2-3 * * * *", "*/9223372036854775807 * * * *"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var none *connection.Connection
		c, err := none.Apply(pairChange(connection.Change{connection.RotationSchedule: text}), noon)
		if err == nil && c.Settings.HasSchedule() {
			assert.False(t, c.RotationPlan(noon).Next.IsZero(), text)
		}
	})
}
