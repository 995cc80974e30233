package plugintest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// crashOperation is something that uses storage.
type crashOperation struct {
	name string
	// setUp makes what is there before, and gives the operation. It may be done
	// again after it has failed, or has not and nobody knows.
	setUp func(*world) func(*mount) error
	// background says that it has no outcome to be told of: the operation succeeds
	// whatever happens.
	background bool
	// done looks at what only this operation leaves behind.
	done func(*world)
}

// write is a write, and request is any other, as operations.
func write(path string, data fields) func(*mount) error {
	return request(logical.UpdateOperation, path, data)
}

func request(op logical.Operation, path string, data fields) func(*mount) error {
	return func(m *mount) error { return m.try(op, path, data).failure() }
}

// failure is nil if a request has succeeded.
func (a answer) failure() error {
	if a.err == nil && a.resp != nil {
		return a.resp.Error()
	}
	return a.err
}

// crashWrite is a write to a connection with a pair.
func crashWrite(path string, data func(*world) fields) func(*world) func(*mount) error {
	return func(w *world) func(*mount) error {
		w.write("config", w.pair())
		w.read("creds")
		return write(path, data(w))
	}
}

// plain is a write that takes nothing from the world.
func plain(data fields) func(*world) fields { return func(*world) fields { return data } }

// leaseToEnd is a lease whose token must be dead when the test is over.
func (w *world) leaseToEnd() *logical.Response {
	w.t.Helper()
	lease := w.lease("creds")
	require.True(w.t, w.accepted(lease))
	w.t.Cleanup(func() { assert.False(w.t, simTakes(w.sim, lease.Data["access_token"]), "the token lives on") })
	return lease
}

// tick is Vault's minute, without the time.
func tick(m *mount) error {
	_, err := m.backend.HandleRequest(m.world.t.Context(), &logical.Request{Operation: logical.RollbackOperation, Storage: m.world.storage})
	return err
}

// aMinuteLater is the same when Vault's minute has passed, and with it the pause that
// follows a failure.
func aMinuteLater(m *mount) error {
	m.world.pass(time.Minute)
	return tick(m)
}

// revokeFault is a revocation endpoint in trouble.
var revokeFault = gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusBadGateway, Endpoint: gbgsim.EndpointRevoke}

// nothingToRevoke says that no token is kept to be revoked.
func nothingToRevoke(w *world) {
	for _, key := range w.storage.keys(w.t) {
		assert.NotContains(w.t, key, "revocation/")
	}
}

