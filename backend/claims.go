package backend

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// The clients of a pair should get tokens that grant the same. A token endpoint also
// issues tokens to a client that lacks a role, but a JWT shows it. The claims of access
// tokens are read without verification, only for a warning: no decision depends on them.

// maxClaimName is the longest name of a claim that is compared, and maxClaims the
// highest number of claims.
const (
	maxClaimName = 128
	maxClaims    = 64
)

// identifyingClaims identify a token, its times or its client, and differ between any
// two tokens. They are those of RFC 7519, RFC 9068, Entra ID and Keycloak.
var identifyingClaims = []string{
	"jti", "iat", "nbf", "exp", "auth_time", "sub", "client_id", "azp", "appid", "cid", "oid", "sid", "uti", "rh", "aio",
	"clientId", "clientHost", "clientAddress", "preferred_username",
}

// personalClaims are those of a user's name and e-mail address (OpenID Connect Core
// section 5.1), which differ between API users.
var personalClaims = []string{"name", "given_name", "family_name", "middle_name", "nickname", "email", "email_verified"}

// claimsOf returns digests of the claims of a token that grant rights. The token was
// issued to a client or user with this id, which fields are about. claimsOf returns ""
// if the token is not a JWT.
func claimsOf(token connection.Secret, id string, fields connection.PairFields) connection.Claims {
	payload, ok := jwtPayload(token.Reveal())
	if !ok {
		return ""
	}
	digests := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(payload)) {
		if len(digests) == maxClaims {
			break
		}
		if len(name) > maxClaimName || !utf8.ValidString(name) || slices.Contains(identifyingClaims, name) ||
			fields.Users() && slices.Contains(personalClaims, name) {
			continue
		}
		value, ok := canonicalClaim(name, payload[name], id)
		if !ok {
			continue
		}
		digest := sha256.Sum256(value)
		digests[name] = base64.RawURLEncoding.EncodeToString(digest[:16])
	}
	encoded, err := json.Marshal(digests)
	if err != nil {
		return ""
	}
	return connection.Claims(encoded)
}

// jwtPayload returns the claims of a signed JWT (RFC 7519, RFC 7515 section 7.1).
func jwtPayload(token string) (payload map[string]any, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, false
	}
	var header map[string]any
	if !decodePart(parts[0], &header) || header["alg"] == nil || !decodePart(parts[1], &payload) {
		return nil, false
	}
	return payload, payload != nil
}

func decodePart(part string, into *map[string]any) bool {
	decoded, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(decoded))
	d.UseNumber()
	return d.Decode(into) == nil
}

// canonicalClaim returns a form of a claim's value that is the same for equal values:
// lists and scopes are sets. It leaves out the client's own id; ok is false if nothing
// else is left.
func canonicalClaim(name string, value any, clientID string) (form []byte, ok bool) {
	switch text, isText := value.(string); {
	case isText && (name == "scope" || name == "scp"):
		words := strings.Fields(text)
		list := make([]any, len(words))
		for i, word := range words {
			list[i] = word
		}
		value = list
	case isText && name == "aud": // RFC 7519 section 4.1.3: one or a list of one
		value = []any{text}
	}
	value, ok = canonical(value, clientID)
	if !ok {
		return nil, false
	}
	form, err := json.Marshal(value)
	return form, err == nil
}

// canonical returns a JSON value without a client's id and with sorted lists; ok is
// false if it contained only the id.
func canonical(value any, clientID string) (_ any, ok bool) {
	switch v := value.(type) {
	case string:
		return v, v != clientID
	case []any:
		set := make(map[string]bool, len(v))
		for _, element := range v {
			if element, ok := canonical(element, clientID); ok {
				form, err := json.Marshal(element)
				if err != nil {
					return nil, false
				}
				set[string(form)] = true
			}
		}
		return slices.Sorted(maps.Keys(set)), len(set) > 0 || len(v) == 0
	case map[string]any:
		object := make(map[string]any, len(v))
		for key, element := range v {
			if element, ok := canonical(element, clientID); ok {
				object[key] = element
			}
		}
		return object, len(object) > 0 || len(v) == 0
	}
	return value, true
}

// claimsDiffer returns the names of the claims in which two tokens differ, in order. It
// returns nil if one of them is unknown, or if one of the tokens was not a JWT.
func claimsDiffer(a, b connection.Claims) []string {
	if a == b || a == "" || b == "" {
		return nil
	}
	var of [2]map[string]string
	for i, claims := range []connection.Claims{a, b} {
		if json.Unmarshal([]byte(claims), &of[i]) != nil {
			return nil
		}
	}
	var names []string
	for name, digest := range of[0] {
		if of[1][name] != digest {
			names = append(names, name)
		}
	}
	for name := range of[1] {
		if _, both := of[0][name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// claimsDiffer returns the names of the claims in which the last tokens of both clients
// differ.
func (s *state) claimsDiffer() []string {
	standby, ok := s.conn.Pair.Standby()
	if !ok {
		return nil
	}
	return claimsDiffer(s.activity[s.conn.Pair.Active().ID].claims, s.activity[standby.ID].claims)
}

// claimsWarnings returns a warning about claims that differ; nil if none do, or if the
// connection is not in memory.
func (e *Engine) claimsWarnings(name string) []string {
	st := e.states.get(name)
	if st == nil {
		return nil
	}
	claims := st.claimsDiffer()
	if len(claims) == 0 {
		return nil
	}
	standby, _ := st.conn.Pair.Standby()
	noun := st.conn.PairFields().Noun()
	return []string{fmt.Sprintf("the tokens of %s %q (active) and %s %q (standby) differ in the claims %q: the %ss may not have the same rights. Compare their roles and departments",
		noun, st.conn.Pair.Active().ID, noun, standby.ID, claims, noun)}
}

// reportClaims reports claims that differ, once until others do.
func (e *Engine) reportClaims(name string, st *state) {
	differ := strings.Join(st.claimsDiffer(), " ")
	if was := st.counters.claimsDiffer.Swap(&differ); differ == "" || was != nil && *was == differ {
		return
	}
	standby, _ := st.conn.Pair.Standby()
	fields := st.conn.PairFields()
	e.logger.Warn("the tokens of both clients differ in claims", "connection", name, fields.ActiveKey(), st.conn.Pair.Active().ID, fields.StandbyKey(), standby.ID, "claims", differ)
	ev := eventOf(st.conn, EventClaimsDiffer, name)
	ev.Claims = st.claimsDiffer()
	e.observer.OnEvent(ev)
}

// withStoredClaims returns a copy with the stored claims of those clients that have no
// token in memory.
func (s *state) withStoredClaims() *state {
	next := *s
	next.activity = maps.Clone(s.activity)
	if next.activity == nil {
		next.activity = make(map[string]clientActivity, 1)
	}
	for _, client := range s.conn.Pair.Clients {
		a := next.activity[client.ID]
		if client.ID == "" || client.Claims == "" {
			continue
		}
		a.claims = cmp.Or(a.claims, client.Claims)
		next.activity[client.ID] = a
	}
	return &next
}
