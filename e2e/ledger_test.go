package e2e

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// writerPause is between two writes of one writer, so that a small machine has
// time for the nodes to talk to each other.
const writerPause = 50 * time.Millisecond

// ledger rotates and configures a connection without a pause, in two goroutines,
// and keeps book of what was acknowledged.
type ledger struct {
	t       *testing.T
	c       *cluster
	g       *gbg
	stopped atomic.Bool
	group   sync.WaitGroup

	// quiet is held for reading by a write that is under way, and for writing by a
	// check, which must see none.
	quiet sync.RWMutex
	away  atomic.Pointer[[]*vaultserver.Server]

	// Turns are rotations, from 1. The active client alternates, so that the client
	// of a turn is known. A turn is started before its first attempt, and answered
	// when one was acknowledged; then the next starts.
	started, answered atomic.Int64
	// Configurations are numbers that grow, each written into two settings. tried is
	// the last that was sent, stored the last that was acknowledged or seen.
	tried, stored atomic.Int64

	rotations, lostRotations, configs, lostConfigs atomic.Int64
}

// firstConfig is where the numbers of configurations begin: in seconds, more than
// a test takes.
const firstConfig = 100_000

func startLedger(t *testing.T, c *cluster, g *gbg) *ledger {
	t.Helper()
	l := &ledger{t: t, c: c, g: g}
	l.avoid()
	l.tried.Store(firstConfig)
	l.stored.Store(firstConfig)
	c.mounts[0].write("config", l.config(firstConfig))
	l.group.Go(l.rotate)
	l.group.Go(l.configure)
	t.Cleanup(func() { l.stop() })
	return l
}

// client is the one that a turn makes active.
func (l *ledger) client(turn int64) string { return [2]string{l.g.a.ID, l.g.b.ID}[turn%2] }

// config is what a configuration writes.
func (l *ledger) config(number int64) map[string]any {
	return map[string]any{"max_secret_age": number, "refresh_before": number - firstConfig + 300}
}

// active gives the client that must be active for whoever asks now; ok is false
// if that cannot be known when asked again after the answer: a rotation was under
// way meanwhile.
func (l *ledger) active() func() (client string, ok bool) {
	before := l.answered.Load()
	return func() (string, bool) { return l.client(before), before == l.started.Load() }
}

// between does something while no write is under way.
func (l *ledger) between(f func()) {
	l.quiet.Lock()
	defer l.quiet.Unlock()
	f()
}

// avoid keeps the next writes from nodes that are going to be away.
func (l *ledger) avoid(nodes ...*vaultserver.Server) { l.away.Store(&nodes) }

// write sends one write through the nodes in turn, and says what came of it to
// the book before any check looks.
func (l *ledger) write(attempt int, path string, data map[string]any, book func(err error)) {
	l.quiet.RLock()
	defer l.quiet.RUnlock()
	mounts := l.c.present(*l.away.Load()...)
	m := mounts[attempt%len(mounts)]
	_, err := m.client.Logical().WriteWithContext(l.t.Context(), m.path+"/"+path, data)
	book(err)
}

// rotate repeats a rotation that was not acknowledged as the documentation says:
// with the client that must be active, and the same secret.
func (l *ledger) rotate() {
	var attempt int
	var secret string
	for turn := int64(1); !l.stopped.Load(); attempt++ {
		id := l.client(turn)
		if l.started.Load() < turn {
			var err error
			if secret, err = l.g.Regenerate(id); err != nil {
				panic(err) // there is such a client
			}
			l.started.Store(turn)
		}
		l.write(attempt, "rotate", map[string]any{"client_id": id, "client_secret": secret}, func(err error) {
			if err != nil {
				l.lostRotations.Add(1)
				return
			}
			l.rotations.Add(1)
			l.answered.Store(turn)
			turn++
		})
		time.Sleep(writerPause)
	}
}

func (l *ledger) configure() {
	for attempt := 0; !l.stopped.Load(); attempt++ {
		next := l.tried.Add(1)
		l.write(attempt, "config", l.config(next), func(err error) {
			if err != nil {
				l.lostConfigs.Add(1)
				return
			}
			l.configs.Add(1)
			l.stored.Store(next)
		})
		time.Sleep(writerPause)
	}
}

// check waits until some more writes were acknowledged, and compares what every
// node that is there says with the book. A write that was not acknowledged may
// have happened, but wholly, and then for good.
func (l *ledger) check(away ...*vaultserver.Server) {
	l.t.Helper()
	rotations, configs := l.rotations.Load(), l.configs.Load()
	require.Eventually(l.t, func() bool { return l.rotations.Load() >= rotations+3 && l.configs.Load() >= configs+3 },
		2*time.Minute, 10*time.Millisecond, "writes go on")

	l.quiet.Lock()
	defer l.quiet.Unlock()
	config, creds, status := l.c.agreed("config", away...), l.c.agreed("creds", away...), l.c.agreed("status", away...)
	active := config["active_client_id"]
	require.Contains(l.t, []string{l.client(l.answered.Load()), l.client(l.started.Load())}, active, "the client of the last acknowledged rotation, or of one not acknowledged")
	require.Equal(l.t, active, creds["client_id"])
	require.Equal(l.t, active, status["active_client_id"])
	require.Equal(l.t, "rotate", status["last_rotation_cause"], "no client was ever refused")
	if active == l.client(l.started.Load()) {
		l.answered.Store(l.started.Load())
	}

	stored, err := strconv.ParseInt(number(l.t, config["max_secret_age"]), 10, 64)
	require.NoError(l.t, err)
	require.GreaterOrEqual(l.t, stored, l.stored.Load(), "an acknowledged configuration is lost")
	require.LessOrEqual(l.t, stored, l.tried.Load())
	require.Equal(l.t, strconv.FormatInt(l.config(stored)["refresh_before"].(int64), 10), number(l.t, config["refresh_before"]), "half a configuration")
	l.stored.Store(stored)
}

// written is what a ledger has in its book at the end.
type written struct{ rotations, lostRotations, configs, lostConfigs int }

// stop ends the writers.
func (l *ledger) stop() written {
	l.stopped.Store(true)
	l.group.Wait()
	return written{int(l.rotations.Load()), int(l.lostRotations.Load()), int(l.configs.Load()), int(l.lostConfigs.Load())}
}
