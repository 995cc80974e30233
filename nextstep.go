package gbg

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/backend"
	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// nextStep returns what to do next about a connection, in a sentence that a person
// without rights on its configuration can follow.
func nextStep(req *logical.Request, s *backend.Status) string {
	a := advice{req: req, name: s.Connection, fields: s.Fields, atIDP: s.IDPTokenURL != ""}
	switch s.State {
	case backend.StateUnreadable:
		return "Readers get errors: see last_error."
	case backend.StateDown, backend.StateFailing:
		return a.failure(s)
	case backend.StateStandbyRefused:
		return a.refusedStandby(s.Standby)
	case backend.StateRotationDue:
		return a.rotationDue(s)
	case backend.StateStandbyUnproven:
		return cmp.Or(a.unprovenKey(s), a.unprovenStandby(s.Standby))
	case backend.StateSecretOld, backend.StateOK:
		if step := a.unprovenKey(s); step != "" {
			return step
		}
	}
	if s.Active.ID == "" {
		return "Exchange an identity provider's token: " + exchangeCommand(req, s.Connection)
	}
	return a.pair(s.Standby.ID, !s.Standby.SecretServed, s.LastRotation.RegenerateAfter)
}

// advice makes the sentences and commands about the pair of a connection.
type advice struct {
	req    *logical.Request
	name   string
	fields connection.PairFields
	// atIDP is set if the clients are an identity provider's.
	atIDP bool
}

// pair returns how the pair is renewed next. fresh is set if the standby's secret has
// not served yet.
func (a advice) pair(standby string, fresh bool, regenerateAfter time.Time) string {
	switch {
	case standby == "":
		return fmt.Sprintf("Add a second %s, so that %ss can be rotated without downtime: %s", a.fields.Noun(), a.fields.SecretNoun(), a.addPairedCommand())
	case fresh:
		return fmt.Sprintf("%s stands by with a %s that has not been used yet. When it is time to rotate: %s",
			capitalized(a.member(standby)), a.fields.SecretNoun(), a.rotateCommand(standby))
	case regenerateAfter.IsZero():
		return capitalized(a.renewal(standby, "then"))
	}
	return "After " + timestamp(regenerateAfter) + " " + a.renewal(standby, "then, when it is time to rotate again")
}

// unprovenStandby returns how to prove a standby.
func (a advice) unprovenStandby(standby backend.ClientStatus) string {
	verify := "vault write -f " + pathFor(a.req, "verify", a.name)
	member := capitalized(a.member(standby.ID))
	if standby.Refusal.Error != "" {
		return fmt.Sprintf("%s is the standby and gets no token: see standby_error. To check it again: %s", member, verify)
	}
	return fmt.Sprintf("%s stands by with a %s that has not been proved. To prove it: %s. When it is time to rotate: %s",
		member, a.fields.SecretNoun(), verify, a.rotateCommand(standby.ID))
}

// unprovenKey returns how to prove a key that has not got a token yet, the active
// client's first. It returns "" if there is none.
func (a advice) unprovenKey(s *backend.Status) string {
	read, verify := "vault read "+pathFor(a.req, "keys", a.name), "vault write -f "+pathFor(a.req, "verify", a.name)
	switch {
	case !a.fields.Keys():
	case s.Active.VerifiedTime.IsZero():
		return fmt.Sprintf("%s is active with a key that has not been proved: register the keys of all clients at the identity provider (%s), then prove them: %s",
			capitalized(a.member(s.Active.ID)), read, verify)
	case s.Standby.ID != "" && s.Standby.VerifiedTime.IsZero():
		return fmt.Sprintf("%s stands by with a key that has not been proved: register it at the identity provider (%s), then prove it: %s. When it is time to rotate: %s",
			capitalized(a.member(s.Standby.ID)), read, verify, a.rotateCommand(s.Standby.ID))
	}
	return ""
}

// refusedStandby returns how to renew a standby that was refused.
func (a advice) refusedStandby(standby backend.ClientStatus) string {
	since := fmt.Sprintf("%s is the standby and has been refused since %s: see standby_error.", capitalized(a.member(standby.ID)), timestamp(standby.Refusal.Time))
	switch {
	case standby.Refusal.AtExchange:
		return fmt.Sprintf("%s Ask GBG what its tokens lack, then: %s", since, a.rotateCommand(standby.ID))
	case standby.Refusal.OfOrganization:
		return since + " " + a.organizationSecret()
	case a.fields.Keys():
		return fmt.Sprintf("%s Its key may not be registered at the identity provider: vault read %s. If it is, %s",
			since, pathFor(a.req, "keys", a.name), a.renewal(standby.ID, "then"))
	}
	return fmt.Sprintf("%s Renew it now: if nobody has its current %s, %s it %s, then: %s",
		since, a.fields.SecretNoun(), a.fields.RenewVerb(), portal(a.atIDP), a.renewCommand(standby.ID))
}

// rotationDue returns what to do about a scheduled rotation that was not made.
func (a advice) rotationDue(s *backend.Status) string {
	since := "A rotation has been due since " + timestamp(s.RotationDue)
	if step := a.unprovenKey(s); step != "" {
		return since + ". " + step
	}
	if s.RotationObstacle != connection.NoNewSecret {
		return fmt.Sprintf("%s. The engine tries again by itself; to rotate now: %s", since, a.rotateCommand(s.Standby.ID))
	}
	return fmt.Sprintf("%s, and the standby has no new %s. %s", since, a.fields.SecretNoun(), capitalized(a.renewal(s.Standby.ID, "then")))
}

