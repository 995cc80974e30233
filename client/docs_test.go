package client_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The code in docs/go-client.md is that of an example, which is compiled and run.
func TestTheCodeOfThePage(t *testing.T) {
	page, err := os.ReadFile("../docs/go-client.md")
	require.NoError(t, err)
	examples, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		code := strings.ReplaceAll("\t"+strings.TrimSpace(block[1]), "\n", "\n\t")
		assert.Contains(t, string(examples), code)
	}
}
