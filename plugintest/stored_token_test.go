package plugintest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gbg "gbg.example/vault-plugin-secrets-gbg"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// After a restart the token is served at once, whether GBG is there or not.
func TestRestartServesTheStoredToken(t *testing.T) {
	for name, at := range map[string]time.Duration{
		"young":                  0,
		"about to be refreshed":  3300*time.Second - 50*time.Millisecond,
		"past its refresh time":  3300*time.Second + 50*time.Millisecond,
		"in its last second":     3599 * time.Second,
		"in its last nanosecond": time.Hour - 1,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", w.pair())
				w.pass(at)
				w.closeGBG()
				for range 3 {
					w.restart()
					got := w.read("creds")
					assert.Equal(t, "2026-03-01T12:00:00.250000000Z", got["last_vault_rotation"])
					assert.True(t, w.live(got["access_token"]))
					assert.LessOrEqual(t, time.Now().Add(secondsOf(got["ttl"])), start.Add(time.Hour+time.Second))
				}
				assert.Equal(t, 2, w.asked())
			})
		})
	}
}

// And it is refreshed ahead like any other, once it has been read.
func TestRestartRefreshesTheStoredToken(t *testing.T) {
	for _, at := range []time.Duration{0, 10 * time.Minute, 3294 * time.Second, 3297 * time.Second} {
		t.Run(at.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", w.single())
				w.pass(at)
				w.restart()
				old := w.read("creds")
				assert.Equal(t, start, w.moment(old["last_vault_rotation"]))
				w.passUntil(start.Add(3300 * time.Second))
				assert.Equal(t, 2, w.asked(), "ahead")
				next := w.read("creds")
				assert.NotEqual(t, old["access_token"], next["access_token"])
				assert.True(t, w.live(old["access_token"]))
				assert.Equal(t, 2, w.asked())
			})
		})
	}
}

// A token that came from a refresh, a rotation or a failover is stored as well as
// the first.
func TestRestartServesTheNewestToken(t *testing.T) {
	for name, renew := range map[string]func(*world){
		"a refresh":  func(w *world) { w.read("creds"); w.pass(55 * time.Minute) },
		"a rotation": func(w *world) { w.rotate(nil) },
		"a failover": func(w *world) { w.read("creds"); w.fault(refusalOf(clientA)); w.pass(55 * time.Minute) },
		"min_ttl":    func(w *world) { w.pass(1201 * time.Second); w.creds(fields{"min_ttl": 2400}) },
		"a new scope": func(w *world) {
			w.write("config", fields{"scope": "gbg.token gbg.token"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", w.pair())
				first := w.read("creds")
				renew(w)
				synctest.Wait()
				newest := w.read("creds")
				require.NotEqual(t, first["access_token"], newest["access_token"])
				w.closeGBG()
				w.restart()
				assert.Equal(t, without(newest, "ttl"), without(w.read("creds"), "ttl"))
			})
		})
	}
}

// What is stored and cannot be the current token is passed over.
func TestStoredTokenThatIsPassedOver(t *testing.T) {
	for name, c := range map[string]struct {
		entry fields // what is changed of it
		bytes string // what is in its place
	}{
		"of another client":           {entry: fields{"client_id": clientB}},
		"of another URL":              {entry: fields{"token_url": "https://gbg.example/token"}},
		"of another scope":            {entry: fields{"asked": "gbg.other"}},
		"expired":                     {entry: fields{"fetched": start.Add(-time.Hour), "expires": start}},
		"from the future":             {entry: fields{"fetched": start.Add(2 * time.Minute), "expires": start.Add(time.Hour)}},
		"that ended before it began":  {entry: fields{"fetched": start, "expires": start.Add(-time.Hour)}},
		"that lives too long":         {entry: fields{"expires": start.Add(25 * time.Hour)}},
		"with a successor before it":  {entry: fields{"overlap": 2 * time.Hour}},
		"with a successor after it":   {entry: fields{"overlap": -time.Hour}},
		"of a newer version":          {entry: fields{"version": 2}},
		"of no version":               {entry: fields{"version": 0}},
		"without a token":             {entry: fields{"access_token": ""}},
		"without times":               {entry: fields{"fetched": nil, "expires": nil}},
		"with a time that is none":    {entry: fields{"expires": "soon"}},
		"with a token of other kind":  {entry: fields{"access_token": 1}},
		"that is cut off":             {bytes: `{"version":1,"access_token":"` + gbgsim.TokenPrefix},
		"that is null":                {bytes: `null`},
		"that is another JSON value":  {bytes: `[1]`},
		"that is empty":               {bytes: ``},
		"that is not JSON, with data": {bytes: "\x00\xff"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", w.pair())
				stored := w.read("creds")
				w.rewriteToken(c.entry, c.bytes)
				w.restart()
				got := w.read("creds")
				assert.NotEqual(t, stored["access_token"], got["access_token"])
				assert.Equal(t, clientA, w.owner(got["access_token"]))
				assert.True(t, w.live(got["access_token"]))
				assert.Equal(t, 3, w.asked())

				// And the new one takes its place.
				w.restart()
				assert.Equal(t, without(got, "ttl"), without(w.read("creds"), "ttl"))
			})
		})
	}
}

