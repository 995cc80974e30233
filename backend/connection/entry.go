package connection

import (
	"encoding/json"
	"fmt"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// Versions of the stored form. An entry has the oldest version whose readers handle it
// correctly, so that a downgrade is possible as long as no newer setting is used.
const (
	// entryVersion1 is the version of release 0.1.0.
	entryVersion1 = 1
	// entryVersion2 is the version of release 0.2.0. Release 0.1.0 would send other
	// requests for a connection of this version, or drop settings with its next write.
	entryVersion2 = 2
	// newestEntryVersion is the newest version that this release reads.
	newestEntryVersion = entryVersion2
)

// entryVersion returns the version of the connection's stored form.
func (c *Connection) entryVersion() int {
	version := entryVersion1
	if c.PairFields().Users() {
		version = entryVersion2
	}
	for _, f := range fields {
		if f.since > version && !f.value.isDefault(&c.Settings) {
			version = f.since
		}
	}
	return version
}

// entry is the stored form of a connection. It is the only place where secrets are in
// plain text: Vault encrypts what it stores.
type entry struct {
	Version int `json:"version"`
	Settings
	ClientSecret         string        `json:"client_secret,omitempty"`
	ExchangeClientSecret string        `json:"exchange_client_secret,omitempty"`
	Clients              []entryClient `json:"clients,omitempty"`
	ActiveSlot           Slot          `json:"active_slot"`
	RotationTime         time.Time     `json:"rotation_time,omitzero"`
	RotationCause        RotationCause `json:"rotation_cause,omitempty"`
	RegenerateAfter      time.Time     `json:"regenerate_after,omitzero"`
	TokenLifetime        time.Duration `json:"token_lifetime,omitempty"`
	// The times of a schedule are those of version 2.
	ScheduleSetTime time.Time `json:"rotation_schedule_set_time,omitzero"`
	ScheduleMetTime time.Time `json:"rotation_schedule_met_time,omitzero"`
}

type entryClient struct {
	ID            string    `json:"id"`
	Secret        string    `json:"secret,omitempty"`
	Key           *entryKey `json:"key,omitempty"`
	SecretSetTime time.Time `json:"secret_set_time,omitzero"`
	VerifiedTime  time.Time `json:"verified_time,omitzero"`
	SecretServed  bool      `json:"secret_served,omitempty"`
	// Refusal was added after 0.1.0, which ignores it.
	Refusal Refusal `json:"refusal,omitzero"`
	// Claims are Client.Claims. They were added after 0.1.0, too.
	Claims json.RawMessage `json:"claims,omitempty"`
}

// entryKey is a client's key as it is stored.
type entryKey struct {
	Private     []byte `json:"private"`
	Algorithm   string `json:"algorithm"`
	Certificate string `json:"certificate"`
}

// Encode returns the stored form, secrets included. Equal connections have equal forms.
func (c *Connection) Encode() ([]byte, error) {
	e := entry{
		Version:              c.entryVersion(),
		Settings:             c.Settings,
		ClientSecret:         c.Settings.ClientSecret.Reveal(),
		ExchangeClientSecret: c.Settings.ExchangeClientSecret.Reveal(),
		ActiveSlot:           c.Pair.ActiveSlot,
		RotationTime:         c.Rotation.Time,
		RotationCause:        c.Rotation.Cause,
		RegenerateAfter:      c.Rotation.RegenerateAfter,
		TokenLifetime:        c.TokenLifetime,
		ScheduleSetTime:      c.Schedule.SetTime,
		ScheduleMetTime:      c.Schedule.MetTime,
	}
	for _, client := range c.Pair.Clients {
		if client.ID == "" {
			continue
		}
		var key *entryKey
		if !client.Key.IsZero() {
			key = &entryKey{Private: []byte(client.Key.Private.Reveal()), Algorithm: client.Key.Algorithm, Certificate: client.Key.Certificate}
		}
		e.Clients = append(e.Clients, entryClient{
			Key:           key,
			ID:            client.ID,
			Secret:        client.Secret.Reveal(),
			SecretSetTime: client.SecretSetTime,
			VerifiedTime:  client.VerifiedTime,
			SecretServed:  client.SecretServed,
			Refusal:       client.Refusal,
			Claims:        json.RawMessage(client.Claims),
		})
	}
	return json.Marshal(e)
}

// Decode returns the connection of a stored form. The error is an *EntryError, which
// quotes nothing of the form.
func Decode(name string, stored []byte) (*Connection, error) {
	var e entry
	if json.Unmarshal(stored, &e) != nil || e.Version > newestEntryVersion || !e.valid() {
		return nil, entryError(name, stored)
	}
	c := &Connection{
		Settings:      e.Settings,
		Pair:          Pair{ActiveSlot: e.ActiveSlot},
		Rotation:      RotationRecord{Time: e.RotationTime, Cause: e.RotationCause, RegenerateAfter: e.RegenerateAfter},
		TokenLifetime: e.TokenLifetime,
		Schedule:      ScheduleRecord{SetTime: e.ScheduleSetTime, MetTime: e.ScheduleMetTime},
	}
	c.Settings.ClientSecret = gbgauth.NewSecret(e.ClientSecret)
	c.Settings.ExchangeClientSecret = gbgauth.NewSecret(e.ExchangeClientSecret)
	for slot, client := range e.Clients {
		c.Pair.Clients[slot] = Client{
			Key:           client.key(),
			ID:            client.ID,
			Secret:        gbgauth.NewSecret(client.Secret),
			SecretSetTime: client.SecretSetTime,
			VerifiedTime:  client.VerifiedTime,
			SecretServed:  client.SecretServed,
			Refusal:       client.Refusal,
			Claims:        Claims(client.Claims),
		}
	}
	return c, nil
}

// entryError returns why Decode cannot read a stored form. A newer entry may have any
// form. The decoder's error may quote the entry, so it is not returned.
func entryError(name string, stored []byte) error {
	var form struct {
		Version int `json:"version"`
	}
	problem := "its storage entry is damaged: delete the connection and write it again"
	if json.Unmarshal(stored, &form) == nil && form.Version > newestEntryVersion {
		problem = fmt.Sprintf("its storage entry has version %d, this release of the plugin reads up to version %d: run the release that wrote it, or a newer one", form.Version, newestEntryVersion)
	}
	return &EntryError{Connection: name, Problem: problem}
}

// valid reports whether the entry is complete: it has one client or two different
// ones, each with a secret or a key, and one of them is active; or none if callers bring the
// tokens to exchange. A pair of users also needs the organization's client.
func (e *entry) valid() bool {
	n := len(e.Clients)
	if e.Version < 1 || n > 2 {
		return false
	}
	if !e.HasPair() {
		return n == 0 && e.ActiveSlot == First
	}
	if e.PairFields().Users() && (e.ClientID == "" || e.ClientSecret == "") {
		return false
	}
	if n < 1 || e.ActiveSlot < First || int(e.ActiveSlot) >= n {
		return false
	}
	for _, client := range e.Clients {
		if client.ID == "" || !client.valid(e.UsesKeys()) {
			return false
		}
	}
	return n == 1 || e.Clients[First].ID != e.Clients[Paired].ID
}

// valid reports whether the client holds a secret and no key or, with keys, a key and no
// secret.
func (c *entryClient) valid(keys bool) bool {
	if !keys {
		return c.Secret != "" && c.Key == nil
	}
	return c.Secret == "" && c.Key != nil && c.key().Check() == nil
}

// key returns the client's key; zero if it has none.
func (c *entryClient) key() Key {
	if c.Key == nil {
		return Key{}
	}
	return Key{Private: NewSecret(string(c.Key.Private)), Algorithm: c.Key.Algorithm, Certificate: c.Key.Certificate}
}
