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

	"vault-plugin-secrets-gbg/internal/gbgsim"
)

// freshRefusal is GBG that does not know a client.
func freshRefusal(client string) gbgsim.Fault {
	return gbgsim.Fault{
		Kind: gbgsim.FaultStatus, ClientID: client, Status: http.StatusUnauthorized,
		Error: "invalid_client", ErrorDescription: "Who is " + client + "?",
	}
}

// The two ways in which GBG refuses a client.
var freshRefusals = map[string]gbgsim.Fault{
	"invalid_client":      freshRefusal(clientA),
	"unauthorized_client": {Kind: gbgsim.FaultStatus, ClientID: clientA, Status: http.StatusBadRequest, Error: "unauthorized_client"},
}

func takenOver(code string) []string {
	return []string{fmt.Sprintf(`GBG refused client "client-a" (%s), so client "client-b" has taken over: write the refused client's current secret to config`, code)}
}

// freshCold gives a world with a pair that was not verified: nothing is known,
// and GBG has not been asked.
func freshCold(t *testing.T, settings fields) *world {
	t.Helper()
	f := newWorld(t, worldOptions{})
	f.write("config", with(with(f.pair(), fields{"verify_connection": false}), settings))
	return f
}

func TestFreshFailoverOnAColdRead(t *testing.T) {
	for code, refusal := range freshRefusals {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := freshCold(t, nil)
				f.fault(refusal)
				f.pass(time.Minute)

				resp := f.creds()
				assert.Equal(t, takenOver(code), resp.Warnings)
				assert.Equal(t, clientB, resp.Data["client_id"])
				assert.Equal(t, clientB, f.owner(resp.Data["access_token"]))
				assert.Equal(t, 2, f.askedBy(clientA), "a refused client is asked once more")
				assert.Equal(t, 1, f.askedBy(clientB))
				assert.Equal(t, 2, f.storage.writesOf(connectionKey), "the first and one for the failover")
				assert.Equal(t, 1, f.storage.writesOf(tokenKey))

				again := f.creds()
				assert.Empty(t, again.Warnings, "it is said once")
				assert.Equal(t, without(resp.Data, "ttl"), without(again.Data, "ttl"))
				assert.Subset(t, f.read("status"), fields{
					"active_client_id": clientB, "standby_client_id": clientA,
					"last_rotation_cause": "failover", "last_rotation_time": "2026-03-01T12:01:00Z",
					"regenerate_after": "2026-03-01T12:01:01Z", // client A has no tokens
				})
				assert.NotContains(t, f.read("status"), "last_error")
				assert.True(t, f.logged("[WARN]  failed over: connection=default active_client_id=client-b refused_client_id=client-a"))
				f.mustBeWhole(clientB)
				assert.Equal(t, 2, f.askedBy(clientA))
			})
		})
	}
}

func TestFreshFailoverInTheBackground(t *testing.T) {
	for code, refusal := range freshRefusals {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newWorld(t, worldOptions{})
				f.write("config", f.pair())
				old := f.read("creds")
				f.fault(refusal)
				f.pass(54 * time.Minute)
				assert.Equal(t, without(old, "ttl"), without(f.read("creds"), "ttl"))
				f.pass(time.Minute)
				assert.Equal(t, 2, f.askedBy(clientB), "verified, and failed over to")

				resp := f.creds()
				assert.Equal(t, takenOver(code), resp.Warnings)
				assert.Equal(t, clientB, f.owner(resp.Data["access_token"]))
				assert.Empty(t, f.creds().Warnings, "it is said once")
				assert.True(t, f.live(old["access_token"]), "whoever holds the old one is well")
				assert.Equal(t, 2, f.storage.writesOf(connectionKey))
				assert.Equal(t, 2, f.storage.writesOf(tokenKey))
				assert.Subset(t, f.read("status"), fields{
					"active_client_id": clientB, "last_rotation_cause": "failover",
					"regenerate_after": "2026-03-01T13:00:01Z", "token_refresh_time": "2026-03-01T13:49:55Z",
				})
				f.mustBeWhole(clientB)

				// And on it goes with the other one.
				f.sim.ClearFaults()
				f.read("creds")
				f.pass(55 * time.Minute)
				assert.Equal(t, clientB, f.read("creds")["client_id"])
				assert.Equal(t, 3, f.askedBy(clientA))
			})
		})
	}
}

// What comes between a failover in the background and the next read does not
// take the warning away, if it leaves the token.
func TestFreshFailoverIsSaidAfterAConfigWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", f.pair())
		f.read("creds")
		f.fault(freshRefusal(clientA))
		f.pass(55 * time.Minute)
		f.write("config", fields{"request_timeout": 20})
		assert.Equal(t, takenOver("invalid_client"), f.creds().Warnings)
		assert.Empty(t, f.creds().Warnings)
	})
}

