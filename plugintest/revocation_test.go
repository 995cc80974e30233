package plugintest

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-gbg/internal/gbgsim"
)

// If the first request to revoke a token gets no answer the second one does, in the
// time for one answer.
func TestFirstRevocationHangs(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		config := w.pair()
		config["lease"], config["revoke_url"] = true, w.url(gbgsim.RevokePath)
		w.write("config", config)
		lease := w.try(logical.ReadOperation, "creds", nil).resp
		var once sync.Once
		w.onRequest(func(rw http.ResponseWriter, r *http.Request) (answered bool) {
			once.Do(func() { answered = hang(rw, r) })
			return answered
		})
		began := time.Now()
		_, err := w.backend.HandleRequest(w.t.Context(), &logical.Request{Operation: logical.RevokeOperation, Secret: lease.Secret, Storage: w.storage})
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(began), 10*time.Second)
	})
}
