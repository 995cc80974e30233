package plugintest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/pprof"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/backend"
	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// formatted is a value as every way of printing it shows it, and what it points
// to.
func formatted(t *testing.T, values ...any) (said []string) {
	t.Helper()
	var log bytes.Buffer
	for _, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p"} {
			said = append(said, fmt.Sprintf(verb, value))
		}
		if encoded, err := json.Marshal(value); err == nil { // functions and channels have no form
			said = append(said, string(encoded))
		}
		hclog.New(&hclog.LoggerOptions{Output: &log}).Error("fake line", "value", value)
		hclog.New(&hclog.LoggerOptions{Output: &log, JSONFormat: true}).Error("fake line", "value", value)
		for err, _ := value.(error); err != nil; err = errors.Unwrap(err) {
			said = append(said, err.Error())
		}
	}
	return append(said, log.String())
}

// What a test hears is searched for secrets at its end; here is that the search
// finds them as formatting writes them.
func TestLeakSearchFindsWhatFormattingWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		secret := w.client(clientA)
		for _, said := range []string{
			secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprintf("%d", []byte(secret)), fmt.Sprintf("%#v", []byte(secret)),
			basicAuth("x", secret), basicAuth("xy", secret), basicAuth("xyz", secret),
		} {
			heard := &transcript{}
			heard.hear(said)
			assert.NotEmpty(t, heard.secrets(), "%T", said)
		}
	})
}

func basicAuth(id, secret string) string {
	req := &http.Request{Header: http.Header{}}
	req.SetBasicAuth(id, secret)
	return req.Header.Get("Authorization")
}

// After everything has happened to a backend, neither it nor anything that its
// engine gives or says shows a secret, however it is printed; nor do the stacks of
// its goroutines.
func TestLeakNothingPrintsASecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{lifetime: time.Hour})
		pair := w.pair()
		w.write("config", pair)
		w.write("config/leased", with(pair, fields{"lease": true, "revoke_url": w.revokeURL()}))
		w.write("config/m2m", with(w.m2m(), fields{"exchange_client_secret": gbgsim.SecretPrefix + "EXCHANGE", "verify_connection": false}))
		w.write("config/sso", w.exchangeOnly())
		w.write("config/basic", with(w.exchangeOnly(), fields{
			"idp_token_url": w.idpURL(), "client_id": "basic", "client_secret": w.idpClient("basic"), "idp_auth_method": "client_secret_basic", "idp_params": "audience=api",
		}))
		w.write("config/users", w.users())
		w.refused(w.try(logical.UpdateOperation, "rotate/users", fields{"password": wrongSecret}))
		w.write("rotate/users", fields{"username": userB, "password": w.changePassword(userB)})
		w.changePassword(userB)
		w.read("creds")
		w.exchange("creds/sso", w.idToken(someone))
		w.refused(w.try(logical.UpdateOperation, "creds/sso", fields{"id_token": w.idToken(someone) + "x"}))
		w.refused(w.try(logical.ReadOperation, "creds/sso", fields{"id_token": []string{w.idToken(someone)}}))
		w.refused(w.try(logical.UpdateOperation, "rotate", fields{"client_secret": wrongSecret}))
		w.coded(http.StatusBadGateway, w.try(logical.ReadOperation, "creds/m2m", nil)) // another exchange secret than GBG's

		// Leases whose tokens cannot be revoked, and then can.
		kept, dropped := w.lease("creds/leased"), w.lease("creds/leased")
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointRevoke, Status: http.StatusServiceUnavailable})
		require.Error(t, w.revoke(kept))
		w.minute()
		w.sim.ClearFaults()
		w.minute()
		w.minute() // the second failure has made the pause longer
		require.NoError(t, w.revoke(dropped))

		// A storage that refuses, a refresh that fails and recovers, and a failover.
		w.storage.failPut(refusePut)
		require.ErrorIs(t, w.try(logical.UpdateOperation, "rotate", fields{"client_secret": w.regenerate(clientB)}).err, errDisk)
		w.storage.heal()
		w.rotate(fields{"client_secret": w.regenerate(clientB)})
		w.read("creds")
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointGo, Status: http.StatusServiceUnavailable})
		w.pass(56 * time.Minute)
		assert.NotEmpty(t, w.read("status")["last_error"])
		w.sim.ClearFaults()
		w.regenerate(clientB)
		w.pass(2 * time.Minute)
		assert.Equal(t, clientA, w.read("status")["active_client_id"], "the other has taken over")

		metrics := w.ok(w.send(t.Context(), logical.ReadOperation, "metrics", nil)).Data[logical.HTTPRawBody].(string)
		assert.Contains(t, metrics, clientA)
		w.heard.hear(metrics)
		names, _ := w.statusList()
		assert.NotEmpty(t, names)
		assert.NotEmpty(t, w.sent(), "and every event is searched")

		var stacks bytes.Buffer
		require.NoError(t, pprof.Lookup("goroutine").WriteTo(&stacks, 2))
		w.heard.hear(stacks.String())
		w.heard.hear(formatted(t, w.backend, &w.backend)...)
		w.heard.hear(formatted(t, valuesOf(t, w)...)...)
		assert.Empty(t, w.heard.secrets())
	})
}

