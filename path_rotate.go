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

	"vault-plugin-secrets-gbg/backend"
	"vault-plugin-secrets-gbg/backend/connection"
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
		"active_client_id":  {Type: framework.TypeString, Required: true, Description: "The client that tokens are issued to from now on."},
		"standby_client_id": {Type: framework.TypeString, Required: true, Description: "The other client."},
		"rotation_time":     {Type: framework.TypeString, Description: "When the active client last changed (RFC 3339, UTC)."},
		"regenerate_after":  {Type: framework.TypeString, Description: "From when on the standby's secret can be regenerated with nothing depending on it (RFC 3339, UTC)."},
		"next_step":         {Type: framework.TypeString, Required: true, Description: "What to do next, in a sentence."},
	}
}

func (d *handlers) rotate(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := connectionName(data)
	r, err := d.engine.Rotate(ctx, name, backend.RotateRequest{
		ClientID: text(data, connection.ClientID),
		Secret:   secret(data, connection.ClientSecret),
	})
	if err != nil {
		return d.errorResponse(req, name, err)
	}
	answer := map[string]any{
		"rotated":           r.Rotated,
		"active_client_id":  r.Active.ID,
		"standby_client_id": r.Standby.ID,
		"next_step":         nextStep(req, name, portal(r.AtIDP), r.Standby.ID, r.Record.RegenerateAfter, !r.Standby.SecretServed),
	}
	if r.UsesKeys {
		answer["next_step"] = nextKeyStep(req, name, r.Standby.ID, r.Record.RegenerateAfter, !r.Standby.SecretServed)
	}
	putTime(answer, "rotation_time", r.Record.Time)
	putTime(answer, "regenerate_after", r.Record.RegenerateAfter)
	resp := &logical.Response{Data: answer, Warnings: r.Warnings}
	switch {
	case r.SecretKept && r.UsesKeys:
		resp.AddWarning(fmt.Sprintf("client %q is active again with the key it had the last time; make a new key for the standby before each rotation to renew it", r.Active.ID))
	case r.SecretKept:
		resp.AddWarning(fmt.Sprintf("client %q is active again with the secret it had the last time; regenerate the standby's secret before each rotation to renew it", r.Active.ID))
	}
	if r.SecretDisregarded {
		resp.AddWarning(fmt.Sprintf("client %q is active already: nothing was rotated, and the client_secret that was given has not been stored", r.Active.ID))
	}
	return resp, nil
}

// repeatedRotation tells a person why a bare rotation was refused, and how to rotate
// all the same.
func repeatedRotation(req *logical.Request, name string, recent *backend.RecentRotationError) string {
	return fmt.Sprintf("connection %q was rotated at %s (%s), %ds ago, and client %q is active: this may be the same request again, so nothing was rotated. To make client %q active: %s",
		name, timestamp(recent.Record.Time), recent.Record.Cause, seconds(recent.Age), recent.Active, recent.Standby, rotateCommand(req, name, recent.Standby))
}

// rotateCommand is how a person makes a client active. It names the client, so that
// it can be repeated.
func rotateCommand(req *logical.Request, connection, clientID string) string {
	return clientCommand(pathFor(req, "rotate", connection), clientID)
}

// clientCommand is how a person writes a path for one client.
func clientCommand(path, clientID string) string {
	if strings.HasPrefix(clientID, "@") {
		clientID = `\` + clientID // else vault reads a file of that name
	}
	if !plainWord.MatchString(clientID) {
		clientID = "'" + strings.ReplaceAll(clientID, "'", `'\''`) + "'"
	}
	return fmt.Sprintf("vault write %s client_id=%s", path, clientID)
}

// plainWord is a text that a shell takes as it is.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,-]+$`)

// nextStep is the sentence that tells a person how the pair's round goes on.
// where is the place to regenerate secrets; fresh says that the standby's has not
// served yet.
func nextStep(req *logical.Request, name, where, standby string, regenerateAfter time.Time, fresh bool) string {
	rotate := rotateCommand(req, name, standby)
	switch {
	case standby == "":
		return fmt.Sprintf("Add a second client, so that secrets can be rotated without downtime: vault write %s paired_client_id=ID paired_client_secret=@FILE",
			pathFor(req, "config", name))
	case fresh:
		return fmt.Sprintf("Client %q stands by with a secret that has not been used yet. When it is time to rotate: %s", standby, rotate)
	case regenerateAfter.IsZero():
		return fmt.Sprintf("Regenerate the secret of client %q %s, then: %s client_secret=@FILE", standby, where, rotate)
	}
	return fmt.Sprintf("After %s regenerate the secret of client %q %s, then, when it is time to rotate again: %s client_secret=@FILE",
		timestamp(regenerateAfter), standby, where, rotate)
}

// portal is where a person regenerates a client's secret.
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

If any of it fails nothing has changed, and the error says so. Readers of creds
never notice: tokens issued before stay valid until they expire.

To renew both secrets for good, do this every so often, STANDBY being the
standby's id as gbg/status shows it:

  - regenerate the standby's secret in GBG's Account management portal
  - $ vault write gbg/rotate client_id=STANDBY client_secret=@FILE

Naming the client makes the command safe to repeat: if it is active already,
nothing happens. Without client_id and client_secret, a rotation within a minute
of the last one, or of a failover, is refused, for it may be the same request
sent again.

"regenerate_after" in the answer is when the last token of the client that left
has expired. From then on its secret can be regenerated.
`
