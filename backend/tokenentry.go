package backend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-gbg/backend/connection"
	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// TokenPrefix is where current tokens are stored, one for each connection, so
// that a restart or a new leader serves them at once. They are of use to one
// cluster only: Vault does not replicate them, and seal-wraps them.
const TokenPrefix = "token/"

// tokenEntryVersion is the form of the entries that this release writes. An
// entry of another version is passed over: a token can be had anew.
const tokenEntryVersion = 1

// maxClockSkew is how far in the future another node's clock may have put the
// birth of a token. Beyond, a clock is wrong, and so is the token's end.
const maxClockSkew = time.Minute

// tokenEntry is a token as it is stored.
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
	// TokensUntil is when the last token of this client has expired, which need not
	// be this one.
	TokensUntil time.Time `json:"tokens_until"`
}

// entrySource is a token's source as it is stored: TokenURL and Asked are of the
// last step, the IDP ones of the first if there are two.
type entrySource struct {
	ClientID         string `json:"client_id"`
	TokenURL         string `json:"token_url"`
	Asked            string `json:"asked,omitempty"`
	IDPTokenURL      string `json:"idp_token_url,omitempty"`
	IDPScope         string `json:"idp_scope,omitempty"`
	IDPParams        string `json:"idp_params,omitempty"`
	ExchangeClientID string `json:"exchange_client_id,omitempty"`
}

func sourceOf(r connection.Request) entrySource {
	if !r.Exchanges() {
		return entrySource{ClientID: r.Clients.ClientID, TokenURL: r.Clients.TokenURL, Asked: r.Clients.Scope}
	}
	return entrySource{
		ClientID: r.Clients.ClientID, IDPTokenURL: r.Clients.TokenURL, IDPScope: r.Clients.Scope, IDPParams: r.Clients.Params,
		ExchangeClientID: r.Exchange.ClientID, TokenURL: r.Exchange.TokenURL, Asked: r.Exchange.Scope,
	}
}

// storeTokenLocked stores a state's current token, or removes what is stored if there
// is none. A failure costs a token request after a restart, so it is logged
// and no more; kept is then false if another token may still be stored. The
// entry's lock is held.
func (e *Engine) storeTokenLocked(ctx context.Context, name string, st *state) (kept bool) {
	t := st.token
	var err error
	if t == nil {
		err = e.deleteToken(ctx, name)
	} else {
		err = e.putToken(ctx, name, t, st.activity[t.clientID].tokensUntil)
	}
	if err == nil || IsReadOnly(err) {
		return true // a node that may not write serves from memory, another one writes
	}
	if t != nil {
		// Better none than one that looks like the last that was served.
		gone := e.deleteToken(ctx, name)
		kept = gone == nil
		err = errors.Join(err, gone)
	}
	e.logger.Warn("the current token could not be stored; after a restart a new one will be fetched", "connection", name, "error", err)
	return kept
}

func (e *Engine) deleteToken(ctx context.Context, name string) error {
	ctx, end := detachedContext(ctx)
	defer end()
	return e.storage.Delete(ctx, TokenPrefix+name)
}

func (e *Engine) putToken(ctx context.Context, name string, t *token, tokensUntil time.Time) error {
	// By the wall clock, which may have been set, this one may be the last to expire.
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
		return nil // reported as failed, and it holds
	}
	return err
}

// loadToken gives the stored token of a connection, expired or not, and when the
// last one of its client has expired; nil if there is none, or none that the
// active client would get.
func (e *Engine) loadToken(ctx context.Context, name string, conn *connection.Connection) (_ *token, tokensUntil time.Time) {
	stored, err := e.storage.Get(ctx, TokenPrefix+name)
	if err != nil {
		e.logger.Warn("the stored token could not be read; a new one will be fetched", "connection", name, "error", err)
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
		clientID:        entry.ClientID,
		source:          source,
		scope:           entry.Scope,
		missing:         missingScopes(entry.Asked, entry.Scope),
		fetched:         withMonotonic(entry.Fetched, now),
		expires:         withMonotonic(entry.Expires, now),
		overlap:         entry.Overlap,
		lead:            e.refreshLead(entry.Overlap),
		lifetimeAssumed: entry.LifetimeAssumed,
	}
	if entry.Fetched.After(now.Add(maxClockSkew)) {
		e.logger.Warn("the stored token was fetched in the future: a clock is wrong; a new one will be fetched", "connection", name, "fetched", t.fetched)
		return nil, time.Time{}
	}
	return t, withMonotonic(entry.TokensUntil, now)
}

// valid says that the entry holds what every token has, and times that fit
// together.
func (e *tokenEntry) valid() bool {
	lifetime := e.Expires.Sub(e.Fetched)
	return e.Version == tokenEntryVersion && e.AccessToken != "" && e.Type != "" &&
		lifetime > 0 && lifetime <= gbgauth.MaxLifetime &&
		e.Overlap >= 0 && e.Overlap <= lifetime &&
		!e.TokensUntil.Before(e.Expires)
}
