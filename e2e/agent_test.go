package e2e

import (
	"encoding/json"
	"maps"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// An application and a program with Agents of their own work through six
// lifetimes of tokens, with a rotation, a failover and a restart of the plugin
// in between, and notice none of it.
func TestAgentOverSixLifetimes(t *testing.T) {
	t.Parallel()
	agentsOverSixLifetimes(t, nil)
}

// agentsOverSixLifetimes does that with connections that have some settings.
func agentsOverSixLifetimes(t *testing.T, settings map[string]any) {
	t.Helper()
	const lifetime = 12 * time.Second
	w := newAgents(t)
	g, slow := newGBG(t, lifetime), newGBG(t, 2*lifetime)
	w.configure("team-a", g, settings)
	w.configure("team-b", slow, settings)
	w.configure("team-c", slow, settings)
	issued, issuedSlowly := g.Stats().TokenRequests.Issued, slow.Stats().TokenRequests.Issued

	began := time.Now()
	files := w.start("team-a", agentOptions{config: "agent.hcl"})
	programs := newPrograms(t, slow)
	// The other two have to log in again and again.
	logsInAgain := map[string]any{"token_ttl": "20s", "token_max_ttl": "20s"}
	parent := w.start("team-b", agentOptions{
		config: "agent-exec.hcl", role: logsInAgain, env: []string{programEnv + "=" + programs.address},
	})
	queries := w.start("team-c", agentOptions{config: "agent.hcl", role: logsInAgain, jsonQuery: "?min_ttl=1s"})
	files.waitFor("gbg.env", 1)
	app := startApplication(t, g, files.path("gbg.env"))

	files.waitFor("gbg.env", 2)
	time.Sleep(lifetime / 4) // to somewhere in the middle
	assert.Equal(t, true, w.write("rotate/team-a", map[string]any{"client_secret": g.regenerate(t, g.b.ID)}).Data["rotated"])
	files.waitFor("gbg.env", 3)
	secret := g.regenerate(t, g.b.ID)
	require.Eventually(t, func() bool { return w.read("status/team-a").Data["last_rotation_cause"] == "failover" },
		time.Minute, 50*time.Millisecond)
	w.write("config/team-a", map[string]any{"paired_client_secret": secret})
	files.waitFor("gbg.env", 5)
	_, err := w.client.Sys().ReloadPluginWithContext(t.Context(), &api.ReloadPluginInput{Plugin: vaultserver.PluginName})
	require.NoError(t, err)
	// The engine renews ahead what somebody has read, and a plugin that starts anew
	// does not know. Agents would be the first to read, when the successor is due
	// already, get the old token once more, and be back four seconds later: no
	// matter with tokens of minutes, too late with these.
	for _, connection := range []string{"team-a", "team-b", "team-c"} {
		w.read("creds/" + connection)
	}
	time.Sleep(time.Until(began.Add(6 * lifetime)))

	app.stop()
	files.stop()
	parent.stop()
	queries.stop()
	w.assertFilesFollowed(files, 6, g.Stats().TokenRequests.Issued-issued)
	w.assertFilesFollowed(queries, 3, slow.Stats().TokenRequests.Issued-issuedSlowly)
	assert.Equal(t, 1, files.logins(), "a Vault token with a period")
	for _, a := range []*agent{parent, queries} {
		assert.Greater(t, a.logins(), 2, "a Vault token that ends")
	}
	accepted, refused, failures := app.counts()
	t.Logf("the application: %d calls accepted, %d refused", accepted, refused)
	assert.Positive(t, accepted)
	assert.Zero(t, refused)
	assert.Empty(t, failures)
	waitForLine(t, files.log, `so client "client-a" has taken over`) // Agent passes the warning on
	w.assertProgramFollowed(parent, programs)
}

// Leases suit Agent too: it reads again before a lease ends, which it cannot renew,
// and the token in the file is never one that was revoked.
func TestAgentWithLeases(t *testing.T) {
	t.Parallel()
	const lifetime, lifetimes = 12 * time.Second, 4
	w := newAgents(t)
	g := newGBG(t, lifetime)
	w.configure("team-a", g, map[string]any{"lease": true, "revoke_url": g.url + gbgsim.RevokePath})
	began := time.Now()
	a := w.start("team-a", agentOptions{config: "agent.hcl"})
	a.waitFor("gbg.env", 1)
	app := startApplication(t, g, a.path("gbg.env"))
	a.waitFor("gbg.env", 2)
	w.write("rotate/team-a", map[string]any{"client_secret": g.regenerate(t, g.b.ID)})
	time.Sleep(time.Until(began.Add(lifetimes * lifetime)))

	app.stop()
	a.stop()
	written := a.files.of("gbg.env")
	reads, failures := w.reads(a)
	accepted, refused, missing := app.counts()
	t.Logf("%d tokens, %d reads; %d calls accepted, %d refused", len(written), reads, accepted, refused)
	assert.GreaterOrEqual(t, len(written), lifetimes)
	assert.Len(t, distinct(written), len(written))
	assert.LessOrEqual(t, reads, len(written)+extraReads, "one read for each token")
	assert.Zero(t, failures)
	assert.Positive(t, accepted)
	assert.Zero(t, refused)
	assert.Empty(t, missing)
}

// configure writes a connection with both clients of a GBG.
func (w *agents) configure(connection string, g *gbg, settings map[string]any) {
	w.t.Helper()
	write := g.pair()
	maps.Copy(write, settings)
	w.write("config/"+connection, write)
}

// extraReads is how many reads may bring no new token: one that comes too early on
// a slow machine, or that Agent's end cuts off.
const extraReads = 3

// assertFilesFollowed asserts that an Agent's two files were written once for
// each token, and that it read once for that.
func (w *agents) assertFilesFollowed(a *agent, lifetimes, issued int) {
	w.t.Helper()
	var inEnv, inJSON []string
	for _, content := range a.files.of("gbg.env") {
		inEnv = append(inEnv, envToken(content))
	}
	for _, content := range a.files.of("gbg.json") {
		var file struct {
			AccessToken string `json:"access_token"`
			ExpireTime  string `json:"expire_time"`
		}
		require.NoError(w.t, json.Unmarshal([]byte(content), &file))
		_, err := time.Parse(time.RFC3339, file.ExpireTime)
		assert.NoError(w.t, err)
		inJSON = append(inJSON, file.AccessToken)
	}
	reads, failures := w.reads(a)
	w.t.Logf("files of %s: %d tokens of %d that GBG issued; %d rewrites, %d logins, %d reads and %d failed ones",
		a.connection, len(distinct(inEnv)), issued, len(inEnv), a.logins(), reads, failures)
	assert.GreaterOrEqual(w.t, len(inEnv), lifetimes, "one token for each lifetime at least")
	assert.LessOrEqual(w.t, len(inEnv), issued)
	assert.Len(w.t, distinct(inEnv), len(inEnv), "one rewrite for each token")
	assert.Equal(w.t, inEnv, inJSON, "both files show the same")
	assert.LessOrEqual(w.t, reads, len(inEnv)+a.logins()-1+extraReads,
		"one read for each token, and for each new login, whatever the number of templates")
	assert.LessOrEqual(w.t, failures, 2)

	for _, name := range []string{"gbg.env", "gbg.json"} {
		info, err := os.Stat(a.path(name))
		require.NoError(w.t, err)
		assert.Equal(w.t, os.FileMode(0o600), info.Mode(), name)
	}
	assert.NotContains(w.t, a.log.String(), gbgsim.TokenPrefix)
}

// assertProgramFollowed asserts that an Agent's program was started once for each
// token, and never had one that GBG refused.
func (w *agents) assertProgramFollowed(a *agent, p *programs) {
	w.t.Helper()
	runs := p.all()
	reads, failures := w.reads(a)
	w.t.Logf("the program: %d runs, %d logins, %d reads and %d failed ones", len(runs), a.logins(), reads, failures)
	assert.GreaterOrEqual(w.t, len(runs), 3, "one for each lifetime at least")
	var tokens []string
	for _, run := range runs {
		w.t.Log(run)
		assert.Len(w.t, run.tokens, 1, "a process has one environment")
		assert.False(w.t, run.refusedAtStart)
		assert.Zero(w.t, run.refused)
		tokens = append(tokens, run.tokens...)
		assert.ErrorIs(w.t, syscall.Kill(run.process, 0), syscall.ESRCH, "it has ended, with Agent at the latest")
	}
	assert.Len(w.t, distinct(tokens), len(runs), "one start for each token")
	assert.LessOrEqual(w.t, reads, len(runs)+a.logins()-1+extraReads, "one read for each token, and for each new login")
	assert.LessOrEqual(w.t, failures, 2)
	assert.NotContains(w.t, a.log.String(), gbgsim.TokenPrefix)
}

// distinct gives the different ones of some texts.
func distinct(texts []string) map[string]bool {
	set := map[string]bool{}
	for _, text := range texts {
		set[text] = true
	}
	return set
}

// GBG is down until the token has ended, and back; then Vault is. Each time the
// file keeps the last token, and Agent goes on by itself.
func TestAgentThroughOutages(t *testing.T) {
	t.Parallel()
	w := newAgents(t)
	g := newGBG(t, 9*time.Second)
	w.configure("team-a", g, map[string]any{"request_timeout": "2s"})
	a := w.start("team-a", agentOptions{config: "agent.hcl"})
	a.waitFor("gbg.env", 1)
	app := startApplication(t, g, a.path("gbg.env"))

	const retry = "(retry attempt " // what Agent says when it waits after a failed read
	for _, outage := range []struct {
		of         string
		begin, end func()
	}{
		{
			of:    "GBG",
			begin: func() { require.NoError(t, g.SetFault(gbgsim.Fault{Kind: gbgsim.FaultClose})) },
			end:   g.ClearFaults,
		},
		{
			of:    "Vault",
			begin: func() { require.NoError(t, w.server.Stop()) },
			end:   func() { require.NoError(t, w.server.Restart(t.Context())) },
		},
	} {
		written := len(a.files.of("gbg.env"))
		_, refusedBefore, _ := app.counts()
		retriesBefore := a.said(retry)
		outage.begin()
		require.Eventually(t, func() bool {
			_, refused, _ := app.counts()
			return refused >= refusedBefore+3 && a.said(retry) >= retriesBefore+2
		}, 2*time.Minute, 50*time.Millisecond, "without %s the token ends", outage.of)
		kept := a.files.of("gbg.env")
		content, err := os.ReadFile(a.path("gbg.env"))
		require.NoError(t, err)
		assert.Equal(t, kept[len(kept)-1], string(content), "the file keeps the last token")
		assert.LessOrEqual(t, len(kept), written+1, "one that was ready, and no more")

		accepted, _, _ := app.counts()
		outage.end()
		a.waitFor("gbg.env", len(kept)+1)
		require.Eventually(t, func() bool {
			now, _, _ := app.counts()
			return now > accepted
		}, time.Minute, 50*time.Millisecond)
		_, refused, failures := app.counts()
		t.Logf("without %s: %d calls refused, %d retries", outage.of, refused-refusedBefore, a.said(retry)-retriesBefore)
		assert.Empty(t, failures, "the file was there all the time")
	}
	a.stop()
}
