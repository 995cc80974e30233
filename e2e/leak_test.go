package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// hearing asks Vault, and keeps every answer but for the access tokens in the
// answers to creds, where they belong.
type hearing struct {
	t      *testing.T
	server *vaultserver.Server
	mount  string

	mu   sync.Mutex
	said map[string][]string // by request
}

// said is one answer.
type said struct {
	status int
	data   map[string]any
	lease  string
	text   string
}

// ask sends a request to a path of the mount.
func (h *hearing) ask(method, path string, data map[string]any) said {
	h.t.Helper()
	return h.askVault(method, h.mount+"/"+path, data)
}

// askVault sends a request to a path of Vault's.
func (h *hearing) askVault(method, path string, data map[string]any) said {
	h.t.Helper()
	body, err := json.Marshal(data)
	require.NoError(h.t, err)
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.server.Address()+"/v1/"+path, bytes.NewReader(body))
	require.NoError(h.t, err)
	req.Header.Set("X-Vault-Token", h.server.Token())
	resp, err := http.DefaultClient.Do(req)
	require.NoError(h.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(h.t, err)

	got := said{status: resp.StatusCode, text: string(text)}
	var answer map[string]any
	if json.Unmarshal(text, &answer) == nil {
		got.data, _ = answer["data"].(map[string]any)
		got.lease, _ = answer["lease_id"].(string)
	}
	heard := got.text
	if strings.HasPrefix(path, h.mount+"/creds") && got.data["access_token"] != nil {
		rest := with(answer, "data", with(got.data, "access_token", nil))
		content, err := json.Marshal(rest)
		require.NoError(h.t, err)
		heard = string(content)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	name := method + " " + strings.SplitN(path, "?", 2)[0]
	h.said[name] = append(h.said[name], fmt.Sprint(resp.Header)+heard)
	return got
}

// ok is ask for what must succeed.
func (h *hearing) ok(method, path string, data map[string]any) said {
	h.t.Helper()
	got := h.ask(method, path, data)
	require.Less(h.t, got.status, 300, "%s %s", method, path)
	return got
}

// The search below must be able to find.
func TestLeakSearchFinds(t *testing.T) {
	m := &marks{}
	secret, jwt := m.secret("secret"), m.jwt("token")
	for form, encoded := range formsOf(secret) {
		assert.NotEmpty(t, m.found("x"+encoded+"x"), form)
	}
	for _, text := range []string{
		secret[:len(secret)/2], secret[len(secret)/2:], jwt[:len(jwt)/2], strings.Split(jwt, ".")[1], strings.Split(jwt, ".")[2],
		base64.StdEncoding.EncodeToString([]byte(secret)),
	} {
		assert.NotEmpty(t, m.found("x "+text+" x"))
	}
	assert.Empty(t, m.found("fake-secret [redacted]"))
}

// Every path, failure and background action is played with marked secrets, at a
// GBG that quotes them wherever it can. They are then in no log, audit log, answer
// or file, the access_token of creds' answers aside.
func TestNoSecretLeaks(t *testing.T) {
	t.Parallel()
	data, log := t.TempDir(), &vaultserver.Output{}
	server, err := vaultserver.Start(t.Context(), vaultserver.Options{
		Binary: suite.vault, PluginDir: ownPlugins(t), DataDir: data, Log: log, Env: []string{"HOME=" + suite.dir, "VAULT_LOG_LEVEL=trace"},
	})
	require.NoError(t, err, log)
	t.Cleanup(func() { assert.NoError(t, server.Stop()) })
	require.NoError(t, server.Register(t.Context()))
	audit := enableAudit(t, server)
	require.NoError(t, server.Enable(t.Context(), "leak"))
	h := &hearing{t: t, server: server, mount: "leak", said: map[string][]string{}}
	gbg := newHostileGBG(t)

	playConfig(h, gbg)
	playCreds(h, gbg)
	playTricks(h, gbg)
	playBackground(h, gbg)
	playLeases(h, gbg)
	playVault(h, gbg)

	// What all that has left behind.
	for _, path := range []string{
		"leak/?help=1", "leak/config?help=1", "leak/creds?help=1", "leak/rotate/m2m?help=1", "leak/status?help=1",
		"sys/internal/specs/openapi", "sys/mounts", "sys/pprof/goroutine?debug=2",
	} {
		assert.Equal(t, http.StatusOK, h.askVault(http.MethodGet, path, nil).status, path)
	}
	for _, name := range []string{"", "/sso", "/m2m", "/leased", "/taken-back", "/short", "/away"} {
		for _, path := range []string{"config", "status", "creds"} {
			h.ask(http.MethodGet, path+name, nil)
		}
	}
	h.ok("LIST", "config/", nil)
	h.ok("LIST", "status/", nil)
	assert.Equal(t, http.StatusOK, h.ask(http.MethodGet, "metrics", nil).status)
	require.NoError(t, server.Stop())

	places := map[string]string{"Vault's log": log.String(), "the audit log": fileText(t, audit.file)}
	for request, answers := range h.said {
		places[request] = strings.Join(answers, "\n")
	}
	for path, text := range filesIn(t, data) {
		places[path] = text
	}
	// There was something to search.
	for place, text := range map[string]string{
		"Vault's log":                           "[DEBUG] secrets.vault-plugin-secrets-gbg",
		"the audit log":                         `"path":"leak/creds"`,
		"GET leak/creds":                        `"access_token":null`,
		"PUT leak/rotate":                       "[redacted]",
		"GET leak/status/short":                 "last_rotation_cause",
		"GET leak/metrics":                      "gbg_client_active{",
		"LIST leak/status/":                     "key_info",
		filepath.Join(data, "raft", "vault.db"): "core/",
	} {
		assert.Contains(t, places[place], text, place)
	}
	assert.Contains(t, places["Vault's log"], "goroutine ", "the stacks of a plugin that was ended")
	for place, text := range places {
		assert.Empty(t, gbg.marks.found(text), place)
		// Vault itself audits the address of a request as it is, which is why no
		// token may be in one.
		if place != "the audit log" {
			assert.Empty(t, gbg.inAddress.found(text), place)
		}
	}
	t.Logf("%d secrets sought in %d places", len(gbg.marks.of), len(places))
}

// playConfig creates, changes and misspells connections.
func playConfig(h *hearing, gbg *hostileGBG) {
	pair := map[string]any{
		"token_url": gbg.URL + "/token", "request_timeout": "1s",
		"client_id": "client-a", "client_secret": gbg.marks.secret("client A's secret"),
		"paired_client_id": "client-b", "paired_client_secret": gbg.marks.secret("client B's secret"),
	}
	h.ok(http.MethodPut, "config", pair)
	h.ok(http.MethodPut, "config", with(pair, "client_secret", gbg.marks.secret("client A's second secret")))
	h.ok(http.MethodPut, "config/sso", map[string]any{
		"grant_type": "id_auth", "token_url": gbg.URL + "/identity", "request_timeout": "1s",
		"exchange_client_secret": gbg.marks.secret("the exchange's secret"),
	})
	h.ok(http.MethodPut, "config/m2m", with(with(with(pair, "grant_type", "id_auth"), "idp_token_url", gbg.URL+"/idp"),
		"exchange_client_secret", gbg.marks.secret("the machine's exchange's secret")))
	// Two, for an endpoint that has refused is not asked again at once.
	for _, name := range []string{"leased", "taken-back"} {
		h.ok(http.MethodPut, "config/"+name, with(with(pair, "lease", true), "revoke_url", gbg.URL+"/revoke"))
	}
	h.ok(http.MethodPut, "config/short", with(pair, "token_url", gbg.URL+"/short/token"))
	h.ok(http.MethodPut, "config/away", with(with(pair, "token_url", nowhere), "verify_connection", false))

	secret := gbg.marks.secret("a secret in a bad request")
	for name, change := range map[string]map[string]any{
		"a misspelt field":      {"client_secrett": secret},
		"a list":                {"client_secret": []string{secret}},
		"an object":             {"paired_client_secret": map[string]any{"value": secret}},
		"two lines":             {"client_secret": secret + "\n" + secret},
		"too long":              {"client_secret": strings.Repeat(secret, 200)},
		"an invisible sign":     {"client_secret": secret + "\u200b" + secret},
		"a lost sign":           {"paired_client_secret": secret + "\ufffd"},
		"in user info":          {"token_url": "https://user:" + url.PathEscape(secret) + "@gbg.test/"},
		"another grant's":       {"exchange_client_secret": secret},
		"no secret for the URL": {"token_url": gbg.URL + "/other"},
		"a key for a root":      {"ca_pem": "-----BEGIN PRIVATE KEY-----\n" + base64.StdEncoding.EncodeToString([]byte(secret)) + "\n-----END PRIVATE KEY-----"},
		"a wrong duration":      {"refresh_before": "soon", "client_secret": secret},
		"a wrong kind":          {"client_id": []string{"a"}, "client_secret": secret},
		"ids that are equal":    {"client_id": "client-b", "client_secret": secret},
	} {
		got := h.ask(http.MethodPut, "config", change)
		if name != "a misspelt field" {
			assert.Equal(h.t, http.StatusBadRequest, got.status, name)
		}
	}
	gbg.refuse(secret, true)
	assert.Equal(h.t, http.StatusBadRequest, h.ask(http.MethodPut, "config", map[string]any{"client_secret": secret}).status)
	assert.Equal(h.t, http.StatusBadRequest, h.ask(http.MethodPut, "config/m2m", map[string]any{"client_secret": secret}).status)
	h.ok(http.MethodDelete, "config/nothing", nil)
	h.ok(http.MethodPut, "config/gone", pair)
	h.ok(http.MethodDelete, "config/gone", nil)
}

// playCreds reads, exchanges and rotates.
func playCreds(h *hearing, gbg *hostileGBG) {
	token, _ := h.ok(http.MethodGet, "creds", nil).data["access_token"].(string)
	require.NotEmpty(h.t, gbg.marks.found(token), "what is sought is what is served")
	h.ok(http.MethodGet, "creds?min_ttl=10m", nil)
	h.ok(http.MethodGet, "creds/m2m", nil)
	idToken := gbg.marks.jwt("a caller's token")
	h.ok(http.MethodPut, "creds/sso", map[string]any{"id_token": idToken})
	inAddress := gbg.inAddress.jwt("a token in an address")
	for path, status := range map[string]int{
		"creds?min_ttl=9h": http.StatusBadRequest, "creds?min_ttl=soon": http.StatusBadRequest, "creds/nobody": http.StatusBadRequest, "creds/sso": http.StatusBadRequest,
		"creds?id_token=" + inAddress: http.StatusBadRequest, "creds/sso?id_token=" + inAddress + "&id_token=" + inAddress: http.StatusBadRequest,
		"creds/away": http.StatusServiceUnavailable,
	} {
		assert.Equal(h.t, status, h.ask(http.MethodGet, path, nil).status, strings.SplitN(path, "?", 2)[0])
	}
	for name, data := range map[string]map[string]any{
		"a list": {"id_token": []string{idToken}}, "a header": {"id_token": "Bearer " + idToken}, "nothing": {"id_token": ""},
		"no token": {"id_token": idToken + "\x01"}, "an invisible sign": {"id_token": idToken + "\u00ad"}, "too long": {"id_token": strings.Repeat(idToken, 400)},
	} {
		assert.Equal(h.t, http.StatusBadRequest, h.ask(http.MethodPut, "creds/sso", data).status, name)
	}
	assert.Equal(h.t, http.StatusBadRequest, h.ask(http.MethodPut, "creds", map[string]any{"id_token": idToken}).status)

	h.ok(http.MethodPut, "rotate", map[string]any{"client_secret": gbg.marks.secret("client B's second secret")})
	h.ok(http.MethodPut, "rotate", map[string]any{"client_id": "client-b", "client_secret": gbg.marks.secret("a secret that nobody wanted")})
	h.ok(http.MethodPut, "rotate/m2m", nil)
	secret := gbg.marks.secret("a secret in a bad rotation")
	for _, data := range []map[string]any{{"client_secret": []string{secret}}, {"client_secret": secret + "\n\n" + secret}, {"client_secret": "\u2060" + secret}, {"client_id": "nobody", "client_secret": secret}} {
		assert.Equal(h.t, http.StatusBadRequest, h.ask(http.MethodPut, "rotate", data).status)
	}
	assert.Equal(h.t, http.StatusServiceUnavailable, h.ask(http.MethodPut, "rotate/away", map[string]any{"client_secret": secret}).status)
}

// toStandby is a rotation to a connection's standby.
func (h *hearing) toStandby(connection string) map[string]any {
	h.t.Helper()
	return map[string]any{"client_id": h.ok(http.MethodGet, "status/"+connection, nil).data["standby_client_id"]}
}

// playTricks has GBG answer all kinds of requests in its own ways.
func playTricks(h *hearing, gbg *hostileGBG) {
	for trick := range tricks {
		lease := h.ok(http.MethodGet, "creds/leased", nil).lease
		gbg.play(trick)
		var requests sync.WaitGroup
		for _, request := range []struct {
			path string
			data map[string]any
		}{
			{"leak/rotate", map[string]any{"client_secret": gbg.marks.secret("a new secret, quoted " + trick)}},
			{"leak/config", map[string]any{"paired_client_secret": gbg.marks.secret("a changed secret, quoted " + trick)}},
			{"leak/rotate/m2m", h.toStandby("m2m")},
			{"leak/creds/sso", map[string]any{"id_token": gbg.marks.jwt("a token, quoted " + trick)}},
			{"sys/leases/revoke", map[string]any{"lease_id": lease, "sync": true}},
		} {
			requests.Go(func() {
				got := h.askVault(http.MethodPut, request.path, request.data)
				if request.path != "sys/leases/revoke" { // where any success will do
					assert.GreaterOrEqual(h.t, got.status, 400, "%s, quoted %s", request.path, trick)
				}
			})
		}
		requests.Wait()
		gbg.play("")
	}
	h.ok(http.MethodPut, "rotate", h.toStandby("default")) // it goes well again
}

// playBackground has tokens refreshed, clients refused and both recover, without
// and with a reader who waits.
func playBackground(h *hearing, gbg *hostileGBG) {
	first := h.ok(http.MethodGet, "creds/short", nil).data
	gbg.marks.mu.Lock()
	active := gbg.marks.of["client A's secret"]
	gbg.marks.mu.Unlock()
	gbg.refuse(active, true)
	require.Eventually(h.t, func() bool { return h.ok(http.MethodGet, "status/short", nil).data["active_client_id"] == "client-b" }, time.Minute, 200*time.Millisecond)
	second := h.ok(http.MethodGet, "creds/short", nil)
	assert.NotEqual(h.t, first["client_id"], second.data["client_id"])
	assert.Contains(h.t, second.text, "has taken over")

	gbg.play("in headers")
	require.Eventually(h.t, func() bool { return h.ok(http.MethodGet, "status/short", nil).data["last_error"] != nil }, time.Minute, 200*time.Millisecond)
	require.Eventually(h.t, func() bool { return h.ask(http.MethodGet, "creds/short", nil).status == http.StatusServiceUnavailable }, time.Minute, 200*time.Millisecond)
	endPause := func() { h.ok(http.MethodPut, "config/short", map[string]any{"refresh_before": "2m"}) }
	gbg.play("in error_description")
	endPause()
	assert.Equal(h.t, http.StatusBadGateway, h.ask(http.MethodGet, "creds/short", nil).status)
	gbg.play("")
	endPause()
	h.ok(http.MethodGet, "creds/short", nil)

	// A reader's own failover.
	secret := gbg.marks.secret("a refused secret")
	gbg.refuse(secret, true)
	h.ok(http.MethodPut, "config/failover", map[string]any{
		"token_url": gbg.URL + "/token", "client_id": "client-a", "client_secret": secret,
		"paired_client_id": "client-b", "paired_client_secret": gbg.marks.secret("the standby's secret"), "verify_connection": false,
	})
	assert.Contains(h.t, h.ok(http.MethodGet, "creds/failover", nil).text, "has taken over")
}

// playLeases ends leases in all ways.
func playLeases(h *hearing, gbg *hostileGBG) {
	var leases []string
	for range 3 {
		leases = append(leases, h.ok(http.MethodGet, "creds/taken-back", nil).lease)
	}
	for _, lease := range leases {
		assert.Equal(h.t, http.StatusOK, h.askVault(http.MethodPut, "sys/leases/lookup", map[string]any{"lease_id": lease}).status)
	}
	assert.Equal(h.t, http.StatusOK, h.askVault("LIST", "sys/leases/lookup/leak/creds/taken-back", nil).status)
	revoke := func(lease string) int {
		return h.askVault(http.MethodPut, "sys/leases/revoke", map[string]any{"lease_id": lease, "sync": true}).status
	}
	assert.Equal(h.t, http.StatusNoContent, revoke(leases[0]))
	gbg.play("in error_description")
	assert.Equal(h.t, http.StatusBadRequest, revoke(leases[1]))
	assert.Equal(h.t, http.StatusNoContent, revoke(leases[1]), "the engine retries")
	gbg.play("")
}

// playVault reloads and ends the plugin, and restarts Vault.
func playVault(h *hearing, gbg *hostileGBG) {
	assert.Less(h.t, h.askVault(http.MethodPut, "sys/plugins/reload/backend", map[string]any{"plugin": vaultserver.PluginName}).status, 300)
	h.ok(http.MethodGet, "creds", nil)
	// Go writes the stacks of all goroutines before it ends.
	for _, signal := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGKILL} {
		pid := pluginProcess(h.t, h.server)
		require.NoError(h.t, syscall.Kill(pid, signal))
		require.Eventually(h.t, func() bool { return syscall.Kill(pid, 0) != nil }, 30*time.Second, 50*time.Millisecond)
		require.Eventually(h.t, func() bool { return h.ask(http.MethodGet, "creds", nil).status == http.StatusOK }, time.Minute, 200*time.Millisecond)
	}
	require.NoError(h.t, h.server.Restart(h.t.Context()))
	gbg.play("in error_description")
	h.ok(http.MethodGet, "creds", nil)
	h.ask(http.MethodPut, "rotate", h.toStandby("default"))
	gbg.play("")
}

func fileText(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

// filesIn gives the content of all files below a folder, by path.
func filesIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			files[path] = fileText(t, path)
		}
		return err
	}))
	return files
}
