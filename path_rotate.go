package gbg

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/backend"
	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

func (d *handlers) rotatePaths() []*framework.Path {
	return withOptionalName("rotate", func(fields map[string]*framework.FieldSchema) *framework.Path {
		fields[string(connection.ClientID)] = &framework.FieldSchema{
			Type:        framework.TypeString,
			Description: "The client that must be active afterwards. If it already is, nothing happens, so a request that is sent twice cannot rotate back. Left out, it is the standby; then, and without client_secret, nothing is rotated within a minute of the last rotation or failover.",
		}
		fields[string(connection.ClientSecret)] = &framework.FieldSchema{
			Type:         framework.TypeString,
			Description:  "The standby's new secret, if it has just been regenerated at GBG. Left out, the stored one is used.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Client secret", Sensitive: true},
		}
		fields[string(connection.Username)] = &framework.FieldSchema{
			Type:        framework.TypeString,
			Description: `For grant_type "password", in place of client_id: the user that must be active afterwards.`,
		}
		fields[string(connection.Password)] = &framework.FieldSchema{
			Type:         framework.TypeString,
			Description:  `For grant_type "password", in place of client_secret: the standby's new password.`,
			DisplayAttrs: &framework.DisplayAttributes{Name: "Password", Sensitive: true},
		}
		return &framework.Path{
			Fields: fields,
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.UpdateOperation: &framework.PathOperation{
					Callback: d.rotate,
					Summary:  "Make the standby client the active one.",
					Responses: map[int][]framework.Response{
						http.StatusOK: {{Description: "Which client is active now, and what to do next.", Fields: rotateAnswer()}},
					},
					ForwardPerformanceStandby:   true,
					ForwardPerformanceSecondary: true,
				},
			},
			DisplayAttrs:    &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "client", OperationVerb: "rotate"},
			HelpSynopsis:    "Make the standby client the active one, without downtime.",
			HelpDescription: strings.TrimSpace(rotateHelp),
		}
	})
}

func rotateAnswer() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"rotated":           {Type: framework.TypeBool, Required: true, Description: "Whether the active client changed."},
		"active_client_id":  {Type: framework.TypeString, Description: "The client that tokens are issued to from now on."},
		"standby_client_id": {Type: framework.TypeString, Description: "The other client."},
		"active_username":   {Type: framework.TypeString, Description: `For grant_type "password", in place of active_client_id: the user that tokens are issued to from now on.`},
		"standby_username":  {Type: framework.TypeString, Description: `For grant_type "password", in place of standby_client_id: the other user.`},
		"rotation_time":     {Type: framework.TypeString, Description: "When the active client last changed (RFC 3339, UTC)."},
		"regenerate_after":  {Type: framework.TypeString, Description: "When the standby's secret can be regenerated because nothing depends on it any longer (RFC 3339, UTC)."},
		"next_step":         {Type: framework.TypeString, Required: true, Description: "What to do next, in a sentence."},
	}
}

func (d *handlers) rotate(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := connectionName(data)
	r, err := d.engine.Rotate(ctx, name, backend.RotateRequest{
		ClientID: text(data, connection.ClientID),
		Secret:   secret(data, connection.ClientSecret),
		Username: text(data, connection.Username),
		Password: secret(data, connection.Password),
	})
	if err != nil {
		return d.errorResponse(req, name, err)
	}
	answer := map[string]any{
		"rotated":             r.Rotated,
		r.Fields.ActiveKey():  r.Active.ID,
		r.Fields.StandbyKey(): r.Standby.ID,
		"next_step":           nextStep(req, name, r.Fields, portal(r.AtIDP), r.Standby.ID, r.Record.RegenerateAfter, !r.Standby.SecretServed),
	}
	putTime(answer, "rotation_time", r.Record.Time)
	putTime(answer, "regenerate_after", r.Record.RegenerateAfter)
	resp := &logical.Response{Data: answer, Warnings: r.Warnings}
	f := r.Fields
	if r.SecretKept {
		resp.AddWarning(fmt.Sprintf("%s %q is active again with the %s it had the last time; %s the standby's %s before each rotation to renew it", f.Noun(), r.Active.ID, f.SecretNoun(), renew(f), f.SecretNoun()))
	}
	if r.SecretDisregarded {
		resp.AddWarning(fmt.Sprintf("%s %q is active already: nothing was rotated, and the %s that was given has not been stored", f.Noun(), r.Active.ID, f.Secret(connection.First)))
	}
	return resp, nil
}

