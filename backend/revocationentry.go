package backend

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// RevocationPrefix is where tokens are stored whose lease has ended and that could
// not be revoked yet. They are of use to one cluster only: Vault does not replicate
// them, and seal-wraps them.
const RevocationPrefix = "revocation/"

// revocationEntry is such a token as it is stored.
type revocationEntry struct {
	Version     int       `json:"version"`
	Connection  string    `json:"connection"`
	ClientID    string    `json:"client_id"`
	AccessToken string    `json:"access_token"`
	Expires     time.Time `json:"expires"`
}

// revocationEntryVersion is the form of the entries that this release writes.
const revocationEntryVersion = 1

// revocationKey says nothing of the token.
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

// loadRevocation reads a stored one. One that cannot be read gives the zero value,
// which has ended long ago.
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

// valid says that the entry holds what a revocation needs.
func (e *revocationEntry) valid() bool {
	return e.Version == revocationEntryVersion && e.Connection != "" && e.ClientID != "" && e.AccessToken != "" && !e.Expires.IsZero()
}
