package plugintest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// refusal is the simulator's answer to a wrong secret, as an error shows it.
func (w *world) refusal(connection, client string) string {
	return fmt.Sprintf("connection %q: GBG refused client %q: invalid_client: Invalid client or client credentials. (HTTP 401 from %s).",
		connection, client, w.tokenURL())
}

func TestConfigFirstWriteIsVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		assert.Equal(t, 1, w.askedBy(clientA))
		assert.Equal(t, 1, w.askedBy(clientB))

		assert.Equal(t, clientA, w.owner(w.read("creds")["access_token"]))
		assert.Equal(t, 2, w.asked(), "the token of the verification is served")
	})
}

func TestConfigRefusedVerificationStoresNothing(t *testing.T) {
	for _, c := range []struct{ field, client string }{
		{"client_secret", clientA},
		{"paired_client_secret", clientB},
	} {
		t.Run(c.field, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				pair := w.pair()
				got := w.refused(w.try(logical.UpdateOperation, "config/team-a", with(pair, fields{c.field: wrongSecret})))
				assert.Equal(t, w.refusal("team-a", c.client)+" Nothing has changed.", got)
				assert.Empty(t, w.storage.content(t))
				assert.Equal(t, answer{}, w.try(logical.ReadOperation, "config/team-a", nil))
			})
		})
	}
}

func TestConfigRefusedVerificationChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		content, config, creds, status := w.storage.content(t), w.read("config"), w.read("creds"), w.read("status")

		secretC := w.client("client-c")
		invalidScope := fmt.Sprintf("connection %q: GBG refused client %q: invalid_scope: Only the scope gbg.token can be asked for. (HTTP 400 from %s).",
			"default", clientA, w.tokenURL())
		for _, c := range []struct {
			name   string
			change fields
			want   string
		}{
			{"the scope", fields{"scope": "gbg.token admin"}, invalidScope},
			{"the active client's secret", fields{"client_secret": wrongSecret}, w.refusal("default", clientA)},
			{"the standby's secret", fields{"paired_client_secret": wrongSecret}, w.refusal("default", clientB)},
			{"both, of which one is good", fields{"client_id": "client-c", "client_secret": secretC, "paired_client_secret": wrongSecret}, w.refusal("default", clientB)},
			{"an unknown standby", fields{"paired_client_id": "client-d", "paired_client_secret": wrongSecret}, w.refusal("default", "client-d")},
		} {
			got := w.refused(w.try(logical.UpdateOperation, "config", with(c.change, fields{"refresh_before": 60})))
			assert.Equal(t, c.want+" Nothing has changed.", got, c.name)
		}
		assert.Equal(t, content, w.storage.content(t), "stored byte for byte")
		assert.Equal(t, config, w.read("config"))
		assert.Equal(t, creds, w.read("creds"))
		assert.Equal(t, status, w.read("status"))
	})
}

func TestConfigVerificationThatGBGCannotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config", pair)
		content, creds := w.storage.content(t), w.read("creds")
		w.closeGBG()

		a, rests := w.tryRetried(logical.UpdateOperation, "config", fields{"client_secret": w.regenerate(clientA)})
		assert.Regexp(t, `^connection "default": no token for client "client-a": .+ \(`+w.tokenURL()+`\)\. Nothing has changed\.$`,
			w.coded(http.StatusServiceUnavailable, a))
		assert.Equal(t, retryPauses, rests)
		assert.Equal(t, content, w.storage.content(t), "stored byte for byte")
		assert.Equal(t, without(creds, "ttl"), without(w.read("creds"), "ttl"))

		a, _ = w.tryRetried(logical.UpdateOperation, "config/team-a", pair)
		w.coded(http.StatusServiceUnavailable, a)
		assert.Equal(t, content, w.storage.content(t))
	})
}

func TestConfigVerifiesOnlyWhatAWriteSets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config", pair)
		for _, c := range []struct {
			name   string
			renew  []string // clients that get a new secret first
			change fields   // besides the new secrets
			a, b   int      // requests by each client
		}{
			{"refresh_before", nil, fields{"refresh_before": 60}, 0, 0},
			{"request_timeout", nil, fields{"request_timeout": 20}, 0, 0},
			{"the default grant_type", nil, fields{"grant_type": "client_credentials"}, 0, 0},
			{"the same scope", nil, fields{"scope": " gbg.token "}, 0, 0},
			{"the same secrets", nil, without(pair, "token_url"), 0, 0},
			{"the first secret", []string{clientA}, fields{}, 1, 0},
			{"the paired secret", []string{clientB}, fields{}, 0, 1},
			{"both secrets", []string{clientA, clientB}, fields{}, 1, 1},
			{"scope", nil, fields{"scope": "gbg.token gbg.token"}, 1, 1},
			{"token_url", []string{clientA, clientB}, fields{"token_url": w.tokenURL() + "?again"}, 1, 1},
			{"the paired client removed", nil, fields{"paired_client_id": ""}, 0, 0},
		} {
			secrets := map[string]string{clientA: "client_secret", clientB: "paired_client_secret"}
			for _, client := range c.renew {
				c.change[secrets[client]] = w.regenerate(client)
			}
			a, b := w.askedBy(clientA), w.askedBy(clientB)
			w.write("config", c.change)
			assert.Equal(t, []int{c.a, c.b}, []int{w.askedBy(clientA) - a, w.askedBy(clientB) - b}, c.name)
		}
	})
}