// valuesOf are values of the engine's exported types and errors, with secrets in
// all that can hold one.
func valuesOf(t *testing.T, w *world) []any {
	t.Helper()
	engine := backend.New(backend.Options{Storage: w.storage, DialContext: w.network.DialContext})
	t.Cleanup(engine.Close)
	conn, err := engine.Connection(t.Context(), "default")
	require.NoError(t, err)
	m2m, err := engine.Connection(t.Context(), "m2m")
	require.NoError(t, err)
	users, err := engine.Connection(t.Context(), "users")
	require.NoError(t, err)
	credential, err := engine.Token(t.Context(), "default", 0)
	require.NoError(t, err)
	leased, err := engine.Token(t.Context(), "leased", 0)
	require.NoError(t, err)
	status, err := engine.Status(t.Context(), "default")
	require.NoError(t, err)

	secret := connection.NewSecret(wrongSecret)
	pair := connection.PairChange{Secrets: [2]*connection.Secret{&secret, &secret}}
	change := backend.Change{Fields: connection.Change{connection.ExchangeClientSecret: secret, connection.ClientSecret: secret, connection.Password: secret}}
	_, refused := engine.Configure(t.Context(), "default", backend.Change{Fields: connection.Change{connection.ClientSecret: secret}})
	require.Error(t, refused)
	_, notRotated := engine.Rotate(t.Context(), "default", backend.RotateRequest{Secret: &secret})
	require.Error(t, notRotated)
	_, notExchanged := engine.Exchange(t.Context(), "sso", connection.NewSecret(w.idToken(someone)+"x"))
	require.Error(t, notExchanged)
	w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointRevoke, Status: http.StatusBadRequest})
	notRevoked := engine.Revoke(t.Context(), leased.Lease.Token)
	require.Error(t, notRevoked)
	var client *backend.ClientError
	require.ErrorAs(t, refused, &client)

	return []any{
		engine, conn, &conn, m2m, &m2m, users, &users, conn.Pair, conn.Settings, m2m.Settings, users.Settings, credential, &credential, leased, leased.Lease, status, secret, &secret,
		change, change.Fields, pair,
		backend.RotateRequest{Secret: &secret, Password: &secret},
		map[connection.Secret]connection.Secret{secret: secret},
		[]connection.Secret{secret},
		refused, notRotated, notExchanged, notRevoked, *client, client.Cause, *client.Cause,
		&backend.PairError{Active: client, Standby: client}, &backend.FailingError{Cause: client},
		gbgauth.ClientCredentials{ClientSecret: secret},
		gbgauth.Password{ClientSecret: secret, Password: secret},
		gbgauth.Exchange{ClientSecret: secret, IDToken: secret},
		gbgauth.Revocation{ClientSecret: secret, Token: secret},
		gbgauth.Token{AccessToken: secret},
	}
}
