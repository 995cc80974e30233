package connection

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/rotation"
)

// The longest schedule in bytes, and the bounds of the other settings. Those of
// rotation_window are Vault's.
const (
	maxScheduleLength = 512
	minRotationPeriod = 10 * time.Second
	maxRotationPeriod = 10 * 365 * 24 * time.Hour
)

// Errors in the words of Vault's SDK (sdk/helper/automatedrotationutil).
const (
	scheduleAndPeriod     = "mutually exclusive fields rotation_schedule and rotation_period were both specified; only one of them can be provided"
	windowAndPeriod       = "rotation_window does not apply to period"
	windowWithoutSchedule = "cannot use rotation_window without rotation_schedule"
	scheduleNotParsed     = "failed to parse provided rotation_schedule: %s"
)

// ScheduleRecord is what is remembered of the rotations on a schedule.
type ScheduleRecord struct {
	// SetTime is when the schedule was set or turned on, by the wall clock; zero if
	// there is none. Times before it are not due.
	SetTime time.Time
	// MetTime is the last due time that a rotation has met; zero if there is none. It
	// lies ahead if an operator has rotated before the time.
	MetTime time.Time
}

// HasSchedule reports whether the connection's rotations are scheduled.
func (s Settings) HasSchedule() bool {
	return !s.DisableAutomatedRotation && s.scheduleField() != ""
}

// scheduleField returns the field that schedules rotations; empty if none does.
func (s Settings) scheduleField() Field {
	switch {
	case s.RotationSchedule != "":
		return RotationSchedule
	case s.RotationPeriod != 0:
		return RotationPeriod
	}
	return ""
}

// sameDueTimes reports whether both settings have the same schedule, windows aside.
func (s Settings) sameDueTimes(o Settings) bool {
	return s.RotationSchedule == o.RotationSchedule && s.RotationPeriod == o.RotationPeriod && s.HasSchedule() == o.HasSchedule()
}

// checkSchedule refuses combinations of the settings of a schedule.
func (s Settings) checkSchedule() error {
	switch {
	case s.RotationSchedule != "" && s.RotationPeriod != 0:
		return &InputError{Field: RotationPeriod, Message: scheduleAndPeriod}
	case s.RotationWindow != 0 && s.RotationPeriod != 0:
		return &InputError{Field: RotationWindow, Message: windowAndPeriod}
	case s.RotationWindow != 0 && s.RotationSchedule == "":
		return &InputError{Field: RotationWindow, Message: windowWithoutSchedule}
	case s.scheduleField() != "" && !s.HasPair():
		return Invalid(s.scheduleField(), "has no use without idp_token_url: callers bring the tokens to exchange")
	}
	return nil
}

// checkSchedulePair refuses a schedule on a connection without a second client. c is the
// connection before; nil if there was none.
func (c *Connection) checkSchedulePair(next *Connection) error {
	field := next.Settings.scheduleField()
	if field == "" || next.Pair.Clients[Paired].ID != "" {
		return nil
	}
	if c != nil && c.Pair.Clients[Paired].ID != "" {
		return Invalid(PairedClientID, `cannot be removed: rotations need it, and %s is set. Turn that off in the same write: %s`, field, off(field))
	}
	return Invalid(field, "needs a paired client to rotate to: set paired_client_id and paired_client_secret")
}

// off returns how a write turns a setting of a schedule off.
func off(field Field) string {
	if field == RotationPeriod {
		return string(field) + "=0"
	}
	return string(field) + `=""`
}

// withSchedule sets the record of a connection's schedule after a write at a time. A new
// schedule, and one that is turned on again, begins then. c is the connection before; nil
// if there was none.
func (c *Connection) withSchedule(next *Connection, now time.Time) {
	switch {
	case !next.Settings.HasSchedule():
		next.Schedule = ScheduleRecord{}
	case c == nil || !c.Settings.sameDueTimes(next.Settings):
		next.Schedule = ScheduleRecord{SetTime: now.Round(0)}
	}
}

// normalizedSchedule returns a schedule in cron form without white space around it.
// Empty is valid.
func normalizedSchedule(field Field, text string) (string, error) {
	text = trimText(text)
	switch {
	case text == "":
		return "", nil
	case len(text) > maxScheduleLength:
		return "", Invalid(field, "is longer than %d bytes", maxScheduleLength)
	}
	if err := checkText(field, text); err != nil {
		return "", err
	}
	// The parser panics on a time zone without a schedule after it, and Vault
	// disregards any.
	if strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ=") {
		return "", Invalid(field, "must not name a time zone (TZ=, CRON_TZ=): schedules are in UTC")
	}
	schedule, err := rotation.DefaultScheduler.Parse(text)
	if err != nil {
		return "", &InputError{Field: field, Message: fmt.Sprintf(scheduleNotParsed, err)}
	}
	// Five years from here have every date that there is.
	if schedule.Next(time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return "", Invalid(field, "is a date that never comes")
	}
	return text, nil
}

// normalizedWindow returns the length of a window. Zero is valid.
func normalizedWindow(field Field, d time.Duration) (time.Duration, error) {
	if d == 0 {
		return 0, nil
	}
	if err := rotation.DefaultScheduler.ValidateRotationWindow(int(d / time.Second)); err != nil {
		return 0, &InputError{Field: field, Message: err.Error()}
	}
	if d > maxRotationPeriod {
		return 0, Invalid(field, "must be at most %s", maxRotationPeriod)
	}
	return d, nil
}

