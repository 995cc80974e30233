package vaultserver

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"github.com/hashicorp/go-version"
)

// minVersions are the oldest servers that the demo and the tests accept. Nobody has
// tried older ones with the plugin, and their makers no longer maintain them.
var minVersions = map[string]string{"Vault": "v1.19.0", "OpenBao": "v2.4.0"}

// versionTimeout limits how long an executable may take to print its version.
const versionTimeout = 10 * time.Second

// Binary is the executable of a server.
type Binary struct {
	// Path is absolute.
	Path string
	// Product is "Vault" or "OpenBao".
	Product string
	// Version is a version such as v1.21.2.
	Version string
}

// String returns the product, its version and the path.
func (b Binary) String() string { return fmt.Sprintf("%s %s (%s)", b.Product, b.Version, b.Path) }

// FindBinary returns the server with a path, or with a name to look up in PATH. It
// returns an error if this is not a server or if it is too old.
func FindBinary(ctx context.Context, name string) (Binary, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return Binary{}, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return Binary{}, err
	}
	return inspect(ctx, path)
}

// InstalledBinary returns the server in PATH that can be used: vault, or else bao. It
// returns a zero Binary if there is none, and an error for each one that cannot be used.
func InstalledBinary(ctx context.Context) (Binary, []error) {
	var unusable []error
	for _, name := range []string{"vault", "bao"} {
		b, err := FindBinary(ctx, name)
		switch {
		case err == nil:
			return b, unusable
		case !errors.Is(err, exec.ErrNotFound):
			unusable = append(unusable, err)
		}
	}
	return Binary{}, unusable
}

var versionOutput = regexp.MustCompile(`^(Vault|OpenBao) (v[^\s,]+)`)

func inspect(ctx context.Context, path string) (Binary, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "version")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	match := versionOutput.FindSubmatch(out)
	if err != nil || match == nil {
		return Binary{}, fmt.Errorf("%s is neither HashiCorp Vault nor OpenBao: \"%s version\" does not print a version of either", path, filepath.Base(path))
	}
	b := Binary{Path: path, Product: string(match[1]), Version: string(match[2])}
	found, err := version.NewVersion(b.Version)
	if err != nil {
		return Binary{}, fmt.Errorf("%s: %w", b, err)
	}
	oldest := minVersions[b.Product]
	if found.LessThan(version.Must(version.NewVersion(oldest))) {
		return Binary{}, fmt.Errorf("%s is too old: %s or later is needed", b, oldest)
	}
	return b, nil
}
