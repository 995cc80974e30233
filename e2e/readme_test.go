package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-gbg/internal/gbgsim"
	"vault-plugin-secrets-gbg/internal/vaultserver"
)

// documentBlock is a fenced block of a Markdown document.
type documentBlock struct {
	section  string // the heading it stands under
	language string
	file     string // the file that the line before it names
	text     string
}

// documentBlocks gives the fenced blocks in order.
func documentBlocks(t *testing.T, path string) []documentBlock {
	t.Helper()
	document, err := os.ReadFile(path)
	require.NoError(t, err)
	var blocks []documentBlock
	var block *documentBlock
	section, last := "", ""
	for line := range strings.Lines(string(document)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case block != nil && line == "```":
			blocks = append(blocks, *block)
			block = nil
		case block != nil:
			block.text += line + "\n"
		case strings.HasPrefix(line, "```"):
			block = &documentBlock{section: section, language: line[3:], file: strings.Trim(last, "`:")}
		case strings.HasPrefix(line, "## "), strings.HasPrefix(line, "### "):
			section = strings.TrimLeft(line, "# ")
		case line != "":
			last = line
		}
	}
	require.Nil(t, block, "a block is not closed")
	return blocks
}

// A newcomer who types what the README says, in order, gets what it promises.
// The commands run as written, GBG's own address included: a proxy leads it to
// the simulator, as a company's proxy would lead it out.
func TestREADMEAsWritten(t *testing.T) {
	g := newGBG(t, time.Hour)
	a, b, team := g.client(t, "go-api-a"), g.client(t, "go-api-b"), g.client(t, "go-api-team-a")
	proxy := newProxy(t, "api.auth.gbgplc.com", g.Simulator)

	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	plugins := filepath.Join(dir, "plugins")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "bin", "plugins"), 0o755))
	require.NoError(t, os.MkdirAll(plugins, 0o755))
	require.NoError(t, buildPlugin(t.Context(), filepath.Join(dir, "bin", "plugins"), "v0.1.0"))
	require.NoError(t, os.Symlink(suite.vault, filepath.Join(dir, "bin", "vault")))
	secrets := map[string]gbgsim.Client{"a.secret": a, "b.secret": b, "team-a.secret": team}
	for file, client := range secrets {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(client.Secret+"\n"), 0o600))
	}

	log := &logBuffer{}
	server, err := vaultserver.Start(t.Context(), vaultserver.Options{
		Binary: suite.vault, PluginDir: plugins, Log: log,
		Env: append(proxy.env(), "HOME="+dir),
	})
	require.NoError(t, err, log)
	t.Cleanup(func() { assert.NoError(t, server.Stop()) })

	var background []*exec.Cmd
	t.Cleanup(func() {
		for _, cmd := range background {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	run := func(script string) string {
		// exec, so that what is killed is the command and not its shell.
		script, runsOn := strings.CutSuffix(strings.TrimSpace(script), "&")
		if runsOn {
			script = "exec " + script
		}
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir, "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"),
			"VAULT_ADDR="+server.Address(), "VAULT_TOKEN="+server.Token(), "PLUGIN_DIRECTORY="+plugins)
		if runsOn {
			require.NoError(t, cmd.Start())
			background = append(background, cmd)
			return ""
		}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s\n%s", script, out)
		return string(out)
	}

	output := map[string]string{}
	commands := 0
	for _, block := range documentBlocks(t, "../README.md") {
		switch block.language {
		case "hcl":
			require.NoError(t, os.WriteFile(filepath.Join(dir, block.file), []byte(block.text), 0o600))
			continue
		case "sh":
		default:
			t.Fatalf("a block in a language that this test does not know: %q", block.language)
		}
		if block.section == "Rotate" && output["Rotate"] == "" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "b.secret"), []byte(g.regenerate(t, "go-api-b")), 0o600))
		}
		output[block.section] += run(block.text)
		commands++
	}
	assert.Greater(t, commands, 8)

	assert.Contains(t, output["Install into your own Vault"], "Success! Enabled the vault-plugin-secrets-gbg secrets engine at: gbg/")
	assert.Contains(t, output["Configure"], "Success! Data written to: gbg/config")
	assert.Contains(t, output["Configure"], "https://api.auth.gbgplc.com/as/token.oauth2")
	assert.Contains(t, output["Read"], gbgsim.TokenPrefix)
	assert.Regexp(t, `rotated +true`, output["Rotate"])
	assert.Regexp(t, `rotated +false`, output["Rotate"], "the second rotation names the client that is active already")
	assert.Regexp(t, `active_client_id +go-api-b`, output["Rotate"])
	assert.Regexp(t, `connection +team-a`, output["Teams and policies"])

	var rendered string
	require.Eventually(t, func() bool {
		content, err := os.ReadFile(filepath.Join(dir, "gbg.env"))
		rendered = string(content)
		return err == nil && rendered != ""
	}, 30*time.Second, 100*time.Millisecond, "Agent writes the token")
	token, ok := strings.CutPrefix(strings.TrimSpace(rendered), "GBG_TOKEN=")
	require.True(t, ok, rendered)
	owner, live := g.TokenClient(token)
	assert.True(t, live)
	assert.Equal(t, "go-api-team-a", owner)
}
