package plugintest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

const day = 24 * time.Hour

// The standby gets a token a day, whether or not anybody reads, and across restarts.
func TestStandbyCheck(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			inBubble(t, worldOptions{}, func(w *world) {
				w.write("config", w.pair())
				require.Equal(t, 1, w.askedBy(clientB))
				for n := 1; n <= 5; n++ {
					if restart {
						w.pass(time.Hour)
						w.restart()
					}
					w.passUntil(start.Add(time.Duration(n)*day - time.Minute))
					assert.Equal(t, n, w.askedBy(clientB))
					w.pass(2 * time.Minute)
					assert.Equal(t, n+1, w.askedBy(clientB))
				}
				assert.Equal(t, timestamp(start.Add(5*day)), w.read("status")["standby_verified_time"])
				assert.Equal(t, 1, w.askedBy(clientA), "the active client is asked for nothing")
			})
		})
	}
}

// A check comes after nine tenths of the period at the earliest.
func TestStandbyCheckIsSpread(t *testing.T) {
	inBubble(t, worldOptions{random: 0.99999}, func(w *world) {
		w.write("config", w.pair())
		w.pass(day*9/10 - time.Minute)
		assert.Equal(t, 1, w.askedBy(clientB))
		w.pass(2 * time.Minute)
		assert.Equal(t, 2, w.askedBy(clientB))
		// A check that is overdue after a restart comes within a tenth.
		w.backend.Cleanup(w.t.Context())
		w.pass(10 * day)
		w.mount = w.newMount()
		w.pass(day/10 - time.Minute)
		assert.Equal(t, 2, w.askedBy(clientB))
		w.pass(2 * time.Minute)
		assert.Equal(t, 3, w.askedBy(clientB))
	})
}

func TestStandbyCheckSetting(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		pair := w.pair()
		w.write("config", with(pair, fields{"standby_check": "0"}))
		assert.EqualValues(t, 0, w.read("config")["standby_check"])
		w.pass(3 * day)
		w.restart()
		w.pass(3 * day)
		assert.Equal(t, 1, w.askedBy(clientB))

		w.write("config", fields{"standby_check": "1h"})
		w.pass(time.Second) // overdue
		assert.Equal(t, 2, w.askedBy(clientB))
		w.pass(10*time.Hour + time.Minute)
		assert.Equal(t, 12, w.askedBy(clientB))
		assert.Equal(t, "standby_check must be between 10s and 87600h0m0s, or 0 (off)",
			w.refused(w.try(logical.UpdateOperation, "config", fields{"standby_check": "9s"})))
		w.ok(w.try(logical.DeleteOperation, "config/default", nil))
		w.pass(day)
		assert.Equal(t, 12, w.askedBy(clientB))
	})
}

// A new secret and a verification are proofs too: the next check counts from them.
func TestStandbyCheckCountsFromTheLastProof(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		w.pass(23 * time.Hour)
		w.write("config", fields{"paired_client_secret": w.regenerate(clientB)})
		w.pass(23 * time.Hour)
		w.verify()
		asked := w.askedBy(clientB)
		w.pass(day - time.Minute)
		assert.Equal(t, asked, w.askedBy(clientB))
		w.pass(2 * time.Minute)
		assert.Equal(t, asked+1, w.askedBy(clientB))
	})
}

// A refused standby is told of once, and then after 2, 4, 8 checks, everywhere; nothing
// flips. The command that the status gives mends it.
func TestStandbyCheckRefused(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		newSecret := w.regenerate(clientB)
		var events []sentEvent
		warned := w.lines(func() {
			events = w.eventsOf(func() { w.pass(day + time.Second) })
		}, "WARN")
		require.Len(t, warned, 1)
		assert.Contains(t, warned[0], "standby refused: client_id=client-b connection=default refused=1")
		assert.Equal(t, 3, w.askedBy(clientB), "it was asked twice")
		assert.Equal(t, []sentEvent{{"gbg/standby-refused", fields{
			"path": "status", "data_path": "status", "operation": "standby-refused", "modified": "true",
			"connection": "default", "active_client_id": clientA, "standby_client_id": clientB, "result": "client_refused",
		}}}, events)
		metrics := w.metrics().of("default")
		assert.Equal(t, 1, int(metrics[`gbg_standby_checks_total{result="refused"}`]))
		assert.Contains(t, metrics, `gbg_standby_refused_timestamp_seconds{client_id="client-b"}`)
		assert.Equal(t, clientA, w.read("status")["active_client_id"])

		warned = w.lines(func() {
			for range 8 {
				w.pass(day)
			}
		}, "WARN")
		require.Len(t, warned, 3)
		assert.Contains(t, warned[2], "refused=8")
		w.restart()
		assert.Contains(t, w.read("status")["standby_error"], "invalid_client")
		assert.Contains(t, w.read("status")["next_step"], "vault write gbg/rotate client_id=client-b client_secret=@FILE")

		w.rotate(fields{"client_id": clientB, "client_secret": newSecret})
		assert.NotContains(t, w.read("status"), "standby_error")
		assert.Zero(t, w.metrics().of("default")["gbg_standby_refused"])
		assert.Empty(t, w.lines(func() { w.pass(2 * day) }, "WARN"))
	})
}

