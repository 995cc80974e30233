package e2e

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// A release of what is committed. make test-release builds goreleaser and runs this.
func TestRelease(t *testing.T) {
	if os.Getenv("GBG_RELEASE") == "" {
		t.Skip("make test-release runs this")
	}
	r := newRelease(t, "clone", "umask 022")
	// Everything anew, elsewhere, by somebody else, with no network.
	again := newRelease(t, "some/other/clone", "umask 077; git remote remove origin; git tag v0.0.1-other",
		"GOCACHE="+t.TempDir(), "GOPROXY=off", "HTTPS_PROXY=http://127.0.0.1:1", "TZ=Asia/Kathmandu", "LC_ALL=C", "USER=somebody")
	require.Equal(t, r.sums, again.sums, "built twice")
	require.Equal(t, r.image(t), again.image(t), "the image built twice")

	var files []string
	for _, system := range []string{"linux", "darwin", "windows", "freebsd"} {
		for _, arch := range []string{"amd64", "arm64"} {
			name := vaultserver.PluginName + "_" + r.version + "_" + system + "_" + arch
			archive := name + ".tar.gz"
			if system == "windows" {
				archive = name + ".zip"
				name += ".exe"
			}
			files = append(files, name, archive, name+".cdx.json", name+".licenses.txt")
			t.Run(system+"/"+arch, func(t *testing.T) {
				settings := requireTracelessBuild(t, filepath.Join(r.dist, name), r.dir)
				assert.Equal(t, system, settings["GOOS"])
				assert.Equal(t, arch, settings["GOARCH"])
				if system == "linux" || system == "freebsd" {
					requireStatic(t, filepath.Join(r.dist, name))
				}
				r.requireInventory(t, name)
				r.requireArchive(t, archive, name)
				t.Logf("%s: %.1f MB, %.1f MB in the archive", name, r.megabytes(t, name), r.megabytes(t, archive))
			})
		}
	}
	assert.ElementsMatch(t, files, slices.Collect(maps.Keys(r.sums)))
	for name, sum := range r.sums {
		is, err := vaultserver.SHA256(filepath.Join(r.dist, name))
		require.NoError(t, err)
		assert.Equal(t, is, sum, name)
	}

	t.Run("make build makes the same", func(t *testing.T) {
		build := exec.CommandContext(t.Context(), "make", "build")
		build.Dir = r.dir
		out, err := build.CombinedOutput()
		require.NoError(t, err, "%s", out)
		sum, err := vaultserver.SHA256(filepath.Join(r.dir, "bin", "plugins", vaultserver.PluginName))
		require.NoError(t, err)
		assert.Equal(t, r.sums[vaultserver.PluginName+"_"+r.version+"_"+runtime.GOOS+"_"+runtime.GOARCH], sum)
	})
	t.Run("installed as the page says", r.install)
	t.Run("image", r.runImage)
}

// builtRelease is a clone of this repository in which make release ran.
type builtRelease struct {
	dir, dist, version string
	// sums are the lines of SHA256SUMS: the sum by the file's name.
	sums map[string]string
}

// newRelease clones the repository into a folder, runs a script there, and makes a
// release.
func newRelease(t *testing.T, folder, script string, env ...string) *builtRelease {
	t.Helper()
	r := &builtRelease{dir: filepath.Join(t.TempDir(), folder)}
	r.dist = filepath.Join(r.dir, "dist")
	out, err := exec.CommandContext(t.Context(), "git", "clone", "--quiet", "..", r.dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	// The tools are not what is tested here.
	require.NoError(t, os.Mkdir(filepath.Join(r.dir, "bin"), 0o755))
	for _, tool := range []string{"goreleaser", "inventory", "image"} {
		content, err := os.ReadFile(filepath.Join("../bin", tool))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(r.dir, "bin", tool), content, 0o755))
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-euc", script+"; make release")
	cmd.Dir, cmd.Env = r.dir, append(os.Environ(), env...)
	out, err = cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)

	makefile, err := os.ReadFile(filepath.Join(r.dir, "Makefile"))
	require.NoError(t, err)
	version := regexp.MustCompile(`(?m)^VERSION := (.+)$`).FindSubmatch(makefile)
	require.NotNil(t, version)
	r.version = string(version[1])
	lines, err := os.ReadFile(filepath.Join(r.dist, "SHA256SUMS"))
	require.NoError(t, err)
	r.sums = map[string]string{}
	for line := range strings.Lines(string(lines)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		r.sums[name] = sum
	}
	return r
}

func (r *builtRelease) read(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(r.dist, name))
	require.NoError(t, err)
	return content
}

func (r *builtRelease) megabytes(t *testing.T, name string) float64 {
	t.Helper()
	return float64(len(r.read(t, name))) / 1e6
}

