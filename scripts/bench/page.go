package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// page is the page with the results. Each part has a place on it, between two comments.
type page struct{ path string }

// shortRunPage is where the results of a short run go, so that they do not replace those
// of a full one.
const shortRunPage = "bin/bench-short/performance.md"

// openPage returns the page at a path, or for a short run a copy of it.
func openPage(path string, length float64) (page, error) {
	if length >= 1 {
		return page{path}, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return page{}, err
	}
	if err := os.MkdirAll(filepath.Dir(shortRunPage), 0o750); err != nil {
		return page{}, err
	}
	return page{shortRunPage}, os.WriteFile(shortRunPage, content, 0o600) //nolint:gosec // the path is a constant
}

// write replaces the results of a part.
func (p page) write(part, results string) error {
	content, err := os.ReadFile(p.path)
	if err != nil {
		return err
	}
	replaced, err := replaceResults(string(content), part, results)
	if err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	return os.WriteFile(p.path, []byte(replaced), 0o644) //nolint:gosec // a page of documentation
}

// picture returns the path of a plot, beside the page, and the page's link to it.
func (p page) picture(name string) (path, link string) {
	link = "performance/" + name + ".svg"
	return filepath.Join(filepath.Dir(p.path), filepath.FromSlash(link)), link
}

func replaceResults(content, part, results string) (string, error) {
	begin, end := "<!-- bench "+part+" -->\n", "<!-- end of bench "+part+" -->"
	before, rest, foundBegin := strings.Cut(content, begin)
	_, after, foundEnd := strings.Cut(rest, end)
	if !foundBegin || !foundEnd {
		return "", fmt.Errorf("no place for the results of %q: %q and %q are missing", part, strings.TrimSpace(begin), end)
	}
	return before + begin + "\n" + strings.TrimSpace(results) + "\n\n" + end + after, nil
}
