package plugintest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRotateNotConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		assert.Equal(t, `connection "default" is not configured; configure it with: vault write gbg/config client_id=ID client_secret=@FILE`,
			w.refused(w.try(logical.UpdateOperation, "rotate", nil)))
	})
}

func TestRotateWithoutAPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		single := w.single()
		for path, want := range map[string]string{
			"":        `connection "default" has no paired client to rotate to; add one with: vault write gbg/config paired_client_id=ID paired_client_secret=@FILE`,
			"/team-a": `connection "team-a" has no paired client to rotate to; add one with: vault write gbg/config/team-a paired_client_id=ID paired_client_secret=@FILE`,
		} {
			w.write("config"+path, single)
			content, asked := w.storage.content(t), w.asked()
			assert.Equal(t, want, w.refused(w.try(logical.UpdateOperation, "rotate"+path, nil)))
			assert.Equal(t, want, w.refused(w.try(logical.UpdateOperation, "rotate"+path, fields{"client_secret": wrongSecret})))
			assert.Equal(t, content, w.storage.content(t))
			assert.Equal(t, asked, w.asked())
		}
	})
}

func TestRotateKeyByKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config/team-a", w.pair())
		old := w.read("creds/team-a")
		w.pass(10 * time.Minute)
		asked := w.asked()

		var resp *logical.Response
		writes := w.storage.writes(func() { resp = w.ok(w.try(logical.UpdateOperation, "rotate/team-a", nil)) })
		assert.Equal(t, fields{
			"rotated":           true,
			"active_client_id":  clientB,
			"standby_client_id": clientA,
			"rotation_time":     "2026-03-01T12:10:00Z",
			"regenerate_after":  "2026-03-01T13:00:01Z", // 13:00:00.25, rounded up
			"next_step":         `After 2026-03-01T13:00:01Z regenerate the secret of client "client-a" in GBG's Account management portal, then, when it is time to rotate again: vault write gbg/rotate/team-a client_id=client-a client_secret=@FILE`,
		}, resp.Data)
		assert.Empty(t, resp.Warnings)
		assert.Equal(t, asked+1, w.asked(), "the standby proves itself once")
		assert.Equal(t, []string{"connection/team-a", "token/team-a"}, writes, "one storage write, and one for the token")

		got := w.read("creds/team-a")
		assert.Equal(t, clientB, got["client_id"])
		assert.Equal(t, clientB, w.owner(got["access_token"]))
		assert.Equal(t, "2026-03-01T12:10:00.250000000Z", got["last_vault_rotation"])
		assert.Equal(t, asked+1, w.asked(), "the token of the proof is served")
		assert.Equal(t, clientB, w.read("config/team-a")["active_client_id"])
		assert.Equal(t, clientA, w.read("config/team-a")["client_id"], "the ids keep their places")
		assert.True(t, w.live(old["access_token"]), "tokens issued before stay valid")
	})
}

func TestRotateWithARegeneratedSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		resp := w.rotate(fields{"client_secret": w.regenerate(clientB) + "\n"})
		assert.Equal(t, true, resp.Data["rotated"])
		assert.Empty(t, resp.Warnings)
		w.pass(time.Hour)
		assert.Equal(t, clientB, w.read("creds")["client_id"], "the new secret is stored")

		// The round, for ever: each side is renewed by turns without a warning.
		active, standby := clientB, clientA
		for range 4 {
			resp := w.rotate(fields{"client_secret": w.regenerate(standby)})
			active, standby = standby, active
			assert.Equal(t, active, resp.Data["active_client_id"])
			assert.Empty(t, resp.Warnings)
			w.pass(time.Hour)
			assert.Equal(t, active, w.owner(w.read("creds")["access_token"]))
		}
	})
}

