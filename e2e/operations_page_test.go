package e2e

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The commands of docs/operations.md: the table has the columns that the page
// shows, the JSON can be searched, and events can be subscribed to on Enterprise only.
func TestOperationsPageAsWritten(t *testing.T) {
	someone, _, m := newReaderWithMount(t, newProxy(t, map[string]http.Handler{"unused.example": http.NotFoundHandler()}))
	g := newGBG(t, time.Hour)
	m.write("config", g.pair())
	m.write("config/team-a", map[string]any{"token_url": g.tokenURL(), "client_id": g.a.ID, "client_secret": g.a.Secret})
	m.read("creds")

	page := blocks(t, "../docs/operations.md")
	require.Len(t, page, 4)
	out, err := someone.run(page[0].text)
	require.NoError(t, err, out)
	shown, printed := rows(page[1].text), rows(out)
	assert.Equal(t, shown[0], printed[0], "the columns")
	require.Len(t, printed, len(shown))
	for i := range shown[2:] {
		assert.Equal(t, shown[i+2][0], printed[i+2][0])
		assert.Len(t, printed[i+2], len(shown[i+2]), "%v, like %v", printed[i+2], shown[i+2])
	}
	assert.Regexp(t, "^default client-a - [0-9]+ ok 59m[0-9]+s$", strings.Join(printed[2], " "))

	m.write("config/team-b", with(g.pair(), "verify_connection", false))
	out, err = someone.run(page[2].text)
	require.NoError(t, err, out)
	assert.Equal(t, "standby_unproven team-b\n", out)

	command, _, _ := strings.Cut(page[3].text, "#")
	subscribe := exec.CommandContext(t.Context(), "bash", "-c", command)
	subscribe.Env = someone.env
	require.Error(t, subscribe.Run())
}

// rows are the words of a table's rows, its underlines included.
func rows(table string) (all [][]string) {
	for line := range strings.Lines(table) {
		if words := strings.Fields(line); len(words) > 0 {
			all = append(all, words)
		}
	}
	return all
}
