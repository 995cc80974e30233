package e2e

import (
	"encoding/pem"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// Each section of docs/troubleshooting.md starts with a command and what it
// prints: here it is run and does print that. In the page "..." stands for what
// differs. Further commands of a section are its cure, and work.
func TestTroubleshootingPage(t *testing.T) {
	t.Parallel()
	w := newTroubledWorld(t)
	prepare := map[string]func(){
		"Plugin not found in the catalog":      w.goToEmptyServer,
		"Checksum mismatch":                    w.goToEmptyServer,
		"Plugin version mismatch":              w.goToEmptyServer,
		"Plugin directory not configured":      w.goToServerWithoutDirectory,
		"Plugin file not found":                w.goToEmptyServer,
		"Plugin file outside the directory":    w.linkOutside,
		"Secrets engine cannot be disabled":    w.leaseAway,
		"Secret from before a rotation":        w.rotateAfterSnapshot,
		"Plugin cannot be executed":            w.forbidStarting,
		"Plugin binary replaced":               w.replaceBinary,
		"Plugin missing when Vault started":    w.goToServerWithoutPlugin,
		"Cannot write to storage during setup": w.goToServerWithPluginAgain,
		"Vault is sealed":                      w.seal,

		"Plugin process left after Vault was killed": w.killServer,
	}
	sections := map[string][]block{}
	var order []string
	for _, block := range blocks(t, "../docs/troubleshooting.md") {
		if sections[block.section] == nil {
			order = append(order, block.section)
		}
		sections[block.section] = append(sections[block.section], block)
	}
	for section := range prepare {
		require.Contains(t, order, section)
	}
	assert.Greater(t, len(order), 20)
	for _, section := range order {
		t.Run(section, func(t *testing.T) {
			blocks := sections[section]
			require.GreaterOrEqual(t, len(blocks), 2)
			require.Equal(t, []string{"sh", "text"}, []string{blocks[0].language, blocks[1].language})
			w.goTo(w.server)
			if first := prepare[section]; first != nil {
				first()
			}
			out, _ := w.run(blocks[0].text) // that it fails is often the point
			requirePrints(t, blocks[1].text, out)
			for _, cure := range blocks[2:] {
				require.Equal(t, "sh", cure.language)
				out, err := w.run("set -e\n" + cure.text)
				require.NoError(t, err, out)
			}
		})
	}
}

// requirePrints looks for each line of want in got; "..." is anything.
func requirePrints(t *testing.T, want, got string) {
	t.Helper()
	for line := range strings.Lines(strings.TrimSpace(want)) {
		line = strings.TrimSpace(line)
		found := false
		for printed := range strings.Lines(got) {
			found = found || hasInOrder(printed, strings.Split(line, "..."))
		}
		require.True(t, found, "no line %q in:\n%s", line, got)
	}
}

// hasInOrder says whether parts follow one another in a text.
func hasInOrder(text string, parts []string) bool {
	for _, part := range parts {
		_, rest, ok := strings.Cut(text, part)
		if !ok {
			return false
		}
		text = rest
	}
	return true
}

// troubledWorld is what the page's commands run in: a Vault with the engine at
// gbg/, and connections in all kinds of trouble.
type troubledWorld struct {
	t       *testing.T
	dir     string
	plugins string
	server  *vaultserver.Server // with the engine
	empty   *vaultserver.Server // without, started when needed
	bare    *vaultserver.Server // with it, but without its file
	bareLog *vaultserver.Output
	bareGBG *gbg
	env     []string            // for commands
	current *vaultserver.Server // that they talk to
}

func newTroubledWorld(t *testing.T) *troubledWorld {
	t.Helper()
	server := newDevServer(t)
	w := &troubledWorld{t: t, dir: t.TempDir(), server: server, plugins: server.PluginDir()}
	require.NoError(t, w.server.Enable(t.Context(), "gbg"))
	client, err := w.server.Client("")
	require.NoError(t, err)
	m := &mount{t: t, path: "gbg", client: client}
	g := newGBG(t, time.Hour)
	m.write("config", g.pair())
	one := func(id string) map[string]any {
		return map[string]any{"token_url": g.tokenURL(), "client_id": id, "client_secret": g.client(t, id).Secret}
	}
	m.write("config/one-client", one("go-api-one"))
	m.write("config/single", one("go-api-single"))

	refused := one("go-api-refused")
	fresh := refused["client_secret"].(string)
	refused["client_secret"], refused["verify_connection"] = "fake-old-secret", false
	m.write("config/refused", refused)
	down := one("go-api-down")
	down["token_url"], down["request_timeout"], down["verify_connection"] = nowhere, "1s", false
	m.write("config/unreachable", down)
	private := httptest.NewUnstartedServer(g.Simulator)
	private.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are the point
	private.StartTLS()
	t.Cleanup(private.Close)
	untrusted := one("go-api-private")
	untrusted["token_url"], untrusted["verify_connection"] = private.URL+"/as/token.oauth2", false
	m.write("config/private", untrusted)

	require.NoError(t, client.Sys().PutPolicyWithContext(t.Context(), "gbg-team-a", `path "gbg/creds/team-a" { capabilities = ["read"] }`))
	for file, content := range map[string]string{
		"refused.secret": fresh, "wrong.secret": "fake-wrong-secret", "b.secret": g.client(t, "go-api-b").Secret,
		"ca.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: private.Certificate().Raw})),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(w.dir, file), []byte(content+"\n"), 0o600))
	}
	client.SetWrappingLookupFunc(func(string, string) string { return "1m" })
	wrapped := m.read("creds").WrapInfo.Token
	client.SetWrappingLookupFunc(nil)
	_, err = client.Logical().UnwrapWithContext(t.Context(), wrapped)
	require.NoError(t, err)
	w.env = []string{
		"HOME=" + w.dir, "PATH=" + filepath.Dir(suite.vault) + ":" + os.Getenv("PATH"),
		"WRAPPED=" + wrapped, "TEAM_TOKEN=" + m.as("gbg-team-a").client.Token(),
	}
	return w
}

// goTo has the commands talk to a server.
func (w *troubledWorld) goTo(server *vaultserver.Server) { w.current = server }

// goToEmptyServer has them talk to one that knows no plugin.
func (w *troubledWorld) goToEmptyServer() {
	if w.empty == nil {
		var err error
		w.empty, err = vaultserver.Start(w.t.Context(), vaultserver.Options{
			Binary: suite.vault, PluginDir: w.plugins, Env: []string{"HOME=" + suite.dir},
		})
		require.NoError(w.t, err)
		w.t.Cleanup(func() { assert.NoError(w.t, w.empty.Stop()) })
	}
	w.goTo(w.empty)
}

func (w *troubledWorld) seal() {
	client, err := w.server.Client("")
	require.NoError(w.t, err)
	require.NoError(w.t, client.Sys().SealWithContext(w.t.Context()))
}

// run runs a section's commands, each whatever came of the one before.
func (w *troubledWorld) run(script string) (string, error) {
	cmd := exec.CommandContext(w.t.Context(), "bash", "-uo", "pipefail", "-c", script)
	cmd.Dir = w.dir
	cmd.Env = append([]string{"VAULT_ADDR=" + w.current.Address(), "VAULT_TOKEN=" + w.current.Token(), "PLUGIN_DIRECTORY=" + w.current.PluginDir()}, w.env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
