package plugintest

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// The two users and their organization's client.
const (
	organization = "organization"
	userA        = "user-a"
	userB        = "user-b"
)

// user creates a user at GBG, changes its temporary password and returns the new one.
func (w *world) user(name string) (password string) {
	w.t.Helper()
	_, err := w.sim.CreateUser(name)
	require.NoError(w.t, err)
	return w.changePassword(name)
}

// changePassword sets a new password of a user at GBG and returns it.
func (w *world) changePassword(name string) (password string) {
	w.t.Helper()
	password, err := w.sim.SetPassword(name, "")
	require.NoError(w.t, err)
	return password
}

// users creates the organization's client and users A and B, and returns a
// configuration with them.
func (w *world) users() fields {
	w.t.Helper()
	return fields{
		"grant_type": "password", "token_url": w.tokenURL(), "client_id": organization, "client_secret": w.client(organization),
		"username": userA, "password": w.user(userA), "paired_username": userB, "paired_password": w.user(userB),
	}
}

// userRefusal is GBG that does not accept a user.
func userRefusal(user string) gbgsim.Fault {
	return gbgsim.Fault{
		Kind: gbgsim.FaultStatus, ClientID: user, Status: http.StatusUnauthorized,
		Error: "invalid_grant", ErrorDescription: "Invalid user credentials",
	}
}

func TestPasswordGrantAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{random: 0.5})
		w.write("config", w.users())
		assert.Equal(t, []int{1, 1}, []int{w.askedBy(userA), w.askedBy(userB)}, "both users prove themselves")
		assert.Equal(t, with(noSchedule, fields{
			"grant_type": "password", "token_url": w.tokenURL(), "scope": "", "client_id": organization,
			"username": userA, "paired_username": userB, "active_username": userA,
			"refresh_before": int64(300), "request_timeout": int64(10), "failover": true, "standby_check": int64(24 * 3600), "max_secret_age": int64(0), "ca_pem": "",
			"lease": false, "revoke_url": "",
		}), w.read("config"))

		got := w.read("creds")
		assert.Equal(t, userA, w.owner(got["access_token"]))
		assert.True(t, w.live(got["access_token"]))
		assert.Equal(t, fields{
			"token_type": "Bearer", "client_id": organization, "username": userA, "scope": "", "connection": "default",
			"expire_time": "2026-03-01T13:00:00Z", "last_vault_rotation": "2026-03-01T12:00:00.250000000Z",
			"rotation_period": int64(3300), "ttl": int64(3338),
		}, without(got, "access_token"))

		assert.Equal(t, fields{
			"state": "ok", "lease": false, "connection": "default", "grant_type": "password", "token_url": w.tokenURL(),
			"active_username": userA, "standby_username": userB,
			"active_secret_set_time": "2026-03-01T12:00:00Z", "standby_secret_set_time": "2026-03-01T12:00:00Z",
			"active_verified_time": "2026-03-01T12:00:00Z", "standby_verified_time": "2026-03-01T12:00:00Z",
			"token_expire_time": "2026-03-01T13:00:00Z", "token_refresh_time": "2026-03-01T12:55:00Z",
			"next_step": `User "user-b" stands by with a password that has not been used yet. When it is time to rotate: vault write gbg/rotate username=user-b`,
		}, w.read("status"))
		_, lines := w.statusList()
		assert.Equal(t, userA, lines["default"].(fields)["active"])
		metrics := w.ok(w.send(t.Context(), logical.ReadOperation, "metrics", nil)).Data[logical.HTTPRawBody].(string)
		assert.Contains(t, metrics, `gbg_client_active{client_id="user-a",connection="default"} 1`)
		assert.Contains(t, metrics, `gbg_client_active{client_id="user-b",connection="default"} 0`)
		assert.True(t, w.logged("[INFO]  connection configured: connection=default active_username=user-a verified_clients=2"))

		// After a restart the same token is served, without a request.
		asked := w.asked()
		w.restart()
		assert.Equal(t, without(got, "ttl"), without(w.read("creds"), "ttl"))
		assert.Equal(t, asked, w.asked())
		w.write("config", without(w.read("config"), "active_username"))
		assert.Equal(t, asked, w.asked(), "what was read can be written back")
	})
}