// normalizedPeriod returns the time from one rotation to the next. Zero is valid.
func normalizedPeriod(field Field, d time.Duration) (time.Duration, error) {
	if d != 0 && (d < minRotationPeriod || d > maxRotationPeriod) {
		return 0, Invalid(field, "must be between %s and %s, or 0 (off)", minRotationPeriod, maxRotationPeriod)
	}
	return d, nil
}

// RotationPlan is what a connection's schedule says at one moment. Its zero value is that
// of a connection without one.
type RotationPlan struct {
	// Next is the next time at which a rotation is due.
	Next time.Time
	// Due is the last time at which one was due; zero if that has been met. Since is
	// the first of the due times that have not been met.
	Due, Since time.Time
	// Closes is when the window of Due closes: a rotation that has not been made by
	// then waits for Next.
	Closes time.Time
	// Obstacle is what keeps a rotation that is due from being made.
	Obstacle RotationObstacle
}

// RotationObstacle is what keeps a rotation that is due from being made.
type RotationObstacle string

const (
	// NoObstacle means that the rotation can be made now.
	NoObstacle RotationObstacle = ""
	// NoNewSecret means that the standby's secret has served before.
	NoNewSecret RotationObstacle = "no_new_secret"
	// WindowClosed means that the standby has a new secret, but the window has closed.
	WindowClosed RotationObstacle = "window_closed"
)

// Ready reports whether a rotation is due and can be made now.
func (p RotationPlan) Ready() bool { return !p.Due.IsZero() && p.Obstacle == NoObstacle }

// open reports whether the window of the time that is due is open.
func (p RotationPlan) open(now time.Time) bool { return p.Closes.IsZero() || now.Before(p.Closes) }

// RotationPlan returns what the schedule says at a time.
func (c *Connection) RotationPlan(now time.Time) RotationPlan {
	next := c.dueTimes()
	if next == nil {
		return RotationPlan{}
	}
	now = now.Round(0).UTC()
	p := RotationPlan{Next: next(now)}
	from := c.Schedule.SetTime
	if c.Schedule.MetTime.After(from) {
		from = c.Schedule.MetTime
	}
	first := next(from)
	if first.IsZero() || first.After(now) {
		return p
	}
	p.Since, p.Due = first, lastDueTime(next, from, now)
	p.Closes = p.Next
	if end := p.Due.Add(c.Settings.RotationWindow); c.Settings.RotationWindow != 0 && (p.Next.IsZero() || end.Before(p.Next)) {
		p.Closes = end
	}
	switch standby, ok := c.Pair.Standby(); {
	case !ok || standby.SecretServed:
		p.Obstacle = NoNewSecret
	case !p.open(now):
		p.Obstacle = WindowClosed
	}
	return p
}

// dueTimes returns a function that returns the first due time after another time; nil if
// there is no schedule.
func (c *Connection) dueTimes() func(time.Time) time.Time {
	s := c.Settings
	if !s.HasSchedule() {
		return nil
	}
	if begin := c.Schedule.SetTime.UTC(); s.RotationPeriod != 0 {
		return func(t time.Time) time.Time {
			passed := max(t.Sub(begin), 0)
			return begin.Add(passed - passed%s.RotationPeriod + s.RotationPeriod)
		}
	}
	schedule, err := rotation.DefaultScheduler.Parse(s.RotationSchedule)
	if err != nil { // it was checked when it was set
		return nil
	}
	return func(t time.Time) time.Time { return schedule.Next(t.UTC()) }
}

// lastDueTime returns the last due time until now. There must be one after from. Due
// times are further apart than a second.
func lastDueTime(next func(time.Time) time.Time, from, now time.Time) time.Time {
	passed := int(now.Sub(from)/time.Second) + 1
	ago := func(n int) time.Time { return now.Add(-time.Duration(n) * time.Second) }
	n := sort.Search(passed, func(n int) bool {
		due := next(ago(n))
		return !due.IsZero() && !due.After(now)
	})
	return next(ago(n))
}

// ScheduleMet returns the connection's record after a rotation onto a new secret at a
// time. The rotation meets the time that is due, if its window is open, or else the next
// one.
func (c *Connection) ScheduleMet(now time.Time) ScheduleRecord {
	record, p := c.Schedule, c.RotationPlan(now)
	met := p.Next
	if !p.Due.IsZero() && p.open(now) {
		met = p.Due
	}
	if met.After(record.MetTime) {
		record.MetTime = met
	}
	return record
}

// RotationWarning returns what people should know of a rotation that is due; "" if there
// is nothing. problem is why the last try has failed; nil if there was none.
func (c *Connection) RotationWarning(p RotationPlan, problem error) string {
	if p.Due.IsZero() {
		return "" // for nearly every read of a token
	}
	standby, _ := c.Pair.Standby()
	fields, since := c.PairFields(), p.Since.UTC().Format(time.RFC3339)
	switch {
	case p.Obstacle == NoNewSecret:
		return fmt.Sprintf("rotation due, standby has no new secret: due since %s; %s the %s of %s %q and store it", since, fields.RenewVerb(), fields.SecretNoun(), fields.Noun(), standby.ID)
	case p.Obstacle == WindowClosed:
		return fmt.Sprintf("rotation due since %s was missed: its window closed at %s; %s %q goes into service at %s, or when somebody rotates",
			since, p.Closes.UTC().Format(time.RFC3339), fields.Noun(), standby.ID, p.Next.UTC().Format(time.RFC3339))
	case problem != nil:
		return fmt.Sprintf("rotation due since %s: %s %q cannot go into service yet: %s", since, fields.Noun(), standby.ID, problem)
	}
	return ""
}
