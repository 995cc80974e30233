package backend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"vault-plugin-secrets-gbg/backend/connection"
	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// Step says which request to which endpoint it was.
type Step int

const (
	// StepToken is the one request to GBG GO.
	StepToken Step = iota
	// StepIDP is the request to the identity provider, whose token is then
	// exchanged.
	StepIDP
	// StepExchange is the exchange at GBG Identity Solution, for a client of the
	// connection.
	StepExchange
	// StepOwnExchange is the exchange of a caller's own token.
	StepOwnExchange
	// StepRevoke is the revocation of a leased token.
	StepRevoke
)

// String returns the step's name in metrics.
func (s Step) String() string {
	switch s {
	case StepToken:
		return "token"
	case StepIDP:
		return "idp"
	case StepExchange:
		return "exchange"
	case StepOwnExchange:
		return "own_exchange"
	case StepRevoke:
		return "revoke"
	default:
		return "unknown"
	}
}

// endpointName returns the party that the request went to, for a sentence.
func (s Step) endpointName() string {
	if s == StepIDP {
		return "the identity provider"
	}
	return "GBG"
}

// tokenRequest is a request for a token of one client of a connection, in as many
// steps as that takes.
type tokenRequest struct {
	connection string
	conn       *connection.Connection
	client     connection.Client
	via        *gbgauth.Client
	// awaited reports whether somebody waits for the token; nil means always.
	awaited func() bool
	// stale is called before each try, after the wait for it, and reports whether the
	// token is not wanted any more; nil means never.
	stale func() bool
}

// endpointRequest is a request to one endpoint.
type endpointRequest struct {
	tokenRequest

	clientID string // empty for a caller's own token
	step     Step
	url      string
	fetch    func(context.Context, *gbgauth.Client) (*gbgauth.Token, error)
}

// issuedToken is a token and when its request was sent.
type issuedToken struct {
	*gbgauth.Token

	sent time.Time
}

// requestToken gets a token for one client, all steps within one time limit. The
// errors are those of requestWithRetry.
func (e *Engine) requestToken(limit timeLimit, r tokenRequest) (*token, error) {
	asked := r.conn.Request(r.client)
	step := endpointRequest{tokenRequest: r, clientID: r.client.ID, step: StepToken, url: asked.Clients.TokenURL, fetch: asked.Clients.Fetch}
	if asked.Exchanges() {
		step.step = StepIDP
		idp, err := e.requestWithRetry(limit, step)
		if err != nil {
			return nil, err
		}
		exchange := r.conn.Exchange(idp.AccessToken)
		step.step, step.url, step.fetch = StepExchange, exchange.TokenURL, exchange.Fetch
	}
	issued, err := e.requestWithRetry(limit, step)
	if err != nil {
		return nil, err
	}
	t := e.newToken(asked, issued, r.conn.Settings)
	e.logTokenChanges(r.connection, t)
	return t, nil
}

// requestWithRetry asks an endpoint for a token, and asks again after growing pauses
// while it does not refuse and there is time. The error is a *ClientError,
// errSuperseded if the request is stale, or the context's cause if it was cancelled.
func (e *Engine) requestWithRetry(limit timeLimit, r endpointRequest) (*issuedToken, error) {
	for attempt := 1; ; attempt++ {
		t, err := e.requestOnce(limit, r)
		var failed *ClientError
		if err == nil || !errors.As(err, &failed) {
			return t, err
		}
		pause := max(e.delay(attempt, firstRetryDelay, maxRetryDelay), failed.Cause.RetryAfter)
		if failed.Temporary() && e.waitRetry(limit, pause) {
			continue
		}
		return nil, err
	}
}

// requestOnce waits for its turn at the endpoint's host and asks once.
func (e *Engine) requestOnce(limit timeLimit, r endpointRequest) (*issuedToken, error) {
	release, err := e.hosts.acquire(limit.ctx, hostOf(r.url), r.awaited)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, r.clientError(limit.notSentInTime(r.url))
		}
		return nil, err
	}
	defer release()
	if r.stale != nil && r.stale() {
		return nil, errSuperseded
	}
	ctx, end := context.WithTimeout(limit.ctx, limit.try)
	defer end()
	sent := e.now()
	t, err := r.fetch(ctx, r.via)
	took := e.now().Sub(sent)
	log := e.logger.With("connection", r.connection, "client_id", r.clientID, "token_url", r.url, "duration", took)
	if err == nil && t.Lifetime <= took {
		err = &gbgauth.Error{Kind: gbgauth.NotAToken, URL: r.url, Description: "the token had expired when its answer arrived"}
	}
	e.reportRequest(r.connection, r.step, took, err)
	var failed *gbgauth.Error
	switch {
	case err == nil:
		log.Debug("token fetched", "expire_time", sent.Add(t.Lifetime))
		return &issuedToken{Token: t, sent: sent}, nil
	case errors.As(err, &failed):
		log.Debug("token request failed", "kind", failed.Kind, "error", failed)
		return nil, r.clientError(failed)
	}
	return nil, err
}

// clientError returns the request's error.
func (r endpointRequest) clientError(cause *gbgauth.Error) *ClientError {
	return &ClientError{Connection: r.connection, ClientID: r.clientID, Step: r.step, UsesKey: r.conn.Settings.UsesKeys(), Cause: cause}
}

// hostOf returns the host and port of a URL that has been validated: the same for all
// ways to write it.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// minTryTimeout is the least time that a try gets.
const minTryTimeout = time.Second

// timeLimit is the time that one answer may take, by the engine's clock. One try
// gets a part of it, so that there is time for another one.
type timeLimit struct {
	ctx  context.Context // ends with it
	ends time.Time
	// total and try are the whole time and the time for one try.
	total, try time.Duration
}

// limit begins a connection's request timeout. end must be called.
func (e *Engine) limit(ctx context.Context, conn *connection.Connection) (_ timeLimit, end func()) {
	total := conn.Settings.WithDefaults().RequestTimeout
	ctx, end = context.WithTimeout(ctx, total)
	return timeLimit{ctx: ctx, ends: e.now().Add(total), total: total, try: max(total/2, minTryTimeout)}, end
}

// notSentInTime returns the failure of a request that was not sent.
func (l timeLimit) notSentInTime(address string) *gbgauth.Error {
	return &gbgauth.Error{
		Kind: gbgauth.NotSent,
		URL:  address,
		Description: fmt.Sprintf("not asked: all of request_timeout (%s) was spent waiting behind other requests to this host, of which at most %d are sent at once",
			l.total, maxRequestsPerHost),
	}
}

// waitRetry waits, if there is more time than that, and reports whether it did. If
// there is not it returns at once.
func (e *Engine) waitRetry(limit timeLimit, pause time.Duration) (waited bool) {
	if limit.ends.Sub(e.now()) <= pause {
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-limit.ctx.Done():
		return false
	}
}

// logTokenChanges warns of a token that lacks scopes or has no lifetime, once until
// one comes that has them.
func (e *Engine) logTokenChanges(name string, t *token) {
	said := &counters{} // of a connection that is being made
	if st := e.states.get(name); st != nil {
		said = st.counters
	}
	log := e.logger.With("connection", name, "client_id", t.clientID)
	if lacks := t.missing != ""; said.lacking.Swap(lacks) != lacks && lacks {
		log.Warn("token lacks scopes that were asked for", "missing", t.missing)
	}
	if t.lifetimeAssumed != said.assumed.Swap(t.lifetimeAssumed) && t.lifetimeAssumed {
		log.Warn("token came without expires_in", "assumed", t.lifetime())
	}
}