func TestRotateBackToASecretThatHasServedWarns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config", pair)
		warning := func(client string) []string {
			return []string{`client "` + client + `" is active again with the secret it had the last time; regenerate the standby's secret before each rotation to renew it`}
		}
		assert.Empty(t, w.rotate(nil).Warnings, "client B has not been active before")
		assert.Equal(t, warning(clientA), w.rotate(fields{"client_id": clientA}).Warnings)
		assert.Equal(t, warning(clientB), w.rotate(fields{"client_id": clientB}).Warnings)
		assert.Equal(t, warning(clientA), w.rotate(fields{"client_secret": pair["client_secret"]}).Warnings, "given again, it is still the same")
		assert.Empty(t, w.rotate(fields{"client_secret": w.regenerate(clientB)}).Warnings)

		// A new secret may come by way of config too.
		w.write("config", fields{"client_secret": w.regenerate(clientA)})
		assert.Contains(t, w.read("status")["next_step"], "has not been used yet")
		assert.Empty(t, w.rotate(fields{"client_id": clientA}).Warnings)
	})
}

// A request that is sent twice, because its answer was lost, rotates once.
func TestRotateRetriedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		request := fields{"client_id": " " + clientB + "\n"}
		first := w.rotate(request)
		assert.Equal(t, true, first.Data["rotated"])
		content, asked, creds := w.storage.content(t), w.asked(), w.read("creds")
		w.pass(time.Minute)

		again := w.rotate(request)
		assert.Equal(t, with(first.Data, fields{"rotated": false}), again.Data)
		assert.Empty(t, again.Warnings)
		assert.Equal(t, content, w.storage.content(t))
		assert.Equal(t, asked, w.asked())
		assert.Equal(t, creds["access_token"], w.read("creds")["access_token"])
	})
}

func TestRotateToTheActiveClientDisregardsASecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		content, asked := w.storage.content(t), w.asked()
		resp := w.rotate(fields{"client_id": clientA, "client_secret": wrongSecret})
		assert.Equal(t, fields{
			"rotated":           false,
			"active_client_id":  clientA,
			"standby_client_id": clientB,
			"next_step":         `Client "client-b" stands by with a secret that has not been used yet. When it is time to rotate: vault write gbg/rotate client_id=client-b`,
		}, resp.Data, "there was no rotation to tell of")
		assert.Equal(t, []string{`client "client-a" is active already: nothing was rotated, and the client_secret that was given has not been stored`}, resp.Warnings)
		assert.Equal(t, content, w.storage.content(t))
		assert.Equal(t, asked, w.asked())
	})
}

func TestRotateToAClientOfNoPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		asked := w.asked()
		assert.Equal(t, `client_id "client-c" is not a client of this connection; its clients are "client-a" (active) and "client-b" (standby)`,
			w.refused(w.try(logical.UpdateOperation, "rotate", fields{"client_id": "client-c"})))
		assert.Equal(t, asked, w.asked())
		assert.Equal(t, clientA, w.read("creds")["client_id"])
	})
}

func TestRotateRefusesBadSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		content, asked := w.storage.content(t), w.asked()
		for secret, want := range map[string]string{
			wrongSecret + "\x00x":            "client_secret has control characters",
			wrongSecret + long(8<<10):        "client_secret is longer than 8192 bytes",
			wrongSecret + "\n" + "two lines": "client_secret has control characters",
		} {
			assert.Equal(t, want, w.refused(w.try(logical.UpdateOperation, "rotate", fields{"client_secret": secret})))
		}
		assert.Equal(t, content, w.storage.content(t))
		assert.Equal(t, asked, w.asked())
	})
}

// client_secret=@empty-file or client_secret=$UNSET is a mistake, not "the
// stored one"; client_id=$UNSET is not "whichever is not active".
func TestRotateRefusesEmptyValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		content, asked := w.storage.content(t), w.asked()
		const noSecret = "client_secret is empty; leave it out to rotate with the secret that is stored"
		const noID = "client_id is empty; leave it out to rotate to the standby"
		for _, c := range []struct {
			request fields
			want    string
		}{
			{fields{"client_secret": ""}, noSecret},
			{fields{"client_secret": "\n"}, noSecret},
			{fields{"client_id": clientB, "client_secret": " "}, noSecret},
			{fields{"client_id": ""}, noID},
			{fields{"client_id": " \n"}, noID},
		} {
			assert.Equal(t, c.want, w.refused(w.try(logical.UpdateOperation, "rotate", c.request)), c.request)
		}
		assert.Equal(t, content, w.storage.content(t))
		assert.Equal(t, asked, w.asked())
	})
}

