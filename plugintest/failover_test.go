package plugintest

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// refusalOf is GBG that does not know a client.
func refusalOf(client string) gbgsim.Fault {
	return gbgsim.Fault{
		Kind: gbgsim.FaultStatus, ClientID: client, Status: http.StatusUnauthorized,
		Error: "invalid_client", ErrorDescription: "Who is " + client + "?",
	}
}

// The two ways in which GBG refuses a client.
var clientRefusals = map[string]gbgsim.Fault{
	"invalid_client":      refusalOf(clientA),
	"unauthorized_client": {Kind: gbgsim.FaultStatus, ClientID: clientA, Status: http.StatusBadRequest, Error: "unauthorized_client"},
}

func takenOver(code string) []string {
	return []string{fmt.Sprintf(`GBG refused client "client-a" (%s), so client "client-b" has taken over: write the refused client's current secret to config`, code)}
}

// coldWith gives a world with a pair that was not verified: nothing is known,
// and GBG has not been asked.
func coldWith(t *testing.T, settings fields) *world {
	t.Helper()
	w := newWorld(t, worldOptions{})
	w.write("config", with(with(w.pair(), fields{"verify_connection": false}), settings))
	return w
}

func TestFailoverOnAColdRead(t *testing.T) {
	for code, refusal := range clientRefusals {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := coldWith(t, nil)
				w.fault(refusal)
				w.pass(time.Minute)

				resp := w.creds()
				assert.Equal(t, takenOver(code), resp.Warnings)
				assert.Equal(t, clientB, resp.Data["client_id"])
				assert.Equal(t, clientB, w.owner(resp.Data["access_token"]))
				assert.Equal(t, 2, w.askedBy(clientA), "a refused client is asked once more")
				assert.Equal(t, 1, w.askedBy(clientB))
				assert.Equal(t, 2, w.storage.writesOf(connectionKey), "the first and one for the failover")
				assert.Equal(t, 1, w.storage.writesOf(tokenKey))

				again := w.creds()
				assert.Empty(t, again.Warnings, "it is said once")
				assert.Equal(t, without(resp.Data, "ttl"), without(again.Data, "ttl"))
				assert.Subset(t, w.read("status"), fields{
					"active_client_id": clientB, "standby_client_id": clientA,
					"last_rotation_cause": "failover", "last_rotation_time": "2026-03-01T12:01:00Z",
					"regenerate_after": "2026-03-01T12:01:01Z", // client A has no tokens
				})
				assert.NotContains(t, w.read("status"), "last_error")
				assert.True(t, w.logged("[WARN]  failed over: connection=default active_client_id=client-b refused_client_id=client-a"))
				w.mustBeWhole(clientB)
				assert.Equal(t, 2, w.askedBy(clientA))
			})
		})
	}
}

func TestFailoverInTheBackground(t *testing.T) {
	for code, refusal := range clientRefusals {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", w.pair())
				old := w.read("creds")
				w.fault(refusal)
				w.pass(54 * time.Minute)
				assert.Equal(t, without(old, "ttl"), without(w.read("creds"), "ttl"))
				w.pass(time.Minute)
				assert.Equal(t, 2, w.askedBy(clientB), "verified, and failed over to")

				resp := w.creds()
				assert.Equal(t, takenOver(code), resp.Warnings)
				assert.Equal(t, clientB, w.owner(resp.Data["access_token"]))
				assert.Empty(t, w.creds().Warnings, "it is said once")
				assert.True(t, w.live(old["access_token"]), "whoever holds the old one is well")
				assert.Equal(t, 2, w.storage.writesOf(connectionKey))
				assert.Equal(t, 2, w.storage.writesOf(tokenKey))
				assert.Subset(t, w.read("status"), fields{
					"active_client_id": clientB, "last_rotation_cause": "failover",
					"regenerate_after": "2026-03-01T13:00:01Z", "token_refresh_time": "2026-03-01T13:49:55Z",
				})
				w.mustBeWhole(clientB)

				// And on it goes with the other one.
				w.sim.ClearFaults()
				w.read("creds")
				w.pass(55 * time.Minute)
				assert.Equal(t, clientB, w.read("creds")["client_id"])
				assert.Equal(t, 3, w.askedBy(clientA))
			})
		})
	}
}

