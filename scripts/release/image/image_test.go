package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// newRelease makes a release with contents that name their files.
func newRelease(t *testing.T) *release {
	t.Helper()
	r := &release{
		dist: t.TempDir(), version: "1.2.3", revision: "0123abc",
		date: time.Date(2026, 1, 2, 4, 4, 5, 0, time.FixedZone("", 3600)),
	}
	r.licence = filepath.Join(r.dist, "LICENSE")
	write(t, r.licence)
	for _, arch := range []string{"amd64", "arm64"} {
		binary := filepath.Join(r.dist, "vault-plugin-secrets-gbg_1.2.3_linux_"+arch)
		for _, suffix := range []string{"", ".cdx.json", ".licenses.txt"} {
			write(t, binary+suffix)
		}
	}
	return r
}

func write(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("content of "+filepath.Base(path)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newLayout(t *testing.T, r *release) (path, digest string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "image")
	hash, err := r.writeLayout(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, hash.String()
}

// newRepository returns the name of a repository in a registry on loopback.
func newRepository(t *testing.T, options ...registry.Option) string {
	t.Helper()
	server := httptest.NewServer(registry.New(append(options, registry.Logger(log.New(io.Discard, "", 0)))...))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://") + "/security/vault-plugin-secrets-gbg"
}

func TestSameLayoutTwice(t *testing.T) {
	r := newRelease(t)
	first, _ := newLayout(t, r)
	stale := filepath.Join(first, "blobs", "sha256", "stale")
	write(t, stale)
	if _, err := r.writeLayout(first); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a blob of an earlier layout is left")
	}
	second, _ := newLayout(t, r)
	a, b := files(t, first), files(t, second)
	if len(a) != len(b) {
		t.Errorf("%d and %d files", len(a), len(b))
	}
	for name, content := range a {
		if content != b[name] {
			t.Errorf("%s differs", name)
		}
	}
}

// files returns the contents of all files below a directory.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, path))
		all[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestLayoutIsValid(t *testing.T) {
	path, digest := newLayout(t, newRelease(t))
	root, err := layout.ImageIndexFromPath(path)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := v1.NewHash(digest)
	if err != nil {
		t.Fatal(err)
	}
	index, err := root.ImageIndex(hash)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
}

func TestPushedImage(t *testing.T) {
	layoutPath, digest := newLayout(t, newRelease(t))
	repository := newRepository(t)
	for range 2 { // a push can be repeated
		tags, err := push(t.Context(), layoutPath, repository)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{repository + ":1.2.3@" + digest, repository + ":v1.2.3@" + digest}
		if !slices.Equal(tags, want) {
			t.Errorf("pushed %q, want %q", tags, want)
		}
	}
	for platform, arch := range map[string]string{
		"linux/amd64": "amd64", "linux/arm64": "arm64", "linux/arm64/v8": "arm64",
	} {
		for _, tag := range []string{"1.2.3", "v1.2.3"} {
			image := pull(t, repository+":"+tag, platform)
			if err := validate.Image(image); err != nil {
				t.Error(err)
			}
			requireContents(t, image, arch)
			requireConfig(t, image, arch)
		}
	}
}

func pull(t *testing.T, reference, platform string) v1.Image {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(ref, remote.WithPlatform(*p))
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func requireContents(t *testing.T, image v1.Image, arch string) {
	t.Helper()
	binary := "vault-plugin-secrets-gbg_1.2.3_linux_" + arch
	want := map[string]string{
		"vault-plugin-secrets-gbg": "-rwxr-xr-x content of " + binary,
		"licenses/LICENSE":         "-rw-r--r-- content of LICENSE",
		"licenses/MODULES":         "-rw-r--r-- content of " + binary + ".licenses.txt",
	}
	stream := mutate.Extract(image)
	defer stream.Close()
	archive := tar.NewReader(stream)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if is := header.FileInfo().Mode().String() + " " + string(content); is != want[header.Name] {
			t.Errorf("%s: %q, want %q", header.Name, is, want[header.Name])
		}
		if header.Uid != 0 || header.Gid != 0 || header.ModTime.Unix() != 1767323045 {
			t.Errorf("%s: owner %d:%d, time %s", header.Name, header.Uid, header.Gid, header.ModTime)
		}
		delete(want, header.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing in the image: %v", want)
	}
}

func requireConfig(t *testing.T, image v1.Image, arch string) {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Architecture != arch {
		t.Errorf("platform %s", config.Platform())
	}
	if !slices.Equal(config.Config.Entrypoint, []string{"/vault-plugin-secrets-gbg"}) || config.Config.User != "" {
		t.Errorf("entry point %q, user %q", config.Config.Entrypoint, config.Config.User)
	}
	for key, want := range map[string]string{
		"title": "vault-plugin-secrets-gbg", "version": "1.2.3", "revision": "0123abc",
		"licenses": "MPL-2.0", "created": "2026-01-02T03:04:05Z", "source": "",
	} {
		key = "org.opencontainers.image." + key
		if config.Config.Labels[key] != want || manifest.Annotations[key] != want {
			t.Errorf("%s: label %q, annotation %q, want %q", key, config.Config.Labels[key], manifest.Annotations[key], want)
		}
	}
	if got := config.Created.UTC().Format(time.RFC3339); got != "2026-01-02T03:04:05Z" {
		t.Errorf("created %s", got)
	}
}

// An SBOM is found through its image, in registries with the referrers API and in those
// without it.
func TestSBOMs(t *testing.T) {
	layoutPath, _ := newLayout(t, newRelease(t))
	for _, withAPI := range []bool{true, false} {
		repository := newRepository(t, registry.WithReferrersSupport(withAPI))
		if _, err := push(t.Context(), layoutPath, repository); err != nil {
			t.Fatal(err)
		}
		for _, arch := range []string{"amd64", "arm64"} {
			digest, err := pull(t, repository+":1.2.3", "linux/"+arch).Digest()
			if err != nil {
				t.Fatal(err)
			}
			subject, err := name.NewDigest(repository + "@" + digest.String())
			if err != nil {
				t.Fatal(err)
			}
			want := "content of vault-plugin-secrets-gbg_1.2.3_linux_" + arch + ".cdx.json"
			if got := referrer(t, subject); got != want {
				t.Errorf("referrers API %t: SBOM %q, want %q", withAPI, got, want)
			}
		}
	}
}

// referrer returns the blob of the only artifact that refers to an image.
func referrer(t *testing.T, subject name.Digest) string {
	t.Helper()
	index, err := remote.Referrers(subject)
	if err != nil {
		t.Fatal(err)
	}
	referrers, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(referrers.Manifests) != 1 {
		t.Fatalf("referrers of %s: %+v", subject, referrers.Manifests)
	}
	d, err := remote.Get(subject.Digest(referrers.Manifests[0].Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	var manifest v1.Manifest
	if err := json.Unmarshal(d.Manifest, &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.ArtifactType != "application/vnd.cyclonedx+json" {
		t.Errorf("artifact type %q", manifest.ArtifactType)
	}
	if manifest.Subject == nil || manifest.Subject.Digest.String() != subject.DigestStr() {
		t.Errorf("subject %+v", manifest.Subject)
	}
	layer, err := remote.Layer(subject.Digest(manifest.Layers[0].Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	content, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestPushNeverReplacesARelease(t *testing.T) {
	r := newRelease(t)
	layoutPath, digest := newLayout(t, r)
	repository := newRepository(t)
	if _, err := push(t.Context(), layoutPath, repository); err != nil {
		t.Fatal(err)
	}
	r.revision = "other"
	other, otherDigest := newLayout(t, r)
	tags, err := push(t.Context(), other, repository)
	want := repository + ":1.2.3 exists with other content: " + digest + " there, " + otherDigest + " here"
	if len(tags) > 0 || err == nil || err.Error() != want {
		t.Errorf("pushed %q: %v, want %s", tags, err, want)
	}
}

func TestErrors(t *testing.T) {
	r := newRelease(t)
	if err := os.Remove(filepath.Join(r.dist, "vault-plugin-secrets-gbg_1.2.3_linux_arm64.cdx.json")); err != nil {
		t.Fatal(err)
	}
	layoutPath := filepath.Join(t.TempDir(), "image")
	for _, args := range [][]string{
		{},
		{"build", r.dist, layoutPath},
		{"build", "-version", "1.2.3", "-revision", "a", "-date", "today", r.dist, layoutPath},
		{"build", "-version", "1.2.3", "-revision", "a", "-date", "2026-01-02T03:04:05Z", "-licence", r.licence, r.dist, layoutPath},
		{"push", layoutPath},
		{"push", t.TempDir(), newRepository(t)},
		{"push", layoutPath, "not a name"},
	} {
		if err := run(t.Context(), args); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

func TestArtifactManifestHasTheEmptyConfig(t *testing.T) {
	r := newRelease(t)
	a, err := r.newSBOM(platforms[0], v1.Descriptor{})
	if err != nil {
		t.Fatal(err)
	}
	// The digest of {} in the OCI image specification.
	const digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
	if !bytes.Contains(a.manifest, []byte(`"config":{"mediaType":"application/vnd.oci.empty.v1+json","size":2,"digest":"`+digest+`"}`)) {
		t.Errorf("manifest %s", a.manifest)
	}
}
