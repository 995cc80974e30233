package backend

import (
	"bytes"
	"context"
	"errors"
	"time"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// Change is a configuration write. What is nil keeps its value.
type Change struct {
	Settings SettingsChange
	Pair     PairChange
	// SkipVerification stores without asking GBG for tokens first.
	SkipVerification bool
}

// Configure creates a connection or changes it. Every client whose token
// request the change touches proves itself first, unless that is skipped; if
// one fails, nothing is stored. A change that changes nothing stores nothing.
// The warnings are for a person. The errors are *InputError, *ClientError,
// ctx's and the storage's.
func (e *Engine) Configure(ctx context.Context, name string, change Change) (warnings []string, err error) {
	ctx, unlock, err := e.startChange(ctx, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for {
		warnings, err = e.configure(ctx, name, change)
		if !errors.Is(err, errSuperseded) {
			return warnings, err
		}
	}
}

// configure does a configuration write on the connection as it is now. The error is
// errSuperseded if another node has changed the connection meanwhile.
func (e *Engine) configure(ctx context.Context, name string, change Change) (warnings []string, err error) {
	var old *Connection
	st, err := e.state(ctx, name)
	switch {
	case err == nil:
		old = st.conn
	case !errors.Is(err, ErrNotConfigured):
		return nil, err
	}
	next, err := old.change(change, e.now())
	if err != nil {
		return nil, err
	}
	if old.equal(next) {
		e.endPause(name, st)
		return nil, nil
	}

	client, err := e.http.client(next, st)
	if err != nil {
		return nil, invalid(CAPEM, "%s", err)
	}
	defer func() {
		if err != nil && next.Settings.CAPEM != "" && (st == nil || client != st.http) {
			client.CloseIdleConnections()
		}
	}()
	var tokens []*token
	if !change.SkipVerification {
		if tokens, err = e.verify(ctx, name, next, client, next.unproven(old)); err != nil {
			return nil, err
		}
	}
	for _, t := range tokens {
		next.Pair = next.Pair.Verified(t.clientID, t.fetched)
		next.TokenLifetime = t.lifetime()
		warnings = append(warnings, t.warnings()...)
	}
	if err := e.commit(ctx, name, connectionUpdate{was: st, conn: next, http: client, tokens: tokens}); err != nil {
		return nil, err
	}
	e.logger.Info("connection configured", "connection", name, "active_client_id", next.Pair.Active().ID, "verified_clients", len(tokens))
	e.observer.Happened(next.event(EventConfigured, name))
	return warnings, nil
}

// change gives the connection that a write makes out of this one, which is nil
// if there is none yet.
func (c *Connection) change(change Change, now time.Time) (*Connection, error) {
	next := &Connection{}
	if c != nil {
		*next = *c
	}
	var err error
	if next.Settings, err = next.Settings.change(change.Settings); err != nil {
		return nil, err
	}
	if c != nil {
		if err := c.Settings.allows(next.Settings); err != nil {
			return nil, err
		}
	}
	if err := next.Settings.checkGrant(); err != nil {
		return nil, err
	}
	pair, err := change.Pair.cleaned()
	if err != nil {
		return nil, err
	}
	if !next.Settings.hasPair() {
		if err := pair.wantNone(); err != nil {
			return nil, err
		}
	} else if next.Pair, err = next.Pair.Change(pair, now); err != nil {
		return nil, err
	}
	if c != nil {
		if err := c.wantSecretsAgain(next, change.Settings, pair); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// cleaned trims and checks the ids and secrets.
func (p PairChange) cleaned() (PairChange, error) {
	for slot := range p.IDs {
		idSetting, secretSetting := settingsOf(Slot(slot))
		if id := p.IDs[slot]; id != nil {
			trimmed, err := cleanID(idSetting, *id)
			if err != nil {
				return p, err
			}
			p.IDs[slot] = &trimmed
		}
		if secret := p.Secrets[slot]; secret != nil {
			trimmed, err := cleanSecret(secretSetting, *secret)
			if err != nil {
				return p, err
			}
			p.Secrets[slot] = &trimmed
		}
	}
	return p, nil
}

// wantNone refuses clients where there is no place for them.
func (p PairChange) wantNone() error {
	for slot := range p.IDs {
		id, secret := settingsOf(Slot(slot))
		if p.IDs[slot] != nil && *p.IDs[slot] != "" {
			return invalid(id, "has no use without idp_token_url: callers bring the tokens to exchange")
		}
		if p.Secrets[slot] != nil && !p.Secrets[slot].IsEmpty() {
			return invalid(secret, "has no use without idp_token_url: callers bring the tokens to exchange")
		}
	}
	return nil
}

// wantSecretsAgain keeps a stored secret from going to a new address: whoever
// changes where secrets are sent must know them.
func (c *Connection) wantSecretsAgain(next *Connection, settings SettingsChange, pair PairChange) error {
	was, now := c.Settings.withDefaults(), next.Settings.withDefaults()
	const why = "is missing: a write that changes %s must give the secrets of both clients again, so that no stored secret is sent to a new address"
	for _, url := range []struct {
		setting Setting
		changed bool
	}{
		{TokenURL, was.TokenURL != now.TokenURL},
		{IDPTokenURL, was.IDPTokenURL != now.IDPTokenURL},
		{RevokeURL, was.RevokeURL != now.RevokeURL},
	} {
		if !url.changed {
			continue
		}
		for slot, client := range next.Pair.Clients {
			if client.ID != "" && pair.Secrets[slot] == nil {
				_, secret := settingsOf(Slot(slot))
				return invalid(secret, why, url.setting)
			}
		}
		if url.setting != IDPTokenURL && !next.Settings.ExchangeClientSecret.IsEmpty() && settings.ExchangeClientSecret == nil {
			return invalid(ExchangeClientSecret, "is missing: a write that changes %s must give it again, so that it is not sent to a new address", url.setting)
		}
	}
	return nil
}

// equal says that both would be stored the same.
func (c *Connection) equal(o *Connection) bool {
	if c == nil {
		return false
	}
	a, errA := c.encode()
	b, errB := o.encode()
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// unproven lists the clients whose token requests are not those of the
// connection before, and the active one if it was not active before.
func (c *Connection) unproven(old *Connection) []Client {
	known := map[request]bool{}
	if old != nil && old.Settings.CAPEM == c.Settings.CAPEM {
		for _, client := range old.Pair.Clients {
			known[old.request(client)] = true
		}
		if !old.sameRequest(c) {
			delete(known, c.request(c.Pair.Active()))
		}
	}
	var clients []Client
	for _, client := range c.Pair.Clients {
		if client.ID != "" && !known[c.request(client)] {
			clients = append(clients, client)
		}
	}
	return clients
}

// verify gets a token with every one of the clients, one after another. Each has a
// request timeout of its own.
func (e *Engine) verify(ctx context.Context, name string, conn *Connection, via *gbgauth.Client, clients []Client) ([]*token, error) {
	var tokens []*token
	for _, client := range clients {
		t, err := e.verifyClient(ctx, name, conn, via, client)
		if err != nil {
			e.logger.Warn("client not verified", "connection", name, "client_id", client.ID, "error", err)
			return nil, err
		}
		tokens = append(tokens, t)
	}
	return tokens, nil
}

func (e *Engine) verifyClient(ctx context.Context, name string, conn *Connection, via *gbgauth.Client, client Client) (*token, error) {
	limit, end := e.limit(ctx, conn)
	defer end()
	return e.requestToken(limit, tokenRequest{connection: name, conn: conn, client: client, via: via})
}
