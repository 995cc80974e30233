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
	gbg "vault-plugin-secrets-gbg"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-gbg/internal/gbgsim"
)

// After a restart the token is served at once, whether GBG is there or not.
func TestFreshRestartServesTheStoredToken(t *testing.T) {
	for name, at := range map[string]time.Duration{
		"young":                  0,
		"about to be refreshed":  3300*time.Second - 50*time.Millisecond,
		"past its refresh time":  3300*time.Second + 50*time.Millisecond,
		"in its last second":     3599 * time.Second,
		"in its last nanosecond": time.Hour - 1,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newWorld(t, worldOptions{})
				f.write("config", f.pair())
				f.pass(at)
				f.gbg.Close()
				for range 3 {
					f.restart()
					got := f.read("creds")
					assert.Equal(t, "2026-03-01T12:00:00.250000000Z", got["last_vault_rotation"])
					assert.True(t, f.live(got["access_token"]))
					assert.LessOrEqual(t, time.Now().Add(secondsOf(got["ttl"])), start.Add(time.Hour+time.Second))
				}
				assert.Equal(t, 2, f.asked())
			})
		})
	}
}

// And it is refreshed ahead like any other, once it has been read.
func TestFreshRestartRefreshesTheStoredToken(t *testing.T) {
	for _, at := range []time.Duration{0, 10 * time.Minute, 3294 * time.Second, 3297 * time.Second} {
		t.Run(at.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newWorld(t, worldOptions{})
				f.write("config", f.single())
				f.pass(at)
				f.restart()
				old := f.read("creds")
				assert.Equal(t, start, f.moment(old["last_vault_rotation"]))
				f.passUntil(start.Add(3300 * time.Second))
				assert.Equal(t, 2, f.asked(), "ahead")
				next := f.read("creds")
				assert.NotEqual(t, old["access_token"], next["access_token"])
				assert.True(t, f.live(old["access_token"]))
				assert.Equal(t, 2, f.asked())
			})
		})
	}
}

// A token that came from a refresh, a rotation or a failover is stored as well as
// the first.
func TestFreshRestartServesTheNewestToken(t *testing.T) {
	for name, renew := range map[string]func(*world){
		"a refresh":  func(f *world) { f.read("creds"); f.pass(55 * time.Minute) },
		"a rotation": func(f *world) { f.rotate(nil) },
		"a failover": func(f *world) { f.read("creds"); f.fault(freshRefusal(clientA)); f.pass(55 * time.Minute) },
		"min_ttl":    func(f *world) { f.pass(1201 * time.Second); f.creds(fields{"min_ttl": 2400}) },
		"a new scope": func(f *world) {
			f.write("config", fields{"scope": "gbg.token gbg.token"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newWorld(t, worldOptions{})
				f.write("config", f.pair())
				first := f.read("creds")
				renew(f)
				synctest.Wait()
				newest := f.read("creds")
				require.NotEqual(t, first["access_token"], newest["access_token"])
				f.gbg.Close()
				f.restart()
				assert.Equal(t, without(newest, "ttl"), without(f.read("creds"), "ttl"))
			})
		})
	}
}

// What is stored and cannot be the current token is passed over.
func TestFreshStoredTokenThatIsPassedOver(t *testing.T) {
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
				f := newWorld(t, worldOptions{})
				f.write("config", f.pair())
				stored := f.read("creds")
				f.rewriteToken(c.entry, c.bytes)
				f.restart()
				got := f.read("creds")
				assert.NotEqual(t, stored["access_token"], got["access_token"])
				assert.Equal(t, clientA, f.owner(got["access_token"]))
				assert.True(t, f.live(got["access_token"]))
				assert.Equal(t, 3, f.asked())

				// And the new one takes its place.
				f.restart()
				assert.Equal(t, without(got, "ttl"), without(f.read("creds"), "ttl"))
			})
		})
	}
}

// rewriteToken changes the stored token of the connection "default", or puts
// other bytes in its place.
func (f *world) rewriteToken(changed fields, other string) {
	f.t.Helper()
	if changed != nil {
		stored, err := f.storage.Get(f.t.Context(), tokenKey)
		require.NoError(f.t, err)
		require.NotNil(f.t, stored)
		entry := fields{}
		require.NoError(f.t, json.Unmarshal(stored.Value, &entry))
		for key := range changed {
			require.Contains(f.t, entry, key, "the stored form has another name for it")
		}
		encoded, err := json.Marshal(with(entry, changed))
		require.NoError(f.t, err)
		other = string(encoded)
	}
	require.NoError(f.t, f.storage.Put(f.t.Context(), &logical.StorageEntry{Key: tokenKey, Value: []byte(other)}))
}

