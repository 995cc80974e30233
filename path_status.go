package gbg

import (
	"context"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/backend"
)

func (d *handlers) statusPaths() []*framework.Path {
	return withOptionalName("status", func(fields map[string]*framework.FieldSchema) *framework.Path {
		return &framework.Path{
			Fields: fields,
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ReadOperation: &framework.PathOperation{
					Callback: d.readStatus,
					Summary:  "Read the status of a connection.",
					Responses: map[int][]framework.Response{
						http.StatusOK: {{Description: "The status. Times that never occurred are left out.", Fields: statusAnswer()}},
					},
					ForwardPerformanceStandby: true, // for what the active node alone knows
				},
			},
			DisplayAttrs:    &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "status", OperationVerb: "read"},
			HelpSynopsis:    "Read the status of a connection: active client, ages, last error, next step.",
			HelpDescription: strings.TrimSpace(statusHelp),
		}
	})
}

func statusAnswer() map[string]*framework.FieldSchema {
	text := func(required bool, description string) *framework.FieldSchema {
		return &framework.FieldSchema{Type: framework.TypeString, Required: required, Description: description}
	}
	return map[string]*framework.FieldSchema{
		"state":                   text(true, "State in one word, the first that applies of: "+stateNames()+"."),
		"connection":              text(true, "Name of the connection."),
		"grant_type":              text(false, "How tokens are requested."),
		"lease":                   {Type: framework.TypeBool, Description: "Whether every reader gets a token of its own."},
		"token_url":               text(false, "Where tokens are requested."),
		"idp_token_url":           text(false, "Where the tokens to exchange at token_url are requested."),
		"active_client_id":        text(false, "The client that tokens are issued to. Left out if callers bring the tokens to exchange."),
		"standby_client_id":       text(false, "The other client of the pair."),
		"active_username":         text(false, "For grant_type \"password\", in place of active_client_id: the user that tokens are issued to."),
		"standby_username":        text(false, "For grant_type \"password\", in place of standby_client_id: the other user."),
		"active_secret_set_time":  text(false, "When the active client's secret was stored (RFC 3339, UTC)."),
		"standby_secret_set_time": text(false, "When the standby's secret was stored (RFC 3339, UTC)."),
		"active_verified_time":    text(false, "When the active client last got a token (RFC 3339, UTC)."),
		"standby_verified_time":   text(false, "When the standby last got a token (RFC 3339, UTC)."),
		"standby_error":           text(false, "How the standby was refused. Left out once it has got a token or a new secret."),
		"standby_error_time":      text(false, "When it was refused (RFC 3339, UTC)."),
		"last_rotation_time":      text(false, "When the active client last changed (RFC 3339, UTC)."),
		"last_rotation_cause":     text(false, "Why it changed."),
		"regenerate_after":        text(false, "When the standby's secret can be regenerated because nothing depends on it any longer (RFC 3339, UTC)."),
		"token_expire_time":       text(false, "When the current token expires (RFC 3339, UTC)."),
		"token_refresh_time":      text(false, "When the current token is replaced (RFC 3339, UTC)."),
		"token_lifetime_assumed":  {Type: framework.TypeInt64, Description: "Lifetime in seconds that is assumed for the current token because it came without expires_in."},
		"last_error":              text(false, "How the last token request failed. Left out if it succeeded."),
		"last_error_time":         text(false, "When it failed (RFC 3339, UTC)."),
		"failing_since":           text(false, "When the first of the token requests failed that have failed in a row (RFC 3339, UTC)."),
		"consecutive_errors":      {Type: framework.TypeInt64, Description: "How many token requests have failed in a row."},
		"next_try_time":           text(false, "The earliest time of the next token request (RFC 3339, UTC)."),
		"claims_differ":           {Type: framework.TypeCommaStringSlice, Description: "Names of the claims in which the last tokens of both clients differ, so that the clients may not have the same rights. Left out if none differ, or if tokens are not JWTs."},
		"max_secret_age":          {Type: framework.TypeInt64, Description: "The maximum age of the active client's secret, in seconds. Left out if it is off."},
		"active_secret_due_time":  text(false, "When the active client's secret reaches that age (RFC 3339, UTC)."),
		"next_rotation_time":      text(false, "The next time of the rotation schedule (RFC 3339, UTC). Left out if there is none."),
		"rotation_due":            text(false, "Since when a scheduled rotation has been due that was not made (RFC 3339, UTC). Left out if none is."),
		"next_step":               text(true, "What to do next, in a sentence."),
	}
}

// stateNames returns all states, worst first.
func stateNames() string {
	var names []string
	for _, state := range backend.ConnectionStates() {
		names = append(names, string(state))
	}
	return strings.Join(names, ", ")
}

func (d *handlers) readStatus(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := connectionName(data)
	s, err := d.engine.Status(ctx, name)
	if err != nil {
		return d.errorResponse(req, name, err)
	}
	answer := map[string]any{
		"state":      string(s.State),
		"connection": s.Connection,
		"next_step":  nextStep(req, &s),
	}
	putText(answer, "last_error", s.LastError)
	if !s.Readable() {
		return &logical.Response{Data: answer}, nil
	}
	answer["lease"] = s.Lease
	putText(answer, "grant_type", s.GrantType)
	putText(answer, "token_url", s.TokenURL)
	putText(answer, "idp_token_url", s.IDPTokenURL)
	putText(answer, s.Fields.ActiveKey(), s.Active.ID)
	putText(answer, s.Fields.StandbyKey(), s.Standby.ID)
	putTime(answer, "active_secret_set_time", s.Active.SecretSetTime)
	putTime(answer, "standby_secret_set_time", s.Standby.SecretSetTime)
	putTime(answer, "active_verified_time", s.Active.VerifiedTime)
	putTime(answer, "standby_verified_time", s.Standby.VerifiedTime)
	putText(answer, "standby_error", s.Standby.Refusal.Error)
	putTime(answer, "standby_error_time", s.Standby.Refusal.Time)
	putTime(answer, "last_rotation_time", s.LastRotation.Time)
	putText(answer, "last_rotation_cause", string(s.LastRotation.Cause))
	putTime(answer, "regenerate_after", s.LastRotation.RegenerateAfter)
	putTime(answer, "token_expire_time", s.TokenExpireTime)
	putTime(answer, "token_refresh_time", s.TokenRefreshTime)
	if s.TokenLifetimeAssumed > 0 {
		answer["token_lifetime_assumed"] = seconds(s.TokenLifetimeAssumed)
	}
	putTime(answer, "last_error_time", s.LastErrorTime)
	putTime(answer, "failing_since", s.FailingSince)
	if s.ConsecutiveErrors > 0 {
		answer["consecutive_errors"] = int64(s.ConsecutiveErrors)
	}
	putTime(answer, "next_try_time", s.NextTryTime)
	if len(s.ClaimsDiffer) > 0 {
		answer["claims_differ"] = s.ClaimsDiffer
	}
	if s.MaxSecretAge > 0 {
		answer["max_secret_age"] = seconds(s.MaxSecretAge)
		putTime(answer, "active_secret_due_time", s.SecretDueTime)
	}
	putTime(answer, "next_rotation_time", s.NextRotationTime)
	putTime(answer, "rotation_due", s.RotationDue)
	return &logical.Response{Data: answer, Warnings: s.Warnings}, nil
}

const statusHelp = `
The status of a connection, for those who may not change it: its state in one
word, which client is active, how old each secret is and when it last proved
itself, the last rotation, the current token's times, the last error, and what
to do next. It holds no secret and no token, and sends no request to GBG.

Times are RFC 3339 in UTC. Times that never occurred are left out.
`
