package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const root = "../.."

// copySources copies the repository into a directory of the test's own.
func copySources(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files, err := sources(root)
	require.NoError(t, err)
	for _, file := range files {
		name, err := filepath.Rel(root, file)
		require.NoError(t, err)
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		target := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(target), 0o755))
		require.NoError(t, os.WriteFile(target, content, 0o600))
	}
	return dir
}

// goCommand runs the go command in a directory.
func goCommand(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "GOPROXY=off", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "go %s: %s", strings.Join(args, " "), out)
}

// A copy of the repository is renamed: nothing names the old path, everything compiles,
// and another module can import the client.
func TestRename(t *testing.T) {
	t.Parallel()
	const path = "example.org/team/gbg"
	dir := copySources(t)
	old, err := modulePath(dir)
	require.NoError(t, err)
	require.NoError(t, run(dir, path))

	require.NoError(t, filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(file)
		assert.NotContains(t, string(content), old, file)
		return err
	}))
	goCommand(t, dir, "build", "./...")
	goCommand(t, dir, "vet", "./...")

	importer := filepath.Join(dir, "importer")
	require.NoError(t, os.Mkdir(importer, 0o700))
	for name, content := range map[string]string{
		"go.mod":  "module example.org/importer\n\ngo 1.26.0\n\nrequire " + path + " v0.0.0\n\nreplace " + path + " => ..\n",
		"main.go": "package main\n\nimport \"" + path + "/client\"\n\nfunc main() { _, _ = client.New(nil, \"\") }\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(importer, name), []byte(content), 0o600))
	}
	sums, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(importer, "go.sum"), sums, 0o600))
	goCommand(t, importer, "build", "-mod=mod", "-o", os.DevNull, ".")

	require.NoError(t, run(dir, "example.org/other"), "it can be renamed again")
}

func TestRenameRefuses(t *testing.T) {
	t.Parallel()
	old, err := modulePath(root)
	require.NoError(t, err)
	for path, want := range map[string]string{
		"":                    "set MODULE to the new path: make rename-module MODULE=github.com/example/vault-plugin-secrets-gbg",
		"gbg":                 `MODULE="gbg" is no module path that others can import: missing dot in first path element`,
		"example.org/x y":     `MODULE="example.org/x y" is no module path that others can import: invalid char ' '`,
		"https://example.org": `MODULE="https://example.org" is no module path that others can import: double slash`,
		"example.org/x/":      `MODULE="example.org/x/" is no module path that others can import: trailing slash`,
		"example.org/x/v1":    `MODULE="example.org/x/v1" is no module path that others can import: invalid version`,
		old:                   "the module is " + old + " already",
	} {
		assert.EqualError(t, run(root, path), want)
	}
}

func TestRenameIn(t *testing.T) {
	t.Parallel()
	const old, path = "old.example/plugin", "new.example/p"
	for name, test := range map[string]struct{ file, content, want string }{
		"the module":           {"notes.md", "import " + old + ".\n", "import " + path + ".\n"},
		"at the end":           {"notes.md", old, path},
		"a sentence":           {"notes.md", "See " + old + ". Then\n", "See " + path + ". Then\n"},
		"a package":            {"main.go", "package main\n\nimport \"" + old + "/client\"\n", "package main\n\nimport \"" + path + "/client\"\n"},
		"another module":       {"notes.md", old + "-tools\n", old + "-tools\n"},
		"another module's dot": {"notes.md", old + ".v2\n", old + ".v2\n"},
		"sorted":               {"go.mod", "module " + old + "/x\n\nrequire (\n\tm.example/a v0.0.0\n\t" + old + " v0.0.0\n)\n", "module " + path + "/x\n\nrequire (\n\tm.example/a v0.0.0\n\t" + path + " v0.0.0\n)\n"},
	} {
		got, err := renameIn(test.file, []byte(test.content), old, path)
		require.NoError(t, err, name)
		assert.Equal(t, test.want, string(got), name)
	}
}
