package plugintest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What holds for clients with secrets holds for API users and for clients with keys:
// verification, checks of the standby, the comparison of claims, schedules.

func TestVerifyUsers(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.users())
		w.changePassword(userB)
		resp := w.ok(w.try(logical.UpdateOperation, "verify", nil))
		clients := resp.Data["clients"].([]any)
		assert.Equal(t, fields{"client_id": organization, "username": userA, "active": true, "result": "ok", "scope": "", "lifetime": int64(3600)}, clients[0])
		refused := clients[1].(fields)
		assert.Equal(t, []any{organization, userB, false, "refused"}, []any{refused["client_id"], refused["username"], refused["active"], refused["result"]})
		assert.Contains(t, refused["error"], `GBG refused user "user-b": invalid_grant`)
		status := w.read("status")
		assert.Equal(t, "standby_refused", status["state"])
		assert.Equal(t, `User "user-b" is the standby and has been refused since `+timestamp(start)+
			`: see standby_error. Renew it now: if nobody has its current password, change it in GBG's Account management portal, then: vault write gbg/rotate username=user-b password=@FILE`, status["next_step"])
		assert.True(t, w.logged("client not verified: connection=default username=user-b"))

		w.rotate(fields{"username": userB, "password": w.changePassword(userB)})
		assert.Equal(t, "ok", w.read("status")["state"])
	})
}

func TestStandbyCheckOfUsers(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.users())
		w.changePassword(userB)
		warned := w.lines(func() { w.pass(day + time.Second) }, "WARN")
		require.Len(t, warned, 1)
		assert.Contains(t, warned[0], "standby refused: connection=default username=user-b refused=1")
		assert.Equal(t, "standby_refused", w.read("status")["state"])
		assert.Equal(t, userA, w.read("creds")["username"])
	})
}

// The organization's client is both users' trouble: no user's password mends it.
func TestStandbyCheckOfARefusedOrganization(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.users())
		secret := w.regenerate(organization)
		w.pass(day + time.Second)
		status := w.read("status")
		assert.Equal(t, "standby_refused", status["state"])
		assert.Contains(t, status["standby_error"], `GBG refused the organization's client "organization": invalid_client`)
		assert.Equal(t, `User "user-b" is the standby and has been refused since `+timestamp(start.Add(day))+
			`: see standby_error. If the secret of the organization's client was regenerated, an administrator must store the new one: vault write gbg/config client_secret=@FILE`, status["next_step"])
		w.write("config", fields{"client_secret": secret})
		assert.Equal(t, "ok", w.read("status")["state"], "both users were verified with it")
	})
}

// A key that was never registered has not failed: it is unproven until it gets a token.
func TestStandbyCheckOfAnUnregisteredKey(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		proven(w)
		w.minute()
		w.newKey(nil)
		for range 3 {
			status := w.read("status")
			assert.Equal(t, "standby_unproven", status["state"])
			assert.Equal(t, `Client "idp-client-b" stands by with a key that has not been proved: register it at the identity provider (vault read gbg/keys), then prove it: vault write -f gbg/verify. When it is time to rotate: vault write gbg/rotate client_id=idp-client-b`, status["next_step"])
			assert.NotContains(t, w.metricsText(), "gbg_standby_refused_timestamp_seconds{")
			w.pass(day + time.Second)
		}
		assert.Contains(t, w.read("status")["standby_error"], "invalid_client")
		w.register(idpB)
		w.pass(day)
		status := w.read("status")
		assert.Equal(t, "ok", status["state"], "the check proves it: %v", status)
		assert.NotContains(t, status, "standby_error")
	})
}

