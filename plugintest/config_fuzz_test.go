package plugintest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/helper/errutil"
	"github.com/hashicorp/vault/sdk/helper/jsonutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	gbg "gbg.example/vault-plugin-secrets-gbg"
)

// What stands in the secret fields of what a fuzzer sends, so that it is known
// again wherever it comes out.
const (
	fuzzedSecret = "fuzzed-secret-0001-"
	fuzzedNumber = "31415926535897932"
)

// secretFields are the fields that hold a secret.
var secretFields = []string{"client_secret", "paired_client_secret", "exchange_client_secret", "id_token"}

// fuzzed is a mount that is told anything.
type fuzzed struct {
	backend logical.Backend
	storage *storage
	log     lockedBuffer
}

// newFuzzed mounts a backend, with these connections, none of which is verified:
// nobody is asked for a token.
func newFuzzed(tb testing.TB, connections map[string]fields) *fuzzed {
	tb.Helper()
	z := &fuzzed{storage: &storage{}}
	backend, err := gbg.NewFactory(gbg.Options{
		Now:    func() time.Time { return start },
		Random: func() float64 { return 0 },
	})(context.Background(), &logical.BackendConfig{
		StorageView: z.storage,
		Logger:      hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &z.log}),
		System:      &logical.StaticSystemView{PluginEnvironment: &logical.PluginEnvironment{VaultVersion: "1.21.2"}},
	})
	require.NoError(tb, err)
	z.backend = backend
	tb.Cleanup(func() { backend.Cleanup(context.Background()) })
	for path, config := range connections {
		text, a := z.send(logical.UpdateOperation, path, config)
		require.NoError(tb, a.err, text)
		require.False(tb, a.resp.IsError(), text)
	}
	return z
}

// send makes a request as Vault does, and gives all that came out of it but an
// access token.
func (z *fuzzed) send(op logical.Operation, path string, data fields) (said string, a answer) {
	m := &mount{backend: z.backend}
	a = m.handle(context.Background(), &logical.Request{
		Operation: op, Path: path, MountPoint: "gbg/", Data: maps.Clone(data), Storage: z.storage,
	})
	heard := &transcript{}
	heard.note(a)
	return strings.Join(heard.said, "\n") + z.log.String(), a
}

// mustBeAnswer wants what a caller can make sense of: a success, a 400, or a coded
// error.
func mustBeAnswer(t *testing.T, a answer) {
	t.Helper()
	if a.err == nil {
		return
	}
	switch a.err.(type) { //nolint:errorlint // wrapped is wrong
	case logical.HTTPCodedError, errutil.UserError: // the second is a 400, too
	default:
		t.Fatalf("neither coded nor the caller's: %v", a.err)
	}
	require.False(t, a.resp != nil && a.resp.IsError(), "both an error and an error response")
}

// decodeRequest reads a request's body as Vault does, and marks its secrets.
func decodeRequest(t *testing.T, body []byte) fields {
	t.Helper()
	var data fields
	if jsonutil.DecodeJSON(body, &data) != nil || data == nil {
		t.Skip("Vault refuses it")
	}
	for _, field := range secretFields {
		if given, ok := data[field]; ok {
			data[field] = marked(given)
		}
	}
	return data
}

// marked gives a value in which every text begins with fuzzedSecret and every
// number is fuzzedNumber; empty texts aside.
func marked(value any) any {
	switch v := value.(type) {
	case string:
		if strings.TrimSpace(v) == "" {
			return v
		}
		return fuzzedSecret + v
	case json.Number:
		return json.Number(fuzzedNumber)
	case []any:
		for i := range v {
			v[i] = marked(v[i])
		}
		return v
	case map[string]any:
		inside := map[string]any{}
		for k, e := range v {
			inside[fuzzedSecret+k] = marked(e)
		}
		return inside
	default:
		return value
	}
}

// mustQuoteNothing wants no secret of a request in what came out of it.
func mustQuoteNothing(t *testing.T, said string) {
	t.Helper()
	require.NotContains(t, said, strings.TrimSuffix(fuzzedSecret, "-"))
	require.NotContains(t, said, fuzzedNumber)
}

// fuzzedConnections are by the path that they are written to.
func fuzzedConnections() map[string]fields {
	const nowhere = "http://127.0.0.1:1/token"
	pair := fields{
		"client_id": clientA, "client_secret": fuzzedSecret + "a", "paired_client_id": clientB, "paired_client_secret": fuzzedSecret + "b",
		"token_url": nowhere, "verify_connection": false,
	}
	identity := fields{"grant_type": "id_auth", "exchange_client_secret": fuzzedSecret + "x", "verify_connection": false}
	return map[string]fields{
		"config": pair, "config/sso": identity,
		"config/m2m": with(pair, with(identity, fields{"idp_token_url": nowhere})),
	}
}

