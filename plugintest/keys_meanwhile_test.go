package plugintest

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// A key that is replaced while a check or a verification waits for the identity provider
// proves nothing about the new one, accepted or refused.
func TestKeysReplacedMeanwhile(t *testing.T) {
	for name, begin := range map[string]func(w *world) (wait func()){
		"a check": func(w *world) func() {
			w.passUntil(start.Add(day))
			return func() {}
		},
		"a verification": func(w *world) func() {
			verifying := w.begin(logical.UpdateOperation, "verify", nil)
			return func() { w.ok(await(w.t, verifying, "the verification")) }
		},
	} {
		for outcome, registered := range map[string]bool{"accepted": true, "refused": false} {
			t.Run(name+", "+outcome, func(t *testing.T) {
				inBubble(t, worldOptions{}, func(w *world) {
					proven(w)
					w.minute()
					if !registered {
						w.unregister(idpB)
					}
					opened := make(chan struct{})
					open := sync.OnceFunc(func() { close(opened) })
					defer open()
					w.onRequest(func(_ http.ResponseWriter, r *http.Request) bool {
						if r.URL.Path == gbgsim.IDPTokenPath && r.FormValue("client_id") == idpB {
							<-opened
						}
						return false
					})
					wait := begin(w)
					assert.Equal(t, 1, w.underWay())
					made := w.newKey(nil)
					open()
					w.pass(time.Second)
					wait()
					for range 2 {
						status := w.read("status")
						assert.Equal(t, "standby_unproven", status["state"])
						assert.NotContains(t, status, "standby_verified_time")
						assert.NotContains(t, status, "standby_error")
						assert.Equal(t, made, w.read("keys"))
						w.restart()
					}
				})
			})
		}
	}
}
