package backend

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"vault-plugin-secrets-gbg/backend/connection"
	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// Observer hears what an engine does. It is called from many goroutines at once,
// sometimes while a connection is locked, so it must not wait. Nothing that it is
// told holds a secret.
type Observer interface {
	// OnRequest tells of one request to a token or revocation endpoint.
	OnRequest(EndpointRequest)
	// OnEvent tells of an event.
	OnEvent(Event)
	// Forget tells that a connection is gone, here or on another node: what is kept
	// under its name has no use any more.
	Forget(connection string)
}

// EndpointRequest is one request to an endpoint, and what came of it.
type EndpointRequest struct {
	// Connection is empty as long as there is no such connection: the write that
	// creates it verifies its clients.
	Connection string
	Step       Step
	// Result is "ok", or why not: the gbgauth.Kind with underscores ("client_refused",
	// "server_error", ...); "cancelled" if whoever waited for it went away.
	Result   string
	Duration time.Duration
}

// EventKind says what happened.
type EventKind string

// What can happen to a connection.
const (
	EventConfigured EventKind = "config-write"
	EventDeleted    EventKind = "config-delete"
	EventRotated    EventKind = "rotate"
	EventFailedOver EventKind = "failover"
	// EventKeyMade tells that the standby has got a new key.
	EventKeyMade EventKind = "key-write"
	// EventFailing says that token requests have begun to fail.
	EventFailing EventKind = "token-failing"
	// EventRecovered says that one has succeeded again.
	EventRecovered EventKind = "token-recovered"
)

// Event is something that happened to a connection.
type Event struct {
	Kind       EventKind
	Connection string
	// ActiveClientID and StandbyClientID are as they are now; empty if there is no
	// such client, or no connection any more.
	ActiveClientID, StandbyClientID string
	// RegenerateAfter is the one of a rotation or failover; otherwise zero.
	RegenerateAfter time.Time
	// Result is how the request failed, if requests have begun to fail: see
	// EndpointRequest. It is "not_stored" if the standby was accepted, and Vault's
	// storage refused the failover.
	Result string
	// NextTry is when GBG is asked again then, at the earliest.
	NextTry time.Time
}

// noObserver is for an engine that nobody observes.
type noObserver struct{}

func (noObserver) OnRequest(EndpointRequest) {}
func (noObserver) OnEvent(Event)             {}
func (noObserver) Forget(string)             {}

// reportRequest tells the observer of a request.
func (e *Engine) reportRequest(connection string, step Step, took time.Duration, err error) {
	if e.states.get(connection) == nil {
		connection = ""
	}
	e.observer.OnRequest(EndpointRequest{Connection: connection, Step: step, Result: resultOf(err), Duration: took})
}

// resultOf is what came of a request, in one of a few words.
func resultOf(err error) string {
	var failed *gbgauth.Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &failed):
		return strings.ReplaceAll(failed.Kind.String(), " ", "_")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, ErrClosed):
		return "cancelled"
	default:
		return "not_stored"
	}
}

// eventOf returns an event of a connection as it is now.
func eventOf(c *connection.Connection, kind EventKind, name string) Event {
	ev := Event{Kind: kind, Connection: name, ActiveClientID: c.Pair.Active().ID}
	if standby, ok := c.Pair.Standby(); ok {
		ev.StandbyClientID = standby.ID
	}
	return ev
}

// rotationEvent returns the event of a connection's last rotation or failover.
func rotationEvent(c *connection.Connection, name string) Event {
	kind := EventRotated
	if c.Rotation.Cause == connection.CauseFailover {
		kind = EventFailedOver
	}
	ev := eventOf(c, kind, name)
	ev.RegenerateAfter = c.Rotation.RegenerateAfter
	return ev
}

// reportFailure tells of requests that fail: the log less and less often, the
// observer only when it begins. was is nil then.
func (e *Engine) reportFailure(name string, conn *connection.Connection, was, now *backoff) {
	level := hclog.Debug
	if now.count&(now.count-1) == 0 { // 1, 2, 4, 8, ...
		level = hclog.Warn
	}
	e.logger.Log(level, "token requests fail", "connection", name, "failed", now.count, "failing_since", now.since, "next_try", now.until, "error", now.err)
	if was != nil {
		return
	}
	ev := eventOf(conn, EventFailing, name)
	ev.Result, ev.NextTry = resultOf(now.err), now.until
	e.observer.OnEvent(ev)
}

// reportToken tells of the recovery that a token of a client of the connection is, of
// shared tokens, and of exchanges if it came through one.
func (e *Engine) reportToken(name string, conn *connection.Connection, was *state, t *token) {
	if was == nil {
		return
	}
	if t.clientID == conn.Pair.Active().ID {
		e.reportRecovery(name, conn, was.backoff)
	}
	if t.source.Exchanges() {
		e.reportRecovery(name, conn, was.exchangeBackoff)
	}
}

// reportRecovery tells of requests that succeed again, if they had failed.
func (e *Engine) reportRecovery(name string, conn *connection.Connection, was *backoff) {
	if was == nil {
		return
	}
	e.logger.Info("token requests succeed again", "connection", name, "failed", was.count, "failing_since", was.since)
	e.observer.OnEvent(eventOf(conn, EventRecovered, name))
}
