package plugintest

import (
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// The clients that most of these tests create at the identity provider.
const (
	idpA = "idp-client-a"
	idpB = "idp-client-b"
)

// someone is a person who has signed on.
const someone = "alice@example.com"

// identityURL is where the world's GBG exchanges tokens, idpURL where its
// customer's identity provider issues them.
func (w *world) identityURL() string { return w.gbg.URL + gbgsim.IdentityTokenPath }

func (w *world) idpURL() string { return w.gbg.URL + gbgsim.IDPTokenPath }

// exchangeOnly is a configuration for callers who bring tokens of their own.
func (w *world) exchangeOnly() fields {
	return fields{"grant_type": "id_auth", "token_url": w.identityURL()}
}

// idpClient creates a client at the identity provider and gives its secret.
func (w *world) idpClient(id string) (secret string) {
	w.t.Helper()
	c, err := w.sim.CreateIDPClient(id)
	require.NoError(w.t, err)
	return c.Secret
}

// m2mSingle creates client A at the identity provider and gives a configuration
// with it.
func (w *world) m2mSingle() fields {
	w.t.Helper()
	return with(w.exchangeOnly(), fields{"idp_token_url": w.idpURL(), "client_id": idpA, "client_secret": w.idpClient(idpA)})
}

// m2m creates clients A and B at the identity provider and gives a configuration
// with both.
func (w *world) m2m() fields {
	w.t.Helper()
	return with(w.m2mSingle(), fields{"paired_client_id": idpB, "paired_client_secret": w.idpClient(idpB)})
}

// idToken is what a person's sign-on gives.
func (w *world) idToken(subject string) string {
	w.t.Helper()
	token, err := w.sim.IDToken(subject)
	require.NoError(w.t, err)
	w.heard.mark(token)
	return token
}

// asks are the token requests that have reached the identity provider and GBG
// Identity Solution.
type asks struct{ idp, gbg int }

func (w *world) asks() asks {
	stats := w.sim.Stats()
	return asks{stats.IDP.TokenRequests.Total, stats.Identity.TokenRequests.Total}
}

// asksFor is how many there were while f ran.
func (w *world) asksFor(f func()) asks {
	before := w.asks()
	f()
	now := w.asks()
	return asks{now.idp - before.idp, now.gbg - before.gbg}
}

// refusalAt is a server that says no to a client.
func refusalAt(endpoint gbgsim.Endpoint, client, code, description string) gbgsim.Fault {
	return gbgsim.Fault{
		Kind: gbgsim.FaultStatus, Endpoint: endpoint, ClientID: client, Status: 400, Error: code, ErrorDescription: description,
	}
}
