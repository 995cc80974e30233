package backend

import (
	"context"
	"errors"
	"net/http"
	"time"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// ask gets a token for one client of a connection, in as many steps as that
// takes, all within one time limit. The errors are those of insist.
func (e *Engine) ask(limit timeLimit, name string, conn *Connection, client Client, via *http.Client) (*token, error) {
	r := conn.request(client)
	step := question{connection: name, clientID: client.ID, step: StepToken, url: r.clients.TokenURL, fetch: r.clients.Fetch, via: via}
	if r.exchanges() {
		step.step = StepIDP
		idp, err := e.insist(limit, step)
		if err != nil {
			return nil, err
		}
		exchange := conn.exchange(idp.AccessToken)
		step.step, step.url, step.fetch = StepExchange, exchange.TokenURL, exchange.Fetch
	}
	issued, err := e.insist(limit, step)
	if err != nil {
		return nil, err
	}
	return e.received(name, r, issued, conn.Settings), nil
}

// received is what an endpoint issued as a token of ours.
func (e *Engine) received(name string, r request, issued *issued, s Settings) *token {
	t := newToken(r, issued.Token, issued.sent, s)
	e.remark(name, t)
	return t
}

// remark logs what is odd about a token, once until one comes that is not.
func (e *Engine) remark(name string, t *token) {
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

// question is what is asked of one endpoint, and for whom.
type question struct {
	connection, clientID string
	step                 Step
	url                  string
	fetch                func(context.Context, *http.Client) (*gbgauth.Token, error)
	via                  *http.Client
}

// issued is a token and when its request was sent.
type issued struct {
	*gbgauth.Token

	sent time.Time
}

// insist asks an endpoint for a token, and asks again after growing pauses while
// it does not say no and there is time. The error is a *ClientError, or the
// context's if it was cancelled.
func (e *Engine) insist(limit timeLimit, q question) (*issued, error) {
	for attempt := 1; ; attempt++ {
		t, err := e.askOnce(limit.ctx, q)
		var failed *ClientError
		if err == nil || !errors.As(err, &failed) {
			return t, err
		}
		pause := max(e.growing(attempt, firstRetryPause, maxRetryPause), failed.Cause.RetryAfter)
		if failed.Temporary() && e.rest(limit, pause) {
			continue
		}
		return nil, err
	}
}

func (e *Engine) askOnce(ctx context.Context, q question) (*issued, error) {
	sent := e.clock.Now()
	t, err := q.fetch(ctx, q.via)
	took := e.clock.Since(sent)
	log := e.logger.With("connection", q.connection, "client_id", q.clientID, "token_url", q.url, "duration", took)
	if err == nil && t.Lifetime <= took {
		err = &gbgauth.Error{Kind: gbgauth.NotAToken, URL: q.url, Description: "the token had ended by the time its answer was here"}
	}
	e.requested(q.connection, q.step, took, err)
	var failed *gbgauth.Error
	switch {
	case err == nil:
		log.Debug("token fetched", "expire_time", sent.Add(t.Lifetime))
		return &issued{Token: t, sent: sent}, nil
	case errors.As(err, &failed):
		log.Debug("token request failed", "kind", failed.Kind, "error", failed)
		return nil, &ClientError{Connection: q.connection, ClientID: q.clientID, Step: q.step, Cause: failed}
	}
	return nil, err
}

// timeLimit is the time that one answer may take, by the engine's clock.
type timeLimit struct {
	ctx  context.Context // ends with it
	ends time.Time
}

// limit begins a connection's request timeout. end must be called.
func (e *Engine) limit(ctx context.Context, conn *Connection) (_ timeLimit, end func()) {
	timeout := conn.Settings.withDefaults().RequestTimeout
	ctx, cancel := context.WithCancelCause(ctx)
	timer := e.clock.AfterFunc(timeout, func() { cancel(context.DeadlineExceeded) })
	return timeLimit{ctx: ctx, ends: e.clock.Now().Add(timeout)}, func() {
		timer.Stop()
		cancel(nil)
	}
}

// rest waits, if there is more time than that. If not, it says so at once.
func (e *Engine) rest(limit timeLimit, pause time.Duration) (rested bool) {
	if limit.ends.Sub(e.clock.Now()) <= pause {
		return false
	}
	timer := e.clock.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.Chan():
		return true
	case <-limit.ctx.Done():
		return false
	}
}