// rewriteToken changes the stored token of the connection "default", or puts
// other bytes in its place.
func (w *world) rewriteToken(changed fields, other string) {
	w.t.Helper()
	if changed != nil {
		stored, err := w.storage.Get(w.t.Context(), tokenKey)
		require.NoError(w.t, err)
		require.NotNil(w.t, stored)
		entry := fields{}
		require.NoError(w.t, json.Unmarshal(stored.Value, &entry))
		for key := range changed {
			require.Contains(w.t, entry, key, "the stored form has another name for it")
		}
		encoded, err := json.Marshal(with(entry, changed))
		require.NoError(w.t, err)
		other = string(encoded)
	}
	require.NoError(w.t, w.storage.Put(w.t.Context(), &logical.StorageEntry{Key: tokenKey, Value: []byte(other)}))
}

// The same without a look at the stored form: the token stays behind because
// storage refuses to take or delete the next one.
func TestStoredTokenThatWasLeftBehind(t *testing.T) {
	for name, change := range map[string]func(*world){
		"of the client that has left": func(w *world) { w.rotate(nil) },
		"of another scope": func(w *world) {
			w.write("config", fields{"scope": "gbg.token gbg.token", "verify_connection": false})
		},
		"of another client in the same place": func(w *world) {
			w.write("config", fields{"client_id": "client-c", "client_secret": w.client("client-c"), "verify_connection": false})
		},
		"of another URL": func(w *world) {
			w.write("config", fields{
				"token_url": w.tokenURL() + "?a=b", "verify_connection": false,
				"client_secret": w.regenerate(clientA), "paired_client_secret": w.regenerate(clientB),
			})
		},
		"expired": func(w *world) { w.pass(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", w.pair())
				old := w.read("creds")
				w.storage.refuse("token/", errDisk)
				w.storage.FailDelete(true)
				change(w)
				w.restart()
				got := w.read("creds")
				assert.NotEqual(t, old["access_token"], got["access_token"])
				assert.Equal(t, w.read("config")["active_client_id"], w.owner(got["access_token"]))
				assert.True(t, w.live(got["access_token"]))
				w.storage.FailDelete(false)
			})
		})
	}
}

// A node whose clock is behind that of the one that stored the token: a little
// does not matter, more is a clock that is wrong.
func TestStoredTokenFromTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for behind, served := range map[time.Duration]bool{0: true, time.Minute: true, time.Minute + time.Second: false, 24 * time.Hour: false} {
			w := newWorld(t, worldOptions{})
			w.write("config", w.single())
			old := w.read("creds")
			w.backend.Cleanup(t.Context())
			began := time.Now()
			w.mount = w.mountWith(gbg.Options{Now: func() time.Time { return start.Add(time.Since(began) - behind) }})
			got := w.read("creds")
			assert.Equal(t, served, got["access_token"] == old["access_token"], behind)
			if !served {
				assert.Equal(t, timestamp(start.Add(time.Hour-behind)), got["expire_time"])
			}
		}
	})
}

func TestStoredTokenGoesWithTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config", pair)
		w.write("config/team-a", pair)
		w.read("creds")
		w.ok(w.try(logical.DeleteOperation, "config", nil))
		assert.Equal(t, []string{"connection/team-a", "token/team-a"}, slices.Sorted(maps.Keys(w.storage.content(t))))
		w.pass(24 * time.Hour)
		w.restart()
		assert.Contains(t, w.refused(w.try(logical.ReadOperation, "creds", nil)), "is not configured")

		// A connection of the same name begins anew.
		w.write("config", with(pair, fields{"verify_connection": false}))
		asked := w.asked()
		w.read("creds")
		assert.Equal(t, asked+1, w.asked())
	})
}

// If the connection cannot be deleted, its token may be gone: another one is
// fetched.
func TestDeleteThatFailsHalfway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		w.storage.FailDelete(true)
		require.Error(t, w.try(logical.DeleteOperation, "config", nil).err)
		w.storage.FailDelete(false)
		require.NoError(t, w.storage.Delete(t.Context(), tokenKey))
		w.restart()
		assert.Equal(t, clientA, w.read("creds")["client_id"])
	})
}

// Every token is written once, and nothing else is.
func TestOneWritePerToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		for period := 1; period <= 5; period++ {
			for range 10 {
				w.read("creds")
			}
			w.read("status")
			assert.Equal(t, period, w.storage.writesOf(tokenKey))
			w.pass(55 * time.Minute)
		}
		assert.Equal(t, 1, w.storage.writesOf(connectionKey))
		tokens := w.storage.writesOf(tokenKey)
		for _, untouched := range []fields{{"refresh_before": 60}, {"request_timeout": 20}, {"client_secret": wrongSecret, "verify_connection": false}} {
			w.write("config", untouched)
		}
		w.read("creds")
		w.restart()
		w.read("creds")
		assert.Equal(t, tokens, w.storage.writesOf(tokenKey), "none for a token that stays")
		assert.Equal(t, 4, w.storage.writesOf(connectionKey))
		w.rotate(nil)
		w.read("creds")
		assert.Equal(t, tokens+1, w.storage.writesOf(tokenKey))
		assert.Equal(t, 5, w.storage.writesOf(connectionKey))
		assert.Len(t, w.storage.written, tokens+1+5)
	})
}

// Tokens are sealed and stay in the cluster.
func TestTokensAreSealedAndLocal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		special := w.backend.SpecialPaths()
		assert.Equal(t, []string{"token/", "revocation/"}, special.LocalStorage)
		assert.Contains(t, special.SealWrapStorage, "token/")
		w.storage.failPut(func(_ context.Context, entry *logical.StorageEntry) error {
			assert.True(t, entry.SealWrap, entry.Key)
			return w.storage.InmemStorage.Put(t.Context(), entry)
		})
		w.write("config", fields{"refresh_before": 60})
		w.pass(time.Hour)
		w.read("creds")
		assert.Equal(t, 2, w.storage.writesOf(tokenKey))
	})
}

// A restart that comes while a token is on its way to storage: what readers have
// seen is stored, and what is not stored no reader has seen. Otherwise
// regenerate_after would be that of an older token.
func TestRestartWhileATokenIsStored(t *testing.T) {
	for name, sealed := range map[string]bool{"storage takes it": false, "storage takes nothing any more": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", w.pair())
				w.pass(time.Hour) // and the token, which nobody has read, ends

				ended := make(chan struct{})
				w.storage.failPut(func(ctx context.Context, entry *logical.StorageEntry) error {
					go func() {
						defer close(ended)
						w.backend.Cleanup(t.Context())
					}()
					for !strings.Contains(fmt.Sprint(w.send(t.Context(), logical.UpdateOperation, "rotate/other", nil).err), "shutting down") {
						runtime.Gosched()
					}
					if sealed {
						w.storage.FailDelete(true)
						return errDisk
					}
					return w.storage.InmemStorage.Put(ctx, entry)
				})
				a := await(t, w.begin(logical.ReadOperation, "creds", nil), "the reader")
				await(t, ended, "the shutdown")
				w.storage.takeWrites()
				w.storage.FailDelete(false)
				w.mount = w.newMount()

				if sealed {
					require.ErrorContains(t, a.err, "shutting down")
					assert.NotContains(t, w.read("status"), "token_expire_time", "nothing of it was stored")
					return
				}
				got := w.ok(a).Data
				assert.Equal(t, without(got, "ttl"), without(w.read("creds"), "ttl"))
				assert.GreaterOrEqual(t, w.rotate(nil).Data["regenerate_after"], got["expire_time"])
			})
		})
	}
}

