package consumers

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The shell step of the Jenkinsfile, with the two variables that the plugin sets.
func TestJenkinsStep(t *testing.T) {
	w := newWorld(t, time.Hour)
	_, step, found := strings.Cut(readExample(t, "consumers/Jenkinsfile"), "sh '''")
	require.True(t, found)
	step, _, found = strings.Cut(step, "'''")
	require.True(t, found)
	assert.Equal(t, w.token(), w.runJob("set -x\n"+step, "VAULT_TOKEN="+w.reader(), "VAULT_ADDR="+w.vault.Address()))
}