// FuzzConfig: a write is stored whole or is refused and changes nothing, whatever
// it holds. No secret of it is quoted.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `[]`, `{"client_id":"a","client_secret":"b"}`,
		`{"client_id":"a","client_secret":"b","paired_client_id":"c","paired_client_secret":"d","token_url":"https://gbg.test/token"}`,
		`{"client_secret":1234567890}`, `{"client_secret":["s"]}`, `{"client_secret":{"s":"t"}}`, `{"client_secret":true}`, `{"client_secret":null}`,
		`{"client_id":["a"],"client_secret":"b"}`, `{"client_id":{},"client_secret":"b"}`, `{"client_id":1e400,"client_secret":"b"}`,
		`{"grant_type":"id_auth"}`, `{"grant_type":"id_auth","client_secret":"x"}`, `{"grant_type":["id_auth"]}`,
		`{"grant_type":"id_auth","idp_token_url":"https://idp.test/token","idp_scope":"a b","client_id":"a","client_secret":"b","exchange_client_id":"e","exchange_client_secret":"s"}`,
		`{"refresh_before":"1m","request_timeout":"5","max_secret_age":86400}`, `{"refresh_before":-1}`, `{"refresh_before":1e30}`, `{"refresh_before":"1y"}`,
		`{"refresh_before":{}}`, `{"failover":"maybe"}`, `{"failover":0,"lease":"true","revoke_url":"https://gbg.test/revoke"}`,
		`{"ca_pem":"-----BEGIN PRIVATE KEY-----\nZmFrZQ==\n-----END PRIVATE KEY-----"}`, `{"scope":"a\u0000b"}`, `{"token_url":"https://u:p@gbg.test/"}`,
		`{"paired_client_id":""}`, `{"paired_client_secret":"\n"}`, `{"client_secrett":"typo"}`, `{"name":"other"}`, `{"":""}`, `{"CLIENT_SECRET":"x"}`,
		`{"client_secret":"\ud800"}`, `{"client_id":"\u202e","client_secret":" \u00a0"}`,
	} {
		for connection := range uint8(4) {
			f.Add(connection, []byte(seed))
		}
	}
	paths := append(slices.Sorted(maps.Keys(fuzzedConnections())), "config/new")
	f.Fuzz(func(t *testing.T, connection uint8, body []byte) {
		path := paths[int(connection)%len(paths)]
		data := decodeRequest(t, body)
		if strings.Contains(fmt.Sprint(without(data, secretFields...)), "fuzzed-secret-0001") {
			t.Skip("a secret that is also elsewhere")
		}
		data["verify_connection"] = false // no fuzzer asks GBG
		z := newFuzzed(t, fuzzedConnections())
		before := z.storage.content(t)
		said, a := z.send(logical.UpdateOperation, path, data)
		mustBeAnswer(t, a)
		mustQuoteNothing(t, said)

		after := z.storage.content(t)
		refused := a.err != nil || a.resp.IsError()
		if refused {
			require.Equal(t, before, after, "refused, and stored: %s", said)
		}
		for _, read := range []string{path, strings.Replace(path, "config", "status", 1)} {
			said, a = z.send(logical.ReadOperation, read, nil)
			mustBeAnswer(t, a)
			mustQuoteNothing(t, said)
			require.Equal(t, path == "config/new" && refused, a.resp == nil || a.resp.IsError(), said)
		}
		// What is stored is what a restart reads.
		restarted := newFuzzed(t, nil)
		for _, entry := range after {
			require.NoError(t, restarted.storage.Put(t.Context(), &entry))
		}
		_, config := z.send(logical.ReadOperation, path, nil)
		_, again := restarted.send(logical.ReadOperation, path, nil)
		require.Equal(t, config, again)
		// And what was written can be written again, and changes nothing.
		if !refused {
			said, a = z.send(logical.UpdateOperation, path, data)
			require.False(t, a.err != nil || a.resp.IsError(), said)
			require.Equal(t, after, z.storage.content(t))
		}
	})
}

// FuzzRotate: whatever is asked, nobody can be asked for a token here, so the
// configuration stays as it is, and no secret is quoted.
func FuzzRotate(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"client_secret":"x"}`, `{"client_secret":["x"]}`, `{"client_secret":12345678901}`, `{"client_secret":{"a":"b"}}`,
		`{"client_secret":"a\nb"}`, `{"client_secret":""}`, `{"client_id":"client-a","client_secret":"x"}`, `{"client_id":"nobody","client_secret":"x"}`,
		`{"client_id":{}}`, `{"client_id":["client-a"]}`, `{"client_id":"client-b\u0000"}`, `{"secret":"typo"}`,
	} {
		f.Add([]byte(seed))
	}
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"error":"invalid_client","error_description":%q}`, r.FormValue("client_secret"))
	}))
	f.Cleanup(refuses.Close)
	f.Fuzz(func(t *testing.T, body []byte) {
		data := decodeRequest(t, body)
		if strings.Contains(fmt.Sprint(without(data, secretFields...)), "fuzzed-secret-0001") {
			t.Skip("a secret that is also elsewhere")
		}
		z := newFuzzed(t, map[string]fields{"config": with(fuzzedConnections()["config"], fields{"token_url": refuses.URL})})
		_, before := z.send(logical.ReadOperation, "config", nil)
		said, a := z.send(logical.UpdateOperation, "rotate", data)
		mustBeAnswer(t, a)
		mustQuoteNothing(t, said)
		_, after := z.send(logical.ReadOperation, "config", nil)
		require.Equal(t, before, after)
		said, _ = z.send(logical.ReadOperation, "status", nil)
		mustQuoteNothing(t, said)
	})
}