// What comes between a failover in the background and the next read does not
// take the warning away, if it leaves the token.
func TestFailoverIsSaidAfterAConfigWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		w.read("creds")
		w.fault(refusalOf(clientA))
		w.pass(55 * time.Minute)
		w.write("config", fields{"request_timeout": 20})
		assert.Equal(t, takenOver("invalid_client"), w.creds().Warnings)
		assert.Empty(t, w.creds().Warnings)
	})
}

// The reader who started it may have gone; the next one hears of it.
func TestFailoverIsSaidToOneReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := coldWith(t, nil)
		w.fault(refusalOf(clientA))
		release := w.gate.hold(clientB)
		var reading []<-chan answer
		for range 20 {
			reading = append(reading, w.begin(logical.ReadOperation, "creds", nil))
		}
		w.pass(refusedPause)
		require.Equal(t, 1, w.underWay())
		release()
		said := 0
		for _, answered := range reading {
			resp := w.ok(<-answered)
			assert.Equal(t, clientB, resp.Data["client_id"])
			said += len(resp.Warnings)
		}
		assert.Equal(t, 1, said)
		assert.Equal(t, 3, w.asked())
	})
}

// Whatever is not a refusal of the client leaves the standby alone.
func TestNoFailover(t *testing.T) {
	for name, c := range map[string]struct {
		fault gbgsim.Fault
		code  int
	}{
		"500":                          {statusFault(500), 503},
		"502":                          {statusFault(502), 503},
		"503":                          {statusFault(503), 503},
		"429":                          {statusFault(429), 503},
		"408":                          {statusFault(408), 503},
		"503 that says invalid_client": {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503, Error: "invalid_client"}, 503},
		"429 that says invalid_client": {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 429, Error: "invalid_client"}, 503},
		"a timeout":                    {gbgsim.Fault{Kind: gbgsim.FaultHang}, 503},
		"a closed connection":          {gbgsim.Fault{Kind: gbgsim.FaultClose}, 503},
		"a reset connection":           {gbgsim.Fault{Kind: gbgsim.FaultReset}, 503},
		"half an answer":               {gbgsim.Fault{Kind: gbgsim.FaultTruncate}, 503},
		"not JSON":                     {gbgsim.Fault{Kind: gbgsim.FaultBody, Body: "<html>"}, 503},
		"a redirect":                   {gbgsim.Fault{Kind: gbgsim.FaultRedirect, Location: "/"}, 503},
		"no token":                     {gbgsim.Fault{Kind: gbgsim.FaultNullToken}, 503},
		"a token without a life":       {gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, ExpiresIn: "0"}, 503},
		"a large answer":               {gbgsim.Fault{Kind: gbgsim.FaultOversize}, 503},
		"invalid_scope":                {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 400, Error: "invalid_scope"}, 502},
		"invalid_request":              {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 400, Error: "invalid_request"}, 502},
		"invalid_grant":                {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 401, Error: "invalid_grant"}, 502},
		"401 without words":            {statusFault(401), 502},
		"403":                          {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 403, GBGError: gbgsim.GBGError{Code: "1", Name: "invalid_client", Problem: "It is locked."}}, 502},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := coldWith(t, nil)
				c.fault.ClientID = clientA
				w.fault(c.fault)
				content := w.storage.content(t)
				for range 2 {
					a, _ := w.tryTimed(logical.ReadOperation, "creds", nil)
					text := w.coded(c.code, a)
					assert.Contains(t, text, clientA)
					assert.NotContains(t, text, clientB)
					w.pass(5 * time.Second)
				}
				assert.Zero(t, w.askedBy(clientB))
				assert.Equal(t, content, w.storage.content(t))
				assert.Equal(t, clientA, w.read("config")["active_client_id"])
				assert.NotContains(t, w.read("status"), "last_rotation_time")
			})
		})
	}
}

// statusFault is GBG that answers with a status and a page.
func statusFault(status int) gbgsim.Fault {
	return gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: status}
}

