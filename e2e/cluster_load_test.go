package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"
)

// readerPause is between two reads of one reader, so that a small machine has
// time for the nodes to talk to each other.
const readerPause = 50 * time.Millisecond

// clusterLoad is readers spread over the nodes of a cluster. Each reads a token,
// calls GBG's API with it, and then reads from a kv mount, which shows what Vault
// alone does.
type clusterLoad struct {
	g      *gbg
	active func() func() (client string, ok bool)
	cancel context.CancelFunc
	group  sync.WaitGroup

	// leaderCutOff is set if a node may take itself for the leader when it is not.
	leaderCutOff atomic.Bool

	mu     sync.Mutex
	result clusterResult
}

type clusterResult struct {
	creds, kv traffic
	refused   []string // tokens that GBG's API refused: their clients
	// stale are reads of a client that had left before they were asked;
	// staleAfterCutOff those while a node might have taken itself for the leader.
	stale, staleAfterCutOff int
}

// traffic is what became of the reads of one kind, by all readers.
type traffic struct {
	reads            int
	failures         map[string]int // by what Vault said
	slowest, longest time.Duration  // the longest time without a successful one
	last             time.Time
}

func (r *traffic) note(began time.Time, err error) {
	r.reads++
	if err != nil {
		if r.failures == nil {
			r.failures = map[string]int{}
		}
		r.failures[wordsOf(err)]++
		return
	}
	now := time.Now()
	r.slowest = max(r.slowest, now.Sub(began))
	if !r.last.IsZero() {
		r.longest = max(r.longest, now.Sub(r.last))
	}
	r.last = now
}

// wordsOf is an error without what differs from one request to the next.
func wordsOf(err error) string {
	var answer *api.ResponseError
	if errors.As(err, &answer) {
		return fmt.Sprintf("%d %s", answer.StatusCode, strings.Join(answer.Errors, ", "))
	}
	var empty emptyAnswerError
	if errors.As(err, &empty) {
		return empty.Error()
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "connection refused"
	}
	return "connection lost"
}

func (r traffic) String() string {
	failed, texts := 0, ""
	for _, text := range slices.Sorted(maps.Keys(r.failures)) {
		failed += r.failures[text]
		texts += fmt.Sprintf("\n      %4d %s", r.failures[text], text)
	}
	return fmt.Sprintf("%d reads, %d failed; slowest %s, longest time without one %s%s",
		r.reads, failed, r.slowest.Round(time.Millisecond), r.longest.Round(time.Millisecond), texts)
}

// emptyAnswerError is a status that came with nothing: 307, where the client has
// followed one redirect already, for leaders have changed meanwhile.
type emptyAnswerError int

func (e emptyAnswerError) Error() string { return fmt.Sprintf("%d and an empty body", int(e)) }

// read reads a path. While a leader changes, Vault answers 404 on any mount; the
// client's own read would take that for an empty path.
func read(ctx context.Context, client *api.Client, path string) (*api.Secret, error) {
	resp, err := client.Logical().ReadRawWithContext(ctx, path)
	if err != nil {
		return nil, err
	}
	s, err := client.Logical().ParseRawResponseAndCloseBody(resp, nil)
	if err == nil && s == nil {
		err = emptyAnswerError(resp.StatusCode)
	}
	return s, err
}

// startClusterLoad starts readers. active is asked before each read, and what it
// gives after it: the client whose token the answer must have.
func startClusterLoad(t *testing.T, c *cluster, g *gbg, readers int, active func() func() (client string, ok bool)) *clusterLoad {
	t.Helper()
	admin := c.mounts[0].client
	require.NoError(t, admin.Sys().MountWithContext(t.Context(), "kv", &api.MountInput{Type: "kv"}))
	_, err := admin.Logical().WriteWithContext(t.Context(), "kv/one", map[string]any{"value": "fake"})
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	l := &clusterLoad{g: g, active: active, cancel: cancel}
	for i := range readers {
		node := c.Nodes[i%len(c.Nodes)]
		client, err := node.Client("")
		require.NoError(t, err)
		l.group.Go(func() {
			for ctx.Err() == nil {
				l.readCreds(ctx, client)
				l.readKV(ctx, client)
				time.Sleep(readerPause)
			}
		})
	}
	t.Cleanup(func() { l.stop() })
	return l
}

func (l *clusterLoad) readCreds(ctx context.Context, client *api.Client) {
	active := l.active()
	cutOff := l.leaderCutOff.Load()
	began := time.Now()
	s, err := read(ctx, client, "gbg/creds")
	if ctx.Err() != nil {
		return
	}
	want, known := active()
	l.note(func(r *clusterResult) {
		r.creds.note(began, err)
		switch {
		case err != nil || !known || s.Data["client_id"] == want:
		case cutOff:
			r.staleAfterCutOff++
		default:
			r.stale++
		}
	})
	if err != nil {
		return
	}
	ok, err := l.g.call(ctx, s.Data["access_token"].(string))
	if ctx.Err() == nil && (err != nil || !ok) {
		l.note(func(r *clusterResult) { r.refused = append(r.refused, fmt.Sprint(s.Data["client_id"], err)) })
	}
}

func (l *clusterLoad) readKV(ctx context.Context, client *api.Client) {
	began := time.Now()
	_, err := read(ctx, client, "kv/one")
	if ctx.Err() == nil {
		l.note(func(r *clusterResult) { r.kv.note(began, err) })
	}
}

func (l *clusterLoad) note(f func(*clusterResult)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.result)
}

// stop ends the readers and gives what they saw.
func (l *clusterLoad) stop() clusterResult {
	l.cancel()
	l.group.Wait()
	return l.result
}
