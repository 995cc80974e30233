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
// shows, and events can be subscribed to on Enterprise only.
func TestOperationsPageAsWritten(t *testing.T) {
	someone, _, m := newReaderWithMount(t, newProxy(t, map[string]http.Handler{"unused.example": http.NotFoundHandler()}))
	g := newGBG(t, time.Hour)
	m.write("config", g.pair())
	m.write("config/team-a", map[string]any{"token_url": g.tokenURL(), "client_id": g.a.ID, "client_secret": g.a.Secret})
	m.read("creds")

	page := blocks(t, "../docs/operations.md")
	require.Len(t, page, 3)
	out, err := someone.run(page[0].text)
	require.NoError(t, err, out)
	shown, printed := rows(page[1].text), rows(out)
	assert.Equal(t, shown[0], printed[0], "the columns")
	require.Len(t, printed, len(shown))
	for i := range shown[2:] {
		assert.Equal(t, shown[i+2][0], printed[i+2][0])
		assert.Len(t, printed[i+2], len(shown[i+2]), "%v, like %v", printed[i+2], shown[i+2])
	}
	assert.Equal(t, []string{"default", "client-a", "-", "0s", "client-b", "0s", "ago", "59m"}, exactly(printed[2]))

	command, _, _ := strings.Cut(page[2].text, "#")
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

// exactly puts seconds that depend on the machine to zero.
func exactly(row []string) []string {
	for i, word := range row {
		if strings.HasSuffix(word, "s") && strings.Trim(word, "0123456789") == "s" {
			row[i] = "0s"
		}
	}
	return row
}
