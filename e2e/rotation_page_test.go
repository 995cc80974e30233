package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// The ids of the page's clients.
const idA, idB = "go-api-a", "go-api-b"

// Somebody who follows docs/rotation.md, with the rights that it names and no more,
// sees what it shows and gets out of every trouble.
func TestRotationPageAsWritten(t *testing.T) {
	t.Parallel()
	w := newRunbook(t)
	output := w.person.follow("../docs/rotation.md", map[string]func(){
		"In Vault": func() {
			w.person.write("a.secret", w.g.client(t, idA).Secret+"\n")
			w.person.write("b.secret", w.g.client(t, idB).Secret+"\n")
			// Who administers Vault has a token; who logs in must not have one as well.
			w.person.env = slices.DeleteFunc(w.person.env, func(v string) bool { return strings.HasPrefix(v, "VAULT_TOKEN=") })
			_, err := w.person.run("vault login -no-print " + w.m.client.Token())
			require.NoError(t, err)
		},
		"1. Find the standby client":      w.rotatedLongAgo,
		"2. Regenerate its secret at GBG": func() { w.person.clipboard = w.g.regenerate(t, idB) + "\n" },
		"The standby has taken over": func() {
			w.beginWithShortToken()
			w.person.write("new.secret", w.g.regenerate(t, idA)+"\n")
			w.freshRead()
			require.Equal(t, idB, w.m.read("status").Data["active_client_id"])
		},
		"The wrong client's secret was regenerated": func() {
			w.begin()
			w.person.write("new.secret", w.g.regenerate(t, idA)+"\n")
		},
		"The standby is refused": func() {
			w.begin()
			w.person.write("new.secret", w.g.regenerate(t, idB)+"\n")
		},
		"GBG refuses the new secret": func() {
			w.begin()
			w.person.clipboard = w.g.regenerate(t, idB) + "\n"
			w.person.write("new.secret", w.person.clipboard[:8]+"\n")
		},
		"GBG refuses both clients": func() {
			w.beginWithShortToken()
			w.g.regenerate(t, idA)
			w.person.clipboard = w.g.regenerate(t, idB) + "\n"
			w.fail()
		},
		"GBG is down": func() {
			w.beginWithShortToken()
			w.m.write("config", map[string]any{"request_timeout": "2s"})
			require.NoError(t, w.g.SetFault(gbgsim.Fault{Kind: gbgsim.FaultClose}))
			w.fail()
		},
		"GBG is back": func() {
			w.g.ClearFaults()
			require.Eventually(t, func() bool {
				_, _ = w.m.client.Logical().ReadWithDataWithContext(t.Context(), "gbg/creds", fresh)
				return w.m.read("status").Data["last_error"] == nil
			}, time.Minute, 100*time.Millisecond)
		},
		"Add a second client": func() {
			w.begin()
			w.m.write("config", map[string]any{"paired_client_id": ""})
			w.person.write("b.secret", w.g.regenerate(t, idB)+"\n")
		},
		"Rotations on a schedule": func() {
			w.begin()
			w.person.write("new.secret", w.g.regenerate(t, idB)+"\n")
		},
		"Replace the secret of a single client": func() {
			w.begin()
			w.m.write("config", map[string]any{"paired_client_id": ""})
			w.person.clipboard = w.g.regenerate(t, idA) + "\n"
		},
	})
	assert.NotContains(t, output["4. Check that it worked"], "last_error")
	assert.NotContains(t, output["GBG is back"], "last_error")
	assert.Equal(t, 1, strings.Count(output["A change freeze"], "next_rotation_time"), "not while the schedule is off")
	w.m.write("config", map[string]any{"lease": true})
	w.m.read("creds") // asks GBG
	assert.NotContains(t, w.m.read("status").Data, "last_error", "the secret that was written last works")
}

// runbook is the page's world.
type runbook struct {
	t      *testing.T
	g      *gbg
	m      *mount // as one who may do everything
	person *reader
}

func newRunbook(t *testing.T) *runbook {
	t.Helper()
	w := &runbook{t: t, g: newGBG(t, time.Hour)}
	w.person, _, w.m = newReaderWithMount(t, newProxy(t, map[string]http.Handler{"api.auth.gbgplc.com": w.g.Simulator}))
	for _, name := range []string{"ann", "adam"} {
		w.person.write(name+".password", "fake-password-of-"+name)
	}
	return w
}

// begin makes the pair anew, the first client active, both with secrets that
// work.
func (w *runbook) begin() {
	w.t.Helper()
	w.m.delete("config/default")
	w.m.write("config", map[string]any{
		"client_id": idA, "client_secret": w.g.regenerate(w.t, idA),
		"paired_client_id": idB, "paired_client_secret": w.g.regenerate(w.t, idB),
		// So that no refresh in the background comes before freshRead.
		"refresh_before": "1s",
	})
}

// beginWithShortToken does so with a token of half a minute, which freshRead can have
// replaced while it is valid. Later tokens live for an hour.
func (w *runbook) beginWithShortToken() {
	w.t.Helper()
	require.NoError(w.t, w.g.SetTokenLifetime(30*time.Second))
	w.begin()
	require.NoError(w.t, w.g.SetTokenLifetime(time.Hour))
}

// rotatedLongAgo is a pair whose standby has left, and whose last token of that
// client has expired.
func (w *runbook) rotatedLongAgo() {
	w.t.Helper()
	require.NoError(w.t, w.g.SetTokenLifetime(9*time.Second))
	w.begin()
	w.m.write("rotate", map[string]any{"client_id": idB})
	require.NoError(w.t, w.g.SetTokenLifetime(time.Hour))
	w.m.write("rotate", map[string]any{"client_id": idA, "client_secret": w.g.regenerate(w.t, idA)})
	after, err := time.Parse(time.RFC3339, w.m.read("status").Data["regenerate_after"].(string))
	require.NoError(w.t, err)
	require.Eventually(w.t, func() bool { return time.Now().After(after) }, time.Minute, 100*time.Millisecond)
}

// fresh is the query of a read that has the token of beginWithShortToken replaced once
// that is ten seconds old.
var fresh = map[string][]string{"min_ttl": {"20"}}

// freshRead reads until GBG was asked for another token.
func (w *runbook) freshRead() {
	w.t.Helper()
	before := w.g.Stats().TokenRequests.Total
	require.Eventually(w.t, func() bool {
		_, err := w.m.client.Logical().ReadWithDataWithContext(w.t.Context(), "gbg/creds", fresh)
		return err != nil || w.g.Stats().TokenRequests.Total > before
	}, time.Minute, 100*time.Millisecond)
}

// fail has a token request fail while the current token is valid.
func (w *runbook) fail() {
	w.t.Helper()
	w.freshRead()
	require.NotEmpty(w.t, w.m.read("status").Data["last_error"])
}
