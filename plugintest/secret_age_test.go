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
func (w *world) warningsOf(op logical.Operation, path string, data fields) []string {
	w.t.Helper()
	return w.ok(w.try(op, path, data)).Warnings
}

func TestMaxSecretAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.pair(), fields{"max_secret_age": "720h"}))
		age, due := 30*freshDay, start.Add(30*freshDay)
		quiet := func(what string) {
			t.Helper()
			for _, path := range []string{"creds", "status"} {
				assert.Empty(t, w.warningsOf(logical.ReadOperation, path, nil), "%s: %s", path, what)
			}
		}
		quiet("at first")
		assert.Subset(t, w.read("status"), fields{"max_secret_age": int64(2592000), "active_secret_due_time": timestamp(due)})
		w.passUntil(due.Add(-1))
		quiet("just before")

		w.pass(1)
		want := []string{tooOld(clientA, age)}
		for range 2 { // it is said each time
			assert.Equal(t, want, w.warningsOf(logical.ReadOperation, "creds", nil))
			assert.Equal(t, want, w.warningsOf(logical.ReadOperation, "status", nil))
		}
		w.restart()
		assert.Equal(t, want, w.warningsOf(logical.ReadOperation, "creds", nil))
		assert.Equal(t, want, w.warningsOf(logical.UpdateOperation, "rotate", fields{"client_id": clientA}), "nothing was rotated")

		// The standby's secret is as old.
		assert.Equal(t, []string{tooOld(clientB, age)}, w.warningsOf(logical.UpdateOperation, "rotate", nil))
		assert.Equal(t, []string{tooOld(clientB, age)}, w.warningsOf(logical.ReadOperation, "creds", nil))

		// A new one helps.
		assert.Empty(t, w.warningsOf(logical.UpdateOperation, "rotate", fields{"client_secret": w.regenerate(clientA)}))
		quiet("after a rotation with a new secret")
		assert.Equal(t, timestamp(time.Now().Add(age)), w.read("status")["active_secret_due_time"])
		w.pass(30 * freshDay)
		assert.Equal(t, want, w.warningsOf(logical.ReadOperation, "creds", nil))

		// So does one that is written to config.
		w.write("config", fields{"client_secret": w.regenerate(clientA)})
		quiet("after a new secret")

		// The same secret again is not a new one.
		w.pass(31 * freshDay)
		secret := w.regenerate(clientA)
		w.write("config", fields{"client_secret": secret})
		w.pass(31 * freshDay)
		w.write("config", fields{"client_secret": secret})
		assert.Equal(t, want, w.warningsOf(logical.ReadOperation, "creds", nil))

		// 0 turns it off.
		w.write("config", fields{"max_secret_age": 0})
		quiet("turned off")
		for _, key := range []string{"max_secret_age", "active_secret_due_time"} {
			assert.NotContains(t, w.read("status"), key)
		}
		w.pass(3650 * freshDay)
		quiet("turned off")
	})
}

func TestMaxSecretAgeIsOffByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		assert.EqualValues(t, 0, w.read("config")["max_secret_age"])
		w.pass(36500 * freshDay)
		assert.Empty(t, w.warningsOf(logical.ReadOperation, "creds", nil))
		assert.NotContains(t, w.read("status"), "max_secret_age")
	})
}

// It is only set, not verified, and asks GBG nothing.
func TestMaxSecretAgeBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		content := w.storage.content(t)
		for _, bad := range []any{-1, "-1s", 315360001, "87601h", "soon"} {
			a := w.try(logical.UpdateOperation, "config", fields{"max_secret_age": bad})
			assert.True(t, a.err != nil || a.resp.IsError(), bad)
			if a.err == nil {
				assert.Contains(t, a.resp.Error().Error(), "max_secret_age", bad)
			}
		}
		assert.Equal(t, content, w.storage.content(t))
		for _, good := range []any{1, "1s", 315360000, "87600h", 0} {
			w.write("config", fields{"max_secret_age": good})
		}
		assert.EqualValues(t, 0, w.read("config")["max_secret_age"])
		assert.Equal(t, 1, w.asked())
	})
}

// The warnings of a read: the age, and what happened.
func TestMaxSecretAgeAndAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.pair(), fields{"max_secret_age": 60}))
		w.pass(2 * time.Hour)
		w.fault(refusalOf(clientA))
		assert.Equal(t, append([]string{tooOld(clientB, time.Minute)}, takenOver("invalid_client")...), w.warningsOf(logical.ReadOperation, "creds", nil))
		assert.Equal(t, []string{tooOld(clientB, time.Minute)}, w.warningsOf(logical.ReadOperation, "creds", nil))
	})
}
