package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// block is a fenced block of a page.
type block struct {
	section  string // the heading it stands under
	language string
	file     string // the file that the line before it names
	text     string
}

// blocks gives the fenced blocks of a page in order.
func blocks(t *testing.T, path string) []block {
	t.Helper()
	page, err := os.ReadFile(path)
	require.NoError(t, err)
	var all []block
	var open *block
	section, last := "", ""
	for line := range strings.Lines(string(page)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case open != nil && line == "```":
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		case strings.HasPrefix(line, "```"):
			open = &block{section: section, language: line[3:], file: strings.Trim(last, "`:")}
		case strings.HasPrefix(line, "## "), strings.HasPrefix(line, "### "):
			section = strings.TrimLeft(line, "# ")
		case line != "":
			last = line
		}
	}
	require.Nil(t, open, "a block is not closed")
	return all
}

// reader follows a page: makes the files that it shows, and runs its commands
// as written.
type reader struct {
	t   *testing.T
	dir string   // where the reader works
	env []string // on top of this process's environment
	// clipboard is what the reader pastes into a command that reads its input.
	clipboard string
}

// newReader gives somebody with a Vault of their own that reaches the world
// through a proxy, and with a folder that holds the vault command and the
// examples.
func newReader(t *testing.T, p *proxy, pluginDir string) (*reader, *vaultserver.Server) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	examples, err := filepath.Abs("../examples")
	require.NoError(t, err)
	require.NoError(t, os.Symlink(examples, filepath.Join(dir, "examples")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	require.NoError(t, os.Symlink(suite.vault, filepath.Join(dir, "bin", "vault")))
	log := &vaultserver.Output{}
	server, err := vaultserver.Start(t.Context(), vaultserver.Options{
		Binary: suite.vault, PluginDir: pluginDir, Log: log,
		Env: append(p.env(), "HOME="+dir),
	})
	require.NoError(t, err, log)
	t.Cleanup(func() { assert.NoError(t, server.Stop()) })
	return &reader{t: t, dir: dir, env: []string{
		"HOME=" + dir, "PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"),
		"VAULT_ADDR=" + server.Address(), "VAULT_TOKEN=" + server.Token(),
	}}, server
}

// newReaderWithMount gives somebody whose Vault has the plugin at gbg/ already, and
// that mount, seen with all rights.
func newReaderWithMount(t *testing.T, p *proxy) (*reader, *vaultserver.Server, *mount) {
	t.Helper()
	someone, server := newReader(t, p, suite.pluginDir)
	require.NoError(t, server.Register(t.Context()))
	require.NoError(t, server.Enable(t.Context(), "gbg"))
	client, err := server.Client("")
	require.NoError(t, err)
	return someone, server, &mount{t: t, path: "gbg", client: client}
}

// follow does everything that a page says, in order, and gives what its
// commands print by section. A section's name in before has that done when the
// section's first block is reached. A text block is what the commands before it
// print; if it shows an error of Vault's, they fail. JSON blocks are answers and
// mermaid blocks pictures: they are passed over.
func (r *reader) follow(path string, before map[string]func()) (output map[string]string) {
	r.t.Helper()
	output = map[string]string{}
	section, last := "", ""
	all := blocks(r.t, path)
	for i, b := range all {
		if do := before[b.section]; do != nil && b.section != section {
			do()
		}
		section = b.section
		switch b.language {
		case "sh":
			var err error
			last, err = r.run(b.text)
			fails := i+1 < len(all) && all[i+1].language == "text" && strings.Contains(all[i+1].text, "Code: ")
			require.Equal(r.t, fails, err != nil, "%s\n%s\n%v", b.text, last, err)
			output[section] += last
		case "text":
			requirePrints(r.t, b.text, last)
		case "hcl":
			r.write(b.file, b.text)
		case "json", "mermaid":
		default:
			r.t.Fatalf("a block in a language that this test does not know: %q", b.language)
		}
	}
	for name := range before {
		require.Contains(r.t, output, name, "a section with commands")
	}
	return output
}

// write writes a file of the reader's.
func (r *reader) write(name, content string) {
	r.t.Helper()
	require.NoError(r.t, os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o600))
}

// run runs a script and gives what it prints. One that ends in & goes on in the
// background until the test ends, and is then told to stop.
func (r *reader) run(script string) (output string, err error) {
	r.t.Helper()
	script, runsOn := strings.CutSuffix(strings.TrimSpace(script), "&")
	if runsOn {
		// So that what is stopped is the command and not its shell.
		script = "exec " + script
	}
	cmd := exec.CommandContext(r.t.Context(), "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), r.env...)
	cmd.Stdin = strings.NewReader(r.clipboard)
	stopGently(cmd)
	if runsOn {
		require.NoError(r.t, cmd.Start())
		r.t.Cleanup(func() { _ = cmd.Wait() })
		return "", nil
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// stopGently makes the end of a command's context a signal first, so that the
// command can end its own children.
func stopGently(cmd *exec.Cmd) {
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
}