// requireInventory is that the SBOM and the licences are about this binary: they name
// every module that the go command noted in it, and the SBOM no other.
func (r *builtRelease) requireInventory(t *testing.T, name string) {
	t.Helper()
	info, err := buildinfo.ReadFile(filepath.Join(r.dist, name))
	require.NoError(t, err)
	modules := []string{"pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go")}
	licences := string(r.read(t, name+".licenses.txt"))
	assert.Contains(t, licences, "\nMozilla Public License")
	for _, m := range info.Deps {
		modules = append(modules, "pkg:golang/"+m.Path+"@"+url.QueryEscape(m.Version))
		assert.Contains(t, licences, "\n"+m.Path+" "+m.Version+" (")
	}

	type component struct {
		PURL     string
		Version  string
		Hashes   []struct{ Content string }
		Licenses []struct{ License struct{ ID string } }
	}
	var sbom struct {
		BOMFormat string
		Metadata  struct{ Component component }

		Components []component
	}
	require.NoError(t, json.Unmarshal(r.read(t, name+".cdx.json"), &sbom))
	assert.Equal(t, "CycloneDX", sbom.BOMFormat)
	assert.Equal(t, "v"+r.version, sbom.Metadata.Component.Version)
	require.Len(t, sbom.Metadata.Component.Hashes, 1)
	assert.Equal(t, r.sums[name], sbom.Metadata.Component.Hashes[0].Content)
	var listed []string
	for _, c := range sbom.Components {
		listed = append(listed, c.PURL)
		assert.NotEmpty(t, c.Licenses, c.PURL)
		for _, l := range c.Licenses {
			assert.NotEmpty(t, l.License.ID, c.PURL)
		}
	}
	assert.ElementsMatch(t, modules, listed)
}

// requireArchive is that an archive holds the program, to the byte, and what goes
// with it.
func (r *builtRelease) requireArchive(t *testing.T, archive, program string) {
	t.Helper()
	held := unpack(t, archive, r.read(t, archive))
	want := map[string][]byte{}
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md"} {
		content, err := os.ReadFile(filepath.Join(r.dir, name))
		require.NoError(t, err)
		want[name] = content
	}
	for _, name := range []string{program, program + ".cdx.json", program + ".licenses.txt"} {
		want[name] = r.read(t, name)
	}
	assert.ElementsMatch(t, slices.Collect(maps.Keys(want)), slices.Collect(maps.Keys(held)))
	for name, content := range want {
		assert.True(t, bytes.Equal(content, held[name]), name)
	}
}

func unpack(t *testing.T, name string, content []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	if strings.HasSuffix(name, ".zip") {
		z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
		require.NoError(t, err)
		for _, f := range z.File {
			file, err := f.Open()
			require.NoError(t, err)
			files[f.Name], err = io.ReadAll(file)
			require.NoError(t, err)
		}
		return files
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(content))
	require.NoError(t, err)
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		require.NoError(t, err)
		files[header.Name], err = io.ReadAll(archive)
		require.NoError(t, err)
	}
}

// install does what docs/releasing.md tells an operator, on a Vault of their own,
// with the files of this machine's architecture.
func (r *builtRelease) install(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the page's commands are for Linux")
	}
	page, err := os.ReadFile("../docs/releasing.md")
	require.NoError(t, err)
	mine := filepath.Join(t.TempDir(), "releasing.md")
	require.NoError(t, os.WriteFile(mine, bytes.ReplaceAll(page, []byte("linux_amd64"), []byte("linux_"+runtime.GOARCH)), 0o600))

	plugins, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	operator, _ := newReader(t, newProxy(t, map[string]http.Handler{"api.auth.gbgplc.com": http.NotFoundHandler()}), plugins)
	operator.env = append(operator.env, "PLUGIN_DIRECTORY="+plugins)
	archive := vaultserver.PluginName + "_" + r.version + "_linux_" + runtime.GOARCH + ".tar.gz"
	for _, name := range []string{"SHA256SUMS", archive} {
		operator.write(name, string(r.read(t, name)))
	}
	output := operator.follow(mine, nil)["Verify and install"]
	assert.Contains(t, output, archive+": OK")
	assert.Regexp(t, `sha256 +`+r.sums[strings.TrimSuffix(archive, ".tar.gz")], output)
	assert.Contains(t, output, "Success! Enabled the vault-plugin-secrets-gbg secrets engine at: gbg/")
	mounts, err := operator.run("vault secrets list -detailed")
	require.NoError(t, err, mounts)
	assert.Regexp(t, `(?m)^gbg/ .* v`+regexp.QuoteMeta(r.version)+` `, mounts)
}
