package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReplaceResults(t *testing.T) {
	const page = "# Performance\n<!-- bench reads -->\nold\n<!-- end of bench reads -->\nmore\n"
	replaced, err := replaceResults(page, "reads", "\nnew\n")
	require.NoError(t, err)
	require.Equal(t, "# Performance\n<!-- bench reads -->\n\nnew\n\n<!-- end of bench reads -->\nmore\n", replaced)
	_, err = replaceResults(page, "scale", "new")
	require.ErrorContains(t, err, `no place for the results of "scale"`)
}

// The page has a place for each part.
func TestPageHasAllParts(t *testing.T) {
	content, err := os.ReadFile("../../docs/performance.md")
	require.NoError(t, err)
	for _, part := range parts {
		_, err := replaceResults(string(content), part.name, "new")
		require.NoError(t, err)
	}
}

// A short run leaves the page as it is.
func TestShortRun(t *testing.T) {
	t.Chdir(t.TempDir())
	const content = "<!-- bench reads -->\nold\n<!-- end of bench reads -->\n"
	require.NoError(t, os.WriteFile("performance.md", []byte(content), 0o600))
	short, err := openPage("performance.md", 0.1)
	require.NoError(t, err)
	require.NoError(t, short.write("reads", "new"))
	path, link := short.picture("requests")
	require.Equal(t, filepath.Join("bin", "bench-short", "performance", "requests.svg"), path)
	require.Equal(t, "performance/requests.svg", link)
	kept, err := os.ReadFile("performance.md")
	require.NoError(t, err)
	require.Equal(t, content, string(kept))

	full, err := openPage("performance.md", 1)
	require.NoError(t, err)
	require.NoError(t, full.write("reads", "new"))
	written, err := os.ReadFile("performance.md")
	require.NoError(t, err)
	require.Contains(t, string(written), "new")
}
