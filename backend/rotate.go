package backend

import (
	"context"
	"time"
)

// RotateRequest is what a rotation may be given.
type RotateRequest struct {
	// ClientID is the client that must be active afterwards; empty is the
	// standby, whichever it is.
	ClientID string
	// Secret is the standby's new secret; empty keeps the one it has.
	Secret Secret
}

// Rotation is the outcome of a rotation.
type Rotation struct {
	// Rotated is false if the client asked for was active already.
	Rotated         bool
	Active, Standby Client
	// Record is the last rotation: this one, if Rotated.
	Record RotationRecord
	// SecretKept says that the client that became active still has the secret it
	// had the last time it was active.
	SecretKept bool
	// SecretDisregarded says that a secret was given and, because nothing was
	// rotated, not stored.
	SecretDisregarded bool
}

// Rotate makes the standby active: it proves itself with a token, one storage
// write flips the pair, and that token is what readers get from then on. If any
// of it fails nothing has changed. The errors are ErrNotConfigured, ErrNoPair,
// *InputError, *ClientError, ctx's and the storage's.
func (e *Engine) Rotate(ctx context.Context, name string, r RotateRequest) (Rotation, error) {
	unlock, err := e.changes.lock(ctx, name)
	if err != nil {
		return Rotation{}, err
	}
	defer unlock()

	st, err := e.state(ctx, name)
	if err != nil {
		return Rotation{}, err
	}
	pair := st.conn.Pair
	standby, ok := pair.Standby()
	if !ok {
		return Rotation{}, ErrNoPair
	}
	if r.Secret, err = cleanSecret(ClientSecret, r.Secret); err != nil {
		return Rotation{}, err
	}
	switch r.ClientID {
	case "", standby.ID:
	case pair.Active().ID:
		return Rotation{
			Active: pair.Active(), Standby: standby, Record: st.conn.Rotation,
			SecretDisregarded: !r.Secret.IsEmpty(),
		}, nil
	default:
		return Rotation{}, invalid(ClientID, "%q is not a client of this connection; its clients are %q (active) and %q (standby)", r.ClientID, pair.Active().ID, standby.ID)
	}

	next := *st.conn
	if !r.Secret.IsEmpty() {
		if next.Pair, err = pair.WithStandbySecret(r.Secret, e.clock.Now()); err != nil {
			return Rotation{}, err
		}
		standby, _ = next.Pair.Standby()
	}
	tokens, err := e.verify(ctx, name, &next, st.http, []Client{standby})
	if err != nil {
		return Rotation{}, err
	}
	proof := tokens[0]
	if next.Pair, err = next.Pair.Verified(standby.ID, proof.fetched).Flip(); err != nil {
		return Rotation{}, err
	}
	next.TokenLifetime = proof.lifetime()
	err = e.commit(ctx, name, st, &next, tokens, func(now *state) {
		next.Rotation = RotationRecord{
			Time:            e.clock.Now(),
			Cause:           CauseRotate,
			RegenerateAfter: now.lastTokenEnds(pair.Active().ID, e.clock.Now()),
		}
	})
	if err != nil {
		return Rotation{}, err
	}
	newStandby, _ := next.Pair.Standby()
	e.logger.Info("rotated", "connection", name, "cause", CauseRotate, "active_client_id", standby.ID, "standby_client_id", newStandby.ID, "regenerate_after", next.Rotation.RegenerateAfter)
	return Rotation{
		Rotated: true, Active: next.Pair.Active(), Standby: newStandby, Record: next.Rotation,
		SecretKept: standby.SecretServed,
	}, nil
}

// lastTokenEnds is when the last token of a client has expired, in whole
// seconds, rounded up; now, if that has passed.
func (s *state) lastTokenEnds(clientID string, now time.Time) time.Time {
	until := s.seen[clientID].tokensUntil
	if until.Before(now) {
		until = now
	}
	return until.Add(time.Second - 1).Truncate(time.Second)
}
