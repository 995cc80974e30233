package plugintest

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// readFor reads creds with a min_ttl.
func (w *world) readFor(minTTL time.Duration) answer {
	return w.try(logical.ReadOperation, "creds", fields{"min_ttl": fmt.Sprint(int(minTTL / time.Second))})
}

// The bound of min_ttl is two thirds of a token's lifetime, however old the current
// token is, and whatever refresh_before is.
func TestMinTTLBound(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		config := w.pair()
		config["refresh_before"] = 1
		w.write("config", config)
		asked := w.askedBy(clientA)
		for range 10 {
			a := w.readFor(40*time.Minute + time.Second)
			require.NoError(t, a.err)
			require.Equal(t, "min_ttl must be at most 40m0s: two thirds of a token's lifetime, which is 1h0m0s", a.resp.Error().Error())
			time.Sleep(time.Minute)
		}
		require.Equal(t, asked, w.askedBy(clientA))
	})
}

// At the bound GBG is asked three times a lifetime at most, whoever reads however often.
func TestMinTTLAtTheBound(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		config := w.pair()
		config["refresh_before"] = 1
		w.write("config", config)
		asked := w.askedBy(clientA)
		for began := time.Now(); time.Since(began) < 3*time.Hour; time.Sleep(10 * time.Second) {
			w.ok(w.readFor(40 * time.Minute))
		}
		require.LessOrEqual(t, w.askedBy(clientA)-asked, 9)
		require.GreaterOrEqual(t, w.askedBy(clientA)-asked, 8)
	})
}

// A fresh token that has come too late to be valid for so long is not passed off for
// one that is.
func TestMinTTLAndASlowAnswer(t *testing.T) {
	for _, lease := range []bool{false, true} {
		t.Run(fmt.Sprintf("lease=%t", lease), func(t *testing.T) {
			inBubble(t, worldOptions{lifetime: 9 * time.Second}, func(w *world) {
				config := w.pair()
				config["verify_connection"], config["lease"] = false, lease
				w.write("config", config)
				w.onRequest(func(http.ResponseWriter, *http.Request) bool {
					time.Sleep(4 * time.Second)
					return false
				})
				text := w.coded(http.StatusServiceUnavailable, w.readFor(6*time.Second))
				require.Contains(t, text, "it is valid for another 5s, less than min_ttl (6s)")
			})
		})
	}
}
