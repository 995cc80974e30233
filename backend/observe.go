package backend

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// Observer is notified of what an engine does. Its methods are called concurrently,
// sometimes while a connection is locked, so they must not block. Their arguments
// hold no secrets.
type Observer interface {
	// OnRequest is called after each request to a token or revocation endpoint.
	OnRequest(EndpointRequest)
	// OnEvent is called for each event.
	OnEvent(Event)
	// Forget is called when a connection has been deleted, here or on another node:
	// whatever is stored under its name can be discarded.
	Forget(connection string)
}

// EndpointRequest describes a request to an endpoint and its result.
type EndpointRequest struct {
	// Connection is empty if the connection does not exist yet: the write that creates
	// it verifies its clients.
	Connection string
	Step       Step
	// Result is "ok"; the gbgauth.Kind of the failure with underscores
	// ("client_refused", "server_error", ...); or "cancelled" if the caller gave up.
	Result   string
	Duration time.Duration
}

// EventKind is the kind of an event.
type EventKind string

// The kinds of events.
const (
	EventConfigured EventKind = "config-write"
	EventDeleted    EventKind = "config-delete"
	EventRotated    EventKind = "rotate"
	EventFailedOver EventKind = "failover"
	// EventRotationDue means that a rotation is due and the standby has no new secret.
	EventRotationDue EventKind = "rotation-due"
	// EventRotationMissed means that the window of a rotation has closed before it could
	// be made.
	EventRotationMissed EventKind = "rotation-missed"
	// EventKeyMade means that the standby has a new key.
	EventKeyMade EventKind = "key-write"
	// EventFailing means that token requests have started to fail.
	EventFailing EventKind = "token-failing"
	// EventRecovered means that a token request has succeeded again.
	EventRecovered EventKind = "token-recovered"
	// EventStandbyRefused means that a check found that the standby is refused.
	EventStandbyRefused EventKind = "standby-refused"
	// EventStandbyAccepted means that a check found that it is accepted again.
	EventStandbyAccepted EventKind = "standby-accepted"
	// EventClaimsDiffer means that a check found claims in which the tokens of both
	// clients differ.
	EventClaimsDiffer EventKind = "claims-differ"
)

// Event is something that happened to a connection.
type Event struct {
	Kind       EventKind
	Connection string
	// Fields are the fields of the pair; zero if the connection was deleted.
	Fields connection.PairFields
	// ActiveClientID and StandbyClientID are the clients after the event; empty if there
	// is no such client, or if the connection was deleted.
	ActiveClientID, StandbyClientID string
	// RegenerateAfter is set for a rotation or failover; otherwise it is zero.
	RegenerateAfter time.Time
	// Result is the result of the failed request, for EventFailing and
	// EventStandbyRefused: see EndpointRequest. It is "not_stored" if the standby was
	// accepted but Vault's
	// storage refused the failover.
	Result string
	// NextTry is the earliest time of the next request, for EventFailing.
	NextTry time.Time
	// Claims are the names of claims that differ.
	Claims []string
}

// noObserver is the default Observer.
type noObserver struct{}

func (noObserver) OnRequest(EndpointRequest) {}
func (noObserver) OnEvent(Event)             {}
func (noObserver) Forget(string)             {}

// reportRequest reports a request to the observer.
func (e *Engine) reportRequest(connection string, step Step, took time.Duration, err error) {
	if e.states.get(connection) == nil {
		connection = ""
	}
	e.observer.OnRequest(EndpointRequest{Connection: connection, Step: step, Result: resultOf(err), Duration: took})
}

// resultOf returns the result of a request as in EndpointRequest.Result.
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

// eventOf returns an event with the connection's current clients.
func eventOf(c *connection.Connection, kind EventKind, name string) Event {
	ev := Event{Kind: kind, Connection: name, Fields: c.PairFields(), ActiveClientID: c.Pair.Active().ID}
	if standby, ok := c.Pair.Standby(); ok {
		ev.StandbyClientID = standby.ID
	}
	return ev
}

// rotationEvent returns the event for a connection's last rotation or failover.
func rotationEvent(c *connection.Connection, name string) Event {
	kind := EventRotated
	if c.Rotation.Cause == connection.CauseFailover {
		kind = EventFailedOver
	}
	ev := eventOf(c, kind, name)
	ev.RegenerateAfter = c.Rotation.RegenerateAfter
	return ev
}

// isPowerOfTwo reports whether n is 1, 2, 4, 8, ...: what happens again and again is
// logged less and less often.
func isPowerOfTwo(n int) bool { return n&(n-1) == 0 }

// reportFailure reports a failed token request. It logs a warning for the first,
// second, fourth, eighth and so on; the observer is notified only of the first, for
// which was is nil.
func (e *Engine) reportFailure(name string, conn *connection.Connection, was, now *backoff) {
	level := hclog.Debug
	if isPowerOfTwo(now.count) {
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

// reportToken reports a recovery if a new token ends a run of failures: of token
// requests if it is the active client's, and of exchanges if it was exchanged.
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

// reportRecovery reports that requests succeed again. It does nothing if was is nil.
func (e *Engine) reportRecovery(name string, conn *connection.Connection, was *backoff) {
	if was == nil {
		return
	}
	e.logger.Info("token requests succeed again", "connection", name, "failed", was.count, "failing_since", was.since)
	e.observer.OnEvent(eventOf(conn, EventRecovered, name))
}
