package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// refName is the annotation that holds the tag of an image in a layout.
const refName = "org.opencontainers.image.ref.name"

// writeLayout replaces an OCI layout by one with the image and its SBOMs, and returns
// the digest of the image's index.
func (r *release) writeLayout(path string) (v1.Hash, error) {
	index, err := r.index()
	if err != nil {
		return v1.Hash{}, err
	}
	digest, err := index.Digest()
	if err != nil {
		return v1.Hash{}, err
	}
	if err := os.RemoveAll(path); err != nil {
		return v1.Hash{}, err
	}
	l, err := layout.Write(path, empty.Index)
	if err != nil {
		return v1.Hash{}, err
	}
	if err := l.AppendIndex(index, layout.WithAnnotations(map[string]string{refName: r.version})); err != nil {
		return v1.Hash{}, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return v1.Hash{}, err
	}
	for _, image := range manifest.Manifests {
		if err := r.appendSBOM(l, image); err != nil {
			return v1.Hash{}, err
		}
	}
	return digest, nil
}

// appendSBOM adds the SBOM of an image to a layout.
func (r *release) appendSBOM(l layout.Path, image v1.Descriptor) error {
	sbom, err := r.newSBOM(*image.Platform, image)
	if err != nil {
		return err
	}
	for _, content := range [][]byte{emptyConfig, sbom.blob, sbom.manifest} {
		digest, _, err := v1.SHA256(bytes.NewReader(content))
		if err != nil {
			return err
		}
		if err := l.WriteBlob(digest, io.NopCloser(bytes.NewReader(content))); err != nil {
			return err
		}
	}
	descriptor, err := sbom.descriptor()
	if err != nil {
		return err
	}
	return l.AppendDescriptor(descriptor)
}

// contents are what a layout holds.
type contents struct {
	tag    string
	index  v1.ImageIndex
	digest v1.Hash
	sboms  []v1.Image
}

// readLayout reads a layout that writeLayout wrote.
func readLayout(path string) (*contents, error) {
	root, err := layout.ImageIndexFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("%w (make release writes the image)", err)
	}
	manifest, err := root.IndexManifest()
	if err != nil {
		return nil, err
	}
	c := &contents{}
	for _, d := range manifest.Manifests {
		if d.MediaType == types.OCIImageIndex {
			c.tag, c.digest = d.Annotations[refName], d.Digest
			if c.index, err = root.ImageIndex(d.Digest); err != nil {
				return nil, err
			}
			continue
		}
		sbom, err := root.Image(d.Digest)
		if err != nil {
			return nil, err
		}
		c.sboms = append(c.sboms, sbom)
	}
	if c.tag == "" {
		return nil, errors.New(path + " has no image with a tag")
	}
	return c, nil
}
