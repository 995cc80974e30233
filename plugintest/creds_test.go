package plugintest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	gbg "gbg.example/vault-plugin-secrets-gbg"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func TestCredsNotConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		for path, want := range map[string]string{
			"creds":         `connection "default" is not configured; configure it with: vault write gbg/config client_id=ID client_secret=@FILE`,
			"creds/default": `connection "default" is not configured; configure it with: vault write gbg/config client_id=ID client_secret=@FILE`,
			"creds/team-a":  `connection "team-a" is not configured; configure it with: vault write gbg/config/team-a client_id=ID client_secret=@FILE`,
		} {
			assert.Equal(t, want, w.refused(w.try(logical.ReadOperation, path, nil)))
		}
	})
}

func TestCredsKeyByKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config/team-a", w.pair())
		resp := w.ok(w.try(logical.ReadOperation, "creds/team-a", nil))

		assert.Nil(t, resp.Secret, "no lease")
		assert.Empty(t, resp.Warnings)
		token := resp.Data["access_token"]
		assert.Equal(t, clientA, w.owner(token))
		assert.Equal(t, fields{
			"access_token":        token,
			"token_type":          "Bearer",
			"expire_time":         "2026-03-01T13:00:00Z",
			"ttl":                 int64(3300),
			"rotation_period":     int64(3300),
			"last_vault_rotation": "2026-03-01T12:00:00.250000000Z",
			"client_id":           clientA,
			"scope":               "gbg.token",
			"connection":          "team-a",
		}, resp.Data)
		for _, key := range []string{"last_vault_rotation", "expire_time"} {
			_, err := time.Parse(time.RFC3339, resp.Data[key].(string))
			assert.NoError(t, err, key)
		}
		// Vault Agent panics on a ttl that is a string and ignores one with a fraction.
		sent, err := json.Marshal(resp.Data)
		require.NoError(t, err)
		assert.Contains(t, string(sent), `"ttl":3300}`)
		assert.Contains(t, string(sent), `"rotation_period":3300,`)
	})
}

func TestCredsTTL(t *testing.T) {
	const almostOne = 0.999
	for _, c := range []struct {
		lifetime time.Duration
		random   float64
		ttl      int
		period   int
	}{
		{time.Hour, 0, 3300, 3300},
		{time.Hour, almostOne, 3375, 3300}, // late by up to 300/4
		{5 * time.Minute, 0, 200, 200},     // a third of 300 is the overlap
		{5 * time.Minute, almostOne, 225, 200},
		{30 * time.Second, 0, 20, 20},
		{30 * time.Second, almostOne, 23, 20},
		{100 * time.Second, 0, 67, 67},
		{3 * time.Second, almostOne, 3, 2},
		{time.Second, 0, 1, 1},
	} {
		t.Run(fmt.Sprint(c.lifetime, c.random), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{lifetime: c.lifetime, random: c.random})
				w.write("config", w.single())
				got := w.read("creds")
				assert.EqualValues(t, c.ttl, got["ttl"])
				assert.EqualValues(t, c.period, got["rotation_period"])
				assert.Equal(t, timestamp(start.Add(c.lifetime)), got["expire_time"])
			})
		})
	}
}

func TestCredsRefreshBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ before, period int }{
			{1, 3599}, {60, 3540}, {1199, 2401}, {1200, 2400}, {1201, 2400}, {86400, 2400},
		} {
			w := newWorld(t, worldOptions{})
			w.write("config", with(w.single(), fields{"refresh_before": c.before}))
			got := w.read("creds")
			assert.EqualValues(t, c.period, got["rotation_period"], c.before)
			assert.EqualValues(t, c.period, got["ttl"], c.before)
		}
	})
}

func TestCredsReadsOfOneTokenDifferInTTLOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{random: 0.5})
		w.write("config", w.single())
		first := w.read("creds")
		for _, c := range []struct {
			after time.Duration
			ttl   int
		}{
			// 3300 s, and half of 75 s, less what has passed; rounded up.
			{0, 3338},
			{time.Millisecond, 3338},
			{500 * time.Millisecond, 3337},
			{1000*time.Second - 501*time.Millisecond, 2338},
			{2279 * time.Second, 59},
		} {
			w.pass(c.after)
			again := w.read("creds")
			assert.EqualValues(t, c.ttl, again["ttl"], c.after)
			assert.Equal(t, without(first, "ttl"), without(again, "ttl"))
		}
		assert.Equal(t, 1, w.asked())
	})
}