// JSON's null is a field that is not given.
func TestRotateTakesNullForNotGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		assert.Equal(t, clientB, w.rotate(fields{"client_id": nil, "client_secret": nil}).Data["active_client_id"])
	})
}

func TestRotateThatFailsChangesNothing(t *testing.T) {
	const closing = " Nothing has changed."
	for _, c := range []struct {
		name    string
		request fields
		before  func(*world)
		check   func(*world, answer)
		// recorded is set if the status shows it.
		recorded bool
	}{
		{
			name:    "GBG refuses the new secret",
			request: fields{"client_secret": wrongSecret},
			check: func(w *world, a answer) {
				assert.Equal(w.t, w.refusal("default", clientB)+closing, w.refused(a))
			},
		},
		{
			name:   "GBG refuses the stored secret",
			before: func(w *world) { w.regenerate(clientB) },
			check: func(w *world, a answer) {
				assert.Equal(w.t, w.refusal("default", clientB)+closing, w.refused(a))
			},
			recorded: true,
		},
		{
			name:   "GBG does not know the client",
			before: func(w *world) { require.NoError(w.t, w.sim.DeleteClient(clientB)) },
			check: func(w *world, a answer) {
				assert.Equal(w.t, w.refusal("default", clientB)+closing, w.refused(a))
			},
			recorded: true,
		},
		{
			name:   "GBG is gone",
			before: func(w *world) { w.closeGBG() },
			check: func(w *world, a answer) {
				assert.Regexp(w.t, `^connection "default": no token for client "client-b": .+ \(`+w.tokenURL()+`\)\. Nothing has changed\.$`,
					w.coded(http.StatusServiceUnavailable, a))
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", w.pair())
				content, config, creds, status := w.storage.content(t), w.read("config"), w.read("creds"), w.read("status")
				if c.before != nil {
					c.before(w)
				}
				a, _ := w.tryRetried(logical.UpdateOperation, "rotate", c.request)
				c.check(w, a)
				assert.Equal(t, config, w.read("config"))
				assert.Equal(t, without(creds, "ttl"), without(w.read("creds"), "ttl"))
				if c.recorded {
					told := []string{"state", "next_step", "standby_error", "standby_error_time"}
					assert.Equal(t, without(status, told...), without(w.read("status"), told...))
					return
				}
				assert.Equal(t, content, w.storage.content(t), "stored byte for byte")
				assert.Equal(t, status, w.read("status"))
			})
		})
	}
}

func TestRotateGivenUpChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		content, creds := w.storage.content(t), w.read("creds")
		release := w.gate.hold(clientB)
		defer release()
		ctx, giveUp := context.WithCancel(t.Context())
		rotating := later(func() answer { return w.send(ctx, logical.UpdateOperation, "rotate", nil) })
		await(t, w.gate.arrived, "the proof")
		giveUp()
		assert.ErrorIs(t, await(t, rotating, "the rotation").err, context.Canceled)
		release()
		assert.Equal(t, content, w.storage.content(t))
		assert.Equal(t, creds, w.read("creds"))
		assert.Equal(t, true, w.rotate(nil).Data["rotated"], "the way is free again")
	})
}

// regenerate_after is when the last token of the client that left has expired,
// to the second: of the last one fetched, not of the one served first.
func TestRotateRegenerateAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{lifetime: 30 * time.Minute})
		w.write("config", w.pair())
		w.read("creds")
		w.pass(45 * time.Minute) // refreshed at 12:24:55.25

		first := w.rotate(nil).Data // 12:45, and B until 13:15:00.25
		assert.Equal(t, "2026-03-01T12:54:56Z", first["regenerate_after"])
		w.pass(11 * time.Minute)

		// Now by itself: B's proof is its only token.
		second := w.rotate(nil).Data // 12:56
		assert.Equal(t, "2026-03-01T13:15:01Z", second["regenerate_after"])

		// A longer lifetime of an earlier token counts.
		require.NoError(t, w.sim.SetTokenLifetime(time.Minute))
		w.write("config", fields{"client_secret": w.regenerate(clientA)})
		third := w.rotate(fields{"client_id": clientB}).Data
		assert.Equal(t, "2026-03-01T13:26:01Z", third["regenerate_after"])
	})
}

