package plugintest

import (
	"context"
	"errors"
	"net/http"
	"os"
	"regexp"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	gbg "gbg.example/vault-plugin-secrets-gbg"
	"gbg.example/vault-plugin-secrets-gbg/backend"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// sentEvent is an event as Vault got it.
type sentEvent struct {
	kind     string
	metadata map[string]any
}

// sent gives the events that Vault has got so far.
func (w *world) sent() []sentEvent {
	w.events.Lock()
	defer w.events.Unlock()
	var all []sentEvent
	for _, event := range w.events.Events {
		all = append(all, sentEvent{string(event.Type), event.Event.Metadata.AsMap()})
	}
	return all
}

// eventsOf gives the events that come of what f does. They come in order, so the
// one that is provoked at the end is the last.
func (w *world) eventsOf(f func()) []sentEvent {
	w.t.Helper()
	w.lastEvent()
	before := len(w.sent())
	f()
	w.lastEvent()
	return w.sent()[before : len(w.sent())-1]
}

// lastEvent makes an event happen, and waits for it.
func (w *world) lastEvent() {
	w.t.Helper()
	count := func() (n int) {
		for _, event := range w.sent() {
			if event.metadata["connection"] == "last" && event.kind == "gbg/config-write" {
				n++
			}
		}
		return n
	}
	before := count()
	config := with(w.exchangeOnly(), fields{"request_timeout": 1 + before%30})
	w.write("config/last", config)
	synctest.Wait()
	require.Equal(w.t, before+1, count())
}

func kindsOf(events []sentEvent) (kinds []string) {
	for _, event := range events {
		kinds = append(kinds, event.kind)
	}
	return kinds
}

// An event for each thing that happens to a connection, with what a subscriber
// needs: Vault's own keys, and names and times of ours.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		assert.Equal(t, []sentEvent{{"gbg/config-write", fields{
			"path": "config/team-a", "data_path": "config/team-a", "operation": "config-write", "modified": "true",
			"connection": "team-a", "active_client_id": clientA, "standby_client_id": clientB,
		}}}, w.eventsOf(func() { w.write("config/team-a", pair) }))

		assert.Equal(t, []sentEvent{{"gbg/rotate", fields{
			"path": "rotate/team-a", "data_path": "creds/team-a", "operation": "rotate", "modified": "true",
			"connection": "team-a", "active_client_id": clientB, "standby_client_id": clientA, "regenerate_after": "2026-03-01T13:00:01Z",
		}}}, w.eventsOf(func() { w.ok(w.try(logical.UpdateOperation, "rotate/team-a", nil)) }))

		w.write("config", with(pair, fields{"verify_connection": false}))
		w.regenerate(clientA)
		assert.Equal(t, []sentEvent{{"gbg/failover", fields{
			"path": "creds", "data_path": "creds", "operation": "failover", "modified": "true",
			"connection": "default", "active_client_id": clientB, "standby_client_id": clientA, "regenerate_after": "2026-03-01T12:00:01Z",
		}}}, w.eventsOf(func() { w.read("creds") }))

		assert.Equal(t, []sentEvent{{"gbg/config-delete", fields{
			"path": "config", "data_path": "config", "operation": "config-delete", "modified": "true", "connection": "default",
		}}}, w.eventsOf(func() { w.ok(w.try(logical.DeleteOperation, "config/default", nil)) }))
	})
}

// Failures are news when they begin and when they end, not each time.
func TestEventsOfTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.single(), fields{"verify_connection": false}))
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusServiceUnavailable})
		trouble := fields{
			"path": "creds", "data_path": "creds", "modified": "false", "connection": "default", "active_client_id": clientA,
		}
		assert.Equal(t, []sentEvent{{"gbg/token-failing", with(trouble, fields{
			"operation": "token-failing", "result": "server_error", "next_try_time": "2026-03-01T12:00:09Z",
		})}}, w.eventsOf(func() {
			for range 3 {
				a, _ := w.tryRetried(logical.ReadOperation, "creds", nil)
				w.coded(http.StatusServiceUnavailable, a)
				w.pass(time.Minute)
			}
		}))
		w.sim.ClearFaults()
		assert.Equal(t, []sentEvent{{"gbg/token-recovered", with(trouble, fields{"operation": "token-recovered"})}}, w.eventsOf(func() {
			w.read("creds")
			w.pass(time.Hour)
			w.read("creds")
		}))
		assert.Contains(t, w.heard.log.String(), "[INFO]  token requests succeed again: connection=default failed=3 failing_since=")
	})
}

