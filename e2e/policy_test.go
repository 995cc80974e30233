package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A policy on creds/NAME is a team's access: it opens that and nothing else.
func TestPolicyOfOneTeam(t *testing.T) {
	g := newGBG(t, time.Hour)
	admin := configured(t, g)
	admin.write("config/team-a", g.pair())
	admin.write("config/team-b", g.pair())
	require.NoError(t, admin.client.Sys().PutPolicyWithContext(t.Context(), "team-a",
		`path "`+admin.path+`/creds/team-a" { capabilities = ["read"] }`))

	team := admin.as("team-a")
	assert.Equal(t, "team-a", team.read("creds/team-a").Data["connection"])
	for _, path := range []string{
		"creds", "creds/default", "creds/team-b", "creds/team-a-2",
		"config", "config/team-a", "status", "status/team-a", "metrics",
	} {
		status, _ := team.refusedRead(path)
		assert.Equal(t, http.StatusForbidden, status, path)
	}
	for _, path := range []string{"config/team-a", "rotate", "rotate/team-a", "creds/team-a"} {
		status, _ := team.refused(path, map[string]any{"client_secret": "fake"})
		assert.Equal(t, http.StatusForbidden, status, path)
	}
	_, err := team.client.Logical().DeleteWithContext(t.Context(), team.path+"/config/team-a")
	assertStatus(t, http.StatusForbidden, err)
	_, err = team.client.Logical().ListWithContext(t.Context(), team.path+"/config")
	assertStatus(t, http.StatusForbidden, err)
}

// create and update are different rights.
func TestPolicyMayUpdateWhatItMayNotCreate(t *testing.T) {
	g := newGBG(t, time.Hour)
	admin := configured(t, g)
	require.NoError(t, admin.client.Sys().PutPolicyWithContext(t.Context(), "updater",
		`path "`+admin.path+`/config*" { capabilities = ["update"] }`))
	updater := admin.as("updater")
	updater.write("config", map[string]any{"refresh_before": "60s"})
	status, _ := updater.refused("config/new", g.pair())
	assert.Equal(t, http.StatusForbidden, status)

	// Whoever may update is told what is wrong with an update.
	for _, field := range []string{"client_id", "client_secret", "refresh_before"} {
		status, text := updater.refused("config", map[string]any{field: []string{"fake"}})
		assert.Equal(t, http.StatusBadRequest, status)
		assert.Contains(t, text, field)
		status, _ = updater.refused("config/new", map[string]any{field: []string{"fake"}})
		assert.Equal(t, http.StatusForbidden, status)
	}
}

func TestNobodyWithoutAToken(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	client, err := m.client.Clone()
	require.NoError(t, err)
	client.ClearToken()
	for _, path := range []string{"config", "creds", "status", "metrics", "creds/other", "nonsense"} {
		_, err := client.Logical().ReadWithContext(t.Context(), m.path+"/"+path)
		assertStatus(t, http.StatusForbidden, err)
	}
	for _, path := range []string{"config", "rotate"} {
		_, err := client.Logical().WriteWithContext(t.Context(), m.path+"/"+path, nil)
		assertStatus(t, http.StatusForbidden, err)
	}
}

func assertStatus(t *testing.T, want int, err error) {
	t.Helper()
	status, _ := failure(t, err)
	assert.Equal(t, want, status)
}
