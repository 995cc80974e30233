package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// install copies the running executable to a plugin directory, as
// vault-plugin-secrets-gbg_VERSION, and prints its SHA-256 checksum and its path in the
// form of sha256sum. It is for init containers: the image has no shell and no cp.
func install(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "vault-plugin-secrets-gbg_"+strings.TrimPrefix(version, "v"))
	sum, err := copyExecutable(path, self)
	if err != nil {
		return fmt.Errorf("installing the plugin: %w", err)
	}
	_, err = fmt.Printf("%x  %s\n", sum, path)
	return err
}

// copyExecutable copies a file and returns its checksum. The copy is renamed into place,
// so that Vault never starts a part of it, and a running one can be replaced.
func copyExecutable(to, from string) (sum []byte, err error) {
	source, err := os.Open(from)
	if err != nil {
		return nil, err
	}
	defer func() { _ = source.Close() }()
	target, err := os.CreateTemp(filepath.Dir(to), ".install-*")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(target.Name()))
		}
	}()
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(target, hash), source)
	// CreateTemp's mode lets only the owner read; Vault can run as another user.
	err = errors.Join(err, target.Chmod(0o755), target.Sync(), target.Close())
	if err != nil {
		return nil, err
	}
	if err := os.Rename(target.Name(), to); err != nil {
		return nil, err
	}
	return hash.Sum(nil), nil
}
