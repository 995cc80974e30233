package gbg

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/backend"
)

// statusListPath is separate because Vault adds a slash to the path of every list.
func (d *handlers) statusListPath() *framework.Path {
	return &framework.Path{
		Pattern: "status/",
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ListOperation: &framework.PathOperation{
				Callback: d.listStatus,
				Summary:  "Read the status of all connections.",
				Responses: map[int][]framework.Response{
					http.StatusOK: {{Description: "The names, with a short status of each.", Fields: map[string]*framework.FieldSchema{
						"keys":     {Type: framework.TypeStringSlice, Description: "Names of the connections."},
						"key_info": {Type: framework.TypeMap, Description: "By name: active, standby, token_for, secret_age, standby_proven, last_error."},
					}}},
				},
				ForwardPerformanceStandby: true, // as for the status of one
			},
		},
		DisplayAttrs:    &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: "list", OperationSuffix: "statuses"},
		HelpSynopsis:    "Read the status of all connections, one line each.",
		HelpDescription: strings.TrimSpace(statusListHelp),
	}
}

func (d *handlers) listStatus(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	connections, err := d.engine.Statuses(ctx)
	if err != nil {
		return d.errorResponse(req, "", err)
	}
	names := make([]string, 0, len(connections))
	lines := make(map[string]any, len(connections))
	for _, c := range connections {
		names = append(names, c.Connection)
		lines[c.Connection] = listEntry(c)
	}
	return logical.ListResponseWithInfo(names, lines), nil
}

// listEntry returns the short status of a connection, for a table on a terminal.
func listEntry(s backend.Status) map[string]any {
	none := func(text string) string { return cmp.Or(text, "-") }
	return map[string]any{
		"active":         none(s.Active.ID),
		"standby":        none(s.Standby.ID),
		"token_for":      none(span(s.TokenExpireTime.Sub(s.Time))),
		"secret_age":     none(age(s.Active.SecretSetTime, s.Time)),
		"standby_proven": none(provenAgo(s)),
		"last_error":     none(lastErrorInShort(s)),
	}
}

func provenAgo(s backend.Status) string {
	switch {
	case s.Standby.ID == "":
		return ""
	case s.Standby.VerifiedTime.IsZero():
		return "never"
	}
	return age(s.Standby.VerifiedTime, s.Time) + " ago"
}

func lastErrorInShort(s backend.Status) string {
	switch {
	case !s.Readable():
		return "unreadable"
	case s.ConsecutiveErrors == 0:
		return ""
	}
	return fmt.Sprintf("%s (%d)", strings.ReplaceAll(s.LastErrorResult, "_", " "), s.ConsecutiveErrors)
}

func age(since, now time.Time) string {
	if since.IsZero() {
		return ""
	}
	return span(max(now.Sub(since), 0))
}

// span formats a duration in the largest unit of which it has at least two. It returns ""
// if the duration is negative.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return ""
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/day)
}

const statusListHelp = `
A line for each connection of this mount. The table is there with -detailed:

  $ vault list -detailed gbg/status

  active          the client that tokens are requested with
  last_error      why the last token request failed, and how many have failed in a row
  secret_age      how old the active client's secret is
  standby         the other client
  standby_proven  how long ago the standby last got a token
  token_for       how long the current token is still valid

"vault read gbg/status/NAME" shows more. As everywhere in Vault, anyone who may
list sees all names.
`
