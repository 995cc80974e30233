package backend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// TokenPrefix is the part of storage that holds the current tokens, one for each
// connection, so that they can be served at once after a restart or by a new leader.
// They are local to one cluster: Vault does not replicate them, and seal-wraps them.
const TokenPrefix = "token/"

// tokenEntryVersion is the version of the entries that this release writes. Entries
// of other versions are ignored: a new token can be fetched.
const tokenEntryVersion = 1

// maxClockSkew is how far in the future the fetch time of a stored token may be,
// because another node's clock is ahead. Beyond that a clock is wrong, and so is the
// token's expiry.
const maxClockSkew = time.Minute

// tokenEntry is the stored form of a token.
type tokenEntry struct {
	Version     int    `json:"version"`
	AccessToken string `json:"access_token"`
	Type        string `json:"type"`
	entrySource
	Scope   string    `json:"scope,omitempty"`
	Fetched time.Time `json:"fetched"`
	Expires time.Time `json:"expires"`
	// Overlap is in nanoseconds.
	Overlap         time.Duration `json:"overlap"`
	LifetimeAssumed bool          `json:"lifetime_assumed,omitempty"`
	// TokensUntil is when the last token of this client expires, which may not be
	// this one.
	TokensUntil time.Time `json:"tokens_until"`
}

// entrySource is the stored form of a token's source. TokenURL and Asked are those of
// the last step, the IDP fields those of the first if there are two.
type entrySource struct {
	ClientID         string `json:"client_id"`
	Username         string `json:"username,omitempty"`
	TokenURL         string `json:"token_url"`
	Asked            string `json:"asked,omitempty"`
	IDPTokenURL      string `json:"idp_token_url,omitempty"`
	IDPScope         string `json:"idp_scope,omitempty"`
	IDPParams        string `json:"idp_params,omitempty"`
	ExchangeClientID string `json:"exchange_client_id,omitempty"`
}

func sourceOf(r connection.Request) entrySource {
	switch {
	case r.PairFields().Users():
		return entrySource{ClientID: r.Password.ClientID, Username: r.Password.Username, TokenURL: r.Password.TokenURL, Asked: r.Password.Scope}
	case !r.Exchanges():
		return entrySource{ClientID: r.Clients.ClientID, TokenURL: r.Clients.TokenURL, Asked: r.Clients.Scope}
	}
	return entrySource{
		ClientID: r.Clients.ClientID, IDPTokenURL: r.Clients.TokenURL, IDPScope: r.Clients.Scope, IDPParams: r.Clients.Params,
		ExchangeClientID: r.Exchange.ClientID, TokenURL: r.Exchange.TokenURL, Asked: r.Exchange.Scope,
	}
}

// storeTokenLocked stores a state's current token, or deletes the stored one if there
// is none. A failure is only logged: it costs a token request after a restart. ok is
// false if another token may still be stored. The entry's lock must be held.
func (e *Engine) storeTokenLocked(ctx context.Context, name string, st *state) (ok bool) {
	t := st.token
	var err error
	if t == nil {
		err = e.deleteToken(ctx, name)
	} else {
		err = e.putToken(ctx, name, t, st.activity[t.clientID].tokensUntil)
	}
	if err == nil || IsReadOnly(err) {
		return true // a read-only node serves from memory; another node writes
	}
	if t != nil {
		// No token is better than an older one that looks like the last one served.
		deleteErr := e.deleteToken(ctx, name)
		ok = deleteErr == nil
		err = errors.Join(err, deleteErr)
	}
	e.logger.Warn("the current token could not be stored; after a restart a new one will be fetched", "connection", name, "error", err)
	return ok
}

func (e *Engine) deleteToken(ctx context.Context, name string) error {
	ctx, end := detachedContext(ctx)
	defer end()
	return e.storage.Delete(ctx, TokenPrefix+name)
}

func (e *Engine) putToken(ctx context.Context, name string, t *token, tokensUntil time.Time) error {
	// If the wall clock was set, this token may be the last to expire by that clock.
	if expires := wallTime(t.expires); expires.After(tokensUntil) {
		tokensUntil = expires
	}
	encoded, err := json.Marshal(tokenEntry{
		Version:         tokenEntryVersion,
		AccessToken:     t.access.Reveal(),
		Type:            t.typ,
		entrySource:     sourceOf(t.source),
		Scope:           t.scope,
		Fetched:         t.fetched.UTC(),
		Expires:         t.expires.UTC(),
		Overlap:         t.overlap,
		LifetimeAssumed: t.lifetimeAssumed,
		TokensUntil:     tokensUntil.UTC(),
	})
	if err != nil {
		return err
	}
	ctx, end := detachedContext(ctx)
	defer end()
	err = e.storage.Put(ctx, &logical.StorageEntry{Key: TokenPrefix + name, Value: encoded, SealWrap: true})
	if err == nil || IsReadOnly(err) {
		return err
	}
	if stored, lookErr := e.readBack(ctx, TokenPrefix+name); lookErr == nil && bytes.Equal(stored, encoded) {
		return nil // reported as failed, but written
	}
	return err
}

// loadToken returns the stored token of a connection, expired or not, and when the
// last token of its client expires. It returns nil if there is no stored token, or if
// a request for the active client would get a different one.
func (e *Engine) loadToken(ctx context.Context, name string, conn *connection.Connection) (_ *token, tokensUntil time.Time) {
	stored, err := e.storage.Get(ctx, TokenPrefix+name)
	if err != nil {
		e.fetchLogger().Warn("the stored token could not be read; a new one will be fetched", "connection", name, "error", err)
		return nil, time.Time{}
	}
	if stored == nil {
		return nil, time.Time{}
	}
	var entry tokenEntry
	if json.Unmarshal(stored.Value, &entry) != nil || !entry.valid() {
		return nil, time.Time{}
	}
	source := conn.Request(conn.Pair.Active()).Source()
	if entry.entrySource != sourceOf(source) {
		return nil, time.Time{}
	}
	now := e.now()
	t := &token{
		access:          gbgauth.NewSecret(entry.AccessToken),
		typ:             entry.Type,
		clientID:        source.ID(),
		source:          source,
		scope:           entry.Scope,
		missing:         missingScopes(entry.Asked, entry.Scope),
		fetched:         withMonotonic(entry.Fetched, now),
		expires:         withMonotonic(entry.Expires, now),
		overlap:         entry.Overlap,
		lead:            e.refreshLead(entry.Overlap),
		lifetimeAssumed: entry.LifetimeAssumed,
		claims:          claimsOf(gbgauth.NewSecret(entry.AccessToken), source.ID(), source.PairFields()),
	}
	if entry.Fetched.After(now.Add(maxClockSkew)) {
		e.fetchLogger().Warn("the stored token was fetched in the future: a clock is wrong; a new one will be fetched", "connection", name, "fetched", t.fetched)
		return nil, time.Time{}
	}
	return t, withMonotonic(entry.TokensUntil, now)
}

// valid reports whether the entry holds what every token has, with consistent times.
func (e *tokenEntry) valid() bool {
	lifetime := e.Expires.Sub(e.Fetched)
	return e.Version == tokenEntryVersion && e.AccessToken != "" && e.Type != "" &&
		lifetime > 0 && lifetime <= gbgauth.MaxLifetime &&
		e.Overlap >= 0 && e.Overlap <= lifetime &&
		!e.TokensUntil.Before(e.Expires)
}