// A config write whose caller goes away when the connection is stored, but not
// yet the token that verified it.
func TestConfigWriterWhoLeavesEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		w.read("creds")
		w.pass(10 * time.Minute)
		ctx, leave := context.WithCancel(t.Context())
		w.storage.failPut(func(ctx context.Context, entry *logical.StorageEntry) error {
			if entry.Key == tokenKey {
				leave()
			}
			return w.storage.InmemStorage.Put(ctx, entry)
		})
		w.send(ctx, logical.UpdateOperation, "config", fields{"client_secret": w.regenerate(clientA)})
		w.storage.takeWrites()
		got := w.read("creds")
		require.Equal(t, timestamp(start.Add(70*time.Minute)), got["expire_time"])
		w.restart()
		assert.Equal(t, without(got, "ttl"), without(w.read("creds"), "ttl"))
		assert.GreaterOrEqual(t, w.rotate(nil).Data["regenerate_after"], got["expire_time"])
	})
}

// A storage that takes no tokens, or nothing at all, keeps nobody from reading.
func TestStorageThatTakesNoTokens(t *testing.T) {
	for name, c := range map[string]struct {
		prefix string
		err    error
		warned bool
	}{
		"full for tokens":      {"token/", errDisk, true},
		"read-only":            {"", logical.ErrReadOnly, false},
		"read-only for tokens": {"token/", logical.ErrReadOnly, false},
		"full":                 {"", errDisk, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", with(w.pair(), fields{"verify_connection": false}))
				w.storage.refuse(c.prefix, c.err)
				w.restart()
				old := w.read("creds") // cold
				for range 3 {
					w.pass(secondsOf(old["ttl"]) + 500*time.Millisecond)
					next := w.read("creds")
					assert.NotEqual(t, old["access_token"], next["access_token"])
					assert.True(t, w.live(old["access_token"]))
					old = next
				}
				assert.Equal(t, 4, w.asked())
				assert.NotContains(t, w.read("status"), "last_error")
				assert.Equal(t, c.warned, w.logged("the current token could not be stored"))

				w.restart()
				assert.True(t, w.live(w.read("creds")["access_token"]))
				assert.Equal(t, 5, w.asked())
			})
		})
	}
}

// If the new token cannot be stored, the one before does not pass for it after a
// restart.
func TestStorageThatStopsTakingTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		old := w.read("creds")
		w.storage.refuse("token/", errDisk)
		w.pass(55 * time.Minute)
		next := w.read("creds")
		require.NotEqual(t, old["access_token"], next["access_token"])
		w.restart()
		got := w.read("creds")
		assert.NotEqual(t, old["access_token"], got["access_token"], "a token of the past")
		assert.True(t, w.live(old["access_token"]), "it could have been")
	})
}

func (w *world) logged(text string) bool {
	return strings.Contains(w.heard.log.String(), text)
}

// A storage that cannot read the token has the connection all the same.
func TestStoredTokenThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.single())
		get := func(ctx context.Context, key string) (*logical.StorageEntry, error) {
			if key == tokenKey {
				return nil, errDisk
			}
			return w.storage.InmemStorage.Get(ctx, key)
		}
		w.storage.onGet.Store(&get)
		w.restart()
		assert.True(t, w.live(w.read("creds")["access_token"]))
		assert.Equal(t, 2, w.asked())
		assert.True(t, w.logged("the stored token could not be read"))
	})
}

