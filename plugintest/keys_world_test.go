package plugintest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// withKeys creates clients A and B at the identity provider and returns a configuration
// with both, which authenticate with keys. None is registered yet.
func (w *world) withKeys() fields {
	w.t.Helper()
	w.idpClient(idpA)
	w.idpClient(idpB)
	return with(w.exchangeOnly(), fields{
		"idp_token_url": w.idpURL(), "idp_auth_method": "private_key_jwt", "key_algorithm": "ES256",
		"client_id": idpA, "paired_client_id": idpB, "verify_connection": false,
	})
}

// key is an answer's public key of a client.
func (w *world) key(id string) fields {
	w.t.Helper()
	return w.keyOf(w.read("keys"), id)
}

func (w *world) keyOf(answer fields, id string) fields {
	w.t.Helper()
	for _, key := range answer["clients"].([]map[string]any) {
		if key["client_id"] == id {
			return key
		}
	}
	require.Fail(w.t, "no key of this client", id)
	return nil
}

// newKey makes a new key for the standby, which must succeed, and returns the answer.
func (w *world) newKey(data fields) fields {
	w.t.Helper()
	resp := w.ok(w.try(logical.UpdateOperation, "keys", data))
	require.NotNil(w.t, resp)
	w.markKeys()
	return resp.Data
}

// register registers a client's key at the identity provider, in place of the one before.
func (w *world) register(ids ...string) {
	w.t.Helper()
	for _, id := range ids {
		encoded, err := json.Marshal(w.key(id)["jwk"])
		require.NoError(w.t, err)
		var jwk jose.JSONWebKey
		require.NoError(w.t, json.Unmarshal(encoded, &jwk))
		require.NoError(w.t, w.sim.SetIDPKeys(id, gbgsim.IDPKeys{JWKS: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{jwk}}}))
	}
}

// unregister makes the identity provider refuse a client's key.
func (w *world) unregister(id string) {
	w.t.Helper()
	require.NoError(w.t, w.sim.SetIDPKeys(id, gbgsim.IDPKeys{}))
}

// privateKeys returns the private keys of all clients as they are stored.
func (w *world) privateKeys() (stored []string) {
	w.t.Helper()
	content := w.storage.content(w.t)
	for key, entry := range content {
		if !strings.HasPrefix(key, "connection/") {
			continue
		}
		var connection struct {
			Clients []struct {
				Key struct {
					Private string `json:"private"`
				} `json:"key"`
			} `json:"clients"`
		}
		require.NoError(w.t, json.Unmarshal(entry.Value, &connection))
		for _, client := range connection.Clients {
			if client.Key.Private != "" {
				stored = append(stored, client.Key.Private)
			}
		}
	}
	return stored
}

// markKeys makes the private keys that are stored secrets that must not be heard, in
// every form in which they could be written.
func (w *world) markKeys() {
	w.t.Helper()
	for _, stored := range w.privateKeys() {
		der, err := base64.StdEncoding.DecodeString(stored)
		require.NoError(w.t, err)
		private, err := x509.ParsePKCS8PrivateKey(der)
		require.NoError(w.t, err)
		var secret []byte
		switch private := private.(type) {
		case *rsa.PrivateKey:
			secret = private.D.Bytes()
			w.heard.mark(private.D.String())
			w.heard.mark(private.Primes[0].String())
		case *ecdsa.PrivateKey:
			secret, err = private.Bytes()
			require.NoError(w.t, err)
		}
		w.heard.mark(stored)
		w.heard.mark(string(der))
		w.heard.mark(string(secret))
		w.heard.mark(base64.RawURLEncoding.EncodeToString(secret))
	}
}

// assertions are the forms with assertions that the identity provider has received.
type assertions struct {
	mu    sync.Mutex
	forms []url.Values
}

// signatureOf returns what makes a form's assertion one: the rest of it is public.
func signatureOf(form url.Values) string {
	assertion := form.Get("client_assertion")
	return assertion[strings.LastIndex(assertion, ".")+1:]
}

// recordAssertions marks every assertion that is sent from now on.
func (w *world) recordAssertions() *assertions {
	a := &assertions{}
	w.onRequest(func(_ http.ResponseWriter, r *http.Request) bool {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return false
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		form, err := url.ParseQuery(string(body))
		if err != nil || !form.Has("client_assertion") {
			return false
		}
		w.heard.mark(signatureOf(form)[:24])
		a.mu.Lock()
		defer a.mu.Unlock()
		a.forms = append(a.forms, form)
		return false
	})
	return a
}

// sent returns the forms so far.
func (a *assertions) sent() []url.Values {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]url.Values{}, a.forms...)
}