// A user whose password is wrong or temporary, and a client that is refused, are said in
// GBG's words, and nothing is stored.
func TestPasswordGrantVerification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		users := w.users()
		temporary, err := w.sim.CreateUser("user-c")
		require.NoError(t, err)
		for _, c := range []struct {
			change fields
			want   string
		}{
			{fields{"password": wrongSecret}, `connection "default": GBG refused user "user-a": invalid_grant: Invalid user credentials (HTTP 400 from `},
			{fields{"paired_password": wrongSecret}, `connection "default": GBG refused user "user-b": invalid_grant: Invalid user credentials (HTTP 400 from `},
			{fields{"paired_username": "user-c", "paired_password": temporary.Password}, `connection "default": GBG refused user "user-c": invalid_grant: Account is not fully set up (HTTP 400 from `},
			{fields{"client_secret": wrongSecret}, `connection "default": GBG refused the organization's client "organization": invalid_client: Invalid client or client credentials. (HTTP 401 from `},
		} {
			text := w.refused(w.try(logical.UpdateOperation, "config", with(users, c.change)))
			assert.Contains(t, text, c.want)
			assert.Contains(t, text, "Nothing has changed.")
		}
		assert.Empty(t, w.storage.content(t))
		w.write("config", users)

		// Only those whose request changes prove themselves.
		assert.Equal(t, []int{0, 1}, w.usersAsked(func() { w.write("config", fields{"paired_password": w.changePassword(userB)}) }))
		assert.Equal(t, []int{1, 1}, w.usersAsked(func() { w.write("config", fields{"client_secret": w.regenerate(organization)}) }))
		assert.Equal(t, []int{0, 0}, w.usersAsked(func() { w.write("config", fields{"max_secret_age": "1h"}) }))
		assert.Equal(t, "client_secret is missing: a write that changes token_url must give client_secret and both passwords again, so that no stored secret is sent to a new address",
			w.refused(w.try(logical.UpdateOperation, "config", fields{"token_url": "https://elsewhere.test/token"})))
	})
}

// usersAsked returns the requests of users A and B while f runs.
func (w *world) usersAsked(f func()) []int {
	a, b := w.askedBy(userA), w.askedBy(userB)
	f()
	return []int{w.askedBy(userA) - a, w.askedBy(userB) - b}
}

func TestPasswordGrantRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.users())
		old := w.read("creds")
		w.pass(time.Minute)

		got := w.rotate(fields{"username": userB, "password": w.changePassword(userB) + "\n"})
		assert.Empty(t, got.Warnings)
		assert.Equal(t, fields{
			"rotated": true, "active_username": userB, "standby_username": userA,
			"rotation_time": "2026-03-01T12:01:00Z", "regenerate_after": "2026-03-01T13:00:01Z",
			"next_step": `After 2026-03-01T13:00:01Z change the password of user "user-a" in GBG's Account management portal, then, when it is time to rotate again: vault write gbg/rotate username=user-a password=@FILE`,
		}, got.Data)
		assert.Equal(t, userB, w.owner(w.read("creds")["access_token"]))
		assert.True(t, w.live(old["access_token"]))
		assert.True(t, w.logged("[INFO]  rotated: connection=default cause=rotate active_username=user-b standby_username=user-a"))
		synctest.Wait()
		sent := w.sent()
		assert.Subset(t, sent[len(sent)-1].metadata, fields{"active_username": userB, "standby_username": userA})

		again := w.rotate(fields{"username": userB, "password": wrongSecret})
		assert.Equal(t, false, again.Data["rotated"])
		assert.Equal(t, []string{`user "user-b" is active already: nothing was rotated, and the password that was given has not been stored`}, again.Warnings)
		assert.Equal(t, `connection "default" was rotated at 2026-03-01T12:01:00Z (rotate), 0s ago, and user "user-b" is active: this may be the same request again, so nothing was rotated. To make user "user-a" active: vault write gbg/rotate username=user-a`,
			w.refused(w.try(logical.UpdateOperation, "rotate", nil)))

		back := w.rotate(fields{"username": userA})
		assert.Equal(t, []string{`user "user-a" is active again with the password it had the last time; change the standby's password before each rotation to renew it`}, back.Warnings)
		w.mustBeWholeUsers(userA)
	})
}

func TestPasswordGrantRotationThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		users := w.users()
		w.write("config", users)
		w.write("config/alone", without(users, "paired_username", "paired_password"))
		w.write("config/clients", w.pair())
		content := w.storage.content(t)
		for _, c := range []struct {
			path string
			data fields
			want string
		}{
			{"rotate", fields{"client_id": organization}, "client_id is the organization's and the same for both users: give username"},
			{"rotate", fields{"client_secret": wrongSecret}, "client_secret is the organization's and the same for both users: give password, or write client_secret to config"},
			{"rotate", fields{"username": ""}, "username is empty; leave it out to rotate to the standby"},
			{"rotate", fields{"password": "\n"}, "password is empty; leave it out to rotate with the password that is stored"},
			{"rotate", fields{"username": "nobody"}, `username "nobody" is not a user of this connection; its users are "user-a" (active) and "user-b" (standby)`},
			{"rotate/clients", fields{"username": userA}, `username is for grant_type "password": give client_id`},
			{"rotate/clients", fields{"password": wrongSecret}, `password is for grant_type "password": give client_secret`},
			{"rotate/alone", nil, `connection "alone" has no paired user to rotate to; add one with: vault write gbg/config/alone paired_username=NAME paired_password=@FILE`},
			{"config", fields{"paired_client_id": "x"}, `paired_client_id has no use for grant_type "password": both users have the same client. The second user is paired_username`},
			{"config/clients", fields{"username": userA}, `username is for grant_type "password"; this connection's is "client_credentials"`},
		} {
			assert.Equal(t, c.want, w.refused(w.try(logical.UpdateOperation, c.path, c.data)))
		}
		text := w.refused(w.try(logical.UpdateOperation, "rotate", fields{"password": wrongSecret}))
		assert.Contains(t, text, `GBG refused user "user-b": invalid_grant: Invalid user credentials`)
		assert.Equal(t, content, w.storage.content(t))
		assert.Equal(t, `Add a second user, so that passwords can be rotated without downtime: vault write gbg/config/alone paired_username=NAME paired_password=@FILE`,
			w.read("status/alone")["next_step"])
	})
}

// A refused user is stood in for by the other one, in the background and on a read.
func TestPasswordGrantFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.users())
		old := w.read("creds")
		w.changePassword(userA)
		w.pass(55 * time.Minute)

		got := w.creds()
		assert.Equal(t, []string{`GBG refused user "user-a" (invalid_grant), so user "user-b" has taken over. Renew user "user-a": vault write gbg/rotate username=user-a password=@FILE`}, got.Warnings)
		assert.Equal(t, []any{organization, userB}, []any{got.Data["client_id"], got.Data["username"]})
		assert.Equal(t, userB, w.owner(got.Data["access_token"]))
		assert.True(t, w.live(old["access_token"]))
		assert.Subset(t, w.read("status"), fields{"active_username": userB, "standby_username": userA, "last_rotation_cause": "failover"})
		assert.True(t, w.logged("[WARN]  failed over: connection=default active_username=user-b refused_username=user-a"))
		w.mustBeWholeUsers(userB)

		w.write("config", fields{"password": w.changePassword(userA)})
		assert.Equal(t, userB, w.read("config")["active_username"], "writing changes nothing about that")
		w.fault(userRefusal(userB))
		w.read("creds")
		w.pass(55 * time.Minute)
		assert.Equal(t, userA, w.read("creds")["username"])
	})
}

// The organization's client is both users', so its refusal flips nothing.
func TestPasswordGrantOrganizationIsRefused(t *testing.T) {
	for _, code := range []string{"invalid_client", "unauthorized_client"} {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", with(w.users(), fields{"verify_connection": false}))
				w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusUnauthorized, Error: code})
				text := w.badGateway(w.tryCreds())
				assert.Contains(t, text, `connection "default": GBG refused the organization's client "organization": `+code)
				assert.Contains(t, text, "If the secret of the organization's client was regenerated, an administrator must store the new one: vault write gbg/config client_secret=@FILE.")
				assert.Equal(t, []int{1, 0}, []int{w.askedBy(userA), w.askedBy(userB)}, "the standby is not asked")
				status := w.read("status")
				assert.Equal(t, userA, status["active_username"])
				assert.Equal(t, "Token requests fail: see last_error. If the secret of the organization's client was regenerated, an administrator must store the new one: vault write gbg/config client_secret=@FILE", status["next_step"])

				w.sim.ClearFaults()
				w.write("config", fields{"client_secret": w.regenerate(organization)})
				assert.Equal(t, userA, w.read("creds")["username"])
			})
		})
	}
}