// The reader who started it may have gone; the next one hears of it.
func TestFreshFailoverIsSaidToOneReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := freshCold(t, nil)
		f.fault(freshRefusal(clientA))
		release := f.gate.hold(clientB)
		var reading []<-chan answer
		for range 20 {
			reading = append(reading, f.begin(logical.ReadOperation, "creds", nil))
		}
		f.pass(refusedPause)
		require.Equal(t, 1, f.underWay())
		release()
		said := 0
		for _, answered := range reading {
			resp := f.ok(<-answered)
			assert.Equal(t, clientB, resp.Data["client_id"])
			said += len(resp.Warnings)
		}
		assert.Equal(t, 1, said)
		assert.Equal(t, 3, f.asked())
	})
}

// Whatever is not a refusal of the client leaves the standby alone.
func TestFreshNoFailover(t *testing.T) {
	for name, c := range map[string]struct {
		fault gbgsim.Fault
		code  int
	}{
		"500":                          {freshStatus(500), 503},
		"502":                          {freshStatus(502), 503},
		"503":                          {freshStatus(503), 503},
		"429":                          {freshStatus(429), 503},
		"408":                          {freshStatus(408), 503},
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
		"401 without words":            {freshStatus(401), 502},
		"403":                          {gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 403, GBGError: gbgsim.GBGError{Code: "1", Name: "invalid_client", Problem: "It is locked."}}, 502},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := freshCold(t, nil)
				c.fault.ClientID = clientA
				f.fault(c.fault)
				content := f.storage.content(t)
				for range 2 {
					a, _ := f.tryTimed(logical.ReadOperation, "creds", nil)
					text := f.coded(c.code, a)
					assert.Contains(t, text, clientA)
					assert.NotContains(t, text, clientB)
					f.pass(5 * time.Second)
				}
				assert.Zero(t, f.askedBy(clientB))
				assert.Equal(t, content, f.storage.content(t))
				assert.Equal(t, clientA, f.read("config")["active_client_id"])
				assert.NotContains(t, f.read("status"), "last_rotation_time")
			})
		})
	}
}

// freshStatus is GBG that answers with a status and a page.
func freshStatus(status int) gbgsim.Fault {
	return gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: status}
}

func TestFreshFailoverTurnedOff(t *testing.T) {
	for code, refusal := range freshRefusals {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := freshCold(t, fields{"failover": false})
				f.fault(refusal)
				content := f.storage.content(t)
				for range 3 {
					text := f.badGateway(f.tryCreds())
					assert.Contains(t, text, `GBG refused client "client-a": `+code)
					assert.NotContains(t, text, clientB)
					f.pass(5 * time.Second)
				}
				assert.Zero(t, f.askedBy(clientB))
				assert.Equal(t, content, f.storage.content(t), "byte for byte")
				assert.EqualValues(t, 3, f.read("status")["consecutive_errors"])
				f.mustBeWhole(clientA)

				// Turning it on is enough.
				f.write("config", fields{"failover": true})
				assert.Equal(t, takenOver(code), f.creds().Warnings)
				f.mustBeWhole(clientB)
			})
		})
	}
}

func TestFreshNoStandbyToFailOverTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, worldOptions{})
		f.write("config", with(f.single(), fields{"verify_connection": false}))
		f.fault(freshRefusal(clientA))
		assert.Contains(t, f.badGateway(f.tryCreds()), `GBG refused client "client-a": invalid_client: Who is client-a?`)
		assert.Equal(t, 2, f.asked(), "a refused client is asked once more")
	})
}

// If GBG refuses both, nothing changes, however long it goes on.
func TestFreshBothClientsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := freshCold(t, nil)
		f.fault(freshRefusal(clientA), freshRefusal(clientB))
		content := f.storage.content(t)
		for tries := range 10 {
			text := f.badGateway(f.tryCreds())
			assert.Contains(t, text, `GBG refused client "client-a": invalid_client: Who is client-a?`)
			assert.Contains(t, text, `GBG refused client "client-b": invalid_client: Who is client-b?`)
			assert.Equal(t, tries+2, f.askedBy(clientA), "once more after the first refusal")
			assert.Equal(t, tries+1, f.askedBy(clientB))
			f.pass(time.Minute)
		}
		assert.Equal(t, content, f.storage.content(t), "byte for byte")
		assert.NotContains(t, f.read("status"), "last_rotation_time")
		f.mustBeWhole(clientA)

		f.sim.ClearFaults()
		assert.Equal(t, clientA, f.read("creds")["client_id"])
	})
}

