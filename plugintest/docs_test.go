package plugintest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pages are all pages of documentation, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	t.Chdir("..")
	files, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	more, err := filepath.Glob("examples/*/*.md")
	require.NoError(t, err)
	all := map[string]string{}
	for _, file := range append(append(files, more...), "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md") {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		all[file] = string(content)
	}
	return all
}

// Each page says in its first line for whom it is, and docs/index.md leads to it.
func TestDocsSayForWhomTheyAre(t *testing.T) {
	all := pages(t)
	for file, page := range all {
		if filepath.Dir(file) != "docs" {
			continue
		}
		assert.Regexp(t, `^# .+\n\nFor `, page, file)
		if file != "docs/index.md" {
			assert.Contains(t, all["docs/index.md"], "]("+filepath.Base(file)+")", "the index has the page")
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fenced  = regexp.MustCompile("(?s)\n```.*?\n```")
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
)

// Links lead somewhere: to a file of this repository, and to a heading in it.
func TestDocsLinksLeadSomewhere(t *testing.T) {
	all := pages(t)
	for file, page := range all {
		for _, found := range link.FindAllStringSubmatch(fenced.ReplaceAllString(page, ""), -1) {
			target, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			path := filepath.Join(filepath.Dir(file), target)
			if target == "" {
				path = file
			}
			_, err := os.Stat(path)
			assert.NoError(t, err, "%s links to %s", file, found[1])
			if anchor != "" {
				assert.Contains(t, anchors(all[path]), anchor, "%s links to %s", file, found[1])
			}
		}
	}
}

// anchors are what the headings of a page are called in links.
func anchors(page string) (all []string) {
	odd := regexp.MustCompile("[^a-z0-9 _-]")
	for _, found := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(page, ""), -1) {
		name := odd.ReplaceAllString(strings.ToLower(found[1]), "")
		all = append(all, strings.ReplaceAll(name, " ", "-"))
	}
	return all
}