var crashOperations = []crashOperation{
	{name: "create", setUp: func(w *world) func(*mount) error { return write("config", w.pair()) }},
	{name: "create unverified", setUp: func(w *world) func(*mount) error {
		return write("config", with(w.pair(), fields{"verify_connection": false}))
	}},
	{name: "change a setting", setUp: crashWrite("config", plain(fields{"refresh_before": 60}))},
	{name: "change the active secret", setUp: crashWrite("config", func(w *world) fields {
		return fields{"client_secret": w.regenerate(clientA)}
	})},
	{name: "change both secrets unverified", setUp: crashWrite("config", func(w *world) fields {
		return fields{"client_secret": w.regenerate(clientA), "paired_client_secret": w.regenerate(clientB), "verify_connection": false}
	})},
	{name: "change the active client", setUp: crashWrite("config", func(w *world) fields {
		return fields{"client_id": "client-c", "client_secret": w.client("client-c")}
	})},
	{name: "turn leases on", setUp: crashWrite("config", plain(fields{"lease": true}))},
	{name: "add the paired client", setUp: func(w *world) func(*mount) error {
		pair := w.pair()
		w.write("config", without(pair, "paired_client_id", "paired_client_secret"))
		return write("config", pair)
	}},
	{name: "remove the paired client", setUp: crashWrite("config", plain(fields{"paired_client_id": ""}))},
	{name: "rotate", setUp: crashWrite("rotate", plain(fields{"client_id": clientB}))},
	{name: "rotate with a new secret", setUp: crashWrite("rotate", func(w *world) fields {
		return fields{"client_id": clientB, "client_secret": w.regenerate(clientB)}
	})},
	{name: "fail over by a reader", setUp: func(w *world) func(*mount) error {
		w.write("config", with(w.pair(), fields{"verify_connection": false}))
		w.regenerate(clientA)
		return request(logical.ReadOperation, "creds", nil)
	}},
	{name: "fail over by a leased read", setUp: func(w *world) func(*mount) error {
		w.write("config", w.leasing())
		w.regenerate(clientA)
		return request(logical.ReadOperation, "creds", nil)
	}},
	{name: "fail over in the background", background: true, setUp: func(w *world) func(*mount) error {
		w.write("config", w.pair())
		w.read("creds")
		w.regenerate(clientA)
		return refreshTime
	}},
	{name: "refresh in the background", background: true, setUp: func(w *world) func(*mount) error {
		w.write("config", w.pair())
		w.read("creds")
		return refreshTime
	}},
	{name: "refresh by a reader", setUp: func(w *world) func(*mount) error {
		w.write("config", w.pair())
		w.pass(2 * time.Hour) // nobody has read the token, so it has lapsed
		return request(logical.ReadOperation, "creds", nil)
	}},
	{name: "load", setUp: func(w *world) func(*mount) error {
		w.write("config", w.pair())
		w.read("creds")
		return func(m *mount) error {
			return errors.Join(
				request(logical.ReadOperation, "creds", nil)(m),
				request(logical.ReadOperation, "config", nil)(m),
				request(logical.ReadOperation, "status", nil)(m),
			)
		}
	}},
	{
		name: "delete",
		setUp: func(w *world) func(*mount) error {
			w.write("config", w.pair())
			w.read("creds")
			return request(logical.DeleteOperation, "config", nil)
		},
		done: func(w *world) { assert.Empty(w.t, w.storage.content(w.t)) },
	},
	{
		name: "end a lease",
		setUp: func(w *world) func(*mount) error {
			w.write("config", w.leasing())
			lease := w.leaseToEnd()
			return func(m *mount) error { return m.revoke(lease) }
		},
		done: func(w *world) {
			require.NoError(w.t, aMinuteLater(w.mount))
			nothingToRevoke(w)
		},
	},
	{
		name: "end a lease that cannot be revoked at once",
		setUp: func(w *world) func(*mount) error {
			w.write("config", w.leasing())
			lease := w.leaseToEnd()
			return func(m *mount) error {
				fault := revokeFault
				fault.Requests = 1
				w.fault(fault)
				defer w.sim.ClearFaults()
				if err := m.revoke(lease); err == nil {
					return nil // it is done, or kept to be done
				}
				return m.revoke(lease) // as Vault does
			}
		},
		done: func(w *world) {
			require.NoError(w.t, aMinuteLater(w.mount))
			nothingToRevoke(w)
		},
	},
	{
		name: "revoke what is kept",
		setUp: func(w *world) func(*mount) error {
			w.write("config", w.leasing())
			w.fault(revokeFault)
			for range 2 {
				require.Error(w.t, w.revoke(w.leaseToEnd()))
			}
			w.sim.ClearFaults()
			return aMinuteLater
		},
		done: nothingToRevoke,
	},
}

// refreshTime is a read, and then the time at which its token is refreshed, or,
// past that, a moment in which it is.
func refreshTime(m *mount) error {
	err := request(logical.ReadOperation, "creds", nil)(m)
	m.world.pass(max(time.Until(start.Add(55*time.Minute)), aMoment))
	return err
}

// aMoment is longer than GBG is left alone after one failure.
const aMoment = 2 * time.Second

// Storage goes wrong at any one of its calls, or the plugin ends there: what is
// stored is the connection of before or the one of after, everybody agrees on
// which, errors say what is so, readers are served, and a second try succeeds.
func TestCrashSafety(t *testing.T) {
	cases := 0
	for _, op := range crashOperations {
		for _, cold := range []bool{false, true} {
			name := op.name
			if cold {
				name += " after a restart"
			}
			var before, after fields
			require.True(t, t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { before, after = op.undisturbed(t, cold) })
			}))
			for _, fault := range storageFaults {
				for n, met := 1, true; met; n++ {
					t.Run(fmt.Sprint(name, "/", fault.name, "/", n), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							met = false
							met = op.disturbed(t, cold, &trap{storageFault: fault, nth: n}, before, after)
						})
					})
					if met {
						cases++
					}
				}
			}
		}
	}
	t.Log(cases, "cases")
	assert.Greater(t, cases, 20*len(crashOperations), "hardly a call was met")
}

// begin makes a world in which the operation can be done.
func (op crashOperation) begin(t *testing.T, cold bool) (w *world, do func(*mount) error) {
	t.Helper()
	w = newWorld(t, worldOptions{})
	do = op.setUp(w)
	if cold {
		w.restart()
	}
	return w, do
}

// undisturbed gives what is stored before and after the operation.
func (op crashOperation) undisturbed(t *testing.T, cold bool) (before, after fields) {
	t.Helper()
	w, do := op.begin(t, cold)
	before = w.stored()
	require.NoError(t, do(w.mount))
	after = w.stored()
	op.finish(w)
	return before, after
}