// A node that may not write refuses nobody who does not need it to.
func TestReadOnlyNodeAndARefusedClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		w.pass(time.Hour)
		content := w.storage.content(t)
		w.storage.refuse("", logical.ErrReadOnly)
		w.fault(refusalOf(clientA))
		a := w.tryCreds()
		assert.Equal(t, logical.ErrReadOnly, a.err, "bare, so that Vault sends the reader to a node that may write")
		assert.Equal(t, content, w.storage.content(t))
		assert.Equal(t, clientA, w.read("config")["active_client_id"])

		// The other node does it, and this one hears of it.
		w.storage.takeWrites()
		writer := w.newMount()
		assert.Equal(t, clientB, writer.read("creds")["client_id"])
		w.backend.InvalidateKey(t.Context(), connectionKey)
		w.backend.InvalidateKey(t.Context(), tokenKey)
		assert.Equal(t, without(writer.read("creds"), "ttl"), without(w.read("creds"), "ttl"))
	})
}

// Nor does it ask GBG at every read, while the token is still valid.
func TestReadOnlyNodeInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		old := w.read("creds")
		w.storage.refuse("", logical.ErrReadOnly)
		w.fault(refusalOf(clientA))
		w.passUntil(start.Add(3301 * time.Second))
		for time.Now().Before(start.Add(time.Hour - time.Second)) {
			for range 10 {
				assert.Equal(t, without(old, "ttl"), without(w.read("creds"), "ttl"))
				synctest.Wait()
			}
			w.pass(10 * time.Second)
		}
		t.Logf("%d token requests in five minutes", w.asked()-2)
		assert.LessOrEqual(t, w.asked()-2, 36)
		assert.Equal(t, clientA, w.read("config")["active_client_id"])
	})
}

// regenerate_after is when the last token of the client that left has expired, on
// the second, also if a restart is between.
func TestRegenerateAfterARestart(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*world)
		want   time.Duration
	}{
		"at once":         {func(*world) {}, time.Hour},
		"after a read":    {func(w *world) { w.restart(); w.read("creds") }, time.Hour},
		"later":           {func(w *world) { w.pass(59 * time.Minute) }, time.Hour},
		"after a refresh": {func(w *world) { w.read("creds"); w.pass(56 * time.Minute) }, 2*time.Hour - 305*time.Second},
		"after min_ttl":   {func(w *world) { w.pass(1201 * time.Second); w.creds(fields{"min_ttl": 2400}) }, time.Hour + 1201*time.Second},
		"after another lifetime": {func(w *world) {
			require.NoError(w.t, w.sim.SetTokenLifetime(3*time.Hour))
			w.read("creds")
			w.pass(56 * time.Minute)
		}, 4*time.Hour - 305*time.Second},
		"when it has passed": {func(w *world) { w.pass(2 * time.Hour) }, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", w.pair())
				c.before(w)
				synctest.Wait()
				w.restart()
				want := timestamp(roundedUp(start.Add(c.want)))
				assert.Equal(t, want, w.rotate(nil).Data["regenerate_after"])
				w.restart()
				assert.Equal(t, want, w.read("status")["regenerate_after"])
				assert.Equal(t, want, w.rotate(fields{"client_id": clientB}).Data["regenerate_after"])
			})
		})
	}
}

// Without the stored token nobody knows what is out: rather too late than too
// early.
func TestRegenerateAfterALostToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{lifetime: 1000 * time.Second})
		w.write("config", w.pair())
		require.NoError(t, w.storage.Delete(t.Context(), tokenKey))
		w.pass(600 * time.Second)
		w.restart()
		assert.Equal(t, timestamp(roundedUp(start.Add(1600*time.Second))), w.rotate(nil).Data["regenerate_after"])
	})
}

// request_timeout is for GBG. Once GBG has answered, storage is not broken off
// because the time is up: a failover that has been proven would be lost with an
// error 500, and a token would not be stored.
func TestSlowStorageAfterALateAnswer(t *testing.T) {
	for name, refused := range map[string][]gbgsim.Fault{"a token": nil, "a failover": {refusalOf(clientA)}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := coldWith(t, fields{"request_timeout": 5})
				w.fault(refused...)
				w.storage.slow(6 * time.Second)
				got := w.ok(await(t, w.begin(logical.ReadOperation, "creds", nil), "the reader")).Data
				w.storage.slow(0)
				require.Contains(t, w.storage.content(t), tokenKey)
				w.restart()
				assert.Equal(t, without(got, "ttl"), without(w.read("creds"), "ttl"))
			})
		})
	}
}
