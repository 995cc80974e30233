package e2e

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Somebody who types what docs/leases.md says, in order, gets what it promises.
func TestLeasesPageAsWritten(t *testing.T) {
	p := startIDP(t, 10*time.Minute)
	address, err := url.Parse(p.URL)
	require.NoError(t, err)
	someone, _, m := newReaderWithMount(t, newProxy(t, map[string]http.Handler{
		"auth.gbg.example": httputil.NewSingleHostReverseProxy(address),
	}))
	someone.write("a.secret", p.Secrets[idpA]+"\n")
	someone.write("b.secret", p.Secrets[idpB]+"\n")

	var held any
	output := someone.follow("../docs/leases.md", map[string]func(){
		"Read and revoke": func() { held = m.read("creds/payments").Data["access_token"] },
	})
	took := output["Read and revoke"]
	assert.Regexp(t, `lease_id +gbg/creds/payments/\w+`, took)
	assert.Regexp(t, `lease_renewable +false`, took)
	assert.Contains(t, took, "All revocation operations queued successfully!")
	assert.Eventually(t, func() bool { return !p.accepts(t, held) }, 30*time.Second, 50*time.Millisecond)
	assert.Eventually(t, func() bool {
		left, err := m.client.Logical().ListWithContext(t.Context(), "sys/leases/lookup/gbg/creds/payments")
		return err == nil && left == nil
	}, 30*time.Second, 50*time.Millisecond, "no lease is left")
}