// finish checks what the operation has left behind.
func (op crashOperation) finish(w *world) {
	w.t.Helper()
	if op.done != nil {
		op.done(w)
	}
}

// disturbed does the operation with a trap in its way, and says whether it met it.
func (op crashOperation) disturbed(t *testing.T, cold bool, trap *trap, before, after fields) (met bool) {
	t.Helper()
	w, do := op.begin(t, cold)
	entry := w.storage.content(t)[connectionKey]
	w.storage.trap.Store(trap)
	err := do(w.mount)
	w.storage.heal()
	if met = trap.sprung(); !met {
		op.finish(w)
		return false
	}
	if trap.crash {
		w.restart()
	}

	stored := w.stored()
	switch {
	case err != nil && strings.Contains(strings.ToLower(err.Error()), "nothing has changed"):
		assert.Equal(t, entry, w.storage.content(t)[connectionKey], err)
		assert.Equal(t, before, stored)
	case op.background: // when it was done depends on the fault
		assert.Contains(t, []fields{timeless(before), timeless(after)}, timeless(stored), "half of a change")
	case err != nil:
		assert.Contains(t, []fields{before, after}, stored, "half of a change")
	default:
		assert.Equal(t, after, stored)
	}
	w.pass(aMoment)
	if stored = w.stored(); stored["config"] != nil {
		w.mustServe(stored)
	}

	require.NoError(t, do(w.mount), "a second try")
	assert.Equal(t, timeless(after), timeless(w.stored()))
	op.finish(w)
	return true
}

// mustServe checks that readers of this mount, and those of another one on what is
// stored, get tokens that GBG takes, of the client that is active.
func (w *world) mustServe(stored fields) {
	w.t.Helper()
	another := w.onCopy()
	for _, m := range []*mount{w.mount, another} {
		assert.Equal(w.t, stored["config"], m.config())
		assert.Equal(w.t, stored["status"], m.history())
	}
	for _, m := range []*mount{w.mount, another} {
		creds := m.read("creds") // which may be what makes the connection fail over
		assert.True(w.t, simTakes(w.sim, creds["access_token"]))
		assert.Contains(w.t, []any{stored["config"].(fields)["active_client_id"], m.read("config")["active_client_id"]}, creds["client_id"])
	}
	another.backend.Cleanup(w.t.Context())
}

// onCopy makes a mount on a copy of what is stored.
func (w *world) onCopy() *mount {
	w.t.Helper()
	there := &world{
		t: w.t, options: w.options, network: w.network, storage: &storage{}, gate: w.gate, sim: w.sim, gbg: w.gbg, heard: w.heard, events: w.events,
	}
	for _, entry := range w.storage.content(w.t) {
		require.NoError(w.t, there.storage.Put(w.t.Context(), &entry))
	}
	there.mount = there.newMount()
	return there.mount
}

// stored is what storage alone tells of the connection, and which of its clients
// get tokens with what it knows.
func (w *world) stored() fields {
	w.t.Helper()
	m := w.onCopy()
	defer m.backend.Cleanup(context.Background())
	if resp := m.ok(m.try(logical.ReadOperation, "config", nil)); resp == nil {
		return fields{"keys": w.storage.keys(w.t)}
	}
	told := fields{"config": m.config(), "status": m.history()}
	m.world.write("config", fields{"failover": false})
	require.NoError(w.t, m.world.storage.Delete(w.t.Context(), tokenKey))
	m.world.restart()
	m = m.world.mount
	told["active works"] = m.send(w.t.Context(), logical.ReadOperation, "creds", nil).failure() == nil
	told["standby works"] = m.send(w.t.Context(), logical.UpdateOperation, "rotate", fields{"client_id": told["status"].(fields)["standby_client_id"]}).failure() == nil
	return told
}

// config is the configuration without addresses, which are different in every
// world.
func (m *mount) config() fields {
	m.world.t.Helper()
	return without(m.read("config"), "token_url", "revoke_url")
}

// history is what the status tells of the pair.
func (m *mount) history() fields {
	m.world.t.Helper()
	status := m.read("status")
	told := fields{}
	for _, key := range []string{"active_client_id", "standby_client_id", "last_rotation_cause", "active_secret_set_time", "standby_secret_set_time", "last_rotation_time", "regenerate_after"} {
		told[key] = status[key]
	}
	return told
}

// timeless leaves out what depends on when a second try was made.
func timeless(stored fields) fields {
	if stored["status"] == nil {
		return stored
	}
	return with(stored, fields{
		"status": without(stored["status"].(fields), "active_secret_set_time", "standby_secret_set_time", "last_rotation_time", "regenerate_after"),
	})
}
