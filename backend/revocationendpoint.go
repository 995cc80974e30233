package backend

import (
	"context"
	"sync"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

const (
	// firstRevocationPause and maxRevocationPause bound the pause of a revocation
	// endpoint after a failed request. The first is short: the failure may be due to
	// one token.
	firstRevocationPause = time.Second
	maxRevocationPause   = 30 * time.Minute
	// revocationProof is how long an endpoint is considered healthy after a success.
	revocationProof = 10 * time.Second
)

// revocationEndpoint identifies a revocation request without its token: the
// connection, the address and the credentials. It is a map key: a write that changes
// the request results in a different key, which has no recorded failures.
type revocationEndpoint struct {
	connection string
	url        string
	clientID   string
	secret     connection.Secret
	caPEM      string
}

// endpointHealth is the outcome of past requests to an endpoint. The zero value is
// for an endpoint without any requests.
type endpointHealth struct {
	// succeeded is the time of the last success; zero if there was none since the last
	// failure.
	succeeded time.Time
	// failures is the number of consecutive failures; cause and failed are the error and
	// the time of the last one.
	failures int
	cause    *gbgauth.Error
	failed   time.Time
	// retry is when the next request may be sent.
	retry time.Time
}

// revocationEndpoints limits the requests to failing endpoints. The zero value is
// ready to use. It is safe for concurrent use.
type revocationEndpoints struct {
	// probes holds back the other requests of a connection while one request checks
	// whether the endpoint works.
	probes keyedLock

	mu     sync.Mutex
	health map[revocationEndpoint]endpointHealth
}

// lock acquires the right to send requests to the endpoints of a connection. The
// error is ctx's cause if ctx ends first. unlock may be called more than once.
func (r *revocationEndpoints) lock(ctx context.Context, connection string) (unlock func(), err error) {
	unlock, err = r.probes.lock(ctx, connection)
	if err != nil {
		return nil, context.Cause(ctx)
	}
	return sync.OnceFunc(unlock), nil
}

// blocked returns the last failure of an endpoint during the pause that follows it, and
// nil at any other time.
func (r *revocationEndpoints) blocked(endpoint revocationEndpoint, now time.Time) *gbgauth.Error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.health[endpoint]; now.Before(h.retry) {
		return h.cause
	}
	return nil
}

// healthy reports whether an endpoint is known to work, so that requests may be sent
// concurrently. If not, one request has to check first.
func (r *revocationEndpoints) healthy(endpoint revocationEndpoint, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.health[endpoint]
	return !h.succeeded.IsZero() && now.Sub(h.succeeded) < revocationProof
}

// recordSuccess records a successful request.
func (r *revocationEndpoints) recordSuccess(endpoint revocationEndpoint, now time.Time) {
	r.set(endpoint, func(endpointHealth) endpointHealth { return endpointHealth{succeeded: now} })
}

// recordFailure records a failed request. The pause that follows is delay of the
// number of consecutive failures, or the endpoint's Retry-After if that is longer.
func (r *revocationEndpoints) recordFailure(endpoint revocationEndpoint, sent, now time.Time, cause *gbgauth.Error, delay func(n int) time.Duration) {
	r.set(endpoint, func(was endpointHealth) endpointHealth {
		if was.failures > 0 && !sent.After(was.failed) {
			return was // it was sent before the last failure was known
		}
		h := endpointHealth{failures: was.failures + 1, cause: cause, failed: now}
		h.retry = now.Add(max(delay(h.failures), cause.RetryAfter))
		return h
	})
}

func (r *revocationEndpoints) set(endpoint revocationEndpoint, f func(endpointHealth) endpointHealth) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.health == nil {
		r.health = make(map[revocationEndpoint]endpointHealth)
	}
	r.health[endpoint] = f(r.health[endpoint])
}

// prune deletes what is no longer relevant, including endpoints that are no longer used.
func (r *revocationEndpoints) prune(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for endpoint, h := range r.health {
		if now.After(h.succeeded.Add(revocationProof)) && now.After(h.retry.Add(maxRevocationPause)) {
			delete(r.health, endpoint)
		}
	}
}
