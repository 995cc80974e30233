package plugintest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

const (
	rolesDiffer = `the tokens of client "client-a" (active) and client "client-b" (standby) differ in the claims ["roles"]: the clients may not have the same rights. Compare their roles and departments`
	// jwtBegin is how every JWT begins: none may be heard.
	jwtBegin = "eyJhbGci"
)

// signed makes GBG issue JWTs.
func (w *world) signed() {
	w.t.Helper()
	require.NoError(w.t, w.sim.SetTokenFormat(gbgsim.TokenFormatJWT))
	w.heard.mark(jwtBegin)
}

// A standby without its role is found by a config write, a verification, a check and a
// rotation. The status tells it until it is mended.
func TestClaimsOfAStandbyWithoutItsRole(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		t := w.t
		w.signed()
		pair := w.pair()
		assert.Empty(t, w.write("config", pair))
		_, warnings := w.verify()
		assert.Empty(t, warnings)
		assert.NotContains(t, w.read("status"), "claims_differ")

		require.NoError(t, w.sim.SetRoles(clientB))
		var events []sentEvent
		warned := w.lines(func() { events = w.eventsOf(func() { w.pass(day + time.Second) }) }, "WARN")
		require.Len(t, warned, 1)
		assert.Contains(t, warned[0], `the tokens of both clients differ in claims: connection=default active_client_id=client-a standby_client_id=client-b claims=roles`)
		require.Len(t, events, 1)
		assert.Equal(t, "gbg/claims-differ", events[0].kind)
		assert.Equal(t, "roles", events[0].metadata["claims"])
		assert.Equal(t, []string{"roles"}, w.read("status")["claims_differ"])
		assert.Equal(t, 1, int(w.metrics().of("default")["gbg_claims_differ"]))
		assert.Empty(t, w.lines(func() { w.pass(3 * day) }, "WARN"), "it is told once")
		w.restart()
		assert.Equal(t, []string{"roles"}, w.read("status")["claims_differ"], "what is known outlives a restart")

		_, warnings = w.verify()
		assert.Equal(t, []string{rolesDiffer}, warnings)
		assert.Equal(t, []string{rolesDiffer}, w.write("config", fields{"paired_client_secret": w.regenerate(clientB)}))
		assert.Contains(t, w.rotate(fields{"client_id": clientB}).Warnings, strings.NewReplacer(clientA, clientB, clientB, clientA).Replace(rolesDiffer))

		require.NoError(t, w.sim.SetRoles(clientB, gbgsim.RoleGoAPIAccess))
		_, warnings = w.verify()
		assert.Empty(t, warnings)
		assert.NotContains(t, w.read("status"), "claims_differ")
	})
}

// Nothing is said of opaque tokens, nor of a token and a JWT.
func TestClaimsOfOpaqueTokens(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.pair())
		require.NoError(w.t, w.sim.SetRoles(clientB))
		_, warnings := w.verify()
		assert.Empty(w.t, warnings)
		w.signed()
		assert.Empty(w.t, w.write("config", fields{"paired_client_secret": w.regenerate(clientB)}))
		assert.NotContains(w.t, w.read("status"), "claims_differ")
	})
}

// What differs by nature is left out; lists and scopes are sets.
func TestClaimsThatAreCompared(t *testing.T) {
	for name, c := range map[string]struct {
		a, b fields
		want []string
	}{
		"what names token, times and client": {
			a: fields{"jti": 1, "iat": 1, "exp": 1, "nbf": 1, "sub": "a", "client_id": clientA, "azp": clientA, "oid": "1", "clientHost": "h"},
			b: fields{"jti": 2, "iat": 2, "exp": 2, "sub": "b", "client_id": clientB, "oid": "2", "uti": "x"},
		},
		"the client's id anywhere": {
			a: fields{"x": clientA, "aud": []string{clientA, "api"}, "nested": fields{"of": clientA, "n": 1}},
			b: fields{"aud": []string{"api", clientB}, "nested": fields{"of": clientB, "n": 1}},
		},
		"the order of lists": {
			a: fields{"roles": []string{"a", "b"}, "scope": "x y", "scp": "a  b"},
			b: fields{"roles": []string{"b", "a", "b"}, "scope": "y x", "scp": []string{"b", "a"}},
		},
		"one audience": {a: fields{"aud": "api"}, b: fields{"aud": []string{"api"}}},
		"everything else": {
			a:    fields{"roles": []string{"a"}, "scope": "x", "department": "Fraud", "iss": "1", "only_a": true, "realm_access": fields{"roles": []string{"a"}}, "n": 1},
			b:    fields{"roles": []string{}, "scope": "x y", "department": "Risk", "iss": "2", "only_b": false, "realm_access": fields{"roles": []string{"b"}}, "n": 1.5},
			want: []string{"department", "iss", "n", "only_a", "only_b", "realm_access", "roles", "scope"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, worldOptions{gbg: claimant{clientA: c.a, clientB: c.b}}, func(w *world) {
				w.write("config", w.pair())
				if c.want == nil {
					assert.NotContains(w.t, w.read("status"), "claims_differ")
				} else {
					assert.Equal(w.t, c.want, w.read("status")["claims_differ"])
				}
			})
		})
	}
}

// claimant is a GBG that issues JWTs with these claims, by client.
type claimant map[string]fields

func (c claimant) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	part := func(v any) string {
		encoded, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(encoded)
	}
	token := part(fields{"alg": "ES256"}) + "." + part(c[r.FormValue("client_id")]) + "." + part("signature")
	rw.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(rw, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, token)
}

// The claims of tokens for another scope say nothing of those for this one.
func TestClaimsAfterAnotherScope(t *testing.T) {
	gbg := claimant{clientA: fields{"roles": "a"}, clientB: fields{"roles": "b"}}
	inBubble(t, worldOptions{gbg: gbg}, func(w *world) {
		pair := w.pair()
		assert.NotEmpty(w.t, w.write("config", pair))
		w.write("config", fields{"scope": "other", "verify_connection": false})
		assert.NotContains(w.t, w.read("status"), "claims_differ")
		w.ok(w.try(logical.ReadOperation, "creds", nil))
		assert.NotContains(w.t, w.read("status"), "claims_differ", "the standby's are not known yet")
	})
}