func TestFailoverTurnedOff(t *testing.T) {
	for code, refusal := range clientRefusals {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := coldWith(t, fields{"failover": false})
				w.fault(refusal)
				content := w.storage.content(t)
				for range 3 {
					text := w.badGateway(w.tryCreds())
					assert.Contains(t, text, `GBG refused client "client-a": `+code)
					assert.NotContains(t, text, clientB)
					w.pass(5 * time.Second)
				}
				assert.Zero(t, w.askedBy(clientB))
				assert.Equal(t, content, w.storage.content(t), "byte for byte")
				assert.EqualValues(t, 3, w.read("status")["consecutive_errors"])
				w.mustBeWhole(clientA)

				// Turning it on is enough.
				w.write("config", fields{"failover": true})
				assert.Equal(t, takenOver(code), w.creds().Warnings)
				w.mustBeWhole(clientB)
			})
		})
	}
}

func TestNoStandbyToFailOverTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.single(), fields{"verify_connection": false}))
		w.fault(refusalOf(clientA))
		assert.Contains(t, w.badGateway(w.tryCreds()), `GBG refused client "client-a": invalid_client: Who is client-a?`)
		assert.Equal(t, 2, w.asked(), "a refused client is asked once more")
	})
}

// If GBG refuses both, nothing changes, however long it goes on.
func TestBothClientsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := coldWith(t, nil)
		w.fault(refusalOf(clientA), refusalOf(clientB))
		content := w.storage.content(t)
		for tries := range 10 {
			text := w.badGateway(w.tryCreds())
			assert.Contains(t, text, `GBG refused client "client-a": invalid_client: Who is client-a?`)
			assert.Contains(t, text, `GBG refused client "client-b": invalid_client: Who is client-b?`)
			assert.Equal(t, tries+2, w.askedBy(clientA), "once more after the first refusal")
			assert.Equal(t, tries+1, w.askedBy(clientB))
			w.pass(time.Minute)
		}
		assert.Equal(t, content, w.storage.content(t), "byte for byte")
		assert.NotContains(t, w.read("status"), "last_rotation_time")
		w.mustBeWhole(clientA)

		w.sim.ClearFaults()
		assert.Equal(t, clientA, w.read("creds")["client_id"])
	})
}

// A token that is valid is served to its end, whoever is refused.
func TestValidTokenWhileGBGRefuses(t *testing.T) {
	for name, refused := range map[string][]gbgsim.Fault{
		"both clients": {refusalOf(clientA), refusalOf(clientB)},
		"the request":  {{Kind: gbgsim.FaultStatus, Status: 400, Error: "invalid_scope"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", w.pair())
				old := w.read("creds")
				content := w.storage.content(t)
				w.fault(refused...)
				w.pass(55 * time.Minute)
				for time.Now().Before(start.Add(time.Hour - 10*time.Second)) {
					assert.Equal(t, without(old, "ttl"), without(w.read("creds"), "ttl"))
					w.pass(10 * time.Second)
				}
				w.passUntil(start.Add(time.Hour - 1))
				assert.Equal(t, without(old, "ttl"), without(w.read("creds"), "ttl"))
				assert.True(t, w.live(old["access_token"]))
				w.pass(1)
				w.badGateway(w.tryCreds())
				assert.Equal(t, content, w.storage.content(t), "byte for byte")
				t.Logf("%d token requests for client A in five minutes of refusals", w.askedBy(clientA)-1)
				assert.LessOrEqual(t, w.askedBy(clientA)-1, 12)
			})
		})
	}
}