// The same without a look at the stored form: the token stays behind because
// storage refuses to take or delete the next one.
func TestFreshStoredTokenThatWasLeftBehind(t *testing.T) {
	for name, change := range map[string]func(*world){
		"of the client that has left": func(f *world) { f.rotate(nil) },
		"of another scope": func(f *world) {
			f.write("config", fields{"scope": "gbg.token gbg.token", "verify_connection": false})
		},
		"of another client in the same place": func(f *world) {
			f.write("config", fields{"client_id": "client-c", "client_secret": f.client("client-c"), "verify_connection": false})
		},
		"of another URL": func(f *world) {
			f.write("config", fields{
				"token_url": f.tokenURL() + "?a=b", "verify_connection": false,
				"client_secret": f.regenerate(clientA), "paired_client_secret": f.regenerate(clientB),
			})
		},
		"expired": func(f *world) { f.pass(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newWorld(t, worldOptions{})
				f.write("config", f.pair())
				old := f.read("creds")
				f.storage.refuse("token/", errDisk)
				f.storage.FailDelete(true)
				change(f)
				f.restart()
				got := f.read("creds")
				assert.NotEqual(t, old["access_token"], got["access_token"])
				assert.Equal(t, f.read("config")["active_client_id"], f.owner(got["access_token"]))
				assert.True(t, f.live(got["access_token"]))
				f.storage.FailDelete(false)
			})
		})
	}
}

// A node whose clock is behind that of the one that stored the token: a little
// does not matter, more is a clock that is wrong.
func TestFreshStoredTokenFromTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for behind, served := range map[time.Duration]bool{0: true, time.Minute: true, time.Minute + time.Second: false, 24 * time.Hour: false} {
			f := newWorld(t, worldOptions{})
			f.write("config", f.single())
			old := f.read("creds")
			f.backend.Cleanup(t.Context())
			began := time.Now()
			f.mount = f.mountWith(gbg.Options{Now: func() time.Time { return start.Add(time.Since(began) - behind) }})
			got := f.read("creds")
			assert.Equal(t, served, got["access_token"] == old["access_token"], behind)
			if !served {
				assert.Equal(t, timestamp(start.Add(time.Hour-behind)), got["expire_time"])
			}
		}
	})
}

func TestFreshStoredTokenGoesWithTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		pair := f.pair()
		f.write("config", pair)
		f.write("config/team-a", pair)
		f.read("creds")
		f.ok(f.try(logical.DeleteOperation, "config", nil))
		assert.Equal(t, []string{"connection/team-a", "token/team-a"}, slices.Sorted(maps.Keys(f.storage.content(t))))
		f.pass(24 * time.Hour)
		f.restart()
		assert.Contains(t, f.refused(f.try(logical.ReadOperation, "creds", nil)), "is not configured")

		// A connection of the same name begins anew.
		f.write("config", with(pair, fields{"verify_connection": false}))
		asked := f.asked()
		f.read("creds")
		assert.Equal(t, asked+1, f.asked())
	})
}

// If the connection cannot be deleted, its token may be gone: another one is
// fetched.
func TestFreshDeleteThatFailsHalfway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		f.storage.FailDelete(true)
		require.Error(t, f.try(logical.DeleteOperation, "config", nil).err)
		f.storage.FailDelete(false)
		require.NoError(t, f.storage.Delete(t.Context(), tokenKey))
		f.restart()
		assert.Equal(t, clientA, f.read("creds")["client_id"])
	})
}

// Every token is written once, and nothing else is.
func TestFreshOneWritePerToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.pair())
		for period := 1; period <= 5; period++ {
			for range 10 {
				f.read("creds")
			}
			f.read("status")
			assert.Equal(t, period, f.storage.writesOf(tokenKey))
			f.pass(55 * time.Minute)
		}
		assert.Equal(t, 1, f.storage.writesOf(connectionKey))
		tokens := f.storage.writesOf(tokenKey)
		for _, untouched := range []fields{{"refresh_before": 60}, {"request_timeout": 20}, {"client_secret": wrongSecret, "verify_connection": false}} {
			f.write("config", untouched)
		}
		f.read("creds")
		f.restart()
		f.read("creds")
		assert.Equal(t, tokens, f.storage.writesOf(tokenKey), "none for a token that stays")
		assert.Equal(t, 4, f.storage.writesOf(connectionKey))
		f.rotate(nil)
		f.read("creds")
		assert.Equal(t, tokens+1, f.storage.writesOf(tokenKey))
		assert.Equal(t, 5, f.storage.writesOf(connectionKey))
		assert.Len(t, f.storage.written, tokens+1+5)
	})
}

