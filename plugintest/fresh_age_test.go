package plugintest

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
)

const freshDay = 24 * time.Hour

func tooOld(client string, age time.Duration) string {
	return fmt.Sprintf("the secret of client %q is older than max_secret_age (%s): rotate", client, age)
}

// warningsOf gives the warnings of an answer.
func (f *world) warningsOf(op logical.Operation, path string, data fields) []string {
	f.t.Helper()
	return f.ok(f.try(op, path, data)).Warnings
}

func TestFreshMaxSecretAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", with(f.pair(), fields{"max_secret_age": "720h"}))
		age, due := 30*freshDay, start.Add(30*freshDay)
		quiet := func(what string) {
			t.Helper()
			for _, path := range []string{"creds", "status"} {
				assert.Empty(t, f.warningsOf(logical.ReadOperation, path, nil), "%s: %s", path, what)
			}
		}
		quiet("at first")
		assert.Subset(t, f.read("status"), fields{"max_secret_age": int64(2592000), "active_secret_due_time": timestamp(due)})
		f.passUntil(due.Add(-1))
		quiet("just before")

		f.pass(1)
		want := []string{tooOld(clientA, age)}
		for range 2 { // it is said each time
			assert.Equal(t, want, f.warningsOf(logical.ReadOperation, "creds", nil))
			assert.Equal(t, want, f.warningsOf(logical.ReadOperation, "status", nil))
		}
		f.restart()
		assert.Equal(t, want, f.warningsOf(logical.ReadOperation, "creds", nil))
		assert.Equal(t, want, f.warningsOf(logical.UpdateOperation, "rotate", fields{"client_id": clientA}), "nothing was rotated")

		// The standby's secret is as old.
		assert.Equal(t, []string{tooOld(clientB, age)}, f.warningsOf(logical.UpdateOperation, "rotate", nil))
		assert.Equal(t, []string{tooOld(clientB, age)}, f.warningsOf(logical.ReadOperation, "creds", nil))

		// A new one helps.
		assert.Empty(t, f.warningsOf(logical.UpdateOperation, "rotate", fields{"client_secret": f.regenerate(clientA)}))
		quiet("after a rotation with a new secret")
		assert.Equal(t, timestamp(time.Now().Add(age)), f.read("status")["active_secret_due_time"])
		f.pass(30 * freshDay)
		assert.Equal(t, want, f.warningsOf(logical.ReadOperation, "creds", nil))

		// So does one that is written to config.
		f.write("config", fields{"client_secret": f.regenerate(clientA)})
		quiet("after a new secret")

		// The same secret again is not a new one.
		f.pass(31 * freshDay)
		secret := f.regenerate(clientA)
		f.write("config", fields{"client_secret": secret})
		f.pass(31 * freshDay)
		f.write("config", fields{"client_secret": secret})
		assert.Equal(t, want, f.warningsOf(logical.ReadOperation, "creds", nil))

		// 0 turns it off.
		f.write("config", fields{"max_secret_age": 0})
		quiet("turned off")
		for _, key := range []string{"max_secret_age", "active_secret_due_time"} {
			assert.NotContains(t, f.read("status"), key)
		}
		f.pass(3650 * freshDay)
		quiet("turned off")
	})
}

func TestFreshMaxSecretAgeIsOffByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.pair())
		assert.EqualValues(t, 0, f.read("config")["max_secret_age"])
		f.pass(36500 * freshDay)
		assert.Empty(t, f.warningsOf(logical.ReadOperation, "creds", nil))
		assert.NotContains(t, f.read("status"), "max_secret_age")
	})
}

// It is only set, not verified, and asks GBG nothing.
func TestFreshMaxSecretAgeBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		content := f.storage.content(t)
		for _, bad := range []any{-1, "-1s", 315360001, "87601h", "soon"} {
			a := f.try(logical.UpdateOperation, "config", fields{"max_secret_age": bad})
			assert.True(t, a.err != nil || a.resp.IsError(), bad)
			if a.err == nil {
				assert.Contains(t, a.resp.Error().Error(), "max_secret_age", bad)
			}
		}
		assert.Equal(t, content, f.storage.content(t))
		for _, good := range []any{1, "1s", 315360000, "87600h", 0} {
			f.write("config", fields{"max_secret_age": good})
		}
		assert.EqualValues(t, 0, f.read("config")["max_secret_age"])
		assert.Equal(t, 1, f.asked())
	})
}

// The warnings of a read: the age, and what happened.
func TestFreshMaxSecretAgeAndAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", with(f.pair(), fields{"max_secret_age": 60}))
		f.pass(2 * time.Hour)
		f.fault(freshRefusal(clientA))
		assert.Equal(t, append([]string{tooOld(clientB, time.Minute)}, takenOver("invalid_client")...), f.warningsOf(logical.ReadOperation, "creds", nil))
		assert.Equal(t, []string{tooOld(clientB, time.Minute)}, f.warningsOf(logical.ReadOperation, "creds", nil))
	})
}
