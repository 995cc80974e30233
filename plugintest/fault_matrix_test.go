package plugintest

import (
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

// matrixState is a state in which a fault is met, and the request that meets it.
type matrixState struct {
	name string
	// setUp leaves a world in the state, and gives what the request says.
	setUp func(*world) fields
	op    logical.Operation
	path  string

	// endpoint is whose requests the fault hits, and hits of which client; empty is
	// every one's.
	endpoint gbgsim.Endpoint
	hits     string
	// client is whose token is asked for; empty is a caller's own. standby is who
	// takes over if that is refused; empty is nobody.
	client, standby string
	// valid is set if there is a valid token, so that no reader waits, and fresh
	// that it needs no successor either.
	valid, fresh bool
	// leased is set if a reader's token is its own.
	leased bool
	// stored is set if the standby is asked with the secret that is stored.
	stored bool
}

// When a token of an hour, that nobody has read, is in its refresh window or has
// ended.
const (
	inTheWindow = 56 * time.Minute
	pastTheEnd  = 2 * time.Hour
)

// withoutToken leaves a connection that has never asked for a token.
func withoutToken(config func(*world) fields, more fields) func(*world) fields {
	return func(w *world) fields {
		w.write("config", with(with(w.trusted(config), fields{"verify_connection": false}), more))
		return nil
	}
}

// withToken leaves a connection whose token is as old as that.
func withToken(config func(*world) fields, age time.Duration) func(*world) fields {
	return func(w *world) fields {
		w.write("config", w.trusted(config))
		w.pass(age)
		return nil
	}
}

// withTokenAnd is withToken for a request that says something.
func withTokenAnd(config func(*world) fields, request func(*world) fields) func(*world) fields {
	return func(w *world) fields {
		w.write("config", w.trusted(config))
		return request(w)
	}
}

// trusted is a configuration that trusts the simulator's certificate, if it has one.
func (w *world) trusted(config func(*world) fields) fields {
	w.t.Helper()
	if !w.options.tls {
		return config(w)
	}
	pem, err := w.sim.CAPEM()
	require.NoError(w.t, err)
	return with(config(w), fields{"ca_pem": string(pem)})
}

var matrixStates = []matrixState{
	{name: "no token, one client", setUp: withoutToken((*world).single, nil), client: clientA},
	{name: "no token, pair", setUp: withoutToken((*world).pair, nil), hits: clientA, client: clientA, standby: clientB},
	{name: "no token, pair, both", setUp: withoutToken((*world).pair, nil), client: clientA, standby: clientB},
	{name: "no token, no failover", setUp: withoutToken((*world).pair, fields{"failover": false}), client: clientA},
	{name: "fresh token", setUp: withToken((*world).pair, time.Minute), client: clientA, standby: clientB, valid: true, fresh: true},
	{name: "refresh window, one client", setUp: withToken((*world).single, inTheWindow), client: clientA, valid: true},
	{name: "refresh window, pair", setUp: withToken((*world).pair, inTheWindow), hits: clientA, client: clientA, standby: clientB, valid: true},
	{name: "refresh window, pair, both", setUp: withToken((*world).pair, inTheWindow), client: clientA, standby: clientB, valid: true},
	{name: "expired token, one client", setUp: withToken((*world).single, pastTheEnd), client: clientA},
	{name: "expired token, pair", setUp: withToken((*world).pair, pastTheEnd), hits: clientA, client: clientA, standby: clientB},
	{name: "leased read, one client", setUp: withoutToken((*world).single, fields{"lease": true}), client: clientA, leased: true},
	{name: "leased read, pair", setUp: withoutToken((*world).leasing, nil), hits: clientA, client: clientA, standby: clientB, leased: true},
	{
		name: "rotate", op: logical.UpdateOperation, path: "rotate", client: clientB, stored: true,
		setUp: withTokenAnd((*world).pair, func(*world) fields { return fields{"client_id": clientB} }),
	},
	{
		name: "rotate with a new secret", op: logical.UpdateOperation, path: "rotate", hits: clientB, client: clientB,
		setUp: withTokenAnd((*world).pair, func(w *world) fields {
			return fields{"client_id": clientB, "client_secret": w.regenerate(clientB)}
		}),
	},
	{
		name: "config write", op: logical.UpdateOperation, path: "config", client: clientA,
		setUp: withTokenAnd((*world).pair, func(w *world) fields { return fields{"client_secret": w.regenerate(clientA)} }),
	},
	{
		name: "config write without a secret", op: logical.UpdateOperation, path: "config", client: clientA,
		setUp: withTokenAnd((*world).pair, func(*world) fields { return fields{"refresh_before": 60} }), fresh: true,
	},
	{name: "identity provider, one client", setUp: withoutToken((*world).m2mSingle, nil), endpoint: gbgsim.EndpointIDP, client: idpA},
	{name: "identity provider, pair", setUp: withoutToken((*world).m2m, nil), endpoint: gbgsim.EndpointIDP, hits: idpA, client: idpA, standby: idpB},
	{name: "identity provider, refresh window", setUp: withToken((*world).m2m, inTheWindow), endpoint: gbgsim.EndpointIDP, hits: idpA, client: idpA, standby: idpB, valid: true},
	{name: "exchange, one client", setUp: withoutToken((*world).m2mSingle, nil), endpoint: gbgsim.EndpointIdentity, client: idpA},
	{name: "exchange, pair", setUp: withoutToken((*world).m2m, nil), endpoint: gbgsim.EndpointIdentity, client: idpA, standby: idpB},
	{name: "exchange, refresh window", setUp: withToken((*world).m2m, inTheWindow), endpoint: gbgsim.EndpointIdentity, client: idpA, standby: idpB, valid: true},
	{
		name: "own exchange", op: logical.UpdateOperation, path: "creds", endpoint: gbgsim.EndpointIdentity,
		setUp: func(w *world) fields {
			w.write("config", w.trusted((*world).exchangeOnly))
			return fields{"id_token": w.idToken(someone)}
		},
	},
}

// reads reports whether the request reads a token of the connection's.
func (s matrixState) reads() bool { return s.op == "" }

// request is the state's request; to read is what most do.
func (s matrixState) request() (op logical.Operation, path string) {
	if s.reads() {
		return logical.ReadOperation, "creds"
	}
	return s.op, s.path
}

// twoSteps reports whether an identity provider is asked first, and GBG then.
func (s matrixState) twoSteps() bool { return s.endpoint != "" && s.client != "" }

// meets reports whether a fault can be met there at all: a bad certificate is met in the
// first step. A costly one is, where one client reads.
func (s matrixState) meets(f classified) bool {
	if f.costly && (!s.reads() || s.standby != "") {
		return false
	}
	return !f.ofConnection() || !s.twoSteps() || s.endpoint == gbgsim.EndpointIDP
}

// reached is what came to each endpoint, and the TLS connections that met a fault.
type reached struct{ token, idp, identity, badConnections int }

func (w *world) reached() reached {
	stats := w.sim.Stats()
	return reached{stats.TokenRequests.Total, stats.IDP.TokenRequests.Total, stats.Identity.TokenRequests.Total, stats.TLSConnections.Faulted}
}

func (r reached) since(before reached) reached {
	return reached{r.token - before.token, r.idp - before.idp, r.identity - before.identity, r.badConnections - before.badConnections}
}

// outcome is what is to come of a fault in a state.
type outcome struct {
	// got is set if a token was got, takenOver that the standby got it.
	got, takenOver bool
	// code is the answer's status.
	code int
	// says is a part of the error, which is the answer's or in the status.
	says    []string
	reached reached
}

// expect derives the outcome from the rules of the contract.
func (s matrixState) expect(f classified) outcome {
	if s.fresh {
		return outcome{code: http.StatusOK, got: true}
	}
	hitsStandby := s.hits == "" || f.ofConnection()
	asked := []string{s.client}
	if f.class == refusesClient && s.standby != "" {
		asked = append(asked, s.standby)
	}
	o := outcome{
		takenOver: len(asked) == 2 && !hitsStandby,
		got:       f.class == harmless || len(asked) == 2 && !hitsStandby,
	}
	switch {
	case o.got || s.valid:
		o.code = http.StatusOK
	case f.class == temporary:
		o.code = http.StatusServiceUnavailable
	case f.class == foreign, s.reads(), s.client == "" && f.class == refusesClient: // not the caller's affair
		o.code = http.StatusBadGateway
	default:
		o.code = http.StatusBadRequest
	}
	if !o.got {
		for _, client := range asked {
			o.says = append(o.says, s.saysOf(client, f))
		}
	}
	o.reached = s.expectReached(f, len(asked), o.got)
	return o
}

// saysOf is what is said of one client.
func (s matrixState) saysOf(client string, f classified) string {
	no := f.class == refusesClient || f.class == refusesRequest
	switch {
	case s.client == "" && no:
		return "GBG refused to exchange the id_token"
	case s.client == "":
		return "no token from GBG in exchange for the id_token"
	case s.endpoint == gbgsim.EndpointIDP && no:
		return fmt.Sprintf("the identity provider refused client %q", client)
	case s.endpoint == gbgsim.EndpointIDP:
		return fmt.Sprintf("no token for client %q from the identity provider", client)
	case s.endpoint == gbgsim.EndpointIdentity && no:
		return fmt.Sprintf("GBG refused to exchange the identity provider's token of client %q", client)
	case s.endpoint == gbgsim.EndpointIdentity:
		return fmt.Sprintf("no token from GBG in exchange for the identity provider's of client %q", client)
	case no:
		return fmt.Sprintf("GBG refused client %q", client)
	}
	return fmt.Sprintf("no token for client %q", client)
}

// expectReached is what comes to the endpoints while so many clients ask.
func (s matrixState) expectReached(f classified, clients int, got bool) reached {
	tries := clients * f.tries() // only a refusal makes it two, and is not temporary
	if f.class == refusesClient && (s.reads() || s.stored) {
		tries, clients = tries+1, clients+1 // it is asked once more
	}
	if f.ofConnection() {
		return reached{badConnections: tries}
	}
	switch {
	case s.endpoint == "":
		return reached{token: tries}
	case s.endpoint == gbgsim.EndpointIdentity && s.twoSteps():
		return reached{idp: clients, identity: tries}
	case s.endpoint == gbgsim.EndpointIDP && got:
		return reached{idp: tries, identity: 1}
	case s.endpoint == gbgsim.EndpointIDP:
		return reached{idp: tries}
	}
	return reached{identity: tries}
}

// Every kind of fault, met in every state.
func TestFaultMatrix(t *testing.T) {
	cells := 0
	for _, s := range matrixStates {
		for _, f := range matrixFaults {
			if s.meets(f) {
				cells++
				t.Run(s.name+"/"+f.name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { s.meet(t, f) })
				})
			}
		}
	}
	t.Log(cells, "cells")
}

