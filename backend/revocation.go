package backend

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"

	"github.com/hashicorp/vault/sdk/logical"
)

// endsAnyway is the remaining lifetime below which a token is left to expire: a lease
// is truncated to whole seconds, so it ends slightly before its token.
const endsAnyway = 2 * time.Second

// Revoke revokes a leased token at GBG, if the connection has a revocation endpoint.
// If that fails, or the connection cannot be read, it returns the error once: the
// engine retries until the token expires (see RetryRevocations), and the next Revoke
// of the same token succeeds. Vault calls Revoke again after an error, but gives up
// after six attempts and would keep the lease forever. It is not an error if the
// connection or its client no longer exists: there are no credentials to revoke the
// token with.
func (e *Engine) Revoke(ctx context.Context, t LeasedToken) error {
	ctx, leave, err := e.join(ctx)
	if err != nil {
		return err
	}
	defer leave()
	switch pending, err := e.revocationPending(ctx, t); {
	case err != nil:
		return err
	case pending:
		e.logger.Info("lease ended before its token could be revoked; retrying until the token expires", "connection", t.Connection, e.idKey(t.Connection), t.ClientID, "expire_time", t.Expires)
		return nil
	}
	err = e.revoke(ctx, t)
	var failed *RevocationError
	if err == nil || !errors.As(err, &failed) && ctx.Err() != nil {
		return err
	}
	log := e.logger.With("connection", t.Connection, e.idKey(t.Connection), t.ClientID, "expire_time", t.Expires)
	if failed != nil {
		log.Warn("token not revoked yet", "error", failed.Cause)
	} else {
		log.Warn("token not revoked yet", "error", err)
	}
	if keepErr := e.storeRevocation(ctx, t); IsReadOnly(keepErr) {
		return logical.ErrReadOnly // bare, so that Vault forwards the request
	} else if keepErr != nil {
		return errors.Join(err, keepErr)
	}
	return err
}

// revoke tries once to revoke a token, unless the endpoint is blocked after a
// failure: then the error is that of the last attempt. An error of GBG is a
// *RevocationError; the others are ctx's and those of reading the connection.
func (e *Engine) revoke(ctx context.Context, t LeasedToken) error {
	if t.Expires.Sub(e.now()) <= endsAnyway {
		return nil
	}
	unlock, err := e.revocations.endpoints.lock(ctx, t.Connection)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := e.state(ctx, t.Connection)
	log := e.logger.With("connection", t.Connection, e.idKey(t.Connection), t.ClientID)
	if errors.Is(err, ErrNotConfigured) {
		log.Warn("lease ended without revoking its token: the connection has been deleted", "expire_time", t.Expires)
		return nil
	}
	if err != nil {
		return err
	}
	settings := st.conn.Settings.WithDefaults()
	if settings.RevokeURL == "" {
		log.Debug("lease ended without revoking its token: there is no revoke_url", "expire_time", t.Expires)
		return nil
	}
	id, secret, ok := st.conn.Revoker(t.ClientID)
	if !ok {
		log.Warn("lease ended without revoking its token: its client is no longer part of the connection", "expire_time", t.Expires)
		return nil
	}
	endpoint := revocationEndpoint{connection: t.Connection, url: settings.RevokeURL, clientID: id, secret: secret, caPEM: settings.CAPEM}
	if cause := e.revocations.endpoints.blocked(endpoint, e.now()); cause != nil {
		return &RevocationError{Connection: t.Connection, ClientID: t.ClientID, Fields: st.conn.PairFields(), Expires: t.Expires, Cause: cause}
	}
	if e.revocations.endpoints.healthy(endpoint, e.now()) {
		unlock()
	}
	limit, end := e.limit(ctx, st.conn)
	defer end()
	sent := e.now()
	err = e.sendRevocation(limit, t, gbgauth.Revocation{URL: settings.RevokeURL, ClientID: id, ClientSecret: secret, Token: t.AccessToken}, st.http)
	var failed *gbgauth.Error
	switch {
	case err == nil:
		e.revocations.endpoints.recordSuccess(endpoint, e.now())
		log.Debug("token revoked")
	case errors.As(err, &failed):
		e.revocations.endpoints.recordFailure(endpoint, sent, e.now(), failed, e.revocationDelay)
		e.revocations.recordFailure(strings.TrimPrefix(revocationKey(t), RevocationPrefix))
		log.Debug("token not revoked", "error", failed, "expire_time", t.Expires)
		return &RevocationError{Connection: t.Connection, ClientID: t.ClientID, Fields: st.conn.PairFields(), Expires: t.Expires, Cause: failed}
	}
	return err
}