// Tokens are sealed and stay in the cluster.
func TestFreshTokensAreSealedAndLocal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		special := f.backend.SpecialPaths()
		assert.Equal(t, []string{"token/", "revocation/"}, special.LocalStorage)
		assert.Contains(t, special.SealWrapStorage, "token/")
		f.storage.failPut(func(_ context.Context, entry *logical.StorageEntry) error {
			assert.True(t, entry.SealWrap, entry.Key)
			return f.storage.InmemStorage.Put(t.Context(), entry)
		})
		f.write("config", fields{"refresh_before": 60})
		f.pass(time.Hour)
		f.read("creds")
		assert.Equal(t, 2, f.storage.writesOf(tokenKey))
	})
}

// A restart that comes while a token is on its way to storage: what readers have
// seen is stored, and what is not stored no reader has seen. Otherwise
// regenerate_after would be that of an older token.
func TestFreshRestartWhileATokenIsStored(t *testing.T) {
	for name, sealed := range map[string]bool{"storage takes it": false, "storage takes nothing any more": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newWorld(t, worldOptions{})
				f.write("config", f.pair())
				f.pass(time.Hour) // and the token, which nobody has read, ends

				ended := make(chan struct{})
				f.storage.failPut(func(ctx context.Context, entry *logical.StorageEntry) error {
					go func() {
						defer close(ended)
						f.backend.Cleanup(t.Context())
					}()
					for !strings.Contains(fmt.Sprint(f.send(t.Context(), logical.UpdateOperation, "rotate/other", nil).err), "shutting down") {
						runtime.Gosched()
					}
					if sealed {
						f.storage.FailDelete(true)
						return errDisk
					}
					return f.storage.InmemStorage.Put(ctx, entry)
				})
				a := await(t, f.begin(logical.ReadOperation, "creds", nil), "the reader")
				await(t, ended, "the shutdown")
				f.storage.takeWrites()
				f.storage.FailDelete(false)
				f.mount = f.newMount()

				if sealed {
					require.ErrorContains(t, a.err, "shutting down")
					assert.NotContains(t, f.read("status"), "token_expire_time", "nothing of it was stored")
					return
				}
				got := f.ok(a).Data
				assert.Equal(t, without(got, "ttl"), without(f.read("creds"), "ttl"))
				assert.GreaterOrEqual(t, f.rotate(nil).Data["regenerate_after"], got["expire_time"])
			})
		})
	}
}

// A config write whose caller goes away when the connection is stored, but not
// yet the token that verified it.
func TestFreshConfigWriterWhoLeavesEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.pair())
		f.read("creds")
		f.pass(10 * time.Minute)
		ctx, leave := context.WithCancel(t.Context())
		f.storage.failPut(func(ctx context.Context, entry *logical.StorageEntry) error {
			if entry.Key == tokenKey {
				leave()
			}
			return f.storage.InmemStorage.Put(ctx, entry)
		})
		f.send(ctx, logical.UpdateOperation, "config", fields{"client_secret": f.regenerate(clientA)})
		f.storage.takeWrites()
		got := f.read("creds")
		require.Equal(t, timestamp(start.Add(70*time.Minute)), got["expire_time"])
		f.restart()
		assert.Equal(t, without(got, "ttl"), without(f.read("creds"), "ttl"))
		assert.GreaterOrEqual(t, f.rotate(nil).Data["regenerate_after"], got["expire_time"])
	})
}

// A storage that takes no tokens, or nothing at all, keeps nobody from reading.
func TestFreshStorageThatTakesNoTokens(t *testing.T) {
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
				f := newWorld(t, worldOptions{})
				f.write("config", with(f.pair(), fields{"verify_connection": false}))
				f.storage.refuse(c.prefix, c.err)
				f.restart()
				old := f.read("creds") // cold
				for range 3 {
					f.pass(secondsOf(old["ttl"]) + 500*time.Millisecond)
					next := f.read("creds")
					assert.NotEqual(t, old["access_token"], next["access_token"])
					assert.True(t, f.live(old["access_token"]))
					old = next
				}
				assert.Equal(t, 4, f.asked())
				assert.NotContains(t, f.read("status"), "last_error")
				assert.Equal(t, c.warned, f.logged("the current token could not be stored"))

				f.restart()
				assert.True(t, f.live(f.read("creds")["access_token"]))
				assert.Equal(t, 5, f.asked())
			})
		})
	}
}

// If the new token cannot be stored, the one before does not pass for it after a
// restart.
func TestFreshStorageThatStopsTakingTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		old := f.read("creds")
		f.storage.refuse("token/", errDisk)
		f.pass(55 * time.Minute)
		next := f.read("creds")
		require.NotEqual(t, old["access_token"], next["access_token"])
		f.restart()
		got := f.read("creds")
		assert.NotEqual(t, old["access_token"], got["access_token"], "a token of the past")
		assert.True(t, f.live(old["access_token"]), "it could have been")
	})
}