// meet lets a fault be met.
func (s matrixState) meet(t *testing.T, f classified) {
	t.Helper()
	w := newWorld(t, worldOptions{tls: f.ofConnection()})
	data := s.setUp(w)
	if f.ofConnection() {
		w.restart() // no connection is left
	} else {
		f.fault.Endpoint, f.fault.ClientID = s.endpoint, s.hits
	}
	before, entry, config := w.reached(), w.storage.content(t)[connectionKey], w.read("config")
	w.fault(f.fault)
	want := s.expect(f)

	op, path := s.request()
	unchanged := w.read("status")
	a := w.send(t.Context(), op, path, data)
	synctest.Wait()
	if s.reads() && s.valid {
		// The refresh goes on in the background.
		for range 200 {
			now := w.read("status")
			if now["consecutive_errors"] != nil || now["token_expire_time"] != unchanged["token_expire_time"] {
				break
			}
			w.pass(50 * time.Millisecond)
		}
	}
	assert.Equal(t, want.reached, w.reached().since(before), "requests")
	w.mustAnswer(want, s.reads(), !s.reads() && s.client != "", a)

	// The state afterwards.
	active, status := config["active_client_id"], w.read("status")
	switch {
	case want.takenOver, path == "rotate" && want.got:
		active = map[bool]string{true: s.standby, false: s.client}[want.takenOver]
	case s.stored && (f.class == refusesClient || f.class == refusesRequest):
		assert.Contains(t, status["standby_error"], want.says[0])
		assert.Equal(t, config, w.read("config"))
	case !s.reads() && !want.got:
		assert.NotContains(t, status, "standby_error")
		assert.Equal(t, entry, w.storage.content(t)[connectionKey])
	}
	assert.Equal(t, active, w.read("config")["active_client_id"])
	if s.reads() {
		assert.Equal(t, !want.got, status["consecutive_errors"] == int64(1), status["consecutive_errors"])
		for _, says := range want.says {
			assert.Contains(t, status["last_error"], says)
		}
		assert.Equal(t, (want.got || s.valid) && !s.leased, status["token_expire_time"] != nil)
	}

	// And once it is over.
	w.sim.ClearFaults()
	w.pass(aMoment)
	a = w.try(op, path, data)
	w.ok(a)
	if s.client == "" {
		assert.True(t, simTakes(w.sim, a.resp.Data["access_token"]))
		return
	}
	creds := w.read("creds")
	assert.Equal(t, w.read("config")["active_client_id"], creds["client_id"])
	assert.True(t, simTakes(w.sim, creds["access_token"]))
	w.pass(0)
	assert.Nil(t, w.read("status")["consecutive_errors"])
}

// mustAnswer checks an answer.
func (w *world) mustAnswer(want outcome, reads, writes bool, a answer) {
	t := w.t
	t.Helper()
	var text string
	switch want.code {
	case http.StatusOK:
		w.ok(a)
		if reads {
			assert.True(t, simTakes(w.sim, a.resp.Data["access_token"]))
		}
		return
	case http.StatusBadRequest:
		text = w.refused(a)
	default:
		text = w.coded(want.code, a)
	}
	for _, says := range want.says {
		assert.Contains(t, text, says)
	}
	if reads {
		assert.Contains(t, text, "Token requests have failed since")
	}
	assert.Equal(t, writes, strings.Contains(text, "Nothing has changed"), text)
}