// sendRevocation sends a revocation request, and repeats it if there is no answer and
// enough time is left: the network connection may be dead. The error is a
// *gbgauth.Error, or the context's cause if it was cancelled.
func (e *Engine) sendRevocation(limit timeLimit, t LeasedToken, r gbgauth.Revocation, via *gbgauth.Client) error {
	err := e.sendRevocationOnce(limit, t, r, via)
	var failed *gbgauth.Error
	if errors.As(err, &failed) && failed.NoAnswer() && e.waitRetry(limit, firstRetryDelay) {
		err = e.sendRevocationOnce(limit, t, r, via)
	}
	return err
}

// sendRevocationOnce waits for its turn at the endpoint's host and sends one request.
func (e *Engine) sendRevocationOnce(limit timeLimit, t LeasedToken, r gbgauth.Revocation, via *gbgauth.Client) error {
	release, err := e.hosts.acquire(limit.ctx, hostOf(r.URL), notAwaited)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return limit.notSentInTime(r.URL)
		}
		return err
	}
	defer release()
	ctx, end := context.WithTimeout(limit.ctx, limit.try)
	defer end()
	sent := e.now()
	err = r.Send(ctx, via)
	e.reportRequest(t.Connection, StepRevoke, e.now().Sub(sent), err)
	return err
}

// idKey returns what logs call an id of a connection's pair: "client_id", also if the
// connection is not in memory, or "username".
func (e *Engine) idKey(name string) string {
	if st := e.states.get(name); st != nil {
		return st.conn.PairFields().IDKey()
	}
	return connection.PairFields{}.IDKey()
}

// notAwaited is the awaited function of requests that no reader is waiting for.
func notAwaited() bool { return false }

// revocationDelay returns the pause of an endpoint after n consecutive failures.
func (e *Engine) revocationDelay(n int) time.Duration {
	return e.delay(n, firstRevocationPause, maxRevocationPause)
}

// RevocationPrefix is the part of storage that holds tokens whose lease has ended and
// that could not be revoked yet. They are local to one cluster: Vault does not
// replicate them, and seal-wraps them.
const RevocationPrefix = "revocation/"

// revocationEntry is the stored form of a token to revoke.
type revocationEntry struct {
	Version     int       `json:"version"`
	Connection  string    `json:"connection"`
	ClientID    string    `json:"client_id"`
	AccessToken string    `json:"access_token"`
	Expires     time.Time `json:"expires"`
}

// revocationEntryVersion is the version of the entries that this release writes.
const revocationEntryVersion = 1

// revocationKey returns the storage key of a token to revoke. It reveals nothing about
// the token.
func revocationKey(t LeasedToken) string {
	sum := sha256.Sum256([]byte(t.AccessToken.Reveal()))
	return RevocationPrefix + hex.EncodeToString(sum[:])
}

func (e *Engine) revocationPending(ctx context.Context, t LeasedToken) (bool, error) {
	entry, err := e.storage.Get(ctx, revocationKey(t))
	return entry != nil, err
}

func (e *Engine) storeRevocation(ctx context.Context, t LeasedToken) error {
	encoded, err := json.Marshal(revocationEntry{
		Version: revocationEntryVersion, Connection: t.Connection, ClientID: t.ClientID,
		AccessToken: t.AccessToken.Reveal(), Expires: t.Expires.UTC(),
	})
	if err != nil {
		return err
	}
	ctx, end := detachedContext(ctx)
	defer end()
	return e.storage.Put(ctx, &logical.StorageEntry{Key: revocationKey(t), Value: encoded, SealWrap: true})
}

// loadRevocation reads a stored revocation. It returns the zero value, which has
// expired, if the entry cannot be decoded.
func (e *Engine) loadRevocation(ctx context.Context, key string) (LeasedToken, error) {
	stored, err := e.storage.Get(ctx, key)
	if err != nil || stored == nil {
		return LeasedToken{}, err
	}
	var entry revocationEntry
	if readable := json.Unmarshal(stored.Value, &entry) == nil; !readable || !entry.valid() {
		return LeasedToken{}, nil
	}
	return LeasedToken{
		Connection: entry.Connection, ClientID: entry.ClientID,
		AccessToken: gbgauth.NewSecret(entry.AccessToken), Expires: entry.Expires,
	}, nil
}

// valid reports whether the entry holds what a revocation needs.
func (e *revocationEntry) valid() bool {
	return e.Version == revocationEntryVersion && e.Connection != "" && e.ClientID != "" && e.AccessToken != "" && !e.Expires.IsZero()
}