// Whoever comes back when ttl says so gets a new token, and the old one is
// still valid then.
func TestCredsNewTokenWhenTheTTLHasPassed(t *testing.T) {
	for _, random := range []float64{0, 0.999} {
		for _, lifetime := range []time.Duration{time.Hour, 5 * time.Minute, 30 * time.Second, 4 * time.Second} {
			t.Run(fmt.Sprint(lifetime, random), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, worldOptions{lifetime: lifetime, random: random})
					w.write("config", w.single())
					old := w.read("creds")
					for range 5 {
						w.pass(time.Duration(old["ttl"].(int64)) * time.Second)
						assert.True(t, w.live(old["access_token"]), "the old token has ended")
						next := w.read("creds")
						assert.NotEqual(t, old["access_token"], next["access_token"])
						assert.NotEqual(t, old["last_vault_rotation"], next["last_vault_rotation"])
						old = next
					}
					assert.Equal(t, 6, w.asked())
				})
			})
		}
	}
}

// The next token is fetched a little before it is promised, and nobody waits for
// it.
func TestCredsTokenIsSharedUntilItIsAboutToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		first := w.read("creds")
		w.pass(55*time.Minute - 5*time.Second - 1)
		assert.Equal(t, with(first, fields{"ttl": int64(6)}), w.read("creds"))
		assert.Equal(t, 1, w.asked())

		release := w.gate.hold(clientA)
		defer release()
		w.pass(1)
		await(t, w.gate.arrived, "the request for the next token")
		assert.Equal(t, with(first, fields{"ttl": int64(5)}), w.read("creds"))
		release()
		w.pass(0)
		second := w.read("creds")
		assert.NotEqual(t, first["access_token"], second["access_token"])
		assert.Equal(t, "2026-03-01T12:54:55.250000000Z", second["last_vault_rotation"])
		assert.EqualValues(t, 3300, second["ttl"])
		assert.Equal(t, 2, w.asked())
	})
}

func TestCredsIdleConnectionIsLeftToLapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		w.pass(24 * time.Hour)
		assert.Equal(t, "2026-03-02T13:00:00Z", w.read("creds")["expire_time"])
		assert.Equal(t, 2, w.asked())
	})
}

// A token's life counts from the moment its request was sent.
func TestCredsLifeCountsFromTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.single(), fields{"verify_connection": false}))
		release := w.gate.hold(clientA)
		defer release()
		reading := later(func() answer { return w.send(t.Context(), logical.ReadOperation, "creds", nil) })
		await(t, w.gate.arrived, "the token request")
		w.pass(4 * time.Second)
		release()
		got := w.ok(await(t, reading, "the answer")).Data
		assert.Equal(t, "2026-03-01T12:00:00.250000000Z", got["last_vault_rotation"])
		assert.Equal(t, "2026-03-01T13:00:00Z", got["expire_time"])
		assert.EqualValues(t, 3296, got["ttl"])
		assert.EqualValues(t, 3300, got["rotation_period"])
	})
}

// While refreshing fails ttl leads to the next try: in three seconds at least,
// and never beyond the token's end.
func TestCredsOldTokenIsServedWhileRefreshingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		old := w.read("creds")
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusBadRequest, Error: "invalid_scope"})
		pause := 55*time.Minute - 5*time.Second // when the next token is due
		for i, c := range []struct {
			next time.Duration // until the next try
			ttl  int           // zero is before the next token was promised
		}{
			{1 * time.Second, 0},
			{2 * time.Second, 0},
			{4 * time.Second, 0}, // from 12:54:58.25 to 12:55:02.25
			{8 * time.Second, 8},
			{16 * time.Second, 16},
			{32 * time.Second, 32},
			{time.Minute, 60},
			{time.Minute, 60},
			{time.Minute, 60},
			{time.Minute, 60},
			{time.Minute, 2}, // 12:59:58.25
		} {
			assert.Empty(t, w.retries(func() { w.pass(pause) }))
			status := w.read("status")
			assert.EqualValues(t, i+1, status["consecutive_errors"])
			assert.Equal(t, timestamp(time.Now().Add(c.next)), status["next_try_time"])
			got := w.read("creds")
			assert.Equal(t, without(old, "ttl"), without(got, "ttl"))
			if c.ttl != 0 {
				assert.EqualValues(t, c.ttl, got["ttl"], time.Now())
			}
			pause = c.next
		}
		assert.Equal(t, 12, w.asked())
		w.pass(2*time.Second - 1)
		assert.Equal(t, with(old, fields{"ttl": int64(1)}), w.read("creds"))
		w.pass(1)
		assert.Contains(t, w.coded(http.StatusBadGateway, w.try(logical.ReadOperation, "creds", nil)), `GBG refused client "client-a": invalid_scope`)
		assert.Equal(t, 12, w.asked(), "GBG is left alone until its pause is over")
	})
}

func TestCredsOldTokenIsServedWhileGBGIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		old := w.read("creds")
		w.closeGBG()
		w.pass(55*time.Minute - 5*time.Second)
		w.pass(8 * time.Second) // of retries
		assert.Equal(t, with(old, fields{"ttl": int64(3)}), w.read("creds"))

		w.passUntil(start.Add(time.Hour))
		a, _ := w.tryRetried(logical.ReadOperation, "creds", nil)
		assert.Regexp(t, `^connection "default": no token for client "client-a": .+ Token requests have failed since 2026-03-01T12:55:03Z; the next try is at 2026-03-01T13:`,
			w.coded(http.StatusServiceUnavailable, a))
	})
}

