package e2e

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// assertMetricsPage asserts that the tables of docs/metrics.md have the metrics that
// there are, when everything has happened: their types and labels, and the values
// of those labels that have a few.
func assertMetricsPage(t *testing.T, text string) {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	require.NoError(t, err)
	page, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)

	type metric struct{ kind, labels string }
	told, given := map[string]metric{}, map[string]metric{}
	words := regexp.MustCompile("`([^`]+)`")
	row := regexp.MustCompile("(?m)^\\| `(gbg_\\w+)` \\| (\\w+) \\| (.*?) ?\\| ")
	for _, r := range row.FindAllStringSubmatch(string(page), -1) {
		var labels []string
		for _, word := range words.FindAllStringSubmatch(r[3], -1) {
			labels = append(labels, word[1])
		}
		told[r[1]] = metric{r[2], sorted(labels)}
	}
	values := map[string]map[string]bool{}
	for name, family := range families {
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		var labels []string
		for _, label := range family.Metric[0].Label {
			labels = append(labels, label.GetName())
		}
		mount := name == "gbg_unreadable_connections" || name == "gbg_build_info"
		assert.NotEqual(t, mount, slices.Contains(labels, "connection"), name)
		labels = slices.DeleteFunc(labels, func(label string) bool { return label == "connection" })
		given[name] = metric{strings.ToLower(family.GetType().String()), sorted(labels)}
		if name != "gbg_standby_checks_total" { // its results have a row of their own
			noteValues(values, family)
		}
	}
	assert.Equal(t, given, told)
	for _, label := range []string{"source", "cause", "state", "reason", "step", "result"} {
		line := regexp.MustCompile("(?m)^\\| `" + label + "` \\| (.*) \\|$").FindStringSubmatch(string(page))
		require.NotNil(t, line, label)
		for value := range values[label] {
			assert.Contains(t, line[1], "`"+value+"`", "a %s", label)
		}
	}
}

// noteValues notes the values that labels have.
func noteValues(values map[string]map[string]bool, family *dto.MetricFamily) {
	for _, m := range family.Metric {
		for _, label := range m.Label {
			if values[label.GetName()] == nil {
				values[label.GetName()] = map[string]bool{}
			}
			values[label.GetName()][label.GetValue()] = true
		}
	}
}

// sorted are labels in order, as one text.
func sorted(labels []string) string {
	slices.Sort(labels)
	return strings.Join(labels, " ")
}
