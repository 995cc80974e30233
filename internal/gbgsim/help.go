package gbgsim

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

const help = `GBG simulator, for tests and demos

GBG GO
POST   ` + TokenPath + `                  get a token (form: grant_type=client_credentials, client_id, client_secret, scope;
                                         or grant_type=password, with username and password as well)
POST   ` + RevokePath + `           revoke a token (form: client_id, client_secret, token)
GET    /portal/clients                   list the API clients
POST   /portal/clients                   create a client {"name","department","roles":[],"client_id"}
POST   /portal/clients/{id}/regenerate   replace its secret
PUT    /portal/clients/{id}/roles        replace its roles {"roles":["` + RoleGoAPIAccess + `"]}
POST   /portal/clients/{id}/revoke       make its tokens invalid before they expire
DELETE /portal/clients/{id}              delete it
GET    /portal/users                     list the API users, who get tokens with grant_type=password
POST   /portal/users                     create a user with a temporary password {"username"}
PUT    /portal/users/{name}/password     change its password {"password"}; without one it is random
DELETE /portal/users/{name}              delete it

GBG Identity Solution
POST   ` + IdentityTokenPath + `    exchange an id_token for a token (form: grant_type=id_auth, client_id=` + IdentityClientID + `,
                                         client_secret=` + IdentityClientSecret + `, id_token, scope)

A customer's identity provider
POST   ` + IDPTokenPath + `                        get a token to exchange (form or HTTP Basic: grant_type=client_credentials, ...)
GET    /idp/clients                      list its clients
POST   /idp/clients                      create a client {"client_id"}
POST   /idp/clients/{id}/regenerate      replace its secret
PUT    /idp/clients/{id}/keys            replace its keys (private_key_jwt) {"jwks":{"keys":[]},"certificates":[],"jwks_url"}
DELETE /idp/clients/{id}                 delete it
POST   /idp/login                        sign in a person and get an id_token to exchange {"subject":"alice"}
GET    /idp/jwks                         get the keys that id_tokens are signed with
PUT    /idp/trust                        accept the JWTs of another issuer as well {"issuer","jwks_url"}

GBG GO and GBG Identity Solution
GET    ` + APIPath + `                        call the API with a token (Authorization: Bearer)
GET    /portal/settings                  read the settings
PUT    /portal/settings                  change them {"token_lifetime":"300s","token_format":"jwt"}

The simulator
GET    /portal/stats                     count token requests, API calls and TLS connections
GET    /portal/faults                    list the faults in the order in which they are tried
PUT    /portal/faults                    add a fault {"kind":"status","status":503,"client_id":"a","requests":2}
DELETE /portal/faults                    clear all faults; waiting requests continue
GET    /portal/ca                        get the CA certificate for HTTPS clients

A fault makes an endpoint fail: ` + TokenPath + `, or another one if endpoint
is ` + string(EndpointIdentity) + `, ` + string(EndpointIDP) + ` or ` + string(EndpointRevoke) + `. At most one fault applies to a request: one with its
client_id before one without, and newer before older. It applies to the number of
requests in requests, or until it is cleared. A delay has the form "1.5s".
retry_after is the value of the header; retry_after_date, such as "30s", sends the
HTTP date in 30 seconds.

`

func serveHelp(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, help+faultHelp())
}

// faultHelp returns the part of the help that lists the kinds of faults.
func faultHelp() string {
	var help strings.Builder
	for _, spec := range faultSpecs {
		fmt.Fprintf(&help, "%-22s %s\n", spec.kind, spec.summary)
		if len(spec.parameters) > 0 {
			fmt.Fprintf(&help, "%-22s   takes %s\n", "", strings.Join(spec.parameters, ", "))
		}
	}

	return help.String()
}
