package gbgsim

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

const help = `GBG simulator: nothing here is real.

GBG GO
POST   ` + TokenPath + `                  get a token (form: grant_type=client_credentials, client_id, client_secret, scope)
POST   ` + RevokePath + `           revoke a token (form: client_id, client_secret, token)
GET    /portal/clients                   list the API clients
POST   /portal/clients                   create one {"name","department","roles":[],"client_id"}
POST   /portal/clients/{id}/regenerate   replace its secret
PUT    /portal/clients/{id}/roles        replace its roles {"roles":["` + RoleGoAPIAccess + `"]}
DELETE /portal/clients/{id}              delete it

GBG Identity Solution
POST   ` + IdentityTokenPath + `    exchange an id_token for a token (form: grant_type=id_auth, client_id=` + IdentityClientID + `,
                                         client_secret=` + IdentityClientSecret + `, id_token, scope)

A customer's identity provider
POST   ` + IDPTokenPath + `                        get a token to exchange (form or HTTP Basic: grant_type=client_credentials, ...)
GET    /idp/clients                      list its clients
POST   /idp/clients                      create one {"client_id"}
POST   /idp/clients/{id}/regenerate      replace its secret
DELETE /idp/clients/{id}                 delete it
POST   /idp/login                        sign a person on and get an id_token to exchange {"subject":"alice"}
GET    /idp/jwks                         get the keys that id_tokens are signed with
PUT    /idp/trust                        accept the JWTs of another issuer as well {"issuer","jwks_url"}

Both of GBG
GET    ` + APIPath + `                        call the API with a token (Authorization: Bearer)
GET    /portal/settings                  read the settings
PUT    /portal/settings                  change them {"token_lifetime":"300s"}

All of it
GET    /portal/stats                     count token requests, API calls and TLS connections
GET    /portal/faults                    list the faults in the order in which they are tried
PUT    /portal/faults                    add one {"kind":"status","status":503,"client_id":"a","requests":2}
DELETE /portal/faults                    clear them all, and answer the requests that wait for one
GET    /portal/ca                        get the certificate that HTTPS clients must trust

A fault is what goes wrong at an endpoint: at ` + TokenPath + `, or where
endpoint says, which is ` + string(EndpointIdentity) + `, ` + string(EndpointIDP) + ` or ` + string(EndpointRevoke) + `. A request meets one at most: one with
its client_id before one without, and of these the newest. A fault counts for the
next requests, as many as it says, or until it is cleared. A delay is like
"1.5s"; retry_after is the header as it is, and retry_after_date is like "30s"
for the HTTP date in 30 seconds.

`

func serveHelp(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, help+faultHelp())
}

// faultHelp is a table of all kinds for people.
func faultHelp() string {
	var help strings.Builder
	for _, known := range faultSpecs {
		fmt.Fprintf(&help, "%-22s %s\n", known.kind, known.summary)
		if len(known.parameters) > 0 {
			fmt.Fprintf(&help, "%-22s   takes %s\n", "", strings.Join(known.parameters, ", "))
		}
	}

	return help.String()
}