// If nobody can tell whether the standby works, nothing changes.
func TestFailoverToAStandbyThatCannotBeReached(t *testing.T) {
	for name, fault := range map[string]gbgsim.Fault{
		"500":  {Kind: gbgsim.FaultStatus, ClientID: clientB, Status: 500},
		"hang": {Kind: gbgsim.FaultHang, ClientID: clientB},
		"body": {Kind: gbgsim.FaultBody, ClientID: clientB, Body: "oops"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := coldWith(t, nil)
				w.fault(refusalOf(clientA), fault)
				content := w.storage.content(t)
				for tries := range 3 {
					a, took := w.tryTimed(logical.ReadOperation, "creds", nil)
					text, _ := w.unavailable(a)
					assert.Contains(t, text, `GBG refused client "client-a"`)
					assert.Contains(t, text, `no token for client "client-b"`)
					assert.LessOrEqual(t, took, 10*time.Second, "request_timeout is for both")
					assert.Equal(t, tries+2, w.askedBy(clientA), "once more after the first refusal")
					w.pass(5 * time.Second)
				}
				assert.Equal(t, content, w.storage.content(t), "byte for byte")
				w.mustBeWhole(clientA)
			})
		})
	}
}

// The standby gets what is left of request_timeout.
func TestFailoverStandbyRecoversInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := coldWith(t, nil)
		w.fault(refusalOf(clientA), gbgsim.Fault{Kind: gbgsim.FaultStatus, ClientID: clientB, Status: 500, Requests: 3})
		a, took := w.tryTimed(logical.ReadOperation, "creds", nil)
		assert.Equal(t, takenOver("invalid_client"), w.ok(a).Warnings)
		assert.Equal(t, refusedPause+1750*time.Millisecond, took)
		assert.Equal(t, 2, w.askedBy(clientA))
		assert.Equal(t, 4, w.askedBy(clientB))
	})
}

// If the flip cannot be stored, nothing has changed, and the next try is a new
// one.
func TestStorageFailsAtTheFlip(t *testing.T) {
	for _, background := range []bool{false, true} {
		t.Run(fmt.Sprint("background ", background), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", w.pair())
				var old fields
				if background {
					old = w.read("creds")
				}
				content, config := w.storage.content(t), w.read("config")
				w.storage.refuse("connection/", errDisk)
				w.fault(refusalOf(clientA))
				if background {
					w.pass(3295500 * time.Millisecond)
					assert.Equal(t, without(old, "ttl"), without(w.read("creds"), "ttl"))
				} else {
					w.pass(time.Hour)
					a := w.tryCreds()
					assert.ErrorContains(t, a.err, `connection "default": nothing has changed: Vault's storage refused the write: the disk is full`)
				}
				assert.Equal(t, content, w.storage.content(t), "byte for byte")
				assert.Equal(t, config, w.read("config"))
				assert.Contains(t, w.read("status")["last_error"], "the disk is full")
				assert.EqualValues(t, 1, w.read("status")["consecutive_errors"])
				assert.NotContains(t, w.read("status"), "last_rotation_time")

				w.storage.takeWrites()
				w.pass(2 * time.Second)
				resp := w.creds()
				assert.Equal(t, takenOver("invalid_client"), resp.Warnings)
				w.mustBeWhole(clientB)
			})
		})
	}
}

// A write that storage keeps and reports as failed is a flip.
func TestStorageFailsAfterTheFlip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := coldWith(t, nil)
		w.fault(refusalOf(clientA))
		w.storage.failPut(func(ctx context.Context, entry *logical.StorageEntry) error {
			require.NoError(t, w.storage.InmemStorage.Put(ctx, entry))
			return errDisk
		})
		assert.Equal(t, takenOver("invalid_client"), w.creds().Warnings)
		w.storage.takeWrites()
		w.mustBeWhole(clientB)
	})
}

