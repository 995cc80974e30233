package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	sbomType  types.MediaType = "application/vnd.cyclonedx+json"
	emptyType types.MediaType = "application/vnd.oci.empty.v1+json"
)

// emptyConfig is the config that the OCI image specification has for artifacts.
var emptyConfig = []byte("{}")

// artifact is an OCI artifact of one blob that refers to an image.
type artifact struct {
	manifest, blob []byte
}

// newSBOM returns the SBOM of a binary as an artifact with the image as its subject.
func (r *release) newSBOM(p v1.Platform, subject v1.Descriptor) (*artifact, error) {
	path := r.file(p) + ".cdx.json"
	blob, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	config, err := describe(emptyType, emptyConfig)
	if err != nil {
		return nil, err
	}
	layer, err := describe(sbomType, blob)
	if err != nil {
		return nil, err
	}
	layer.Annotations = map[string]string{"org.opencontainers.image.title": filepath.Base(path)}
	manifest, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		ArtifactType:  string(sbomType),
		Config:        config,
		Layers:        []v1.Descriptor{layer},
		Subject:       &v1.Descriptor{MediaType: subject.MediaType, Size: subject.Size, Digest: subject.Digest},
		Annotations:   map[string]string{"org.opencontainers.image.created": r.labels()["org.opencontainers.image.created"]},
	})
	return &artifact{manifest: manifest, blob: blob}, err
}

// descriptor returns the descriptor of the artifact's manifest.
func (a *artifact) descriptor() (v1.Descriptor, error) {
	d, err := describe(types.OCIManifestSchema1, a.manifest)
	d.ArtifactType = string(sbomType)
	return d, err
}

func describe(mediaType types.MediaType, content []byte) (v1.Descriptor, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(content))
	return v1.Descriptor{MediaType: mediaType, Size: size, Digest: digest}, err
}
