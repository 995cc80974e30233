package gbg

import (
	"context"
	"fmt"
	"net/http"
	"strings"

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
	a := advice{req: req, name: name, fields: r.Fields, atIDP: r.AtIDP}
	answer := map[string]any{
		"rotated":             r.Rotated,
		r.Fields.ActiveKey():  r.Active.ID,
		r.Fields.StandbyKey(): r.Standby.ID,
		"next_step":           a.pair(r.Standby.ID, !r.Standby.SecretServed, r.Record.RegenerateAfter),
	}
	putTime(answer, "rotation_time", r.Record.Time)
	putTime(answer, "regenerate_after", r.Record.RegenerateAfter)
	resp := &logical.Response{Data: answer, Warnings: r.Warnings}
	if r.SecretKept {
		secret := r.Fields.SecretNoun()
		resp.AddWarning(fmt.Sprintf("%s is active again with the %s it had the last time; %s the standby's %s before each rotation to renew it", a.member(r.Active.ID), secret, r.Fields.RenewVerb(), secret))
	}
	if r.SecretDisregarded {
		resp.AddWarning(fmt.Sprintf("%s is active already: nothing was rotated, and the %s that was given has not been stored", a.member(r.Active.ID), r.Fields.Secret(connection.First)))
	}
	return resp, nil
}

// repeatedRotation returns the text that explains why a bare rotation was refused,
// and how to rotate all the same.
func repeatedRotation(req *logical.Request, name string, recent *backend.RecentRotationError) string {
	return fmt.Sprintf("connection %q was rotated at %s (%s), %ds ago, and %s %q is active: this may be the same request again, so nothing was rotated. To make %s %q active: %s",
		name, timestamp(recent.Record.Time), recent.Record.Cause, seconds(recent.Age), recent.Fields.Noun(), recent.Active, recent.Fields.Noun(), recent.Standby,
		advice{req: req, name: name, fields: recent.Fields}.rotateCommand(recent.Standby))
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
