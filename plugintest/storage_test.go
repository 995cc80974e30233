package plugintest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var errDisk = errors.New("the disk is full")

func refusePut(context.Context, *logical.StorageEntry) error { return errDisk }

func TestStorageRefusesAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			path    string
			request func(*world) fields
		}{
			{"rotate", func(*world) fields { return nil }},
			{"rotate", func(w *world) fields { return fields{"client_secret": w.regenerate(clientB)} }},
			{"config", func(*world) fields { return fields{"refresh_before": 60} }},
			{"config", func(w *world) fields { return fields{"client_secret": w.regenerate(clientA)} }},
			{"config", func(*world) fields { return fields{"paired_client_id": ""} }},
		} {
			w := newWorld(t, worldOptions{})
			w.write("config", w.pair())
			content, config, status, creds := w.storage.content(t), w.read("config"), w.read("status"), w.read("creds")
			request := c.request(w)

			w.storage.failPut(refusePut)
			err := w.try(logical.UpdateOperation, c.path, request).err
			require.ErrorIs(t, err, errDisk)
			assert.EqualError(t, err, `connection "default": nothing has changed: Vault's storage refused the write: the disk is full`)

			w.storage.heal()
			assert.Equal(t, content, w.storage.content(t), "stored byte for byte")
			assert.Equal(t, config, w.read("config"))
			assert.Equal(t, creds, w.read("creds"), "the token of before is served on")
			for _, key := range []string{"active_client_id", "standby_client_id", "active_secret_set_time", "standby_secret_set_time", "last_rotation_time"} {
				assert.Equal(t, status[key], w.read("status")[key], key)
			}
			if request["client_secret"] == nil || c.path == "rotate" { // else GBG has another secret by now
				w.mustAgree(clientA)
			}
			w.write(c.path, request) // as if nothing had been
		}
	})
}

func TestStorageRefusesTheFirstWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.storage.failPut(refusePut)
		assert.ErrorContains(t, w.try(logical.UpdateOperation, "config", pair).err, "nothing has changed")
		w.storage.heal()
		assert.Empty(t, w.storage.content(t))
		assert.Equal(t, answer{}, w.try(logical.ReadOperation, "config", nil))
		assert.Contains(t, w.refused(w.try(logical.ReadOperation, "creds", nil)), "not configured")
	})
}

// A storage that stores and then loses the answer has stored.
func TestStorageStoresAndReportsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.storage.failPut(func(ctx context.Context, entry *logical.StorageEntry) error {
			if err := w.storage.InmemStorage.Put(ctx, entry); err != nil {
				return err
			}
			return errDisk
		})
		w.write("config", pair)
		assert.Equal(t, clientA, w.read("creds")["client_id"])

		resp := w.rotate(fields{"client_id": clientB})
		assert.Equal(t, true, resp.Data["rotated"])
		assert.Equal(t, "2026-03-01T13:00:01Z", resp.Data["regenerate_after"])
		w.storage.heal()
		w.mustAgree(clientB)
		assert.Equal(t, false, w.rotate(fields{"client_id": clientB}).Data["rotated"])
	})
}

// If nobody can tell whether a write holds, the error does not claim to know.
func TestStorageThatCannotBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, stores := range []bool{false, true} {
			w := newWorld(t, worldOptions{})
			w.write("config", w.pair())
			w.storage.failPut(func(ctx context.Context, entry *logical.StorageEntry) error {
				if stores {
					assert.NoError(t, w.storage.InmemStorage.Put(ctx, entry))
				}
				w.storage.failGet(errors.New("no leader"))
				return errDisk
			})
			assert.EqualError(t, w.try(logical.UpdateOperation, "rotate", nil).err,
				`connection "default": Vault's storage did not confirm the write, and could not be read to check it: the disk is full`)
			w.storage.heal()

			// What is stored is what is served.
			w.mustAgree(map[bool]string{false: clientA, true: clientB}[stores])
		}
	})
}

func TestStorageThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		w.read("creds")
		w.storage.failGet(errDisk)
		w.read("creds") // what is known is served from memory

		restarted := w.newMount()
		for _, path := range []string{"config", "creds", "status"} {
			assert.EqualError(t, restarted.try(logical.ReadOperation, path, nil).err,
				`connection "default": reading its storage entry: the disk is full`, path)
		}
		assert.ErrorIs(t, restarted.try(logical.UpdateOperation, "rotate", nil).err, errDisk)
		assert.ErrorIs(t, restarted.try(logical.UpdateOperation, "config", nil).err, errDisk)
		w.storage.heal()
		assert.Equal(t, clientA, restarted.read("creds")["client_id"])
	})
}

