package backend

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vault-plugin-secrets-gbg/backend/connection"
)

// repeatWindow is how long after a change of the active client a bare rotation is
// taken for the same request again: a client that got no answer repeats its request
// within seconds.
const repeatWindow = time.Minute

// RotateRequest is what a rotation may be given.
type RotateRequest struct {
	// ClientID is the client that must be active afterwards; nil means the standby,
	// whichever it is.
	ClientID *string
	// Secret is the standby's new secret; nil keeps the one it has.
	Secret *connection.Secret
}

// bare reports whether nothing was given, so that the same request made twice would
// rotate back.
func (r RotateRequest) bare() bool { return r.ClientID == nil && r.Secret == nil }

// normalized returns r with what was given trimmed and checked. Given but empty is
// an error: it is more likely an unset variable or an empty file than a wish.
func (r RotateRequest) normalized() (RotateRequest, error) {
	if r.ClientID != nil {
		id, err := connection.NormalizedID(connection.ClientID, *r.ClientID)
		if err == nil && id == "" {
			err = connection.Invalid(connection.ClientID, "is empty; leave it out to rotate to the standby")
		}
		if err != nil {
			return r, err
		}
		r.ClientID = &id
	}
	if r.Secret != nil {
		secret, err := connection.NormalizedSecret(connection.ClientSecret, *r.Secret)
		if err == nil && secret.IsEmpty() {
			err = connection.Invalid(connection.ClientSecret, "is empty; leave it out to rotate with the secret that is stored")
		}
		if err != nil {
			return r, err
		}
		r.Secret = &secret
	}
	return r, nil
}

// Rotation is the outcome of a rotation.
type Rotation struct {
	// Rotated is false if the client asked for was active already.
	Rotated         bool
	Active, Standby connection.Client
	// Record is the last rotation: this one, if Rotated.
	Record connection.RotationRecord
	// AtIDP says that the clients are an identity provider's, not GBG's.
	AtIDP bool
	// UsesKeys is set if the clients have keys, not secrets.
	UsesKeys bool
	// Warnings are for a person.
	Warnings []string
	// SecretKept says that the client that became active still has the secret it
	// had the last time it was active.
	SecretKept bool
	// SecretDisregarded says that a secret was given and, because nothing was
	// rotated, not stored.
	SecretDisregarded bool
}

// RecentRotationError refuses a bare rotation that comes so soon after the last change
// of the active client that it may be the same request again.
type RecentRotationError struct {
	// Record is that change, whatever its cause, and Age how long ago it was.
	Record connection.RotationRecord
	Age    time.Duration
	// Active and Standby are the ids of the clients as they are now.
	Active, Standby string
}

// Error implements error.
func (e *RecentRotationError) Error() string {
	return fmt.Sprintf("rotated %s ago (%s): this may be the same request again", e.Age.Truncate(time.Second), e.Record.Cause)
}

// checkRepeated returns a *RecentRotationError if the active client has just changed.
// It goes by the wall clock, as another node would, and ignores a record that lies
// further ahead than it could if clocks were right.
func checkRepeated(c *connection.Connection, now time.Time) error {
	age := now.Round(0).Sub(c.Rotation.Time.Round(0))
	if c.Rotation.Time.IsZero() || age.Abs() >= repeatWindow {
		return nil
	}
	standby, _ := c.Pair.Standby()
	return &RecentRotationError{Record: c.Rotation, Age: max(age, 0), Active: c.Pair.Active().ID, Standby: standby.ID}
}

// Rotate makes the standby active: it proves itself with a token, one storage
// write flips the pair, and that token is what readers get from then on. If any
// of it fails nothing has changed. The errors are ErrNotConfigured, ErrNoClients,
// ErrNoPair, *InputError, *RecentRotationError, *ClientError, ctx's and the storage's.
func (e *Engine) Rotate(ctx context.Context, name string, r RotateRequest) (Rotation, error) {
	r, err := r.normalized()
	if err != nil {
		return Rotation{}, err
	}
	ctx, unlock, err := e.startChange(ctx, name)
	if err != nil {
		return Rotation{}, err
	}
	defer unlock()
	for {
		rotation, err := e.rotate(ctx, name, r)
		if !errors.Is(err, errSuperseded) {
			return rotation, err
		}
	}
}