// One stray refusal is none.
func TestStandbyCheckStrayRefusal(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusUnauthorized, Error: "invalid_client", Requests: 1})
		assert.Empty(t, w.lines(func() { w.pass(day + time.Second) }, "WARN"))
		assert.Equal(t, timestamp(start.Add(day+refusedPause)), w.read("status")["standby_verified_time"])
	})
}

// A standby that is accepted again is told of.
func TestStandbyCheckAcceptedAgain(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusUnauthorized, Error: "invalid_client"})
		w.pass(day + time.Second)
		assert.Contains(t, w.read("status"), "standby_error")
		w.sim.ClearFaults()
		assert.Equal(t, []string{"gbg/standby-accepted"}, kindsOf(w.eventsOf(func() { w.pass(day) })))
		assert.NotContains(t, w.read("status"), "standby_error")
	})
}

// Nothing is said of one check that does not reach GBG.
func TestStandbyCheckUnreachable(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusServiceUnavailable})
		assert.Empty(t, w.lines(func() { w.pass(day + time.Minute) }, "WARN"))
		assert.NotContains(t, w.read("status"), "standby_error")
		warned := w.lines(func() { w.pass(day + time.Minute) }, "WARN")
		require.Len(t, warned, 1)
		assert.Contains(t, warned[0], "standby checks fail: client_id=client-b connection=default failed=2")
		assert.Contains(t, w.read("status")["standby_error"], "503")
		assert.Contains(t, w.read("status")["next_step"], "vault write -f gbg/verify")
		w.sim.ClearFaults()
		w.pass(day)
		assert.NotContains(t, w.read("status"), "standby_error")
	})
}

// A rotation does not wait for a check's slow request, whose outcome then has no bearing.
func TestStandbyCheckHoldsNothingUp(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		w.read("creds")
		w.pass(day - time.Minute)
		release := w.gate.hold(clientB)
		w.pass(time.Minute + time.Second)
		await(t, w.gate.arrived, "the check's request")
		secret := w.regenerate(clientB)
		w.gate.admit(clientB)
		rotated, took := w.tryTimed(logical.UpdateOperation, "rotate", fields{"client_id": clientB, "client_secret": secret})
		w.ok(rotated)
		assert.Zero(t, took)
		release()
		w.pass(time.Minute)
		status := w.read("status")
		assert.Equal(t, clientB, status["active_client_id"])
		assert.NotContains(t, status, "standby_error")
		assert.NotContains(t, status, "last_error")
	})
}

// A storage that refuses the outcome costs no more than that it is forgotten by a
// restart.
func TestStandbyCheckThatCannotBeStored(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		w.regenerate(clientB)
		w.storage.failPut(func(context.Context, *logical.StorageEntry) error { return errors.New("no space") })
		warned := w.lines(func() { w.pass(day + time.Second) }, "WARN")
		require.Len(t, warned, 2)
		assert.Contains(t, warned[0], "the outcome of a standby check could not be stored")
		assert.Contains(t, w.read("status")["standby_error"], "invalid_client")
		w.storage.heal()
	})
}

// A process that has lost its storage, because its server was killed, checks nothing.
func TestStandbyCheckWithoutStorage(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		w.storage.failGet(errDisk)
		w.pass(3 * day)
		assert.Equal(t, 1, w.askedBy(clientB))
		w.storage.heal()
		w.pass(10 * time.Minute)
		assert.Equal(t, 2, w.askedBy(clientB))
	})
}

// A node that cannot write checks nothing.
func TestStandbyCheckOnAStandbyNode(t *testing.T) {
	for name, state := range map[string]consts.ReplicationState{
		"performance standby": consts.ReplicationPerformanceStandby, "performance secondary": consts.ReplicationPerformanceSecondary,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, worldOptions{}, func(w *world) {
				w.write("config", w.pair())
				w.backend.Cleanup(w.t.Context())
				w.options.system = &logical.StaticSystemView{ReplicationStateVal: state}
				w.mount = w.newMount()
				w.pass(3 * day)
				assert.Equal(t, 1, w.askedBy(clientB))
			})
		})
	}
}

// 1000 connections that nobody reads after a restart: each is checked, and not all at
// once.
func TestStandbyChecksOfManyConnections(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		pair := w.pair()
		for i := range 1000 {
			w.write(fmt.Sprintf("config/team-%d", i), with(pair, fields{"verify_connection": false}))
		}
		n := 0.0
		w.dice = func() float64 { n++; return float64(int(n)%1000) / 1000 }
		w.restart()
		w.pass(day * 9 / 10)
		assert.Less(t, w.asked(), 10)
		most := 0
		for range 24 {
			before := w.asked()
			w.pass(day / 240)
			most = max(most, w.asked()-before)
		}
		assert.Equal(t, 1000, w.askedBy(clientB))
		assert.Less(t, most, 100)
		assert.Zero(t, w.askedBy(clientA))
	})
}