// A client whose tokens have all ended can be regenerated at once.
func TestRotateRegenerateAfterWithNoTokenLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.pair(), fields{"verify_connection": false}))
		assert.Equal(t, "2026-03-01T12:00:01Z", w.rotate(nil).Data["regenerate_after"], "client A never had a token")
		w.pass(24 * time.Hour)
		assert.Equal(t, "2026-03-02T12:00:01Z", w.rotate(nil).Data["regenerate_after"], "client B's have ended")
	})
}

// After a restart the stored token tells what is out; without it nobody knows,
// and as much counts as could be.
func TestRotateRegenerateAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{lifetime: 5 * time.Minute})
		w.write("config", w.pair())
		require.NoError(t, w.sim.SetTokenLifetime(time.Hour)) // more than the connection's entry tells
		w.pass(5 * time.Minute)
		w.read("creds") // until 13:05:00.25
		w.mount = w.newMount()
		assert.Equal(t, "2026-03-01T13:05:01Z", w.rotate(nil).Data["regenerate_after"])
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{lifetime: 30 * time.Minute})
		w.write("config", w.pair())
		w.pass(10 * time.Minute)
		require.NoError(t, w.storage.Delete(t.Context(), "token/default"))
		w.mount = w.newMount()
		assert.Equal(t, "2026-03-01T12:40:01Z", w.rotate(nil).Data["regenerate_after"], "as the last token that the entry tells of")
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.pair(), fields{"verify_connection": false}))
		w.mount = w.newMount()
		assert.Equal(t, "2026-03-02T12:00:01Z", w.rotate(nil).Data["regenerate_after"], "no lifetime is known: a day")
	})
}

// The secret of the client that left has no use any more, so that regenerating
// it hurts nobody.
func TestRotateOldSecretMayDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		w.rotate(nil)
		w.regenerate(clientA)
		for range 3 {
			w.pass(time.Hour)
			assert.Equal(t, clientB, w.read("creds")["client_id"])
		}
	})
}

// A read-only node must hand Vault its own error, bare: Vault then forwards.
func TestRotateOnAReadOnlyStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		w.storage.failPut(func(context.Context, *logical.StorageEntry) error {
			return errors.Join(errors.New("here"), logical.ErrReadOnly)
		})
		assert.Equal(t, logical.ErrReadOnly, w.try(logical.UpdateOperation, "rotate", nil).err)
		assert.Equal(t, clientA, w.read("creds")["client_id"])
	})
}

// A token that could be served but not stored counts after a restart too.
func TestRotateRegenerateAfterATokenThatWasNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		w.read("creds")
		w.storage.failPut(func(ctx context.Context, e *logical.StorageEntry) error {
			if strings.HasPrefix(e.Key, "token/") {
				return errDisk
			}
			return w.storage.InmemStorage.Put(ctx, e)
		})
		w.pass(55 * time.Minute)
		expires := w.read("creds")["expire_time"]
		w.storage.heal()
		w.mount = w.newMount()
		assert.GreaterOrEqual(t, w.rotate(nil).Data["regenerate_after"], expires)
	})
}

// regenerate_after is when the last token of the client has expired, which need
// not be the newest one: GBG may have shortened its lifetimes. Memory knows; after
// a restart nobody does.
func TestRegenerateAfterAShorterLifetimeAndARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, restart := range []bool{false, true} {
			w := newWorld(t, worldOptions{})
			w.write("config", w.pair())
			expires := w.read("creds")["expire_time"]
			require.NoError(t, w.sim.SetTokenLifetime(time.Minute))
			w.pass(3296 * time.Second) // 13:00:00 is the end of the first, 12:55:55 that of the second
			require.Less(t, w.read("creds")["expire_time"], expires)
			if restart {
				w.restart()
			}
			assert.GreaterOrEqual(t, w.rotate(nil).Data["regenerate_after"], expires, "restart: %v", restart)
		}
	})
}
