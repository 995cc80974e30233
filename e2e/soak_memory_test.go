package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// soakReport is the time between two lines of a soak's report.
const soakReport = time.Minute

// process is what /proc tells of one.
type process struct {
	pid, parent, threads int
	resident             int // bytes
	// ofFiles is the part of resident that is files, which the kernel can take back:
	// the program itself, and for Vault its storage, which raft maps into memory.
	ofFiles int
}

func lookAt(pid int) (process, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return process{}, err
	}
	value := func(key string) int {
		_, rest, _ := strings.Cut(string(content), "\n"+key+":")
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			return 0
		}
		n, _ := strconv.Atoi(fields[0])
		return n
	}
	return process{pid: pid, parent: value("PPid"), threads: value("Threads"), resident: value("VmRSS") << 10, ofFiles: value("RssFile") << 10}, nil
}

// memory is what the plugin's process held, over the time in which nothing ended
// it.
type memory struct {
	undisturbed atomic.Bool

	mu      sync.Mutex
	samples []process
}

func (m *memory) add(p process) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.undisturbed.Load() {
		m.samples = append(m.samples, p)
	}
}

// thirds gives the greatest of a figure in the first and the last third; zeros if
// there are too few.
func (m *memory) thirds(figure func(process) int) (first, last int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	third := len(m.samples) / 3
	if third == 0 {
		return 0, 0
	}
	greatest := func(samples []process) (n int) {
		for _, p := range samples {
			n = max(n, figure(p))
		}
		return n
	}
	return greatest(m.samples[:third]), greatest(m.samples[len(m.samples)-third:])
}

func residentOf(p process) int { return p.resident }
func threadsOf(p process) int  { return p.threads }

func (m *memory) String() string {
	if len(m.samples) < 3 {
		return "too short to say anything about memory"
	}
	var text strings.Builder
	fmt.Fprintf(&text, "the plugin's process in the second half, first and last third of %d looks:", len(m.samples))
	first, last := m.thirds(residentOf)
	fmt.Fprintf(&text, " memory %s and %s MB;", megabytes(first), megabytes(last))
	first, last = m.thirds(threadsOf)
	fmt.Fprintf(&text, " threads %d and %d", first, last)
	return text.String()
}

func megabytes(n int) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }

// check wants memory and threads flat. What Go's collector may do is allowed for.
func (m *memory) check(t *testing.T) {
	t.Helper()
	first, last := m.thirds(residentOf)
	assert.LessOrEqual(t, last, first+first/4+8<<20, "memory grows")
	first, last = m.thirds(threadsOf)
	assert.LessOrEqual(t, last, first+8, "threads grow")
	same := func(a, b process) bool { return a.pid == b.pid }
	assert.LessOrEqual(t, len(slices.CompactFunc(m.samples, same)), 1, "the process stayed")
}

// report looks at the processes, and prints a line every soakReport.
func (s *soak) report(begin time.Time, m *memory) {
	next := begin
	for !s.stopped.Load() {
		plugin, err := lookAt(pluginProcess(s.t, s.server))
		vault, vaultErr := lookAt(plugin.parent)
		// Gone meanwhile, or of a plugin whose Vault has gone, is not worth a line.
		if err == nil && vaultErr == nil && plugin.resident > 0 {
			m.add(plugin)
			if now := time.Now(); !now.Before(next) {
				next = next.Add(soakReport)
				s.searchLog()
				s.t.Logf("%6s %s; plugin %s MB, %d threads; Vault %s MB, %d threads, and %s MB of mapped files", now.Sub(begin).Round(time.Second),
					strings.Join(s.figures(), ", "), megabytes(plugin.resident), plugin.threads, megabytes(vault.resident-vault.ofFiles), vault.threads, megabytes(vault.ofFiles))
			}
		}
		time.Sleep(time.Second)
	}
}