// Also when GBG says no: what was issued before is good until its end.
func TestCredsOldTokenIsServedWhileGBGRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		old := w.read("creds")
		w.regenerate(clientA)
		w.pass(55*time.Minute - 5*time.Second + refusedPause)
		assert.Equal(t, with(old, fields{"ttl": int64(3)}), w.read("creds"))
		w.pass(5*time.Minute + 5*time.Second)
		assert.Equal(t, w.refusal("default", clientA)+failing(start.Add(55*time.Minute-5*time.Second), w.moment(w.read("status")["next_try_time"]))+newSecret,
			w.coded(http.StatusBadGateway, w.try(logical.ReadOperation, "creds", nil)))
	})
}

// A token whose life ended on its way here is no answer to a reader.
func TestCredsTokenThatEndedOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{lifetime: 5 * time.Second})
		w.write("config", with(w.single(), fields{"verify_connection": false}))
		release := w.gate.hold(clientA)
		reading := later(func() answer { return w.send(t.Context(), logical.ReadOperation, "creds", nil) })
		await(t, w.gate.arrived, "the token request")
		w.pass(5 * time.Second)
		release()
		got := w.ok(<-reading).Data
		assert.Equal(t, "2026-03-01T12:00:05.500000000Z", got["last_vault_rotation"])
		assert.Equal(t, "2026-03-01T12:00:10Z", got["expire_time"])
		assert.Equal(t, 2, w.asked())
	})
}

// says is a GBG that answers every token request with one JSON text.
func says(status int, text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
	})
}

func TestCredsExpiresIn(t *testing.T) {
	for _, c := range []struct {
		expiresIn string
		lifetime  time.Duration
		assumed   any
	}{
		{`, "expires_in": 3600`, time.Hour, nil},
		{`, "expires_in": "3600"`, time.Hour, nil},
		{`, "expires_in": 3600.9`, time.Hour, nil},
		{`, "expires_in": 86401`, 24 * time.Hour, nil},
		{`, "expires_in": 1e30`, 24 * time.Hour, nil},
		{``, 5 * time.Minute, int64(300)},
		{`, "expires_in": null`, 5 * time.Minute, int64(300)},
	} {
		t.Run(c.expiresIn, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{gbg: says(http.StatusOK, `{"access_token": "`+gbgsim.TokenPrefix+`x"`+c.expiresIn+`}`)})
				w.write("config", w.single())
				got := w.read("creds")
				assert.Equal(t, timestamp(start.Add(c.lifetime)), got["expire_time"])
				assert.Equal(t, "Bearer", got["token_type"])
				assert.Equal(t, c.assumed, w.read("status")["token_lifetime_assumed"])
			})
		})
	}
}

func TestCredsShowWhatGBGGave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{gbg: says(http.StatusOK, `{"access_token": "`+gbgsim.TokenPrefix+`x", "token_type": "bearer", "scope": "gbg.token more", "expires_in": 60}`)})
		w.write("config", w.single())
		got := w.read("creds")
		assert.Equal(t, gbgsim.TokenPrefix+"x", got["access_token"])
		assert.Equal(t, "bearer", got["token_type"])
		assert.Equal(t, "gbg.token more", got["scope"])
	})
}

// What a write changes besides the token requests leaves the token alone.
func TestCredsTokenOutlivesConfigWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config", pair)
		first := w.read("creds")
		w.write("config", fields{"request_timeout": 20})
		w.write("config", fields{"client_secret": w.regenerate(clientA), "verify_connection": false})
		assert.Equal(t, first, w.read("creds"))

		// Two answers with the same token differ in nothing but ttl: refresh_before is
		// for the next one.
		w.write("config", fields{"refresh_before": 60})
		assert.Equal(t, first, w.read("creds"))
		w.pass(55 * time.Minute)
		next := w.read("creds")
		assert.NotEqual(t, first["access_token"], next["access_token"])
		assert.EqualValues(t, 3540, next["rotation_period"])

		// Another address or scope is another token.
		w.write("config", fields{"scope": "gbg.token gbg.token", "verify_connection": false})
		assert.NotEqual(t, next["access_token"], w.read("creds")["access_token"])
	})
}

// The factory that the plugin binary uses has no clock and no dice of a test's.
func TestCredsWithZeroOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		single := w.single()
		backend, err := gbg.NewFactory(gbg.Options{DialContext: w.network.DialContext})(t.Context(), &logical.BackendConfig{StorageView: w.storage, System: &logical.StaticSystemView{}})
		require.NoError(t, err)
		m := &mount{world: w, backend: backend}
		defer backend.Cleanup(t.Context())
		m.write("config", single)
		got := m.read("creds")
		assert.Equal(t, clientA, w.owner(got["access_token"]))
		assert.Equal(t, without(got, "ttl"), without(m.read("creds"), "ttl"))
	})
}
