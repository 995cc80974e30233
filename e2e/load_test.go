package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"
)

// load is a number of readers that read tokens as fast as they can, and call
// GBG's API with each of them at once.
type load struct {
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu     sync.Mutex
	result loadResult
}

// loadResult is what the readers saw.
type loadResult struct {
	reads    int
	failures []string        // of reads
	refused  []string        // tokens that GBG's API refused: their clients
	slowest  time.Duration   // of the reads that succeeded
	longest  time.Duration   // the longest time without a successful read, of all readers together
	tokens   map[string]bool // all that were seen
	warnings map[string]int
	last     time.Time
}

// startLoad starts readers of a path. observe, if not nil, is called before each
// read; what it gives is called with the answer.
func startLoad(t *testing.T, m *mount, path string, g *gbg, readers int, observe func() func(*api.Secret)) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel, result: loadResult{tokens: map[string]bool{}, warnings: map[string]int{}, last: time.Now()}}
	for range readers {
		client, err := m.client.Clone()
		require.NoError(t, err)
		client.SetToken(m.client.Token())
		l.group.Go(func() {
			for ctx.Err() == nil {
				l.once(ctx, client, m.path+"/"+path, g, observe)
			}
		})
	}
	t.Cleanup(func() { l.stop() })
	return l
}

func (l *load) once(ctx context.Context, client *api.Client, path string, g *gbg, observe func() func(*api.Secret)) {
	seen := func(*api.Secret) {}
	if observe != nil {
		seen = observe()
	}
	began := time.Now()
	s, err := client.Logical().ReadWithContext(ctx, path)
	took := time.Since(began)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		l.note(func(r *loadResult) { r.failures = append(r.failures, err.Error()) })
		return
	}
	seen(s)
	token, _ := s.Data["access_token"].(string)
	ok, err := g.call(ctx, token)
	if ctx.Err() != nil {
		return
	}
	l.note(func(r *loadResult) {
		r.slowest = max(r.slowest, took)
		r.longest = max(r.longest, time.Since(r.last))
		r.last = time.Now()
		r.tokens[token] = true
		for _, warning := range s.Warnings {
			r.warnings[warning]++
		}
		if err != nil || !ok {
			r.refused = append(r.refused, fmt.Sprint(s.Data["client_id"], err))
		}
	})
}

func (l *load) note(f func(*loadResult)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.result.reads++
	f(&l.result)
}

// stop ends the readers and gives what they saw.
func (l *load) stop() loadResult {
	l.cancel()
	l.group.Wait()
	return l.result
}

// String gives the figures of a result.
func (r loadResult) String() string {
	return fmt.Sprintf("%d reads, %d failed; %d tokens, %d refused by GBG; slowest read %s, longest time without one %s",
		r.reads, len(r.failures), len(r.tokens), len(r.refused), r.slowest.Round(time.Millisecond), r.longest.Round(time.Millisecond))
}