func (f *world) logged(text string) bool {
	return strings.Contains(f.heard.log.String(), text)
}

// A storage that cannot read the token has the connection all the same.
func TestFreshStoredTokenThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.single())
		get := func(ctx context.Context, key string) (*logical.StorageEntry, error) {
			if key == tokenKey {
				return nil, errDisk
			}
			return f.storage.InmemStorage.Get(ctx, key)
		}
		f.storage.onGet.Store(&get)
		f.restart()
		assert.True(t, f.live(f.read("creds")["access_token"]))
		assert.Equal(t, 2, f.asked())
		assert.True(t, f.logged("the stored token could not be read"))
	})
}

// A node that may not write refuses nobody who does not need it to.
func TestFreshReadOnlyNodeAndARefusedClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.pair())
		f.pass(time.Hour)
		content := f.storage.content(t)
		f.storage.refuse("", logical.ErrReadOnly)
		f.fault(freshRefusal(clientA))
		a := f.tryCreds()
		assert.Equal(t, logical.ErrReadOnly, a.err, "bare, so that Vault sends the reader to a node that may write")
		assert.Equal(t, content, f.storage.content(t))
		assert.Equal(t, clientA, f.read("config")["active_client_id"])

		// The other node does it, and this one hears of it.
		f.storage.takeWrites()
		writer := f.newMount()
		assert.Equal(t, clientB, writer.read("creds")["client_id"])
		f.backend.InvalidateKey(t.Context(), connectionKey)
		f.backend.InvalidateKey(t.Context(), tokenKey)
		assert.Equal(t, without(writer.read("creds"), "ttl"), without(f.read("creds"), "ttl"))
	})
}

// Nor does it ask GBG at every read, while the token is still valid.
func TestFreshReadOnlyNodeInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.pair())
		old := f.read("creds")
		f.storage.refuse("", logical.ErrReadOnly)
		f.fault(freshRefusal(clientA))
		f.passUntil(start.Add(3301 * time.Second))
		for time.Now().Before(start.Add(time.Hour - time.Second)) {
			for range 10 {
				assert.Equal(t, without(old, "ttl"), without(f.read("creds"), "ttl"))
				synctest.Wait()
			}
			f.pass(10 * time.Second)
		}
		t.Logf("%d token requests in five minutes", f.asked()-2)
		assert.LessOrEqual(t, f.asked()-2, 36)
		assert.Equal(t, clientA, f.read("config")["active_client_id"])
	})
}

// regenerate_after is when the last token of the client that left has expired, on
// the second, also if a restart is between.
func TestFreshRegenerateAfterARestart(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*world)
		want   time.Duration
	}{
		"at once":         {func(*world) {}, time.Hour},
		"after a read":    {func(f *world) { f.restart(); f.read("creds") }, time.Hour},
		"later":           {func(f *world) { f.pass(59 * time.Minute) }, time.Hour},
		"after a refresh": {func(f *world) { f.read("creds"); f.pass(56 * time.Minute) }, 2*time.Hour - 305*time.Second},
		"after min_ttl":   {func(f *world) { f.pass(1201 * time.Second); f.creds(fields{"min_ttl": 2400}) }, time.Hour + 1201*time.Second},
		"after another lifetime": {func(f *world) {
			require.NoError(f.t, f.sim.SetTokenLifetime(3*time.Hour))
			f.read("creds")
			f.pass(56 * time.Minute)
		}, 4*time.Hour - 305*time.Second},
		"when it has passed": {func(f *world) { f.pass(2 * time.Hour) }, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newWorld(t, worldOptions{})
				f.write("config", f.pair())
				c.before(f)
				synctest.Wait()
				f.restart()
				want := timestamp(roundedUp(start.Add(c.want)))
				assert.Equal(t, want, f.rotate(nil).Data["regenerate_after"])
				f.restart()
				assert.Equal(t, want, f.read("status")["regenerate_after"])
				assert.Equal(t, want, f.rotate(fields{"client_id": clientB}).Data["regenerate_after"])
			})
		})
	}
}

// Without the stored token nobody knows what is out: rather too late than too
// early.
func TestFreshRegenerateAfterALostToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{lifetime: 1000 * time.Second})
		f.write("config", f.pair())
		require.NoError(t, f.storage.Delete(t.Context(), tokenKey))
		f.pass(600 * time.Second)
		f.restart()
		assert.Equal(t, timestamp(roundedUp(start.Add(1600*time.Second))), f.rotate(nil).Data["regenerate_after"])
	})
}
