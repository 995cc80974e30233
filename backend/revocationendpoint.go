package backend

import (
	"context"
	"sync"
	"time"

	"vault-plugin-secrets-gbg/backend/connection"
	"vault-plugin-secrets-gbg/internal/gbgauth"
)

const (
	// firstRevocationPause and maxRevocationPause bound the time in which a revocation
	// endpoint is left alone after a request to it has failed. The first is short: the
	// failure may have been one token's.
	firstRevocationPause = time.Second
	maxRevocationPause   = 30 * time.Minute
	// revocationProof is how long an endpoint counts as working after a success.
	revocationProof = 10 * time.Second
)

// revocationEndpoint is a revocation request without its token: who asks for which
// connection, and where. Two that compare equal ask the same thing, so a write that
// changes the request makes another one, of which no failure is known.
type revocationEndpoint struct {
	connection string
	url        string
	clientID   string
	secret     connection.Secret
	caPEM      string
}

// endpointHealth is what the requests to an endpoint have shown. The zero value is
// that of an endpoint that was never asked.
type endpointHealth struct {
	// succeeded is when the last request succeeded; zero if none has since the last
	// failure.
	succeeded time.Time
	// failures is how many requests have failed in a row, cause why the last did and
	// failed when.
	failures int
	cause    *gbgauth.Error
	failed   time.Time
	// retry is when the endpoint may be asked again.
	retry time.Time
}

// revocationEndpoints keeps endpoints that fail from being asked all the time. The
// zero value is ready, and it is safe for concurrent use.
type revocationEndpoints struct {
	// probes holds back the other requests of a connection while one finds out
	// whether the endpoint works.
	probes keyedLock

	mu     sync.Mutex
	health map[revocationEndpoint]endpointHealth
}

// lock takes the right to ask the endpoints of a connection. It returns the cause of
// ctx's end if that comes first.
func (r *revocationEndpoints) lock(ctx context.Context, connection string) (unlock func(), err error) {
	unlock, err = r.probes.lock(ctx, connection)
	if err != nil {
		return nil, context.Cause(ctx)
	}
	return sync.OnceFunc(unlock), nil
}

// blocked returns the last failure of an endpoint that is to be left alone, and nil
// if it may be asked.
func (r *revocationEndpoints) blocked(endpoint revocationEndpoint, now time.Time) *gbgauth.Error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.health[endpoint]; now.Before(h.retry) {
		return h.cause
	}
	return nil
}

// healthy reports whether an endpoint is known to work, so that many requests may be
// made at once. Else one has to find out first.
func (r *revocationEndpoints) healthy(endpoint revocationEndpoint, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.health[endpoint]
	return !h.succeeded.IsZero() && now.Sub(h.succeeded) < revocationProof
}

// recordSuccess notes a request that succeeded.
func (r *revocationEndpoints) recordSuccess(endpoint revocationEndpoint, now time.Time) {
	r.set(endpoint, func(endpointHealth) endpointHealth { return endpointHealth{succeeded: now} })
}

// recordFailure notes a request that failed. delay gives how long the endpoint is left alone
// after the nth failure in a row, unless the endpoint has asked for more.
func (r *revocationEndpoints) recordFailure(endpoint revocationEndpoint, sent, now time.Time, cause *gbgauth.Error, delay func(nth int) time.Duration) {
	r.set(endpoint, func(was endpointHealth) endpointHealth {
		if was.failures > 0 && !sent.After(was.failed) {
			return was // one of many that were under way together
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

// prune forgets what has no bearing any more, endpoints that nobody asks any more
// included.
func (r *revocationEndpoints) prune(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for endpoint, h := range r.health {
		if now.After(h.succeeded.Add(revocationProof)) && now.After(h.retry.Add(maxRevocationPause)) {
			delete(r.health, endpoint)
		}
	}
}
