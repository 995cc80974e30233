package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process finds the one process of a mount's plugin.
func (m *mount) process() (pid int, err error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, dir := range dirs {
		// A process that has ended meanwhile is not the one.
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if name, _, _ := strings.Cut(string(line), "\x00"); name != m.executable {
			continue
		}
		if pid != 0 {
			return 0, fmt.Errorf("%s runs more than once", m.name)
		}
		if pid, err = strconv.Atoi(filepath.Base(dir)); err != nil {
			return 0, err
		}
	}
	if pid == 0 {
		return 0, fmt.Errorf("%s does not run", m.name)
	}
	return pid, nil
}

// processStatus returns the number at the beginning of a line of /proc/PID/status.
func processStatus(pid int, key string) (int, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(content)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			return strconv.Atoi(strings.Fields(value)[0])
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no %s", pid, key)
}

// resident returns the resident memory of a process in bytes.
func resident(pid int) (int, error) {
	kilobytes, err := processStatus(pid, "VmRSS")
	return kilobytes << 10, err
}

// processorTime returns how long processes have used processors, in all their threads.
func processorTime(pids ...int) (time.Duration, error) {
	const sched = 2 // CPUCLOCK_SCHED: time in user mode and in the kernel, in nanoseconds
	var total time.Duration
	for _, pid := range pids {
		var t unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|sched), &t); err != nil { //nolint:gosec // process ids are small
			return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
		}
		total += time.Duration(t.Nano())
	}
	return total, nil
}

// loadAverage returns the load averages of 1, 5 and 15 minutes.
func loadAverage() string {
	content, _ := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(content))
	return strings.Join(fields[:min(3, len(fields))], ", ")
}

// printMachine describes when and on what machine the figures were measured.
func (b *bench) printMachine(ctx context.Context) error {
	version, err := exec.CommandContext(ctx, b.paths.vault, "version").Output()
	if err != nil {
		return fmt.Errorf("vault version: %w", err)
	}
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	_, model, _ := strings.Cut(string(cpu), "model name\t: ")
	model, _, _ = strings.Cut(model, "\n")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	b.paragraph("Measured on %s with -length %g: %d processors (%s), Linux %s, %s, %s. Load average when the run began: %s.",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), b.length, runtime.NumCPU(), model,
		strings.TrimSpace(string(kernel)), runtime.Version(), strings.TrimSuffix(strings.Join(strings.Fields(string(version))[:2], " "), ","), b.partLoad)
	return nil
}
