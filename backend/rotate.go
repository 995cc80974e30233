package backend

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// repeatWindow is how long after a change of the active client a bare rotation is
// considered a repetition of the same request: a caller that got no answer repeats
// its request within seconds.
const repeatWindow = time.Minute

// RotateRequest holds the parameters of a rotation.
type RotateRequest struct {
	// ClientID is the client to make active; nil means the current standby.
	ClientID *string
	// Secret is the standby's new secret; nil means the stored one.
	Secret *connection.Secret
	// Username and Password are the same for a pair of users.
	Username *string
	Password *connection.Secret
}

// bare reports whether r has no parameters, so that repeating the request would rotate
// back.
func (r RotateRequest) bare() bool { return r == RotateRequest{} }

// normalized returns r with its parameters trimmed and checked. An empty parameter is
// an error: it is probably an unset variable or an empty file.
func (r RotateRequest) normalized() (RotateRequest, error) {
	var err error
	if r.ClientID, err = normalizedTarget(connection.ClientID, r.ClientID); err != nil {
		return r, err
	}
	if r.Username, err = normalizedTarget(connection.Username, r.Username); err != nil {
		return r, err
	}
	if r.Secret, err = normalizedNewSecret(connection.ClientSecret, "secret", r.Secret); err != nil {
		return r, err
	}
	r.Password, err = normalizedNewSecret(connection.Password, "password", r.Password)
	return r, err
}

func normalizedTarget(field connection.Field, given *string) (*string, error) {
	if given == nil {
		return nil, nil
	}
	id, err := connection.NormalizedID(field, *given)
	if err == nil && id == "" {
		err = connection.Invalid(field, "is empty; leave it out to rotate to the standby")
	}
	return &id, err
}

func normalizedNewSecret(field connection.Field, noun string, given *connection.Secret) (*connection.Secret, error) {
	if given == nil {
		return nil, nil
	}
	secret, err := connection.NormalizedSecret(field, *given)
	if err == nil && secret.IsEmpty() {
		err = connection.Invalid(field, "is empty; leave it out to rotate with the %s that is stored", noun)
	}
	return &secret, err
}

// of returns what was given for a pair: the id that must be active and the standby's new
// secret. Fields of the other kind of pair are an *InputError.
func (r RotateRequest) of(fields connection.PairFields) (id *string, secret *connection.Secret, err error) {
	if !fields.Users() {
		switch {
		case r.Username != nil:
			err = connection.Invalid(connection.Username, "is for grant_type %q: give client_id", connection.GrantPassword)
		case r.Password != nil:
			err = connection.Invalid(connection.Password, "is for grant_type %q: give client_secret", connection.GrantPassword)
		case fields.Keys() && r.Secret != nil:
			err = connection.Invalid(connection.ClientSecret, "has no use with idp_auth_method %q: the clients have keys that the engine makes", connection.AuthPrivateKey)
		}
		return r.ClientID, r.Secret, err
	}
	switch {
	case r.ClientID != nil:
		err = connection.Invalid(connection.ClientID, "is the organization's and the same for both users: give username")
	case r.Secret != nil:
		err = connection.Invalid(connection.ClientSecret, "is the organization's and the same for both users: give password, or write client_secret to config")
	}
	return r.Username, r.Password, err
}

// Rotation is the outcome of a rotation.
type Rotation struct {
	// Rotated is false if the requested client was already active.
	Rotated bool
	// Fields are the fields of the pair.
	Fields          connection.PairFields
	Active, Standby connection.Client
	// Record is the last rotation, which is this one if Rotated.
	Record connection.RotationRecord
	// AtIDP is true if the clients are the identity provider's, not GBG's.
	AtIDP bool
	// Warnings are for the operator.
	Warnings []string
	// SecretKept is true if the new active client has the same secret as the last time
	// it was active.
	SecretKept bool
	// SecretDisregarded is true if a secret was given but not stored, because nothing
	// was rotated.
	SecretDisregarded bool
}

// RecentRotationError is returned for a bare rotation so soon after the last change
// of the active client that it may be a repetition of the same request.
type RecentRotationError struct {
	// Record is that change, a rotation or a failover, and Age its age.
	Record connection.RotationRecord
	Age    time.Duration
	// Active and Standby are the ids of the current clients.
	Active, Standby string
	Fields          connection.PairFields
}

// Error implements error.
func (e *RecentRotationError) Error() string {
	return fmt.Sprintf("rotated %s ago (%s): this may be the same request again", e.Age.Truncate(time.Second), e.Record.Cause)
}

// checkRepeated returns a *RecentRotationError if the active client has just changed.
// It uses the wall clock, because another node may have recorded the change, and
// ignores a record too far in the future for clocks that are right.
func checkRepeated(c *connection.Connection, now time.Time) error {
	age := now.Round(0).Sub(c.Rotation.Time.Round(0))
	if c.Rotation.Time.IsZero() || age.Abs() >= repeatWindow {
		return nil
	}
	standby, _ := c.Pair.Standby()
	return &RecentRotationError{Record: c.Rotation, Age: max(age, 0), Active: c.Pair.Active().ID, Standby: standby.ID, Fields: c.PairFields()}
}

// Rotate makes the standby active. It gets a token for the standby, flips the pair in
// one storage write, and serves the new token from then on. If any step fails nothing
// has changed. The errors are ErrNotConfigured, ErrNoClients, *NoPairError, *InputError,
// *RecentRotationError, *ClientError, ctx's and the storage's.
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

