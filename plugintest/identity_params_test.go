package plugintest

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// sentToIDP records the requests to the identity provider from now on.
type sentToIDP struct {
	mu             sync.Mutex
	forms          []url.Values
	authorizations []string
}

func (w *world) recordIDP() *sentToIDP {
	sent := &sentToIDP{}
	w.onRequest(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != gbgsim.IDPTokenPath || r.ParseForm() != nil {
			return false
		}
		sent.mu.Lock()
		defer sent.mu.Unlock()
		sent.forms = append(sent.forms, r.PostForm)
		sent.authorizations = append(sent.authorizations, r.Header.Get("Authorization"))
		return false
	})
	return sent
}

// last returns the last request.
func (s *sentToIDP) last() (form url.Values, authorization string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.forms) - 1
	return s.forms[n], s.authorizations[n]
}

func TestIDPParamsAreSentAndShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		sent := w.recordIDP()
		params := fields{"audience": "https://api.gbg.example/?a=b&c", "resource": " urn:gbg\n"}
		w.write("config", with(w.m2m(), fields{"idp_params": params}))
		form, authorization := sent.last()
		assert.Equal(t, []string{"https://api.gbg.example/?a=b&c"}, form["audience"])
		assert.Equal(t, []string{"urn:gbg"}, form["resource"])
		assert.Equal(t, []string{idpB}, form["client_id"])
		assert.Empty(t, authorization)
		assert.Empty(t, w.sim.LastExchange()["audience"], "GBG does not get them")
		stored := map[string]string{"audience": "https://api.gbg.example/?a=b&c", "resource": "urn:gbg"}
		assert.Equal(t, stored, w.read("config")["idp_params"])

		assert.Equal(t, asks{}, w.asksFor(func() { w.write("config", fields{"idp_params": params}) }), "the same")
		w.restart()
		assert.Equal(t, stored, w.read("config")["idp_params"])
		assert.Equal(t, asks{}, w.asksFor(func() { w.read("creds") }), "the stored token is of these parameters")
	})
}

// Another audience is another token, so the clients prove themselves again, and what is
// served or stored of the old one is not served any more.
func TestIDPParamsAreVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.m2m(), fields{"idp_params": fields{"audience": "one"}}))
		old := w.storage.content(t)[tokenKey]
		first := w.read("creds")["access_token"]
		assert.Equal(t, asks{2, 2}, w.asksFor(func() { w.write("config", fields{"idp_params": fields{"audience": "two"}}) }))
		assert.NotEqual(t, first, w.read("creds")["access_token"])
		require.NoError(t, w.storage.Put(t.Context(), &old))
		assert.NotEqual(t, first, w.newMount().read("creds")["access_token"])

		w.fault(refusalAt(gbgsim.EndpointIDP, "", "access_denied", "no such audience"))
		content := w.storage.content(t)
		assert.Contains(t, w.refused(w.try(logical.UpdateOperation, "config", fields{"idp_params": fields{"audience": "three"}})), "no such audience")
		assert.Equal(t, content, w.storage.content(t))
	})
}

// A write replaces the whole map, in each form that a map can be given in.
func TestIDPParamsForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.m2m(), fields{"idp_params": "audience=a=b"}))
		for _, c := range []struct {
			given any
			want  map[string]string
		}{
			{"audience=a=b", map[string]string{"audience": "a=b"}},
			{[]any{"audience=a", "resource="}, map[string]string{"audience": "a", "resource": ""}},
			{`{"audience": "c"}`, map[string]string{"audience": "c"}},
			{nil, map[string]string{"audience": "c"}},
			{"{}", map[string]string{}},
			{fields{"audience": "d"}, map[string]string{"audience": "d"}},
			{map[string]string{"audience": "e"}, map[string]string{"audience": "e"}},
			{fields{}, map[string]string{}},
		} {
			w.write("config", fields{"idp_params": c.given})
			assert.Equal(t, c.want, w.read("config")["idp_params"], "%v", c.given)
		}
	})
}

func TestIDPParamsThatAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		m2m := w.m2m()
		const noMap = `idp_params must be a map of strings: NAME=VALUE, or {"NAME": "VALUE"}`
		const asked = ": the request has that field from other settings"
		const likeSecret = ", which looks like the name of a secret: parameters are shown by a read"
		for _, c := range []struct {
			given any
			want  string
		}{
			{"audience", noMap},
			{wrongSecret, noMap},
			{"{", noMap},
			{1, noMap},
			{true, noMap},
			{[]any{1}, noMap},
			{fields{"audience": 1}, noMap},
			{fields{"audience": nil}, noMap},
			{fields{"audience": fields{"a": "b"}}, noMap},
			{`{"audience": 12345678901234567890}`, noMap},
			{fields{"grant_type": "x"}, "idp_params must not have grant_type" + asked},
			{fields{"scope": "x"}, "idp_params must not have scope" + asked},
			{fields{"client_id": "x"}, "idp_params must not have client_id" + asked},
			{fields{"client_secret": wrongSecret}, "idp_params must not have client_secret" + asked},
			{fields{"client_assertion": "x"}, "idp_params must not have client_assertion" + asked},
			{fields{"client_assertion_type": "x"}, "idp_params must not have client_assertion_type" + asked},
			{fields{"username": "x"}, "idp_params must not have username" + asked},
			{fields{"password": wrongSecret}, "idp_params must not have password" + asked},
			{fields{"Client_Secret": wrongSecret}, "idp_params must not have Client_Secret" + asked},
			{fields{"api-key": wrongSecret}, "idp_params must not have api-key" + likeSecret},
			{fields{"shared.secret": wrongSecret}, "idp_params must not have shared.secret" + likeSecret},
			{fields{"refresh_token": wrongSecret}, "idp_params must not have refresh_token" + likeSecret},
			{fields{"": "x"}, "idp_params has a parameter without a name"},
			{fields{"a b": "x"}, "idp_params has a name with a character that is not valid in one: letters, digits and punctuation of ASCII are"},
			{fields{"audience": "a\x00"}, "idp_params has control characters"},
			{fields{"audience": long(2049)}, "idp_params has a value longer than 2048 bytes: audience"},
			{fields{long(129): "x"}, "idp_params has a name longer than 128 bytes"},
		} {
			assert.Equal(t, c.want, w.refused(w.try(logical.UpdateOperation, "config", with(m2m, fields{"idp_params": c.given}))), "%v", c.given)
		}
		assert.Equal(t, `idp_params is for grant_type "id_auth"; this connection's is "client_credentials"`,
			w.refused(w.try(logical.UpdateOperation, "config", with(w.single(), fields{"idp_params": "a=b"}))))
		assert.Equal(t, "idp_params needs idp_token_url: they are sent there",
			w.refused(w.try(logical.UpdateOperation, "config", with(w.exchangeOnly(), fields{"idp_params": "a=b"}))))
		assert.Equal(t, "idp_auth_method needs idp_token_url: it is how the clients authenticate there",
			w.refused(w.try(logical.UpdateOperation, "config", with(w.exchangeOnly(), fields{"idp_auth_method": "client_secret_basic"}))))
		assert.Equal(t, `idp_auth_method must be "client_secret_post" (in the form), "client_secret_basic" (in a Basic header) or "private_key_jwt" (with keys)`,
			w.refused(w.try(logical.UpdateOperation, "config", with(m2m, fields{"idp_auth_method": "basic"}))))
		assert.Empty(t, w.storage.content(t))
		w.write("config", with(w.exchangeOnly(), fields{"idp_params": fields{}, "idp_auth_method": ""}))
	})
}

func TestBasicAuthAtTheIDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		sent := w.recordIDP()
		m2m := w.m2m()
		w.write("config", m2m)
		token := w.read("creds")["access_token"]
		assert.Equal(t, asks{2, 2}, w.asksFor(func() { w.write("config", fields{"idp_auth_method": "client_secret_basic"}) }), "verified")
		form, authorization := sent.last()
		assert.Equal(t, url.Values{"grant_type": {"client_credentials"}}, form)
		assert.Equal(t, "Basic "+base64.StdEncoding.EncodeToString([]byte(idpB+":"+m2m["paired_client_secret"].(string))), authorization)
		assert.Equal(t, "client_secret_basic", w.read("config")["idp_auth_method"])
		assert.NotEqual(t, token, w.read("creds")["access_token"], "the token of the verification")

		secret, err := w.sim.RegenerateIDP(idpB)
		require.NoError(t, err)
		w.rotate(fields{"client_id": idpB, "client_secret": secret})
		assert.Equal(t, idpB, w.owner(w.read("creds")["access_token"]))
		require.NoError(t, w.sim.DeleteIDPClient(idpB))
		w.pass(55 * time.Minute)
		assert.Equal(t, idpA, w.read("status")["active_client_id"], "failed over")
		w.mustBeWhole(idpA)
	})
}