// failure returns what to do about token requests that fail.
func (a advice) failure(s *backend.Status) string {
	var refused refusal
	if !errors.As(s.LastFailure, &refused) {
		return "Token requests fail because of Vault's storage: see last_error."
	}
	step := a.refusal(s.Standby.ID, refused)
	switch {
	case step != "":
	case refused.Temporary():
		step = "There is nothing to do in Vault: the next try is at " + timestamp(s.NextTryTime)
	case refused.ClientRefused() || !refused.Refused():
		step = "What answered is no token endpoint: check token_url, and the proxies and firewalls on the way to it"
	default:
		step = "The request is refused, not the client: an administrator must check " + pathFor(a.req, "config", a.name)
	}
	return "Token requests fail: see last_error. " + step
}

// refusal returns what to do about a client that is refused. It returns "" if the
// failure may have another cause: what an outage or a proxy says is no reason to change
// secrets. standby is empty if there is none.
func (a advice) refusal(standby string, refused refusal) string {
	var client *backend.ClientError
	var pair *backend.PairError
	both := errors.As(refused, &pair)
	isClient := errors.As(refused, &client)
	// Some identity providers refuse an unknown key as invalid_request.
	ofKey := isClient && a.fields.Keys() && client.Step == backend.StepIDP
	switch {
	case !refused.Refused() || both && !pair.Standby.Refused():
		return ""
	case isClient && client.Step == backend.StepExchange:
		return "The identity provider issued its token: check scope, idp_scope and the exchange client at " + pathFor(a.req, "config", a.name)
	case isClient && client.OrganizationRefused():
		return a.organizationSecret()
	case !refused.ClientRefused() && !ofKey:
		return ""
	case a.fields.Keys():
		return "Check that the identity provider accepts the connection's idp_audience, and that the clients' keys are registered there: vault read " + pathFor(a.req, "keys", a.name)
	case standby == "":
		return fmt.Sprintf("If its %s was %sd, an administrator must store the new one: vault write %s %s=@FILE",
			a.fields.SecretNoun(), a.fields.RenewVerb(), pathFor(a.req, "config", a.name), a.fields.Secret(connection.First))
	case both:
		return fmt.Sprintf("If nobody has the current %s of %s, %s it. Then: %s", a.fields.SecretNoun(), a.member(standby), a.fields.RenewVerb(), a.renewCommand(standby))
	}
	return fmt.Sprintf("Make %s active: %s (with %s=@FILE if its %s was %sd, too)",
		a.member(standby), a.rotateCommand(standby), a.fields.Secret(connection.First), a.fields.SecretNoun(), a.fields.RenewVerb())
}

// organizationSecret returns what to do if the organization's client, which both users
// share, is refused.
func (a advice) organizationSecret() string {
	return "If the secret of the organization's client was regenerated, an administrator must store the new one: vault write " +
		pathFor(a.req, "config", a.name) + " client_secret=@FILE"
}

// failover returns what the first reader after a failover is told.
func (a advice) failover(notice *backend.FailoverNotice) string {
	switch {
	case notice.AtExchange:
		return notice.Text + ": ask GBG what that client's tokens lack"
	case a.fields.Keys():
		return notice.Text + ". " + capitalized(a.renewal(notice.RefusedID, "then"))
	}
	return fmt.Sprintf("%s. Renew %s: %s", notice.Text, a.member(notice.RefusedID), a.renewCommand(notice.RefusedID))
}

// renewal returns how one of the pair is renewed and made active, as the rest of a
// sentence; then joins the two steps.
func (a advice) renewal(id, then string) string {
	if a.fields.Keys() {
		return fmt.Sprintf("have an administrator make a new key for %s (vault write %s client_id=%s) and register it at the identity provider, %s: %s",
			a.member(id), pathFor(a.req, "keys", a.name), shellWord(id), then, a.rotateCommand(id))
	}
	return fmt.Sprintf("%s the %s of %s %s, %s: %s", a.fields.RenewVerb(), a.fields.SecretNoun(), a.member(id), portal(a.atIDP), then, a.renewCommand(id))
}

// member returns one of the pair by its noun and id.
func (a advice) member(id string) string { return fmt.Sprintf("%s %q", a.fields.Noun(), id) }

// renewCommand returns the command that stores a new secret of one of the pair and makes
// it active.
func (a advice) renewCommand(id string) string {
	return fmt.Sprintf("%s %s=@FILE", a.rotateCommand(id), a.fields.Secret(connection.First))
}

// rotateCommand returns the command that makes one of the pair active. It names it, so
// that it is safe to repeat.
func (a advice) rotateCommand(id string) string {
	return fmt.Sprintf("vault write %s %s=%s", pathFor(a.req, "rotate", a.name), a.fields.ID(connection.First), shellWord(id))
}

// addPairedCommand returns the command that adds the second of the pair.
func (a advice) addPairedCommand() string {
	id, rest := "ID", fmt.Sprintf("%s=@FILE", a.fields.Secret(connection.Paired))
	switch {
	case a.fields.Users():
		id = "NAME"
	case a.fields.Keys():
		rest = "verify_connection=false"
	}
	return fmt.Sprintf("vault write %s %s=%s %s", pathFor(a.req, "config", a.name), a.fields.ID(connection.Paired), id, rest)
}

// portal returns where to regenerate a client's secret or change a user's password.
func portal(atIDP bool) string {
	if atIDP {
		return "at the identity provider"
	}
	return "in GBG's Account management portal"
}

// shellWord returns an id as the value of a field on the vault command's line.
func shellWord(id string) string {
	if strings.HasPrefix(id, "@") {
		id = `\` + id // else vault reads a file of that name
	}
	if !plainWord.MatchString(id) {
		id = "'" + strings.ReplaceAll(id, "'", `'\''`) + "'"
	}
	return id
}

// plainWord matches texts that need no quotes in a shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,-]+$`)

func capitalized(word string) string { return strings.ToUpper(word[:1]) + word[1:] }