// Whichever way trouble goes: by a read, a lease, an exchange, a rotation or a
// config write that proves the client.
func TestEventsOfRecovery(t *testing.T) {
	for name, c := range map[string]struct {
		fault  gbgsim.Fault // zero is a 503
		config func(*world) fields
		read   func(*world) answer
		mend   func(*world)
		want   []string
	}{
		"a lease": {
			config: (*world).leasing, mend: func(w *world) { w.lease("creds") },
		},
		"an exchange": {
			fault:  gbgsim.Fault{Kind: gbgsim.FaultClose, Endpoint: gbgsim.EndpointIdentity},
			config: (*world).exchangeOnly,
			read: func(w *world) answer {
				a, _ := w.tryRetried(logical.UpdateOperation, "creds", fields{"id_token": w.idToken(someone)})
				return a
			},
			mend: func(w *world) { w.exchange("creds", w.idToken(someone)) },
		},
		"a rotation": {
			config: (*world).pair, mend: func(w *world) { w.rotate(nil) },
			want: []string{"gbg/token-recovered", "gbg/rotate"},
		},
		"a failover": {
			config: (*world).pair, mend: func(w *world) { w.regenerate(clientA); w.read("creds") },
			want: []string{"gbg/token-recovered", "gbg/failover"},
		},
		"a config write": {
			config: (*world).pair, mend: func(w *world) { w.write("config", fields{"client_secret": w.regenerate(clientA)}) },
			want: []string{"gbg/token-recovered", "gbg/config-write"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", with(c.config(w), fields{"verify_connection": false}))
				if c.fault.Kind == "" {
					c.fault = gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusServiceUnavailable}
				}
				w.fault(c.fault)
				failing := w.eventsOf(func() {
					if c.read == nil {
						c.read = func(w *world) answer {
							a, _ := w.tryRetried(logical.ReadOperation, "creds", nil)
							return a
						}
					}
					w.coded(http.StatusServiceUnavailable, c.read(w))
				})
				assert.Equal(t, []string{"gbg/token-failing"}, kindsOf(failing))
				w.sim.ClearFaults()
				w.pass(time.Minute)
				if c.want == nil {
					c.want = []string{"gbg/token-recovered"}
				}
				assert.Equal(t, c.want, kindsOf(w.eventsOf(func() { c.mend(w) })))
				assert.NotContains(t, w.read("status"), "last_error")
			})
		})
	}
}

// What changes nothing is no news.
func TestEventsOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		w.write("config", pair)
		assert.Empty(t, w.eventsOf(func() {
			w.write("config", pair)
			w.read("creds")
			w.read("config")
			w.read("status")
			w.rotate(fields{"client_id": clientA})
			w.refused(w.try(logical.UpdateOperation, "rotate", fields{"client_secret": wrongSecret}))
			w.refused(w.try(logical.UpdateOperation, "config", fields{"client_secret": wrongSecret}))
			w.refused(w.try(logical.ReadOperation, "creds/none", nil))
			w.ok(w.try(logical.DeleteOperation, "config/none", nil))
		}))
	})
}

// deafBus is a Vault that takes no events: it refuses them or never answers.
type deafBus struct{ refuses bool }

func (b deafBus) SendEvent(ctx context.Context, _ logical.EventType, _ *logical.EventData) error {
	if b.refuses {
		return errors.New("events are not enabled")
	}
	<-ctx.Done()
	return ctx.Err()
}

// A Vault that takes no events keeps nothing from happening, and nobody waiting;
// also at the end.
func TestEventsThatVaultDoesNotTake(t *testing.T) {
	for name, bus := range map[string]logical.EventSender{"none": nil, "refusing": deafBus{refuses: true}, "hanging": deafBus{}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				backend, err := gbg.NewFactory(w.factoryOptions(gbg.Options{}))(t.Context(), &logical.BackendConfig{
					StorageView: w.storage, System: &logical.StaticSystemView{MaxLeaseTTLVal: time.Hour}, EventsSender: bus,
				})
				require.NoError(t, err)
				w.backend.Cleanup(t.Context())
				w.mount = &mount{world: w, backend: backend}
				w.write("config", w.pair())
				for range 300 { // more than may wait
					w.rotateToStandby()
				}
				w.read("creds")
				backend.Cleanup(t.Context())
			})
		})
	}
}

// docs/operations.md names each type of event, and its path.
func TestEventsAreDocumented(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page, err := os.ReadFile("../docs/operations.md")
		require.NoError(t, err)
		var documented []string
		for _, row := range regexp.MustCompile("(?m)^\\| `gbg/([a-z-]+)` \\|.*`[a-z]+/NAME` \\|$").FindAllStringSubmatch(string(page), -1) {
			documented = append(documented, row[1])
		}
		assert.ElementsMatch(t, []backend.EventKind{
			backend.EventConfigured, backend.EventDeleted, backend.EventRotated, backend.EventRotationDue, backend.EventRotationMissed,
			backend.EventFailedOver, backend.EventFailing, backend.EventRecovered, backend.EventKeyMade,
			backend.EventStandbyRefused, backend.EventStandbyAccepted, backend.EventClaimsDiffer,
		}, kinds(documented))
	})
}

func kinds(names []string) (all []backend.EventKind) {
	for _, name := range names {
		all = append(all, backend.EventKind(name))
	}
	return all
}

// A server without an event bus is asked once, and the log says so at debug alone.
func TestEventsWithoutABus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		sender := &missingSender{}
		config := w.backendConfig()
		config.EventsSender = sender
		b, err := gbg.NewFactory(w.factoryOptions(gbg.Options{}))(t.Context(), config)
		require.NoError(t, err)
		defer b.Cleanup(t.Context())
		m := &mount{world: w, backend: b}
		pair := w.pair()
		said := w.lines(func() {
			for range 300 { // more than may wait
				m.write("config", with(pair, fields{"verify_connection": false}))
				m.ok(m.try(logical.DeleteOperation, "config/default", nil))
				synctest.Wait()
			}
		}, "DEBUG", "WARN", "ERROR")
		require.Len(t, said, 1)
		assert.Contains(t, said[0], "[DEBUG] events are not sent: the server has no event bus")
		assert.EqualValues(t, 1, sender.asked.Load())
	})
}

// missingSender answers as a server that has no event bus.
type missingSender struct{ asked atomic.Int64 }

func (s *missingSender) SendEvent(context.Context, logical.EventType, *logical.EventData) error {
	s.asked.Add(1)
	return errors.New("rpc error: code = Unimplemented desc = unknown service pb.Events")
}