// repeatedRotation returns the text that explains why a bare rotation was refused,
// and how to rotate all the same.
func repeatedRotation(req *logical.Request, name string, recent *backend.RecentRotationError) string {
	return fmt.Sprintf("connection %q was rotated at %s (%s), %ds ago, and %s %q is active: this may be the same request again, so nothing was rotated. To make %s %q active: %s",
		name, timestamp(recent.Record.Time), recent.Record.Cause, seconds(recent.Age), recent.Fields.Noun(), recent.Active, recent.Fields.Noun(), recent.Standby,
		rotateCommand(req, name, recent.Fields, recent.Standby))
}

// rotateCommand returns the command that makes a client or user active. It names it, so
// that it is safe to repeat.
func rotateCommand(req *logical.Request, name string, fields connection.PairFields, id string) string {
	return idCommand(pathFor(req, "rotate", name), fields, id)
}

// idCommand returns the command that writes a path for one client or user.
func idCommand(path string, fields connection.PairFields, id string) string {
	if strings.HasPrefix(id, "@") {
		id = `\` + id // else vault reads a file of that name
	}
	if !plainWord.MatchString(id) {
		id = "'" + strings.ReplaceAll(id, "'", `'\''`) + "'"
	}
	return fmt.Sprintf("vault write %s %s=%s", path, fields.ID(connection.First), id)
}

// plainWord matches texts that need no quotes in a shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,-]+$`)

// nextStep returns the next step of the rotation cycle, in a sentence. where is the
// place to renew secrets; fresh means that the standby's secret has not been used yet.
func nextStep(req *logical.Request, name string, f connection.PairFields, where, standby string, regenerateAfter time.Time, fresh bool) string {
	rotate := rotateCommand(req, name, f, standby)
	if f.Keys() && standby != "" {
		return nextKeyStep(req, name, f, standby, rotate, regenerateAfter, fresh)
	}
	switch {
	case standby == "":
		return fmt.Sprintf("Add a second %s, so that %ss can be rotated without downtime: %s", f.Noun(), f.SecretNoun(), addPairedCommand(req, name, f))
	case fresh:
		return fmt.Sprintf("%s %q stands by with a %s that has not been used yet. When it is time to rotate: %s", capitalized(f.Noun()), standby, f.SecretNoun(), rotate)
	case regenerateAfter.IsZero():
		return fmt.Sprintf("%s the %s of %s %q %s, then: %s %s=@FILE", capitalized(renew(f)), f.SecretNoun(), f.Noun(), standby, where, rotate, f.Secret(connection.First))
	}
	return fmt.Sprintf("After %s %s the %s of %s %q %s, then, when it is time to rotate again: %s %s=@FILE",
		timestamp(regenerateAfter), renew(f), f.SecretNoun(), f.Noun(), standby, where, rotate, f.Secret(connection.First))
}

// renew returns the verb for renewing a secret or a password.
func renew(f connection.PairFields) string {
	switch {
	case f.Users():
		return "change"
	case f.Keys():
		return "replace"
	}
	return "regenerate"
}

func capitalized(word string) string { return strings.ToUpper(word[:1]) + word[1:] }

// portal returns where to regenerate a client's secret or change a user's password.
func portal(atIDP bool) string {
	if atIDP {
		return "at the identity provider"
	}
	return "in GBG's Account management portal"
}

const rotateHelp = `
A connection has a pair of API clients at GBG; one is active, the other stands
by. Rotating makes the standby active:

  1. If client_secret is given, it is the standby's new secret.
  2. The standby proves itself: a token is fetched from GBG with it.
  3. One storage write makes it active, its new secret included.

If any step fails nothing has changed, and the error states that. Readers of creds
never notice: tokens issued before stay valid until they expire.

To renew both secrets for good, do this every so often, STANDBY being the
standby's id as gbg/status shows it:

  - regenerate the standby's secret in GBG's Account management portal
  - $ vault write gbg/rotate client_id=STANDBY client_secret=@FILE

Naming the client makes the command safe to repeat: if it is active already,
nothing happens. Without client_id and client_secret, a rotation within a minute
of the last one, or of a failover, is refused, for it may be the same request
sent again.

On a connection with grant_type "password" the pair is two API users, and username
and password replace client_id and client_secret.

"regenerate_after" in the answer is when the previously active client's last token
expires. After that its secret can be regenerated.
`
