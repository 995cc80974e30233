package plugintest

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// leasing creates clients A and B and gives a configuration with leases.
func (w *world) leasing() fields {
	w.t.Helper()
	return with(w.pair(), fields{"lease": true, "revoke_url": w.revokeURL()})
}

// lease reads a token under a lease.
func (m *mount) lease(path string) *logical.Response {
	m.world.t.Helper()
	resp := m.ok(m.try(logical.ReadOperation, path, nil))
	require.NotNil(m.world.t, resp)
	require.NotNil(m.world.t, resp.Secret, "no lease")
	return resp
}

// revoke ends a lease as Vault does.
func (m *mount) revoke(lease *logical.Response) error {
	resp, err := m.backend.HandleRequest(m.world.t.Context(), &logical.Request{
		Operation: logical.RevokeOperation, Path: "creds", MountPoint: "gbg/", Secret: lease.Secret, Data: lease.Data, Storage: m.world.storage,
	})
	m.world.heard.note(answer{resp: resp, err: err})
	return err
}

// minute lets Vault's minute pass.
func (m *mount) minute() {
	m.world.t.Helper()
	m.world.pass(time.Minute)
	_, err := m.backend.HandleRequest(m.world.t.Context(), &logical.Request{Operation: logical.RollbackOperation, Storage: m.world.storage})
	require.NoError(m.world.t, err)
}

// accepted says whether GBG's API still takes the token of a lease.
func (w *world) accepted(lease *logical.Response) bool {
	return w.live(lease.Data["access_token"])
}

// revocations are how many requests the revocation endpoint got.
func (w *world) revocations() int { return w.sim.Stats().Revocations.TokenRequests.Total }

func TestLeaseOfAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{random: 0.5})
		w.write("config", w.leasing())
		asked := w.asked()
		first, second := w.lease("creds"), w.lease("creds")
		assert.NotEqual(t, first.Data["access_token"], second.Data["access_token"], "a token of its own for every read")
		assert.Equal(t, asked+2, w.asked())
		assert.Equal(t, fields{
			"token_type": "Bearer", "client_id": clientA, "scope": "gbg.token", "connection": "default",
			"expire_time": "2026-03-01T13:00:00Z", "last_vault_rotation": "2026-03-01T12:00:00.250000000Z",
			"rotation_period": int64(3300), "ttl": int64(3338),
		}, without(first.Data, "access_token"))
		assert.Equal(t, logical.LeaseOptions{TTL: time.Hour, MaxTTL: time.Hour}, first.Secret.LeaseOptions, "not renewable")
		assert.NotContains(t, w.storage.content(t), "token/default", "nothing is shared, so nothing is kept")
		assert.NotContains(t, w.read("status"), "token_expire_time")
		w.pass(55 * time.Minute)
		assert.Equal(t, asked+2, w.asked(), "nor refreshed")
		assert.Equal(t, []any{true, w.revokeURL()}, []any{w.read("config")["lease"], w.read("config")["revoke_url"]})
	})
}

// A lease ends no later than the mount allows, and what the answer says of time
// follows that, so that nobody holds a revoked token.
func TestLeaseIsAsShortAsTheMountAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := &logical.StaticSystemView{
			MaxLeaseTTLVal:    9 * time.Minute,
			PluginEnvironment: &logical.PluginEnvironment{VaultVersion: "1.21.2"},
		}
		w := newWorld(t, worldOptions{system: system, random: 1})
		w.write("config", w.leasing())
		lease := w.lease("creds")
		assert.Equal(t, 9*time.Minute, lease.Secret.TTL)
		assert.Equal(t, "2026-03-01T13:00:00Z", lease.Data["expire_time"], "GBG's own")
		assert.Equal(t, int64(6*60), lease.Data["rotation_period"])
		assert.Equal(t, int64(6*60+45), lease.Data["ttl"])
	})
}

func TestLeaseThatEndsRevokesTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.leasing())
		first, second := w.lease("creds"), w.lease("creds")
		require.NoError(t, w.revoke(first))
		assert.False(t, w.accepted(first))
		assert.True(t, w.accepted(second))
		require.NoError(t, w.revoke(first), "once more")

		// With the client that got it, and its current secret.
		w.ok(w.try(logical.UpdateOperation, "rotate", fields{"client_secret": w.regenerate(clientB)}))
		w.write("config", fields{"client_secret": w.regenerate(clientA)})
		require.NoError(t, w.newMount().revoke(second), "also after a restart")
		assert.False(t, w.accepted(second))
		assert.Equal(t, map[string]gbgsim.RequestCounts{clientA: {Total: 3, Issued: 3}}, w.sim.Stats().Revocations.ByClient)
	})
}

func TestLeaseOfAnExchangedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.m2m(), fields{"lease": true, "revoke_url": w.revokeURL()}))
		first := w.lease("creds")
		assert.Equal(t, idpA, first.Data["client_id"])
		require.NoError(t, w.revoke(first))
		assert.False(t, w.accepted(first))
		assert.Equal(t, 1, w.sim.Stats().Revocations.ByClient["ro.client"].Issued, "GBG knows the exchange's client")
		own := w.exchange("creds", w.idToken(someone))
		assert.Nil(t, own.Secret, "a caller's own token has no lease")
	})
}

// What cannot be revoked ends its lease all the same, and says so.
func TestLeaseWithNothingToRevokeWith(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world, pair fields)
		said   string
	}{
		"the connection is gone": {
			func(w *world, _ fields) { w.ok(w.try(logical.DeleteOperation, "config/default", nil)) },
			"[WARN]  lease ended without revoking its token: the connection has been deleted",
		},
		"the client is gone": {
			func(w *world, pair fields) {
				w.write("config", fields{"client_id": "client-c", "client_secret": w.client("client-c")})
			},
			"[WARN]  lease ended without revoking its token: its client is no longer part of the connection",
		},
		"there is no endpoint": {
			func(w *world, pair fields) {
				w.write("config", fields{"revoke_url": "", "client_secret": pair["client_secret"], "paired_client_secret": pair["paired_client_secret"]})
			},
			"[DEBUG] lease ended without revoking its token: there is no revoke_url",
		},
		"the token has ended": {func(w *world, _ fields) { w.pass(time.Hour) }, ""},
		"it ends in a moment": {func(w *world, _ fields) { w.pass(time.Hour - 2*time.Second) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				pair := w.leasing()
				w.write("config", pair)
				lease := w.lease("creds")
				c.change(w, pair)
				require.NoError(t, w.revoke(lease))
				assert.Zero(t, w.revocations())
				assert.Contains(t, w.heard.log.String(), c.said)
			})
		})
	}
}

// Vault asks six times and then keeps a lease for ever. So it is told once that it
// did not work; from then on the engine tries, restarts included.
func TestLeaseThatCannotBeRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.leasing())
		lease := w.lease("creds")
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointRevoke, Status: 503, Error: "maintenance"})
		err := w.revoke(lease)
		require.EqualError(t, err, `connection "default": a token of client "client-a" was not revoked: maintenance (HTTP 503 from `+w.revokeURL()+
			`); the engine retries until the token expires at 2026-03-01T13:00:00Z`)
		require.NoError(t, w.revoke(lease))
		assert.Equal(t, 1, w.revocations())

		w.minute()
		assert.Equal(t, 2, w.revocations())
		w.sim.ClearFaults()
		w.mount = w.newMount()
		w.minute()
		assert.False(t, w.accepted(lease))
		assert.Len(t, w.storage.content(t), 1, "and forgotten")
		asked := w.revocations()
		w.minute()
		assert.Equal(t, asked, w.revocations())
	})
}

func TestLeaseThatNeverIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{lifetime: 3 * time.Minute})
		w.write("config", w.leasing())
		// A client whose secret is not known here any more.
		first, second := w.lease("creds"), w.lease("creds")
		w.regenerate(clientA)
		require.ErrorContains(t, w.revoke(first), "invalid_client")
		require.ErrorContains(t, w.revoke(second), "invalid_client")
		w.minute()
		assert.Equal(t, 2, w.revocations(), "an endpoint that refuses is not asked for every token")
		assert.NotContains(t, w.heard.log.String(), "token expired before")
		w.minute()
		w.minute()
		assert.Contains(t, w.heard.log.String(), "[WARN]  token expired before it could be revoked: connection=default client_id=client-a")
		assert.Len(t, w.storage.content(t), 1)
	})
}