// rotate rotates the connection's current state. The error is errSuperseded if
// another node has changed the connection in the meantime.
func (e *Engine) rotate(ctx context.Context, name string, r RotateRequest) (Rotation, error) {
	st, err := e.state(ctx, name)
	if err != nil {
		return Rotation{}, err
	}
	if !st.conn.Settings.HasPair() {
		return Rotation{}, ErrNoClients
	}
	pair, fields := st.conn.Pair, st.conn.PairFields()
	to, secret, err := r.of(fields)
	if err != nil {
		return Rotation{}, err
	}
	standby, ok := pair.Standby()
	if !ok {
		return Rotation{}, &NoPairError{Fields: fields}
	}
	if r.bare() {
		if err := checkRepeated(st.conn, e.now()); err != nil {
			return Rotation{}, err
		}
	}
	switch {
	case to == nil, *to == standby.ID:
	case *to == pair.Active().ID:
		e.endPause(name, st)
		return Rotation{
			Fields: fields, Active: pair.Active(), Standby: standby, Record: st.conn.Rotation, AtIDP: st.conn.Settings.IDPTokenURL != "",
			SecretDisregarded: secret != nil, Warnings: st.warnings(e.now()),
		}, nil
	default:
		return Rotation{}, connection.Invalid(fields.ID(connection.First), "%q is not a %s of this connection; its %ss are %q (active) and %q (standby)", *to, fields.Noun(), fields.Noun(), pair.Active().ID, standby.ID)
	}

	next := *st.conn
	if secret != nil {
		if next.Pair, err = pair.WithStandbySecret(*secret, e.now()); err != nil {
			return Rotation{}, err
		}
		standby, _ = next.Pair.Standby()
	}
	proof, err := e.proveStandby(ctx, name, st, &next)
	if err != nil {
		return Rotation{}, err
	}
	if err := e.flip(ctx, name, st, &next, proof, connection.CauseRotate, nil); err != nil {
		return Rotation{}, err
	}
	newStandby, _ := next.Pair.Standby()
	e.logger.Info("rotated", "connection", name, "cause", connection.CauseRotate, fields.ActiveKey(), standby.ID, fields.StandbyKey(), newStandby.ID, "regenerate_after", next.Rotation.RegenerateAfter)
	return Rotation{
		Rotated: true, Fields: fields, Active: next.Pair.Active(), Standby: newStandby, Record: next.Rotation, AtIDP: next.Settings.IDPTokenURL != "",
		SecretKept: standby.SecretServed, Warnings: append(next.Warnings(e.now()), e.claimsWarnings(name)...),
	}, nil
}

// proveStandby requests a token with the standby of next, which is to replace the
// connection of st. If the standby is refused with the secret that is stored, the refusal
// is recorded, as that of a check.
func (e *Engine) proveStandby(ctx context.Context, name string, st *state, next *connection.Connection) (*token, error) {
	standby, _ := next.Pair.Standby()
	limit, end := e.limit(ctx, next)
	defer end()
	request := e.requestToken
	if next.SameStandby(st.conn) {
		request = e.requestConfirmed
	}
	proof, err := request(limit, tokenRequest{connection: name, conn: next, client: standby, via: st.http})
	if err != nil {
		e.logger.Warn("client not verified", "connection", name, next.PairFields().IDKey(), standby.ID, "error", err)
		e.recordStandbyRefusal(ctx, name, next, standby, err)
	}
	return proof, err
}

// regenerateAfter returns when the last token of the client that leaves has expired.
// Other clusters that use the same connection fetch their own tokens until they learn
// of the change; that adds a token's lifetime. proof is the token of the client that
// becomes active.
func (e *Engine) regenerateAfter(before *state, leaving string, proof *token, now time.Time) time.Time {
	ends := before.lastTokenEnds(leaving, now)
	if e.replicated {
		ends = ends.Add(max(before.knownLifetime(), proof.lifetime()))
	}
	return ends
}

// flip makes the standby of next active, in one storage write. proof is the token
// that the standby has just got.
func (e *Engine) flip(ctx context.Context, name string, st *state, next *connection.Connection, proof *token, cause connection.RotationCause, notice *pendingNotice) error {
	leaving := next.Pair.Active().ID
	standby, _ := next.Pair.Standby()
	newSecret := !standby.SecretServed
	if refused := st.activeRefusal(); refused != nil && cause != connection.CauseFailover {
		next.Pair = next.Pair.Refused(leaving, refused.refusal(st.backoff.last))
	}
	pair, err := next.Pair.Verified(proof.clientID, proof.fetched).Flip()
	if err != nil {
		return err
	}
	next.Pair = pair
	next.TokenLifetime = proof.lifetime()
	err = e.commit(ctx, name, connectionUpdate{
		was: st, conn: next, http: st.http, tokens: []*token{proof}, notice: notice,
		seal: func(before *state) {
			now := e.now()
			next.Rotation = connection.RotationRecord{Time: wallTime(now), Cause: cause, RegenerateAfter: e.regenerateAfter(before, leaving, proof, now)}
			if newSecret && cause != connection.CauseFailover {
				next.Schedule = before.conn.ScheduleMet(now)
			}
		},
	})
	if err != nil {
		return err
	}
	e.states.countersOf(name).countFlip(cause)
	e.observer.OnEvent(rotationEvent(next, name))
	return nil
}