// A token that is valid is served to its end, whoever is refused.
func TestFreshValidTokenWhileGBGRefuses(t *testing.T) {
	for name, refused := range map[string][]gbgsim.Fault{
		"both clients": {freshRefusal(clientA), freshRefusal(clientB)},
		"the request":  {{Kind: gbgsim.FaultStatus, Status: 400, Error: "invalid_scope"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newWorld(t, worldOptions{})
				f.write("config", f.pair())
				old := f.read("creds")
				content := f.storage.content(t)
				f.fault(refused...)
				f.pass(55 * time.Minute)
				for time.Now().Before(start.Add(time.Hour - 10*time.Second)) {
					assert.Equal(t, without(old, "ttl"), without(f.read("creds"), "ttl"))
					f.pass(10 * time.Second)
				}
				f.passUntil(start.Add(time.Hour - 1))
				assert.Equal(t, without(old, "ttl"), without(f.read("creds"), "ttl"))
				assert.True(t, f.live(old["access_token"]))
				f.pass(1)
				f.badGateway(f.tryCreds())
				assert.Equal(t, content, f.storage.content(t), "byte for byte")
				t.Logf("%d token requests for client A in five minutes of refusals", f.askedBy(clientA)-1)
				assert.LessOrEqual(t, f.askedBy(clientA)-1, 12)
			})
		})
	}
}

// If nobody can tell whether the standby works, nothing changes.
func TestFreshFailoverToAStandbyThatCannotBeReached(t *testing.T) {
	for name, fault := range map[string]gbgsim.Fault{
		"500":  {Kind: gbgsim.FaultStatus, ClientID: clientB, Status: 500},
		"hang": {Kind: gbgsim.FaultHang, ClientID: clientB},
		"body": {Kind: gbgsim.FaultBody, ClientID: clientB, Body: "oops"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := freshCold(t, nil)
				f.fault(freshRefusal(clientA), fault)
				content := f.storage.content(t)
				for tries := range 3 {
					a, took := f.tryTimed(logical.ReadOperation, "creds", nil)
					text, _ := f.unavailable(a)
					assert.Contains(t, text, `GBG refused client "client-a"`)
					assert.Contains(t, text, `no token for client "client-b"`)
					assert.LessOrEqual(t, took, 10*time.Second, "request_timeout is for both")
					assert.Equal(t, tries+2, f.askedBy(clientA), "once more after the first refusal")
					f.pass(5 * time.Second)
				}
				assert.Equal(t, content, f.storage.content(t), "byte for byte")
				f.mustBeWhole(clientA)
			})
		})
	}
}

// The standby gets what is left of request_timeout.
func TestFreshFailoverStandbyRecoversInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := freshCold(t, nil)
		f.fault(freshRefusal(clientA), gbgsim.Fault{Kind: gbgsim.FaultStatus, ClientID: clientB, Status: 500, Requests: 3})
		a, took := f.tryTimed(logical.ReadOperation, "creds", nil)
		assert.Equal(t, takenOver("invalid_client"), f.ok(a).Warnings)
		assert.Equal(t, refusedPause+1750*time.Millisecond, took)
		assert.Equal(t, 2, f.askedBy(clientA))
		assert.Equal(t, 4, f.askedBy(clientB))
	})
}

// If the flip cannot be stored, nothing has changed, and the next try is a new
// one.
func TestFreshStorageFailsAtTheFlip(t *testing.T) {
	for _, background := range []bool{false, true} {
		t.Run(fmt.Sprint("background ", background), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newWorld(t, worldOptions{})
				f.write("config", f.pair())
				var old fields
				if background {
					old = f.read("creds")
				}
				content, config := f.storage.content(t), f.read("config")
				f.storage.refuse("connection/", errDisk)
				f.fault(freshRefusal(clientA))
				if background {
					f.pass(3295500 * time.Millisecond)
					assert.Equal(t, without(old, "ttl"), without(f.read("creds"), "ttl"))
				} else {
					f.pass(time.Hour)
					a := f.tryCreds()
					assert.ErrorContains(t, a.err, `connection "default": nothing has changed: Vault's storage refused the write: the disk is full`)
				}
				assert.Equal(t, content, f.storage.content(t), "byte for byte")
				assert.Equal(t, config, f.read("config"))
				assert.Contains(t, f.read("status")["last_error"], "the disk is full")
				assert.EqualValues(t, 1, f.read("status")["consecutive_errors"])
				assert.NotContains(t, f.read("status"), "last_rotation_time")

				f.storage.takeWrites()
				f.pass(2 * time.Second)
				resp := f.creds()
				assert.Equal(t, takenOver("invalid_client"), resp.Warnings)
				f.mustBeWhole(clientB)
			})
		})
	}
}

