package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// pluginName is the name of the binary in the image, whatever the version.
const pluginName = "vault-plugin-secrets-gbg"

// platforms are the platforms of the image. OpenBao on arm64 asks a registry for the
// variant v8 and accepts no image without a variant.
var platforms = []v1.Platform{
	{OS: "linux", Architecture: "amd64"},
	{OS: "linux", Architecture: "arm64", Variant: "v8"},
}

// release is a release of which an image is made.
type release struct {
	dist    string // the directory with the binaries
	licence string // the file with the plugin's licence

	version, revision string
	date              time.Time
}

// file returns the path of the binary for a platform.
func (r *release) file(p v1.Platform) string {
	return filepath.Join(r.dist, pluginName+"_"+r.version+"_"+p.OS+"_"+p.Architecture)
}

// labels returns the annotations of the image, which are its labels too. There is no
// source, because the project has no public home.
func (r *release) labels() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       pluginName,
		"org.opencontainers.image.description": "GBG secrets engine for HashiCorp Vault and OpenBao",
		"org.opencontainers.image.version":     r.version,
		"org.opencontainers.image.revision":    r.revision,
		"org.opencontainers.image.created":     r.date.UTC().Format(time.RFC3339),
		"org.opencontainers.image.licenses":    "MPL-2.0",
	}
}

// index returns the index of the images of all platforms.
func (r *release) index() (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range platforms {
		image, err := r.image(p)
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &p}})
	}
	return mutate.Annotations(index, r.labels()).(v1.ImageIndex), nil
}

// image returns the image for a platform: one layer, with the binary alone in its root.
func (r *release) image(p v1.Platform) (v1.Image, error) {
	layer, err := r.layer(p)
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	created := v1.Time{Time: r.date.UTC()}
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		OS: p.OS, Architecture: p.Architecture, Variant: p.Variant,
		Created: created,
		Config:  v1.Config{Entrypoint: []string{"/" + pluginName}, Labels: r.labels()},
		RootFS:  v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, err
	}
	image, err = mutate.Append(image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: created, CreatedBy: "make release"},
	})
	if err != nil {
		return nil, err
	}
	return mutate.Annotations(image, r.labels()).(v1.Image), nil
}

// layer returns the layer with the binary, and in /licenses the licences that have to
// accompany it.
func (r *release) layer(p v1.Platform) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		name, from string
		mode       int64
	}{
		{pluginName, r.file(p), 0o755},
		{"licenses/LICENSE", r.licence, 0o644},
		{"licenses/MODULES", r.file(p) + ".licenses.txt", 0o644},
	} {
		content, err := os.ReadFile(f.from)
		if err != nil {
			return nil, err
		}
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(content)), ModTime: r.date, Format: tar.FormatPAX}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
}
