package backend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// Step identifies a kind of request to an endpoint.
type Step int

const (
	// StepToken is the token request to GBG GO.
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

// endpointName returns who receives the request, for use in a sentence.
func (s Step) endpointName() string {
	if s == StepIDP {
		return "the identity provider"
	}
	return "GBG"
}

// tokenRequest is a request for a token of one client of a connection, in one or two
// steps.
type tokenRequest struct {
	connection string
	conn       *connection.Connection
	client     connection.Client
	via        *gbgauth.Client
	// awaited reports whether a reader is waiting for the token; nil means always.
	awaited func() bool
	// stale reports whether the token is no longer needed; nil means never. It is called
	// before each attempt, once the host has a free slot.
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

// issuedToken is a token with the time at which its request was sent.
type issuedToken struct {
	*gbgauth.Token

	sent time.Time
}

// requestToken gets a token for one client, with one time limit for all steps. The
// errors are those of requestWithRetry.
func (e *Engine) requestToken(limit timeLimit, r tokenRequest) (*token, error) {
	asked := r.conn.Request(r.client)
	step := endpointRequest{tokenRequest: r, clientID: r.client.ID, step: StepToken}
	step.url, step.fetch = asked.First()
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

// requestWithRetry requests a token from an endpoint. It retries with increasing
// pauses while the failure is temporary and there is time. The error is a
// *ClientError, errSuperseded if the request is stale, errNoStorage, or the context's
// cause if it was cancelled.
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

// requestOnce waits for its turn at the endpoint's host and sends one request.
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
	if err := e.checkStorage(limit.ctx, r.tokenRequest); err != nil {
		return nil, err
	}
	ctx, end := context.WithTimeout(limit.ctx, limit.try)
	defer end()
	sent := e.now()
	t, err := r.fetch(ctx, r.via)
	took := e.now().Sub(sent)
	log := e.logger.With("connection", r.connection, r.conn.PairFields().IDKey(), r.clientID, "token_url", r.url, "duration", took)
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

// clientError returns cause as a *ClientError of the request.
func (r endpointRequest) clientError(cause *gbgauth.Error) *ClientError {
	return &ClientError{
		Connection: r.connection, ClientID: r.clientID, Fields: r.conn.PairFields(), Organization: r.conn.Settings.ClientID,
		Step: r.step, Cause: cause,
		QuotedSecret: cause.Kind == gbgauth.RefusedClient && isQuoted(r.secret()),
	}
}

// secret returns the client secret that the request sends.
func (r endpointRequest) secret() connection.Secret {
	if r.step == StepExchange || r.step == StepOwnExchange {
		return r.conn.Settings.ExchangeClientSecret
	}
	return r.client.Secret
}

// isQuoted reports whether a secret begins and ends with a double quote.
func isQuoted(s connection.Secret) bool {
	text := s.Reveal()
	return len(text) > 1 && strings.HasPrefix(text, `"`) && strings.HasSuffix(text, `"`)
}

// hostOf returns the host and port of a validated URL. Equivalent URLs have the same
// result.
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

// minTryTimeout is the minimum timeout of one attempt.
const minTryTimeout = time.Second

// timeLimit is the time limit for answering one request, by the engine's clock. One
// attempt gets a part of it, so that there is time for another one.
type timeLimit struct {
	ctx  context.Context // ends at the limit
	ends time.Time
	// total is the whole time, try the time for one attempt.
	total, try time.Duration
}

// limit starts a connection's request timeout. end must be called.
func (e *Engine) limit(ctx context.Context, conn *connection.Connection) (_ timeLimit, end func()) {
	total := conn.Settings.WithDefaults().RequestTimeout
	ctx, end = context.WithTimeout(ctx, total)
	return timeLimit{ctx: ctx, ends: e.now().Add(total), total: total, try: max(total/2, minTryTimeout)}, end
}

// notSentInTime returns the error of a request that was not sent.
func (l timeLimit) notSentInTime(address string) *gbgauth.Error {
	return &gbgauth.Error{
		Kind: gbgauth.NotSent,
		URL:  address,
		Description: fmt.Sprintf("not asked: all of request_timeout (%s) was spent waiting behind other requests to this host, of which at most %d are sent at once",
			l.total, maxRequestsPerHost),
	}
}

// waitRetry waits for the pause and reports whether it has passed. If the time limit
// would end first, it returns false at once.
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

// logTokenChanges logs a warning about a token that lacks scopes or a lifetime, once
// until a token has them.
func (e *Engine) logTokenChanges(name string, t *token) {
	last := &counters{} // for a connection that is being created
	if st := e.states.get(name); st != nil {
		last = st.counters
	}
	log := e.logger.With("connection", name, t.source.PairFields().IDKey(), t.clientID)
	if lacks := t.missing != ""; last.lacking.Swap(lacks) != lacks && lacks {
		log.Warn("token lacks scopes that were asked for", "missing", t.missing)
	}
	if t.lifetimeAssumed != last.assumed.Swap(t.lifetimeAssumed) && t.lifetimeAssumed {
		log.Warn("token came without expires_in", "assumed", t.lifetime())
	}
}
