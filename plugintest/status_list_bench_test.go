package plugintest

import (
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	gbg "gbg.example/vault-plugin-secrets-gbg"
)

// BenchmarkStatusList lists the status of ten thousand connections right after a
// restart, when all of it is in storage, which is behind gRPC as it is for a plugin
// process, and again when it is in memory.
func BenchmarkStatusList(b *testing.B) {
	m := newBenchMount(b)
	for i := range benchConnections {
		m.configure(benchName(i))
		m.read("creds/" + benchName(i))
	}
	m.close()
	var cold, warm time.Duration
	for b.Loop() {
		mount := newGRPCBackend(b, gbg.Options{}, &logical.BackendConfig{
			StorageView: m.storage, Logger: hclog.NewNullLogger(), System: &logical.StaticSystemView{},
		})
		list := func() time.Duration {
			begun := time.Now()
			resp, err := mount.HandleRequest(b.Context(), &logical.Request{Operation: logical.ListOperation, Path: "status/", Storage: m.storage})
			require.NoError(b, err)
			require.Len(b, resp.Data["keys"], benchConnections)
			return time.Since(begun)
		}
		cold += list()
		warm += list()
	}
	b.ReportMetric(cold.Seconds()/float64(b.N), "s/first")
	b.ReportMetric(warm.Seconds()/float64(b.N), "s/again")
}