// GBG that is back in time makes a write succeed.
func TestConfigVerificationIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		for _, client := range []string{clientA, clientB} {
			w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusServiceUnavailable, ClientID: client, Requests: 2})
		}
		a, rests := w.tryRetried(logical.UpdateOperation, "config", pair)
		w.ok(a)
		const first, second = 250 * time.Millisecond, 500 * time.Millisecond
		assert.Equal(t, []time.Duration{first, second, first, second}, rests)
		assert.Equal(t, 6, w.asked())
	})
}

// A standby that a write makes the only client proves itself first.
func TestConfigVerifiesAStandbyThatBecomesActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		content := w.storage.content(t)
		w.regenerate(clientB)
		promotion := fields{"client_id": clientB, "paired_client_id": ""}
		assert.Equal(t, w.refusal("default", clientB)+" Nothing has changed.",
			w.refused(w.try(logical.UpdateOperation, "config", promotion)))
		assert.Equal(t, content, w.storage.content(t))

		w.write("config", with(promotion, fields{"client_secret": w.regenerate(clientB)}))
		assert.Equal(t, clientB, w.read("config")["active_client_id"])
		assert.Equal(t, clientB, w.owner(w.read("creds")["access_token"]))
	})
}

func TestConfigWithoutVerification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		single := with(w.single(), fields{"verify_connection": false})
		w.write("config", with(single, fields{"client_secret": wrongSecret}))
		assert.Zero(t, w.asked())
		assert.NotContains(t, w.read("config"), "verify_connection")
		assert.NotContains(t, w.read("status"), "active_verified_time")

		w.write("config", fields{"client_secret": single["client_secret"]})
		assert.Equal(t, 1, w.asked(), "verify_connection=false is not stored")
	})
}

// Whoever may write config must not be able to have a stored secret sent to an
// address of theirs.
func TestConfigNewURLWantsTheSecretsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const again = " is missing: a write that changes token_url must give the secrets of both clients again, so that no stored secret is sent to a new address"
		for _, verify := range []bool{true, false} {
			w := newWorld(t, worldOptions{})
			theirs := w.server(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				t.Error("a stored secret was sent to a new address")
			}))
			pair := w.pair()
			w.write("config", pair)
			content := w.storage.content(t)
			a, b := pair["client_secret"], pair["paired_client_secret"]
			for _, c := range []struct {
				name   string
				change fields
				want   string
			}{
				{"none", fields{}, "client_secret" + again},
				{"the first", fields{"client_secret": a}, "paired_client_secret" + again},
				{"the second", fields{"paired_client_secret": b}, "client_secret" + again},
				{"an empty one", fields{"client_secret": a, "paired_client_secret": ""}, "paired_client_secret is missing"},
				{"the ids swapped", fields{"client_id": clientB, "paired_client_id": clientA, "client_secret": b}, "paired_client_secret" + again},
				{"the active client moved away", fields{"client_id": "evil", "client_secret": wrongSecret, "paired_client_id": clientA}, "paired_client_secret" + again},
				{"the default address", fields{"token_url": ""}, "client_secret" + again},
			} {
				change := with(fields{"token_url": theirs, "verify_connection": verify}, c.change)
				assert.Equal(t, c.want, w.refused(w.try(logical.UpdateOperation, "config", change)), c.name)
			}
			assert.Equal(t, content, w.storage.content(t))
		}
	})
}

func TestConfigNewURLWithTheSecretsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config", pair)
		moved := with(pair, fields{"token_url": w.tokenURL() + "?moved"})
		w.write("config", moved)
		assert.Equal(t, moved["token_url"], w.read("config")["token_url"])

		// Without a standby, one secret is all there is.
		w.write("config", with(without(moved, "paired_client_secret"), fields{"paired_client_id": "", "token_url": w.tokenURL()}))
		assert.Equal(t, w.tokenURL(), w.read("config")["token_url"])
	})
}

// The first token_url of a connection that follows the default is a change too.
func TestConfigFirstURLWantsTheSecretsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		single := w.single()
		w.write("config", with(without(single, "token_url"), fields{"verify_connection": false}))
		got := w.refused(w.try(logical.UpdateOperation, "config", fields{"token_url": w.tokenURL()}))
		assert.Contains(t, got, "client_secret is missing: a write that changes token_url")
		assert.Zero(t, w.asked())

		// The default written out is no change.
		w.write("config", fields{"token_url": "https://api.auth.gbgplc.com/as/token.oauth2"})
		w.write("config", single)
	})
}

// narrow is a GBG that grants one scope, whatever is asked for.
func narrow(granted string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(fields{
			"access_token": gbgsim.TokenPrefix + r.FormValue("client_id"),
			"token_type":   "Bearer",
			"expires_in":   3600,
			"scope":        granted,
		})
	})
}

func TestConfigWarnsOfANarrowerScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{gbg: narrow("gbg.token")})
		config := with(w.pair(), fields{"scope": "gbg.token gbg.match gbg.capture"})
		warning := func(client string) string {
			return fmt.Sprintf(`GBG granted client %q less than was asked for: "gbg.match gbg.capture" is missing (granted: "gbg.token")`, client)
		}
		assert.Equal(t, []string{warning(clientA), warning(clientB)}, w.write("config", config))
		assert.Equal(t, []string{warning(clientA), "Endpoint ignored these unrecognized parameters: [scop]"},
			w.write("config", fields{"client_secret": wrongSecret, "scop": "x"}), "both kinds of warning at once")

		got := w.ok(w.try(logical.ReadOperation, "creds", nil))
		assert.Equal(t, []string{warning(clientA)}, got.Warnings)
		assert.Equal(t, "gbg.token", got.Data["scope"], "as granted")

		assert.Empty(t, w.write("config", fields{"scope": "gbg.token"}))
		assert.Empty(t, w.ok(w.try(logical.ReadOperation, "creds", nil)).Warnings)
	})
}