func TestVerifyKeys(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		proven(w)
		results, _ := w.verify()
		assert.Equal(t, []any{"ok", "ok"}, []any{results[idpA]["result"], results[idpB]["result"]})
		w.unregister(idpB)
		results, _ = w.verify()
		assert.Equal(t, []any{"ok", "refused"}, []any{results[idpA]["result"], results[idpB]["result"]})
		status := w.read("status")
		assert.Equal(t, "standby_refused", status["state"])
		assert.Contains(t, status["next_step"], `Its key may not be registered at the identity provider: vault read gbg/keys. If it is, have an administrator make a new key for client "idp-client-b" (vault write gbg/keys client_id=idp-client-b) and register it at the identity provider, then: vault write gbg/rotate client_id=idp-client-b`)
	})
}

// A new password goes into service by the schedule, and so does a new key that is
// registered.
func TestScheduleOfUsersAndKeys(t *testing.T) {
	for name, kind := range map[string]struct {
		configure func(*world)
		renew     func(*world)
		active    string
		want      string
	}{
		"users": {
			func(w *world) { w.write("config", w.users()) },
			func(w *world) { w.write("config", fields{"paired_password": w.changePassword(userB)}) },
			"active_username", userB,
		},
		"keys": {
			func(w *world) { proven(w) },
			func(w *world) { w.minute(); w.newKey(nil); w.register(idpB) },
			"active_client_id", idpB,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, worldOptions{}, func(w *world) {
				kind.configure(w)
				before := w.read("status")[kind.active]
				w.write("config", fields{"rotation_period": "24h", "standby_check": "0"})
				kind.renew(w)
				assert.Equal(t, before, w.read("status")[kind.active])
				w.pass(day + time.Minute)
				status := w.read("status")
				assert.Equal(t, []any{kind.want, "schedule"}, []any{status[kind.active], status["last_rotation_cause"]})
				assert.True(t, w.logged(fmt.Sprintf("rotated: connection=default cause=schedule %s=%s", kind.active, kind.want)))
				w.pass(day)
				status = w.read("status")
				assert.Equal(t, []any{kind.want, "rotation_due"}, []any{status[kind.active], status["state"]}, "never onto one that has served")
			})
		})
	}
}

func TestScheduleNeedsAPairOfUsers(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		users := w.users()
		scheduled := fields{"rotation_period": "24h"}
		assert.Equal(t, "rotation_period needs a paired user to rotate to: set paired_username and paired_password",
			w.refused(w.try(logical.UpdateOperation, "config", with(without(users, "paired_username", "paired_password"), scheduled))))
		w.write("config", with(users, scheduled))
		assert.Equal(t, "paired_username cannot be removed: rotations need it, and rotation_period is set. Turn that off in the same write: rotation_period=0",
			w.refused(w.try(logical.UpdateOperation, "config", fields{"paired_username": ""})))
	})
}

// The claims of a user's name and address are the user's own; others are compared.
func TestClaimsOfUsers(t *testing.T) {
	claims := func(user string) fields {
		return fields{
			"sub": user, "preferred_username": user, "name": "Name of " + user, "given_name": user, "family_name": user,
			"email": user + "@example.com", "email_verified": user == userA, "department": "Fraud", "upn": user,
		}
	}
	for name, c := range map[string]struct {
		b    fields
		want any
	}{
		"alike":              {claims(userB), nil},
		"another department": {with(claims(userB), fields{"department": "Risk"}), []string{"department"}},
	} {
		t.Run(name, func(t *testing.T) {
			gbg := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				payload := claims(userA)
				if r.FormValue("username") == userB {
					payload = c.b
				}
				encoded, err := json.Marshal(payload)
				assert.NoError(t, err)
				part := base64.RawURLEncoding.EncodeToString
				rw.Header().Set("Content-Type", "application/json")
				_, _ = fmt.Fprintf(rw, `{"access_token":"%s.%s.%s","token_type":"Bearer","expires_in":3600}`, part([]byte(`{"alg":"ES256"}`)), part(encoded), part([]byte("signature")))
			})
			inBubble(t, worldOptions{gbg: gbg}, func(w *world) {
				w.write("config", w.users())
				assert.Equal(t, c.want, w.read("status")["claims_differ"])
			})
		})
	}
}
