package gbg

import (
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
	name, where := s.Connection, portal(s.IDPTokenURL != "")
	switch s.State {
	case backend.StateUnreadable:
		return "Readers get errors: see last_error."
	case backend.StateDown, backend.StateFailing:
		return failureStep(req, s)
	case backend.StateStandbyRefused:
		return refusedStep(req, name, where, s.Standby)
	case backend.StateRotationDue:
		return dueStep(req, name, where, s)
	case backend.StateStandbyUnproven:
		if s.Standby.Refusal.Error != "" {
			return fmt.Sprintf("Client %q is the standby and gets no token: see standby_error. To check it again: vault write -f %s",
				s.Standby.ID, pathFor(req, "verify", name))
		}
		return fmt.Sprintf("Client %q stands by with a secret that has not been proved. To prove it: vault write -f %s. When it is time to rotate: %s",
			s.Standby.ID, pathFor(req, "verify", name), rotateCommand(req, name, s.Standby.ID))
	case backend.StateSecretOld, backend.StateOK:
	}
	if s.Active.ID == "" {
		return "Exchange an identity provider's token: " + exchangeCommand(req, name)
	}
	return pairStep(req, name, where, s.Standby.ID, s.LastRotation.RegenerateAfter, !s.Standby.SecretServed)
}

// pairStep returns how a pair is renewed next. where is the place to regenerate
// secrets; fresh is set if the standby's has not served yet.
func pairStep(req *logical.Request, name, where, standby string, regenerateAfter time.Time, fresh bool) string {
	switch {
	case standby == "":
		return fmt.Sprintf("Add a second client, so that secrets can be rotated without downtime: vault write %s paired_client_id=ID paired_client_secret=@FILE",
			pathFor(req, "config", name))
	case fresh:
		return fmt.Sprintf("Client %q stands by with a secret that has not been used yet. When it is time to rotate: %s", standby, rotateCommand(req, name, standby))
	case regenerateAfter.IsZero():
		return fmt.Sprintf("Regenerate the secret of client %q %s, then: %s", standby, where, renewCommand(req, name, standby))
	}
	return fmt.Sprintf("After %s regenerate the secret of client %q %s, then, when it is time to rotate again: %s",
		timestamp(regenerateAfter), standby, where, renewCommand(req, name, standby))
}

// refusedStep returns how to renew a standby that was refused.
func refusedStep(req *logical.Request, name, where string, standby backend.ClientStatus) string {
	since := fmt.Sprintf("Client %q is the standby and has been refused since %s: see standby_error.", standby.ID, timestamp(standby.Refusal.Time))
	if standby.Refusal.AtExchange {
		return fmt.Sprintf("%s Ask GBG what its tokens lack, then: %s", since, rotateCommand(req, name, standby.ID))
	}
	return fmt.Sprintf("%s Renew it now: if nobody has its current secret, regenerate it %s, then: %s", since, where, renewCommand(req, name, standby.ID))
}

// dueStep returns what to do about a scheduled rotation that was not made.
func dueStep(req *logical.Request, name, where string, s *backend.Status) string {
	since := "A rotation has been due since " + timestamp(s.RotationDue)
	if s.RotationObstacle != connection.NoNewSecret {
		return fmt.Sprintf("%s. The engine tries again by itself; to rotate now: %s", since, rotateCommand(req, name, s.Standby.ID))
	}
	return fmt.Sprintf("%s, and the standby has no new secret. Regenerate the secret of client %q %s, then: %s",
		since, s.Standby.ID, where, renewCommand(req, name, s.Standby.ID))
}

// failureStep returns what to do about token requests that fail.
func failureStep(req *logical.Request, s *backend.Status) string {
	var refused refusal
	if !errors.As(s.LastFailure, &refused) {
		return "Token requests fail because of Vault's storage: see last_error."
	}
	step := refusalStep(req, s.Connection, s.Standby.ID, refused)
	switch {
	case step != "":
	case refused.Temporary():
		step = "There is nothing to do in Vault: the next try is at " + timestamp(s.NextTryTime)
	case refused.ClientRefused() || !refused.Refused():
		step = "What answered is no token endpoint: check token_url, and the proxies and firewalls on the way to it"
	default:
		step = "The request is refused, not the client: an administrator must check " + pathFor(req, "config", s.Connection)
	}
	return "Token requests fail: see last_error. " + step
}

// refusalStep returns what to do about a client that is refused. It returns "" if
// the failure may have another cause: what an outage or a proxy says is no reason to
// change secrets. standby is empty if there is none.
func refusalStep(req *logical.Request, name, standby string, refused refusal) string {
	var client *backend.ClientError
	var pair *backend.PairError
	both := errors.As(refused, &pair)
	switch {
	case !refused.Refused() || both && !pair.Standby.Refused():
		return ""
	case errors.As(refused, &client) && client.Step == backend.StepExchange:
		return "The identity provider issued its token: check scope, idp_scope and the exchange client at " + pathFor(req, "config", name)
	case !refused.ClientRefused():
		return ""
	case standby == "":
		return fmt.Sprintf("If its secret was regenerated, an administrator must store the new one: vault write %s client_secret=@FILE", pathFor(req, "config", name))
	case both:
		return fmt.Sprintf("If nobody has the current secret of client %q, regenerate it. Then: %s", standby, renewCommand(req, name, standby))
	}
	return fmt.Sprintf("Make client %q active: %s (with client_secret=@FILE if its secret was regenerated, too)", standby, rotateCommand(req, name, standby))
}

// failoverWarning returns what the first reader after a failover is told.
func failoverWarning(req *logical.Request, name string, notice *backend.FailoverNotice) string {
	if notice.AtExchange {
		return notice.Text + ": ask GBG what that client's tokens lack"
	}
	return fmt.Sprintf("%s. Renew client %q: %s", notice.Text, notice.RefusedClientID, renewCommand(req, name, notice.RefusedClientID))
}

// renewCommand returns the command that stores a client's new secret and makes the
// client active.
func renewCommand(req *logical.Request, connection, clientID string) string {
	return rotateCommand(req, connection, clientID) + " client_secret=@FILE"
}

// portal returns where to regenerate a client's secret.
func portal(atIDP bool) string {
	if atIDP {
		return "at the identity provider"
	}
	return "in GBG's Account management portal"
}

// rotateCommand returns the command that makes a client active. It names the client, so
// that it is safe to repeat.
func rotateCommand(req *logical.Request, connection, clientID string) string {
	if strings.HasPrefix(clientID, "@") {
		clientID = `\` + clientID // else vault reads a file of that name
	}
	if !plainWord.MatchString(clientID) {
		clientID = "'" + strings.ReplaceAll(clientID, "'", `'\''`) + "'"
	}
	return fmt.Sprintf("vault write %s client_id=%s", pathFor(req, "rotate", connection), clientID)
}

// plainWord matches texts that need no quotes in a shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,-]+$`)
