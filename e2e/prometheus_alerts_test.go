package e2e

import (
	"os"
	"strings"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// assertAlerts asserts that Prometheus can evaluate all alerts, that those fire that
// must by now, and that docs/metrics.md has a section on each.
func (w *monitored) assertAlerts(p *prometheusServer) {
	w.t.Helper()
	p.sees(`ALERTS{alertname="GBGStandbyRefused", alertstate="firing", connection="leased", client_id="go-api-leased-a"}`)
	p.sees(`ALERTS{alertname="GBGReadsFailing", alertstate="firing", connection="down"}`)
	p.sees(`ALERTS{alertname="GBGRefreshFailing", alertstate="pending", connection="down"}`)
	p.sees(`ALERTS{alertname="GBGRotationDue", alertstate="pending", connection="scheduled"}`)
	assert.Empty(w.t, p.query(`ALERTS{connection=~"default|cold|m2m|sso"}`))

	page, err := os.ReadFile("../docs/metrics.md")
	require.NoError(w.t, err)
	rules, err := p.api.Rules(w.t.Context())
	require.NoError(w.t, err)
	require.Len(w.t, rules.Groups, 1)
	for _, rule := range rules.Groups[0].Rules {
		alert, ok := rule.(promv1.AlertingRule)
		require.True(w.t, ok)
		assert.EqualValues(w.t, promv1.RuleHealthGood, alert.Health, "%s: %s", alert.Name, alert.LastError)
		assert.Contains(w.t, string(page), "\n### "+alert.Name+"\n")
		assert.EqualValues(w.t, "docs/metrics.md#"+strings.ToLower(alert.Name), alert.Annotations["runbook"])
		for _, annotation := range []model.LabelName{"summary", "description"} {
			assert.NotEmpty(w.t, alert.Annotations[annotation], alert.Name)
		}
	}
	assert.Equal(w.t, len(rules.Groups[0].Rules), strings.Count(string(page), "\n### GBG"), "alerts and sections")
}