func TestRestartKeepsThePairAndTheActiveSide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config", with(pair, fields{"refresh_before": 60, "request_timeout": 20, "ca_pem": testCA}))
		w.write("config/team-a", without(pair, "paired_client_id", "paired_client_secret"))
		w.rotate(nil)
		config, status := w.read("config"), w.read("status")
		assert.Equal(t, clientB, config["active_client_id"])

		restarted := w.newMount()
		assert.Equal(t, config, restarted.read("config"))
		assert.Equal(t, status, restarted.read("status"))
		assert.Equal(t, clientB, restarted.read("creds")["client_id"])
		assert.Equal(t, clientA, restarted.read("creds/team-a")["client_id"])
		assert.Equal(t, w.list(), restarted.list())

		// Both secrets are there too, and what each has been through.
		resp := restarted.rotate(fields{"client_id": clientA})
		assert.Equal(t, clientA, resp.Data["active_client_id"])
		assert.Contains(t, resp.Warnings[0], "active again with the secret it had the last time")
	})
}

func TestInvalidateTakesUpWhatAnotherNodeWrote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		standby := w.newMount()
		assert.Equal(t, clientA, standby.read("creds")["client_id"])

		w.rotate(nil)
		for key := range w.storage.content(t) {
			standby.backend.InvalidateKey(t.Context(), key)
		}
		standby.backend.InvalidateKey(t.Context(), "another/key")
		assert.Equal(t, clientB, standby.read("config")["active_client_id"])
		assert.Equal(t, clientB, standby.read("creds")["client_id"])

		w.ok(w.try(logical.DeleteOperation, "config/default", nil))
		standby.backend.InvalidateKey(t.Context(), "connection/default")
		assert.Contains(t, w.refused(standby.try(logical.ReadOperation, "creds", nil)), "not configured")
	})
}

// An entry that cannot be understood is an error that says what to do, and
// quotes nothing of the entry.
func TestStoredEntryThatCannotBeUnderstood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config", pair)
		const damaged = `connection "default": its storage entry is damaged: delete the connection and write it again`
		for value, want := range map[string]string{
			`{"clients": "` + wrongSecret: damaged,
			`null`:                        damaged,
			`{"version": 1}`:              damaged,
			`{"version": 1, "clients": [{"id": "a", "secret": "` + wrongSecret + `"}], "active_slot": 1}`: damaged,
			`{"version": 9, "clients": [{"id": "a", "secret": "` + wrongSecret + `"}]}`:                   `connection "default": its storage entry has version 9, this release of the plugin reads up to version 2: run the release that wrote it, or a newer one`,
		} {
			for key := range w.storage.content(t) {
				require.NoError(t, w.storage.Put(t.Context(), &logical.StorageEntry{Key: key, Value: []byte(value)}))
			}
			restarted := w.newMount()
			for _, path := range []string{"config", "creds"} {
				assert.EqualError(t, restarted.try(logical.ReadOperation, path, nil).err, want)
			}
			assert.Equal(t, want, `connection "default": `+restarted.read("status")["last_error"].(string))
			assert.EqualError(t, restarted.try(logical.UpdateOperation, "config", pair).err, want)
		}
		restarted := w.newMount()
		restarted.ok(restarted.try(logical.DeleteOperation, "config/default", nil))
		restarted.write("config", pair)
		assert.Equal(t, clientA, restarted.read("creds")["client_id"])
	})
}

func TestStorageRefusesADelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		content, creds := w.storage.content(t), w.read("creds")
		w.storage.FailDelete(true)
		assert.Error(t, w.try(logical.DeleteOperation, "config/default", nil).err)
		w.storage.FailDelete(false)
		assert.Equal(t, content, w.storage.content(t))
		assert.Equal(t, creds, w.read("creds"), "the token of before is served on")
		w.mustAgree(clientA)

		w.storage.FailList(true)
		assert.Error(t, w.try(logical.ListOperation, "config/", nil).err)
		w.storage.FailList(false)
	})
}

// A later write makes the entry anew; times stay those of the changes.
func TestStoredTimesAreThoseOfTheChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		w.pass(15 * time.Minute)
		w.write("config", fields{"refresh_before": 60})
		got := w.newMount().read("status")
		assert.Equal(t, noon, got["active_secret_set_time"])
		assert.Equal(t, noon, got["active_verified_time"])
	})
}
