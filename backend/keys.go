package backend

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// repeatedKeyWindow is how long after a key was made the same request is taken for a
// repeated one: a client that got no answer repeats its request within seconds.
const repeatedKeyWindow = time.Minute

// Keys are the public keys of a connection's clients.
type Keys struct {
	// Clients are in the order of their places in the pair.
	Clients []ClientKey
	// JWKS is a JSON Web Key Set (RFC 7517 section 5) of all of them.
	JWKS string
}

// ClientKey is the public key of one client.
type ClientKey struct {
	gbgauth.PublicKey

	ClientID string
	Active   bool
	// CreatedTime is when the key was made.
	CreatedTime time.Time
}

// Keys returns the public keys of a connection's clients. The errors are
// ErrNotConfigured, *InputError if the clients have no keys, and the storage's.
func (e *Engine) Keys(ctx context.Context, name string) (Keys, error) {
	conn, err := e.Connection(ctx, name)
	if err != nil {
		return Keys{}, err
	}
	return keysOf(&conn)
}

// MakeKey makes a new key for the standby, which destroys the one that it had, and
// returns all keys. clientID, unless it is nil, must be the standby. A key that is less
// than a minute old and has not got a token yet is kept: the request may be a repeated
// one. The errors are those of Keys and Rotate.
func (e *Engine) MakeKey(ctx context.Context, name string, clientID *string) (Keys, error) {
	if clientID != nil {
		id, err := connection.NormalizedID(connection.ClientID, *clientID)
		if err == nil && id == "" {
			err = connection.Invalid(connection.ClientID, "is empty; leave it out for the standby")
		}
		if err != nil {
			return Keys{}, err
		}
		clientID = &id
	}
	ctx, unlock, err := e.startChange(ctx, name)
	if err != nil {
		return Keys{}, err
	}
	defer unlock()
	for {
		keys, err := e.makeKey(ctx, name, clientID)
		if !errors.Is(err, errSuperseded) {
			return keys, err
		}
	}
}

// makeKey is MakeKey for the connection as it is now. The error is errSuperseded if
// another node has changed the connection meanwhile.
func (e *Engine) makeKey(ctx context.Context, name string, clientID *string) (Keys, error) {
	st, err := e.state(ctx, name)
	if err != nil {
		return Keys{}, err
	}
	if _, err := keysOf(st.conn); err != nil {
		return Keys{}, err
	}
	standby, ok := st.conn.Pair.Standby()
	switch active := st.conn.Pair.Active().ID; {
	case !ok:
		return Keys{}, &NoPairError{Fields: st.conn.PairFields()}
	case clientID != nil && *clientID == active:
		return Keys{}, connection.Invalid(connection.ClientID, "%q is the active client, which keeps its key: a new key is made for the standby, %q", active, standby.ID)
	case clientID != nil && *clientID != standby.ID:
		return Keys{}, connection.Invalid(connection.ClientID, "%q is not a client of this connection; its clients are %q (active) and %q (standby)", *clientID, active, standby.ID)
	}
	age := e.now().Round(0).Sub(standby.SecretSetTime.Round(0))
	if st.clientStatus(standby).VerifiedTime.IsZero() && age.Abs() < repeatedKeyWindow {
		return keysOf(st.conn)
	}
	next, err := st.conn.WithStandbyKey(e.newKey, e.now())
	if err != nil {
		return Keys{}, err
	}
	keys, err := keysOf(next)
	if err != nil {
		return Keys{}, err
	}
	if err := e.commit(ctx, name, connectionUpdate{was: st, conn: next, http: st.http}); err != nil {
		return Keys{}, err
	}
	e.reportNewKeys(name, next, standby.ID)
	e.observer.OnEvent(eventOf(next, EventKeyMade, name))
	return keys, nil
}

// newKey makes a key pair.
func (e *Engine) newKey(algorithm, clientID string) (connection.Key, error) {
	return gbgauth.NewKey(algorithm, clientID, e.now())
}

// reportNewKeys logs the keys that some clients of a connection have just got.
func (e *Engine) reportNewKeys(name string, conn *connection.Connection, clientIDs ...string) {
	keys, err := keysOf(conn)
	if len(clientIDs) == 0 || err != nil {
		return
	}
	for _, key := range keys.Clients {
		for _, id := range clientIDs {
			if key.ClientID == id {
				e.logger.Info("key made", "connection", name, "client_id", id, "kid", key.ID, "algorithm", key.Algorithm)
			}
		}
	}
}

// keysOf returns the public keys of a connection's clients. The error is an *InputError
// if they have none.
func keysOf(conn *connection.Connection) (keys Keys, err error) {
	if !conn.Settings.UsesKeys() {
		return Keys{}, connection.Invalid(connection.IDPAuthMethod, "must be %q: the clients of this connection have no keys", connection.AuthPrivateKey)
	}
	set := struct {
		Keys []json.RawMessage `json:"keys"`
	}{}
	for _, client := range conn.Pair.Clients {
		if client.ID == "" {
			continue
		}
		public, err := client.Key.Public()
		if err != nil {
			return Keys{}, err
		}
		encoded, err := public.JWK.MarshalJSON()
		if err != nil {
			return Keys{}, err
		}
		set.Keys = append(set.Keys, encoded)
		keys.Clients = append(keys.Clients, ClientKey{
			PublicKey: public, ClientID: client.ID, Active: client.ID == conn.Pair.Active().ID, CreatedTime: client.SecretSetTime,
		})
	}
	encoded, err := json.Marshal(set)
	keys.JWKS = string(encoded)
	return keys, err
}
