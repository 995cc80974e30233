package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// push pushes the image of a layout and its SBOMs to a repository, and returns the
// references of the image there. The credentials are those of docker login and podman
// login. A tag that exists with other content is an error.
func push(ctx context.Context, layoutPath, repository string) (tags []string, err error) {
	repo, err := name.NewRepository(repository)
	if err != nil {
		return nil, err
	}
	c, err := readLayout(layoutPath)
	if err != nil {
		return nil, err
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	pusher, err := remote.NewPusher(options...)
	if err != nil {
		return nil, err
	}
	// Vault asks a registry for 0.2.0, OpenBao for v0.2.0 if its configuration says so.
	refs := []name.Tag{repo.Tag(c.tag), repo.Tag("v" + c.tag)}
	for _, tag := range refs {
		if err := checkTag(tag, c.digest, options); err != nil {
			return nil, err
		}
	}
	for _, tag := range refs {
		if err := pusher.Push(ctx, tag, c.index); err != nil {
			return tags, err
		}
		tags = append(tags, tag.String()+"@"+c.digest.String())
	}
	for _, sbom := range c.sboms {
		digest, err := sbom.Digest()
		if err != nil {
			return tags, err
		}
		if err := pusher.Push(ctx, repo.Digest(digest.String()), sbom); err != nil {
			return tags, fmt.Errorf("pushing an SBOM: %w", err)
		}
	}
	return tags, nil
}

// checkTag returns an error if a tag exists with another digest.
func checkTag(tag name.Tag, digest v1.Hash, options []remote.Option) error {
	existing, err := remote.Head(tag, options...)
	var refused *transport.Error
	if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if existing.Digest != digest {
		return fmt.Errorf("%s exists with other content: %s there, %s here", tag, existing.Digest, digest)
	}
	return nil
}