// Both users are refused: the answer and status say how to write a password.
func TestPasswordGrantBothRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.users(), fields{"verify_connection": false}))
		w.fault(userRefusal(userA), userRefusal(userB))
		text := w.badGateway(w.tryCreds())
		assert.Contains(t, text, `GBG refused user "user-a": invalid_grant: Invalid user credentials`)
		assert.Contains(t, text, `GBG refused user "user-b": invalid_grant: Invalid user credentials`)
		assert.Contains(t, text, `If nobody has the current password of user "user-b", change it. Then: vault write gbg/rotate username=user-b password=@FILE.`)
		status := w.read("status")
		assert.Equal(t, userA, status["active_username"])
		assert.Equal(t, `Token requests fail: see last_error. If nobody has the current password of user "user-b", change it. Then: vault write gbg/rotate username=user-b password=@FILE`, status["next_step"])
		_, lines := w.statusList()
		assert.Equal(t, "user_refused", lines["default"].(fields)["error"])
		metrics := w.ok(w.send(t.Context(), logical.ReadOperation, "metrics", nil)).Data[logical.HTTPRawBody].(string)
		assert.Contains(t, metrics, `result="user_refused"`)
	})
}

// Leased tokens are revoked with the organization's client, also after a rotation.
func TestPasswordGrantLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.users(), fields{"lease": true, "revoke_url": w.revokeURL()}))
		lease := w.lease("creds")
		assert.Equal(t, []any{organization, userA}, []any{lease.Data["client_id"], lease.Data["username"]})
		w.rotate(fields{"username": userB})
		other := w.lease("creds")
		assert.Equal(t, userB, w.owner(other.Data["access_token"]))
		require.NoError(t, w.revoke(lease))
		assert.False(t, w.accepted(lease))
		assert.True(t, w.accepted(other))

		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointRevoke, Status: http.StatusServiceUnavailable})
		assert.ErrorContains(t, w.revoke(other), `a token of user "user-b" was not revoked`)
		assert.True(t, w.logged("[DEBUG] token not revoked: connection=default username=user-b"))
		w.sim.ClearFaults()
		w.minute()
		assert.False(t, w.accepted(other))
	})
}

// What is stored of one user does not pass for the other's, nor for another client's.
func TestPasswordGrantStoredTokenIsOfItsUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.users())
		token := w.storage.content(t)[tokenKey]
		first := w.read("creds")["access_token"]
		w.rotate(fields{"username": userB})
		require.NoError(t, w.storage.Put(t.Context(), &token))
		w.restart()
		got := w.read("creds")
		assert.Equal(t, userB, got["username"])
		assert.NotEqual(t, first, got["access_token"])

		w.client("other")
		secret := w.regenerate("other")
		token = w.storage.content(t)[tokenKey]
		w.write("config", fields{"client_id": "other", "client_secret": secret, "verify_connection": false})
		require.NoError(t, w.storage.Put(t.Context(), &token))
		w.restart()
		next := w.read("creds")
		assert.Equal(t, "other", next["client_id"])
		assert.NotEqual(t, got["access_token"], next["access_token"])
	})
}

// mustBeWholeUsers is mustBeWhole for users.
func (w *world) mustBeWholeUsers(active string) {
	w.t.Helper()
	config, status := w.read("config"), w.read("status")
	assert.Equal(w.t, active, config["active_username"])
	assert.Equal(w.t, active, status["active_username"])
	w.restart()
	assert.Equal(w.t, config, w.read("config"))
	restarted := w.read("status")
	for _, key := range []string{"active_username", "standby_username", "last_rotation_time", "regenerate_after", "token_expire_time"} {
		assert.Equal(w.t, status[key], restarted[key], key)
	}
}