// rotate does a rotation of the connection as it is now. The error is errSuperseded
// if another node has changed the connection meanwhile.
func (e *Engine) rotate(ctx context.Context, name string, r RotateRequest) (Rotation, error) {
	st, err := e.state(ctx, name)
	if err != nil {
		return Rotation{}, err
	}
	if !st.conn.Settings.HasPair() {
		return Rotation{}, ErrNoClients
	}
	pair := st.conn.Pair
	standby, ok := pair.Standby()
	switch {
	case !ok && st.conn.Settings.UsesKeys():
		return Rotation{}, connection.Invalid(connection.PairedClientID, "is missing: there is no standby to rotate to; add it with verify_connection=false")
	case !ok:
		return Rotation{}, connection.ErrNoPair
	}
	if r.Secret != nil && st.conn.Settings.UsesKeys() {
		return Rotation{}, connection.Invalid(connection.ClientSecret, "has no use with idp_auth_method %q: the clients have keys that the engine makes", connection.AuthPrivateKey)
	}
	if r.bare() {
		if err := checkRepeated(st.conn, e.now()); err != nil {
			return Rotation{}, err
		}
	}
	switch {
	case r.ClientID == nil, *r.ClientID == standby.ID:
	case *r.ClientID == pair.Active().ID:
		e.endPause(name, st)
		return Rotation{
			Active: pair.Active(), Standby: standby, Record: st.conn.Rotation, AtIDP: st.conn.Settings.IDPTokenURL != "", UsesKeys: st.conn.Settings.UsesKeys(),
			SecretDisregarded: r.Secret != nil, Warnings: st.conn.Warnings(e.now()),
		}, nil
	default:
		return Rotation{}, connection.Invalid(connection.ClientID, "%q is not a client of this connection; its clients are %q (active) and %q (standby)", *r.ClientID, pair.Active().ID, standby.ID)
	}

	next := *st.conn
	if r.Secret != nil {
		if next.Pair, err = pair.WithStandbySecret(*r.Secret, e.now()); err != nil {
			return Rotation{}, err
		}
		standby, _ = next.Pair.Standby()
	}
	tokens, err := e.verify(ctx, name, &next, st.http, []connection.Client{standby})
	if err != nil {
		return Rotation{}, err
	}
	if err := e.flip(ctx, name, st, &next, tokens[0], connection.CauseRotate, nil); err != nil {
		return Rotation{}, err
	}
	newStandby, _ := next.Pair.Standby()
	e.logger.Info("rotated", "connection", name, "cause", connection.CauseRotate, "active_client_id", standby.ID, "standby_client_id", newStandby.ID, "regenerate_after", next.Rotation.RegenerateAfter)
	return Rotation{
		Rotated: true, Active: next.Pair.Active(), Standby: newStandby, Record: next.Rotation, AtIDP: next.Settings.IDPTokenURL != "", UsesKeys: next.Settings.UsesKeys(),
		SecretKept: standby.SecretServed, Warnings: next.Warnings(e.now()),
	}, nil
}

// flip makes the standby of next active, which has just got proof, in one
// storage write.
func (e *Engine) flip(ctx context.Context, name string, st *state, next *connection.Connection, proof *token, cause connection.RotationCause, warning *pendingWarning) error {
	leaving := next.Pair.Active().ID
	pair, err := next.Pair.Verified(proof.clientID, proof.fetched).Flip()
	if err != nil {
		return err
	}
	next.Pair = pair
	next.TokenLifetime = proof.lifetime()
	err = e.commit(ctx, name, connectionUpdate{
		was: st, conn: next, http: st.http, tokens: []*token{proof}, warning: warning,
		seal: func(before *state) {
			now := e.now()
			next.Rotation = connection.RotationRecord{Time: wallTime(now), Cause: cause, RegenerateAfter: before.lastTokenEnds(leaving, now)}
		},
	})
	if err != nil {
		return err
	}
	e.states.countersOf(name).countFlip(cause)
	e.observer.OnEvent(rotationEvent(next, name))
	return nil
}
