package plugintest

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Some moments of a test's day, as answers write them.
const (
	noon    = "2026-03-01T12:00:00Z"
	quarter = "2026-03-01T12:15:00Z"
	half    = "2026-03-01T12:30:00Z"
)

func TestStatusNotConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		assert.Equal(t, `connection "team-a" is not configured; configure it with: vault write gbg/config/team-a client_id=ID client_secret=@FILE`,
			w.refused(w.try(logical.ReadOperation, "status/team-a", nil)))
	})
}

// What never happened is left out.
func TestStatusOfOneUnverifiedClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.single(), fields{"verify_connection": false}))
		assert.Equal(t, fields{
			"connection":             "default",
			"grant_type":             "client_credentials",
			"token_url":              w.tokenURL(),
			"active_client_id":       clientA,
			"active_secret_set_time": noon,
			"next_step":              "Add a second client, so that secrets can be rotated without downtime: vault write gbg/config paired_client_id=ID paired_client_secret=@FILE",
		}, w.read("status"))
		assert.Zero(t, w.asked(), "status asks nobody")
	})
}

func TestStatusOfAPairThroughARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config/team-a", w.pair())
		want := fields{
			"connection":              "team-a",
			"grant_type":              "client_credentials",
			"token_url":               w.tokenURL(),
			"active_client_id":        clientA,
			"standby_client_id":       clientB,
			"active_secret_set_time":  noon,
			"standby_secret_set_time": noon,
			"active_verified_time":    noon,
			"standby_verified_time":   noon,
			"token_expire_time":       "2026-03-01T13:00:00Z",
			"token_refresh_time":      "2026-03-01T12:55:00Z",
			"next_step":               `Client "client-b" stands by with a secret that has not been used yet. When it is time to rotate: vault write gbg/rotate/team-a client_id=client-b`,
		}
		assert.Equal(t, want, w.read("status/team-a"))

		w.pass(15 * time.Minute)
		w.write("config/team-a", fields{"paired_client_secret": w.regenerate(clientB)})
		want["standby_secret_set_time"], want["standby_verified_time"] = quarter, quarter
		assert.Equal(t, want, w.read("status/team-a"))

		w.pass(15 * time.Minute)
		w.write("rotate/team-a", nil)
		want = with(want, fields{
			"active_client_id":        clientB,
			"active_secret_set_time":  quarter,
			"active_verified_time":    half,
			"standby_client_id":       clientA,
			"standby_secret_set_time": noon,
			"standby_verified_time":   noon,
			"last_rotation_time":      half,
			"last_rotation_cause":     "rotate",
			"regenerate_after":        "2026-03-01T13:00:01Z",
			"token_expire_time":       "2026-03-01T13:30:00Z",
			"token_refresh_time":      "2026-03-01T13:25:00Z",
			"next_step":               `After 2026-03-01T13:00:01Z regenerate the secret of client "client-a" in GBG's Account management portal, then, when it is time to rotate again: vault write gbg/rotate/team-a client_id=client-a client_secret=@FILE`,
		})
		assert.Equal(t, want, w.read("status/team-a"))

		// A restart forgets nothing, and without the token nothing but the token.
		w.mount = w.newMount()
		assert.Equal(t, want, w.read("status/team-a"))
		require.NoError(t, w.storage.Delete(t.Context(), "token/team-a"))
		w.mount = w.newMount()
		assert.Equal(t, without(want, "token_expire_time", "token_refresh_time"), w.read("status/team-a"))
		w.read("creds/team-a")
		assert.Equal(t, want, w.read("status/team-a"))

		// A token that has ended is no news.
		w.pass(2 * time.Hour) // its successor, which nobody read, has ended too
		want["active_verified_time"] = "2026-03-01T13:24:55Z"
		assert.Equal(t, without(want, "token_expire_time", "token_refresh_time"), w.read("status/team-a"))
	})
}

func TestStatusVerifiedTimeFollowsTheTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.single(), fields{"verify_connection": false}))
		assert.NotContains(t, w.read("status"), "active_verified_time")
		w.pass(15 * time.Minute)
		w.read("creds")
		assert.Equal(t, quarter, w.read("status")["active_verified_time"])

		// What an old secret proved says nothing of a new one.
		w.pass(15 * time.Minute)
		w.write("config", fields{"client_secret": w.regenerate(clientA), "verify_connection": false})
		got := w.read("status")
		assert.NotContains(t, got, "active_verified_time")
		assert.Equal(t, half, got["active_secret_set_time"])
	})
}

func TestStatusOfErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.single(), fields{"client_secret": wrongSecret, "verify_connection": false}))
		refusal := w.refusal("default", clientA)
		for i, pause := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			w.coded(http.StatusBadGateway, w.try(logical.ReadOperation, "creds", nil))
			got := w.read("status")
			assert.Equal(t, refusal[:len(refusal)-1], got["last_error"])
			assert.Equal(t, timestamp(time.Now()), got["last_error_time"])
			assert.Equal(t, timestamp(time.Now().Add(pause*time.Second)), got["next_try_time"])
			assert.Equal(t, int64(i+1), got["consecutive_errors"])
			assert.Equal(t, `Token requests fail: see last_error. If a client is refused, write its current secret: vault write gbg/config client_secret=@FILE (paired_client_secret for the paired client)`, got["next_step"])
			assert.NotContains(t, got, "token_expire_time")
			w.pass(pause * time.Second)
		}
		w.write("config", fields{"client_secret": w.regenerate(clientA), "verify_connection": false})
		w.read("creds")
		got := w.read("status")
		for _, key := range []string{"last_error", "last_error_time", "consecutive_errors", "next_try_time"} {
			assert.NotContains(t, got, key, "it went well")
		}
	})
}

// A refresh that fails while the old token is good shows here, and only here.
func TestStatusOfAFailedRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		w.read("creds")
		w.closeGBG()
		w.pass(55*time.Minute - 5*time.Second)
		w.pass(8 * time.Second) // of retries
		got := w.read("status")
		assert.Regexp(t, `^connection "default": no token for client "client-a": `, got["last_error"])
		assert.Equal(t, "2026-03-01T12:55:03Z", got["last_error_time"]) // after 7.75 s of tries
		assert.Equal(t, "2026-03-01T12:55:04Z", got["next_try_time"])
		assert.Equal(t, int64(1), got["consecutive_errors"])
		assert.Equal(t, "2026-03-01T13:00:00Z", got["token_expire_time"])
	})
}

func TestStatusHoldsNoSecretAndNoToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config", pair)
		token := w.read("creds")["access_token"]
		status := fmt.Sprint(w.read("status"))
		for _, secret := range []any{token, pair["client_secret"], pair["paired_client_secret"]} {
			assert.NotContains(t, status, secret)
		}
	})
}
