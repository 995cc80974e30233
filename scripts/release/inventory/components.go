package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"fmt"
	"go/build"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-licenses/v2/licenses"
)

// component is a Go module that is linked into the binary.
type component struct {
	path, version string
	// licences are SPDX identifiers, each once, in order.
	licences []string
	// texts are the licence files that cover what is linked, each with the notices
	// beside it, in order.
	texts []string
}

// String is the module's path and its version, if it is known.
func (c *component) String() string { return strings.TrimSpace(c.path + " " + c.version) }

// components gives the binary's own module, Go's standard library, and the other
// modules that are linked into it, in this order.
func components(ctx context.Context, info *buildinfo.BuildInfo) ([]*component, error) {
	classifier, err := licenses.NewClassifier()
	if err != nil {
		return nil, err
	}
	std, err := standardLibrary(ctx, classifier, info.GoVersion)
	if err != nil {
		return nil, err
	}
	all := []*component{{path: info.Main.Path}, std}
	for _, m := range info.Deps {
		if m.Replace != nil {
			return nil, fmt.Errorf("%s is replaced: not known here", m.Path)
		}
		all = append(all, &component{path: m.Path, version: m.Version})
	}

	// go-licenses looks at what the go command would link for this system.
	for _, s := range info.Settings {
		if slices.Contains([]string{"GOOS", "GOARCH", "CGO_ENABLED"}, s.Key) {
			if err := os.Setenv(s.Key, s.Value); err != nil {
				return nil, err
			}
		}
	}
	libraries, err := licenses.Libraries(ctx, classifier, false, nil, info.Path)
	if err != nil {
		return nil, err
	}
	for _, l := range libraries {
		c := owner(all, l.Packages[0])
		if c == nil {
			return nil, fmt.Errorf("%s is not in the binary: it was built from other source", l)
		}
		if l.LicenseFile == "" {
			return nil, fmt.Errorf("%s has no licence that could be recognised", l)
		}
		if err := c.add(l.LicenseFile, l.Licenses); err != nil {
			return nil, err
		}
	}
	for _, c := range all {
		if len(c.texts) == 0 {
			return nil, fmt.Errorf("%s is in the binary and not in the source", c.path)
		}
	}
	return all, nil
}

// standardLibrary gives the part of the binary that go-licenses leaves out. Where
// Go is also tells go-licenses what to leave out.
func standardLibrary(ctx context.Context, classifier licenses.Classifier, goVersion string) (*component, error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOROOT: %w", err)
	}
	build.Default.GOROOT = string(bytes.TrimSpace(root))
	file := filepath.Join(build.Default.GOROOT, "LICENSE")
	found, err := classifier.Identify(file)
	if err != nil {
		return nil, err
	}
	version, _, _ := strings.Cut(strings.TrimPrefix(goVersion, "go"), " ")
	c := &component{path: "std", version: version}
	return c, c.add(file, found)
}

// owner finds the module of a package.
func owner(all []*component, pkg string) *component {
	var best *component
	for _, c := range all {
		inside := pkg == c.path || strings.HasPrefix(pkg, c.path+"/")
		if inside && (best == nil || len(c.path) > len(best.path)) {
			best = c
		}
	}
	return best
}

// add takes note of a licence file, and of the notices that Apache-2.0 wants kept.
func (c *component) add(file string, found []licenses.License) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	notices, err := filepath.Glob(filepath.Join(filepath.Dir(file), "NOTICE*"))
	if err != nil {
		return err
	}
	for _, notice := range notices {
		more, err := os.ReadFile(notice)
		if err != nil {
			return err
		}
		text = slices.Concat(text, []byte("\n"), more)
	}
	c.texts = append(c.texts, string(text))
	slices.Sort(c.texts)
	for _, l := range found {
		c.licences = append(c.licences, l.Name)
	}
	slices.Sort(c.licences)
	c.licences = slices.Compact(c.licences)
	return nil
}

// summary tells how many components have which licence.
func summary(all []*component) []string {
	count := map[string]int{}
	for _, c := range all {
		for _, l := range c.licences {
			count[l]++
		}
	}
	var lines []string
	for _, l := range slices.Sorted(maps.Keys(count)) {
		lines = append(lines, fmt.Sprintf("%s %d", l, count[l]))
	}
	return lines
}