// A rotation while a failover waits for GBG, and the other way round: one of them
// moves the active client, and both know.
func TestRotationAndFailoverAtOnce(t *testing.T) {
	for _, client := range []any{clientB, nil} {
		for _, failoverFirst := range []bool{true, false} {
			t.Run(fmt.Sprint(client, failoverFirst), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := coldWith(t, nil)
					w.fault(refusalOf(clientA))
					release := w.gate.hold(clientB)
					defer release()
					read := func() <-chan answer { return w.begin(logical.ReadOperation, "creds", nil) }
					request := fields{}
					if client != nil {
						request["client_id"] = client
					}
					rotate := func() <-chan answer { return w.begin(logical.UpdateOperation, "rotate", request) }

					var reading, rotating <-chan answer
					if failoverFirst {
						reading = read()
						w.pass(refusedPause)
						rotating = rotate()
					} else {
						rotating = rotate()
						synctest.Wait()
						reading = read()
					}
					require.Equal(t, 1, w.underWay(), "one of them asks, the other waits")
					release()
					served, rotated := w.ok(<-reading), <-rotating
					assert.Equal(t, clientB, served.Data["client_id"])
					assert.Equal(t, clientB, w.owner(served.Data["access_token"]))

					cause := "rotate"
					switch {
					case failoverFirst && client == nil:
						// It would go back to the one that is refused.
						assert.Contains(t, w.refused(rotated), `(failover), 0s ago, and client "client-b" is active`)
						cause = "failover"
					case failoverFirst:
						assert.Equal(t, false, w.ok(rotated).Data["rotated"])
						cause = "failover"
					default:
						assert.Equal(t, true, w.ok(rotated).Data["rotated"])
						assert.Empty(t, served.Warnings)
					}
					assert.Equal(t, cause, w.read("status")["last_rotation_cause"])
					assert.Equal(t, 2, w.storage.writesOf(connectionKey))
					assert.Equal(t, 1, w.askedBy(clientB), "one proof")
					w.mustBeWhole(clientB)
				})
			})
		}
	}
}

// A config write that mends the refused client, while its failover waits for
// GBG, comes after the failover.
func TestConfigWriteDuringAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := coldWith(t, nil)
		w.fault(refusalOf(clientA))
		release := w.gate.hold(clientB)
		defer release()
		reading := w.begin(logical.ReadOperation, "creds", nil)
		w.pass(refusedPause)
		w.sim.ClearFaults()
		writing := w.begin(logical.UpdateOperation, "config", fields{"client_secret": w.regenerate(clientA)})
		require.Equal(t, 1, w.underWay())
		release()
		assert.Equal(t, clientB, w.ok(<-reading).Data["client_id"])
		w.ok(<-writing)
		w.mustBeWhole(clientB)
		resp := w.rotate(fields{"client_id": clientA})
		assert.Equal(t, clientA, resp.Data["active_client_id"])
		assert.NotContains(t, fmt.Sprint(resp.Warnings), "the secret it had the last time", "it has a new one")
	})
}

// The tokens of a client that has left live on, also if it comes back, with
// tokens of a shorter life, and leaves again; a restart does not forget them.
func TestRegenerateAfterOfAClientThatWasAway(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %v", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", w.pair())
				expires := w.read("creds")["expire_time"]
				require.NoError(t, w.sim.SetTokenLifetime(time.Minute))
				assert.GreaterOrEqual(t, w.rotate(nil).Data["regenerate_after"], expires)
				if restart {
					w.restart()
				}
				w.rotate(fields{"client_id": clientA})
				assert.GreaterOrEqual(t, w.rotate(fields{"client_id": clientB}).Data["regenerate_after"], expires)
			})
		})
	}
}

// GBG refuses the active client while somebody rotates away from it: the rotation
// stands, and nobody fails over from its outcome.
func TestFailoverAfterARotation(t *testing.T) {
	for name, lease := range map[string]bool{"shared": false, "leased": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", with(w.pair(), fields{"verify_connection": false, "lease": lease}))
				release := w.gate.hold(clientB)
				rotating := later(func() answer { return w.send(t.Context(), logical.UpdateOperation, "rotate", nil) })
				await(t, w.gate.arrived, "the rotation's request")
				fault := refusalOf(clientA)
				fault.Requests = 2 // a refused client is asked once more
				w.fault(fault)
				reading := later(func() answer { return w.send(t.Context(), logical.ReadOperation, "creds", nil) })
				synctest.Wait() // the failover waits for the rotation
				release()
				assert.Equal(t, clientB, w.ok(await(t, rotating, "the rotation")).Data["active_client_id"])
				assert.Equal(t, clientB, w.owner(w.ok(await(t, reading, "a token")).Data["access_token"]))
				status := w.read("status")
				assert.Equal(t, []any{clientB, "rotate"}, []any{status["active_client_id"], status["last_rotation_cause"]})
			})
		})
	}
}
