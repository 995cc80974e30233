package plugintest

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// Readers whose token was refused get one new token, all the same one.
func TestNewerThan(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		w.pass(10 * time.Minute)
		refused := w.read("creds")
		require.NoError(w.t, w.sim.RevokeTokens(clientA))
		asked := w.asked()
		newer := fields{"newer_than": refused["last_vault_rotation"]}
		var answers []<-chan answer
		for range 20 {
			answers = append(answers, w.begin(logical.ReadOperation, "creds", newer))
		}
		for _, answered := range answers {
			resp := w.ok(await(w.t, answered, "the token"))
			assert.Empty(w.t, resp.Warnings)
			assert.NotEqual(w.t, refused["access_token"], resp.Data["access_token"])
			assert.True(w.t, w.live(resp.Data["access_token"]))
		}
		assert.Equal(w.t, asked+1, w.asked())
		assert.Empty(w.t, w.creds(newer).Warnings, "there is a newer one already")
		assert.Equal(w.t, asked+1, w.asked())
	})
}

// It is one new token a minute, however often it is asked for.
func TestNewerThanOnceAMinute(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		asked := w.asked()
		newest := fields{"newer_than": w.read("creds")["last_vault_rotation"]}
		newest = fields{"newer_than": w.creds(newest).Data["last_vault_rotation"]}
		for range 59 {
			w.pass(time.Second)
			resp := w.creds(newest)
			assert.Equal(w.t, newest["newer_than"], resp.Data["last_vault_rotation"])
			require.Len(w.t, resp.Warnings, 1)
			assert.Contains(w.t, resp.Warnings[0], "there is no newer one yet: try again in ")
		}
		assert.Equal(w.t, asked+1, w.asked())
		w.pass(time.Second)
		assert.Empty(w.t, w.creds(newest).Warnings)
		assert.Equal(w.t, asked+2, w.asked())
	})
}

// A time that a program has rounded down names the same token.
func TestNewerThanAtThePrecisionItIsGivenIn(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.pass(123456789)
		w.write("config", w.pair())
		at := w.moment(w.read("creds")["last_vault_rotation"])
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.000000Z07:00", "2006-01-02T15:04:05.000Z07:00", "2006-01-02T15:04:05Z07:00"} {
			asked := w.asked()
			resp := w.creds(fields{"newer_than": at.In(time.FixedZone("", 3600)).Format(layout)})
			assert.Equal(w.t, asked+1, w.asked(), layout)
			w.pass(time.Minute)
			at = w.moment(resp.Data["last_vault_rotation"])
		}
		asked := w.asked()
		w.creds(fields{"newer_than": at.Add(-time.Millisecond).Format(time.RFC3339Nano)})
		assert.Equal(w.t, asked, w.asked(), "an older one")
	})
}

// While GBG fails, the current token is served with a warning, and the minute is not
// used up.
func TestNewerThanWhileGBGFails(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.single())
		token := w.read("creds")
		newer := fields{"newer_than": token["last_vault_rotation"]}
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusServiceUnavailable})
		a, _ := w.tryRetried(logical.ReadOperation, "creds", newer)
		resp := w.ok(a)
		assert.Equal(w.t, token["access_token"], resp.Data["access_token"])
		require.Len(w.t, resp.Warnings, 1)
		assert.Contains(w.t, resp.Warnings[0], "no newer token could be fetched, this is the one before: ")
		asked := w.asked()
		assert.Len(w.t, w.creds(newer).Warnings, 1, "the pause after the failure")
		assert.Equal(w.t, asked, w.asked())
		a = w.tryCreds(with(newer, fields{"min_ttl": "40m"}))
		w.ok(a)
		w.pass(30 * time.Minute)
		a, _ = w.tryRetried(logical.ReadOperation, "creds", with(newer, fields{"min_ttl": "40m"}))
		w.coded(http.StatusServiceUnavailable, a)
		w.sim.ClearFaults()
		w.pass(time.Minute)
		assert.Empty(w.t, w.creds(with(newer, fields{"min_ttl": "40m"})).Warnings)
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusServiceUnavailable})
		w.pass(2 * time.Hour)
		a, _ = w.tryRetried(logical.ReadOperation, "creds", newer)
		w.coded(http.StatusServiceUnavailable, a)
	})
}

// A reader who goes away has used up the minute all the same, once its request ends.
func TestNewerThanOfAReaderWhoLeaves(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.single())
		w.pass(time.Minute)
		newer := fields{"newer_than": w.read("creds")["last_vault_rotation"]}
		release := w.gate.hold(clientA)
		gone, cancel := context.WithCancel(w.t.Context())
		left := later(func() answer { return w.send(gone, logical.ReadOperation, "creds", newer) })
		await(w.t, w.gate.arrived, "the request")
		cancel()
		require.Error(w.t, await(w.t, left, "the answer").err)
		release()
		w.pass(time.Second)
		resp := w.creds(newer)
		assert.Empty(w.t, resp.Warnings)
		assert.Len(w.t, w.creds(fields{"newer_than": resp.Data["last_vault_rotation"]}).Warnings, 1)
		assert.Equal(w.t, 2, w.asked())
	})
}

func TestNewerThanBadInput(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		for text, want := range map[string]string{
			"":                                    "newer_than must be a time as in last_vault_rotation, such as 2026-03-01T12:00:00.25Z",
			"yesterday":                           "newer_than must be a time as in last_vault_rotation, such as 2026-03-01T12:00:00.25Z",
			"1772366400":                          "newer_than must be a time as in last_vault_rotation, such as 2026-03-01T12:00:00.25Z",
			timestamp(start.Add(2 * time.Minute)): "newer_than is in the future: give the last_vault_rotation of the token that was refused",
		} {
			assert.Equal(w.t, want, w.refused(w.tryCreds(fields{"newer_than": text})))
		}
		w.creds(fields{"newer_than": timestamp(start.Add(50 * time.Second))})
		w.write("config", fields{"lease": true})
		assert.Equal(w.t, "newer_than has no use on a connection with lease=true: every read is a new token",
			w.refused(w.try(logical.ReadOperation, "creds", fields{"newer_than": timestamp(start)})))
		w.write("config/sso", w.exchangeOnly())
		assert.Equal(w.t, "newer_than is for reads; an exchange always returns a new token",
			w.refused(w.try(logical.UpdateOperation, "creds/sso", fields{"id_token": w.idToken(someone), "newer_than": timestamp(start)})))
		assert.Contains(w.t, w.refused(w.try(logical.ReadOperation, "creds/none", fields{"newer_than": timestamp(start)})), "is not configured")
	})
}
