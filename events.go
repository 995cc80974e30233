package gbg

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/backend"
)

const (
	// maxWaitingEvents is the maximum number of events that Vault has not taken yet.
	// Any more are lost.
	maxWaitingEvents = 256
	// eventTimeout limits the time to send one event.
	eventTimeout = 5 * time.Second
)

// noEventBus is part of the error of a server that has no event bus, such as OpenBao:
// gRPC reports that it does not know the service.
const noEventBus = "unknown service pb.Events"

// eventBus sends the events of an engine to Vault's event bus, in order and in the
// background. It implements OnEvent of backend.Observer.
type eventBus struct {
	sender  logical.EventSender
	logger  hclog.Logger
	waiting chan backend.Event
	// missing is set once the server has answered that it has no event bus.
	missing atomic.Bool
	stop    context.CancelFunc
	work    sync.WaitGroup
}

// newEventBus returns an eventBus and starts sending. A nil sender discards the
// events, a nil logger discards the log. close must be called.
func newEventBus(sender logical.EventSender, logger hclog.Logger) *eventBus {
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	ctx, stop := context.WithCancel(context.Background())
	b := &eventBus{sender: sender, logger: logger, waiting: make(chan backend.Event, maxWaitingEvents), stop: stop}
	if sender != nil {
		b.work.Go(func() { b.send(ctx) })
	}
	return b
}

// OnEvent implements backend.Observer. It never blocks.
func (b *eventBus) OnEvent(ev backend.Event) {
	if b.sender == nil || b.missing.Load() {
		return
	}
	select {
	case b.waiting <- ev:
	default:
		b.logger.Warn("event lost: Vault takes events too slowly", "type", eventType(ev), "connection", ev.Connection)
	}
}

// close stops sending. Events that Vault has not taken yet are lost.
func (b *eventBus) close() {
	b.stop()
	b.work.Wait()
}

func (b *eventBus) send(ctx context.Context) {
	for {
		select {
		case ev := <-b.waiting:
			one, end := context.WithTimeout(ctx, eventTimeout)
			err := logical.SendEvent(one, b.sender, eventType(ev), eventMetadata(ev)...)
			end()
			if err != nil && strings.Contains(err.Error(), noEventBus) {
				b.missing.Store(true)
				b.logger.Debug("events are not sent: the server has no event bus", "error", err)
				return
			}
			if err != nil && ctx.Err() == nil {
				b.logger.Warn("event lost: Vault did not take it", "type", eventType(ev), "connection", ev.Connection, "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// eventType returns the type that subscribers name.
func eventType(ev backend.Event) string { return operationPrefix + "/" + string(ev.Kind) }

// eventMetadata returns alternating keys and values. path, data_path, operation and
// modified are Vault's convention: a subscriber needs the subscribe capability on
// path, and reads data_path again if modified is true. Vault prepends the mount to
// both paths.
func eventMetadata(ev backend.Event) []string {
	path, data, modified := "creds", "creds", true
	switch ev.Kind {
	case backend.EventConfigured, backend.EventDeleted:
		path, data = "config", "config"
	case backend.EventRotated:
		path = "rotate"
	case backend.EventRotationDue, backend.EventRotationMissed:
		path, modified = "rotate", false
	case backend.EventKeyMade:
		path, data = "keys", "keys"
	case backend.EventFailing, backend.EventRecovered:
		modified = false
	case backend.EventStandbyRefused, backend.EventStandbyAccepted, backend.EventClaimsDiffer:
		path, data, modified = "status", "status", true
	case backend.EventFailedOver:
	}
	metadata := []string{
		logical.EventMetadataPath, pathOf(path, ev.Connection),
		logical.EventMetadataDataPath, pathOf(data, ev.Connection),
		logical.EventMetadataOperation, string(ev.Kind),
		logical.EventMetadataModified, strconv.FormatBool(modified),
		"connection", ev.Connection,
	}
	for _, more := range []struct{ key, text string }{
		{ev.Fields.ActiveKey(), ev.ActiveClientID},
		{ev.Fields.StandbyKey(), ev.StandbyClientID},
		{"regenerate_after", timestampOrNone(ev.RegenerateAfter)},
		{"result", ev.Result},
		{"claims", strings.Join(ev.Claims, " ")},
		{"next_try_time", timestampOrNone(ev.NextTry)},
	} {
		if more.text != "" {
			metadata = append(metadata, more.key, more.text)
		}
	}
	return metadata
}

func timestampOrNone(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return timestamp(t)
}
