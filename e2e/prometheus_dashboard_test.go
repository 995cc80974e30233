package e2e

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dashboard is what a test looks at in a dashboard of Grafana's.
type dashboard struct {
	Title       string
	Annotations struct{ List []dashboardQuery }
	Templating  struct{ List []dashboardVariable }
	Panels      []struct {
		ID      int
		Title   string
		Targets []dashboardQuery
	}
}

type dashboardQuery struct {
	Name, RefID, Expr string
	Datasource        struct{ Type, UID string }
}

type dashboardVariable struct {
	Name, Type, AllValue string
	// Query is a text or an object.
	Query json.RawMessage
	// Definition is the query as a text.
	Definition string
}

// assertDashboard asserts that each query of the dashboard is one, and finds
// something.
func assertDashboard(t *testing.T, p *prometheusServer) {
	t.Helper()
	content, err := os.ReadFile("../examples/prometheus/grafana-dashboard.json")
	require.NoError(t, err)
	var d dashboard
	require.NoError(t, json.Unmarshal(content, &d))

	values := map[string]string{"__rate_interval": "1m"}
	labelValues := regexp.MustCompile(`^label_values\((\w+)(\{.*\})?, (\w+)\)$`)
	for _, v := range d.Templating.List {
		if v.Type == "datasource" {
			assert.Equal(t, "datasource", v.Name)
			continue
		}
		// As Grafana gets them.
		parts := labelValues.FindStringSubmatch(interpolate(t, v.Definition, values))
		require.NotNil(t, parts, v.Definition)
		found, _, err := p.api.LabelValues(t.Context(), parts[3], []string{parts[1] + parts[2]}, time.Now().Add(-time.Hour), time.Now())
		require.NoError(t, err, v.Definition)
		assert.NotEmpty(t, found, v.Definition)
		assert.Contains(t, string(v.Query), jsonText(t, v.Definition), "what is asked is what is shown")
		values[v.Name] = v.AllValue // all of them are chosen
	}
	require.Contains(t, values, "connection")

	queries := 0
	finds := func(where string, q dashboardQuery) {
		t.Helper()
		queries++
		assert.Equal(t, "prometheus", q.Datasource.Type, where)
		assert.Equal(t, "${datasource}", q.Datasource.UID, where)
		assert.Positive(t, p.numbers(interpolate(t, q.Expr, values)), "%s: %s", where, q.Expr)
	}
	ids := map[int]bool{}
	for _, panel := range d.Panels {
		assert.False(t, ids[panel.ID], panel.Title)
		ids[panel.ID] = true
		assert.NotEmpty(t, panel.Targets, panel.Title)
		for _, q := range panel.Targets {
			finds(panel.Title+", "+q.RefID, q)
		}
	}
	for _, q := range d.Annotations.List {
		finds(q.Name, q)
	}
	assert.Equal(t, strings.Count(string(content), `"expr":`), queries, "no query is left out")
}

// interpolate puts values in the place of variables.
func interpolate(t *testing.T, expression string, values map[string]string) string {
	t.Helper()
	return regexp.MustCompile(`\$\w+`).ReplaceAllStringFunc(expression, func(variable string) string {
		value, ok := values[variable[1:]]
		require.True(t, ok, "%s in %s", variable, expression)
		return value
	})
}

func jsonText(t *testing.T, text string) string {
	t.Helper()
	quoted, err := json.Marshal(text)
	require.NoError(t, err)
	return string(quoted)
}