// An endpoint that is down is not asked for every token.
func TestLeaseRetriesSpareAnEndpointThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.leasing())
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointRevoke, Status: 503})
		var leases []*logical.Response
		for range 5 {
			leases = append(leases, w.lease("creds"))
			require.Error(t, w.revoke(leases[len(leases)-1]))
		}
		assert.Equal(t, 1, w.revocations())
		w.minute()
		assert.Equal(t, 2, w.revocations(), "one of them, for all")
		w.sim.ClearFaults()
		w.minute()
		for _, lease := range leases {
			assert.False(t, w.accepted(lease))
		}
	})
}

// Tokens that have ended are forgotten, also while the endpoint is down for others.
func TestLeaseRetriesForgetWhatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{lifetime: 30 * time.Second})
		w.write("config", w.leasing())
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointRevoke, Status: 503})
		endAll := func(n int) {
			for range n {
				require.Error(t, w.revoke(w.lease("creds")))
			}
		}
		endAll(5)
		require.NoError(t, w.sim.SetTokenLifetime(time.Hour))
		endAll(5)
		assert.Len(t, w.storage.keys(t), 11)
		w.minute()
		assert.Len(t, w.storage.keys(t), 6)
	})
}

// What is stored of other releases, or damaged, does not stop the rest.
func TestLeaseRetriesPassOverDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.leasing())
		lease := w.lease("creds")
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointRevoke, Status: 503, Requests: 1})
		require.Error(t, w.revoke(lease))
		for _, stored := range []string{"", "{", `{"version":9}`} {
			require.NoError(t, w.storage.Put(t.Context(), &logical.StorageEntry{Key: "revocation/0" + stored, Value: []byte(stored)}))
		}
		w.minute()
		assert.False(t, w.accepted(lease))
		assert.Len(t, w.storage.content(t), 1)
	})
}

// A lease that Vault does not have in full is an error, not a token left alive in
// silence.
func TestLeaseThatSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.leasing())
		lease := w.lease("creds")
		delete(lease.Secret.InternalData, "expire_time")
		require.ErrorContains(t, w.revoke(lease), "the lease has no valid expire_time")
	})
}

func TestLeaseFailsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.leasing())
		w.lease("creds")
		w.regenerate(clientA)
		resp := w.lease("creds")
		assert.Equal(t, clientB, w.owner(resp.Data["access_token"]))
		assert.Equal(t, takenOver("invalid_client"), resp.Warnings)
		assert.Empty(t, w.lease("creds").Warnings)
		assert.Equal(t, "failover", w.read("status")["last_rotation_cause"])
	})
}

func TestLeaseTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.leasing())
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, Error: "maintenance"})
		a, rests := w.tryRetried(logical.ReadOperation, "creds", nil)
		said := w.coded(http.StatusServiceUnavailable, a)
		assert.Contains(t, said, "maintenance")
		assert.Contains(t, said, failing(time.Now(), time.Now().Add(time.Second)))
		assert.Equal(t, retryPauses, rests)
		asked := w.asked()
		assert.Equal(t, said, w.coded(http.StatusServiceUnavailable, w.try(logical.ReadOperation, "creds", nil)), "at once")
		assert.Equal(t, asked, w.asked())
		w.sim.ClearFaults()
		w.pass(time.Second)
		w.lease("creds")
		assert.NotContains(t, w.read("status"), "last_error")

		w.sim.ClearFaults()
		w.fault(refusalAt(gbgsim.EndpointGo, "", "invalid_scope", "no"))
		assert.Contains(t, w.coded(http.StatusBadGateway, w.try(logical.ReadOperation, "creds", nil)), "invalid_scope: no")
	})
}

func TestLeaseMinTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.leasing(), fields{"verify_connection": false}))
		const tooLong = "min_ttl must be at most 40m0s: two thirds of a token's lifetime, which is 1h0m0s"
		assert.Equal(t, tooLong, w.refused(w.try(logical.ReadOperation, "creds", fields{"min_ttl": "41m"})), "nobody knew before")
		w.write("config", with(fields{"client_secret": w.regenerate(clientA)}, nil))
		asked := w.asked()
		assert.Equal(t, tooLong, w.refused(w.try(logical.ReadOperation, "creds", fields{"min_ttl": "41m"})))
		assert.Equal(t, asked, w.asked())
		w.ok(w.try(logical.ReadOperation, "creds", fields{"min_ttl": "40m"}))
	})
}

// regenerate_after waits for the last token that anybody holds.
func TestLeaseRegenerateAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.leasing())
		w.pass(10 * time.Minute)
		w.lease("creds")
		assert.Equal(t, timestamp(start.Add(70*time.Minute+750*time.Millisecond)), w.rotate(nil).Data["regenerate_after"])
		// Nobody knows after a restart when the last one was read.
		w.lease("creds")
		w.pass(10 * time.Minute)
		w.mount = w.newMount()
		assert.Equal(t, timestamp(start.Add(80*time.Minute+750*time.Millisecond)), w.rotate(nil).Data["regenerate_after"])
	})
}

// A token of the client that has just left, which was on its way, is nobody's: its
// end is not in regenerate_after.
func TestLeaseDuringARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.leasing())
		release := w.gate.hold(clientA)
		reading := later(func() answer { return w.send(t.Context(), logical.ReadOperation, "creds", nil) })
		await(t, w.gate.arrived, "the token request")
		w.rotate(nil)
		release()
		assert.Equal(t, clientB, w.owner(w.ok(await(t, reading, "an answer")).Data["access_token"]))
	})
}

func TestLeaseGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.leasing())
		defer w.gate.hold(clientA)()
		ctx, cancel := context.WithCancel(t.Context())
		gone := later(func() answer { return w.send(ctx, logical.ReadOperation, "creds", nil) })
		await(t, w.gate.arrived, "the token request")
		cancel()
		require.ErrorIs(t, await(t, gone, "an answer").err, context.Canceled)
		assert.NotContains(t, w.read("status"), "last_error")
	})
}

// A connection can go from shared tokens to leases and back.
func TestLeaseOnAndOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		shared := w.read("creds")
		asked := w.asked()
		w.write("config", fields{"lease": true})
		assert.Equal(t, asked, w.asked(), "that needs no proof")
		assert.NotContains(t, w.storage.content(t), "token/default")
		lease := w.lease("creds")
		assert.NotEqual(t, shared["access_token"], lease.Data["access_token"])
		w.write("config", fields{"lease": false})
		again := w.read("creds")
		assert.NotEqual(t, lease.Data["access_token"], again["access_token"])
		assert.Equal(t, again["access_token"], w.read("creds")["access_token"])
	})
}

func TestLeaseConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config", pair)
		w.write("config/sso", w.exchangeOnly())
		content := w.storage.content(t)
		for _, c := range []struct {
			path string
			data fields
			want string
		}{
			{"config", fields{"revoke_url": "http://gbg.test/revoke"}, "revoke_url must begin with https:// (http:// is for a loopback address only)"},
			{"config", fields{"revoke_url": w.revokeURL()}, "client_secret is missing: a write that changes revoke_url must give the secrets of both clients again, so that no stored secret is sent to a new address"},
			{"config", fields{"revoke_url": w.revokeURL(), "client_secret": pair["client_secret"]}, "paired_client_secret is missing: a write that changes revoke_url must give the secrets of both clients again, so that no stored secret is sent to a new address"},
			{"config/sso", fields{"lease": true}, "lease has no use without idp_token_url: an exchanged token is never shared"},
		} {
			assert.Equal(t, c.want, w.refused(w.try(logical.UpdateOperation, c.path, c.data)))
		}
		assert.Equal(t, content, w.storage.content(t))
	})
}

// revokeFails is a revocation endpoint that answers with this status.
func revokeFails(status int) gbgsim.Fault {
	return gbgsim.Fault{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointRevoke, Status: status}
}