// FuzzIDToken: a caller's token is exchanged or refused, and quoted by nobody.
func FuzzIDToken(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"id_token":"x"}`, `{"id_token":"a.b.c"}`, `{"id_token":["x"]}`, `{"id_token":{"a":"b"}}`, `{"id_token":12345678901}`,
		`{"id_token":null}`, `{"id_token":""}`, `{"id_token":"Bearer x"}`, `{"id_token":"x\u0000"}`, `{"id_token":"\n x \n"}`,
		`{"id_token":"x","min_ttl":"1m"}`, `{"id_token":"x","min_ttl":{}}`, `{"id_token":"x","client_secret":["y"]}`, `{"ID_TOKEN":"x"}`,
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	quotes := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.FormValue("id_token")
		w.Header().Set("X-Request-ID", token)
		if strings.HasSuffix(token, "x") {
			_, _ = fmt.Fprintf(w, `{"access_token":"fuzzed-token","token_type":%[1]q,"scope":%[1]q}`, token)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"error":"invalid_grant","error_description":%q}`, token)
	}))
	f.Cleanup(quotes.Close)
	f.Fuzz(func(t *testing.T, body []byte, read bool) {
		data := decodeRequest(t, body)
		if strings.Contains(fmt.Sprint(without(data, secretFields...)), "fuzzed-secret-0001") {
			t.Skip("a secret that is also elsewhere")
		}
		z := newFuzzed(t, map[string]fields{"config": with(fuzzedConnections()["config/sso"], fields{"token_url": quotes.URL})})
		before := z.storage.content(t)
		op := logical.Operation(logical.UpdateOperation)
		if read {
			op = logical.ReadOperation
		}
		said, a := z.send(op, "creds", data)
		mustBeAnswer(t, a)
		mustQuoteNothing(t, said)
		require.Equal(t, before, z.storage.content(t), "nothing of it is kept")
	})
}

// FuzzCredsQuery: a read with any query gives the token or a 400.
func FuzzCredsQuery(f *testing.F) {
	for _, seed := range []string{
		``, `min_ttl=10`, `min_ttl=10m`, `min_ttl=1h`, `min_ttl=-1`, `min_ttl=`, `min_ttl=1&min_ttl=2`, `min_ttl=99999999999999999999`, `min_ttl=1e9`,
		`id_token=x`, `id_token=x&id_token=y`, `id_token=`, `name=other`, `client_secret=x&client_secret=y`, `lease=true`, `%00=%ff`, `min_ttl=NaN`,
	} {
		f.Add(seed)
	}
	issues := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"access_token":"fuzzed-token","expires_in":3600}`))
	}))
	f.Cleanup(issues.Close)
	z := newFuzzed(f, map[string]fields{"config": with(fuzzedConnections()["config"], fields{"token_url": issues.URL})})
	f.Fuzz(func(t *testing.T, query string) {
		_, a := z.send(logical.ReadOperation, "creds", nil)
		require.NoError(t, a.err)
		token := a.resp.Data
		data := queryOf(t, query)
		said, a := z.send(logical.ReadOperation, "creds", data)
		require.NoError(t, a.err, "a read that is wrong is a 400")
		mustQuoteNothing(t, said)
		if !a.resp.IsError() {
			require.Equal(t, without(token, "ttl"), without(a.resp.Data, "ttl"))
		}
	})
}

// queryOf reads a query as Vault does, and marks its secrets: one value is a text,
// more are a list.
func queryOf(t *testing.T, query string) fields {
	t.Helper()
	values, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://fake.example/", http.NoBody)
	require.NoError(t, err)
	values.URL.RawQuery = query
	data := fields{}
	for key, all := range values.URL.Query() {
		if len(all) == 1 {
			data[key] = all[0]
		} else {
			data[key] = all
		}
		if slices.Contains(secretFields, key) {
			for i := range all {
				all[i] = fuzzedSecret + all[i]
			}
			if len(all) == 1 {
				data[key] = all[0]
			}
		}
	}
	return data
}