// A write that storage keeps and reports as failed is a flip.
func TestFreshStorageFailsAfterTheFlip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := freshCold(t, nil)
		f.fault(freshRefusal(clientA))
		f.storage.failPut(func(ctx context.Context, entry *logical.StorageEntry) error {
			require.NoError(t, f.storage.InmemStorage.Put(ctx, entry))
			return errDisk
		})
		assert.Equal(t, takenOver("invalid_client"), f.creds().Warnings)
		f.storage.takeWrites()
		f.mustBeWhole(clientB)
	})
}

// A rotation while a failover waits for GBG, and the other way round: one of them
// moves the active client, and both know.
func TestFreshRotationAndFailoverAtOnce(t *testing.T) {
	for _, client := range []any{clientB, nil} {
		for _, failoverFirst := range []bool{true, false} {
			t.Run(fmt.Sprint(client, failoverFirst), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := freshCold(t, nil)
					f.fault(freshRefusal(clientA))
					release := f.gate.hold(clientB)
					defer release()
					read := func() <-chan answer { return f.begin(logical.ReadOperation, "creds", nil) }
					request := fields{}
					if client != nil {
						request["client_id"] = client
					}
					rotate := func() <-chan answer { return f.begin(logical.UpdateOperation, "rotate", request) }

					var reading, rotating <-chan answer
					if failoverFirst {
						reading = read()
						f.pass(refusedPause)
						rotating = rotate()
					} else {
						rotating = rotate()
						synctest.Wait()
						reading = read()
					}
					require.Equal(t, 1, f.underWay(), "one of them asks, the other waits")
					release()
					served, rotated := f.ok(<-reading), <-rotating
					assert.Equal(t, clientB, served.Data["client_id"])
					assert.Equal(t, clientB, f.owner(served.Data["access_token"]))

					cause := "rotate"
					switch {
					case failoverFirst && client == nil:
						// It would go back to the one that is refused.
						assert.Contains(t, f.refused(rotated), `(failover), 0s ago, and client "client-b" is active`)
						cause = "failover"
					case failoverFirst:
						assert.Equal(t, false, f.ok(rotated).Data["rotated"])
						cause = "failover"
					default:
						assert.Equal(t, true, f.ok(rotated).Data["rotated"])
						assert.Empty(t, served.Warnings)
					}
					assert.Equal(t, cause, f.read("status")["last_rotation_cause"])
					assert.Equal(t, 2, f.storage.writesOf(connectionKey))
					assert.Equal(t, 1, f.askedBy(clientB), "one proof")
					f.mustBeWhole(clientB)
				})
			})
		}
	}
}

// A config write that mends the refused client, while its failover waits for
// GBG, comes after the failover.
func TestFreshConfigWriteDuringAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := freshCold(t, nil)
		f.fault(freshRefusal(clientA))
		release := f.gate.hold(clientB)
		defer release()
		reading := f.begin(logical.ReadOperation, "creds", nil)
		f.pass(refusedPause)
		f.sim.ClearFaults()
		writing := f.begin(logical.UpdateOperation, "config", fields{"client_secret": f.regenerate(clientA)})
		require.Equal(t, 1, f.underWay())
		release()
		assert.Equal(t, clientB, f.ok(<-reading).Data["client_id"])
		f.ok(<-writing)
		f.mustBeWhole(clientB)
		resp := f.rotate(fields{"client_id": clientA})
		assert.Equal(t, clientA, resp.Data["active_client_id"])
		assert.NotContains(t, fmt.Sprint(resp.Warnings), "the secret it had the last time", "it has a new one")
	})
}

// The tokens of a client that has left live on, also if it comes back, with
// tokens of a shorter life, and leaves again; a restart does not forget them.
func TestFreshRegenerateAfterOfAClientThatWasAway(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %v", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newWorld(t, worldOptions{})
				f.write("config", f.pair())
				expires := f.read("creds")["expire_time"]
				require.NoError(t, f.sim.SetTokenLifetime(time.Minute))
				assert.GreaterOrEqual(t, f.rotate(nil).Data["regenerate_after"], expires)
				if restart {
					f.restart()
				}
				f.rotate(fields{"client_id": clientA})
				assert.GreaterOrEqual(t, f.rotate(fields{"client_id": clientB}).Data["regenerate_after"], expires)
			})
		})
	}
}
