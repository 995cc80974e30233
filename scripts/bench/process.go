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
)

// clockTick is the unit in which Linux tells the processor time of a process.
const clockTick = time.Second / 100

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

// processStatus gives the number at the begin of a line of /proc/PID/status.
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

// resident gives how many bytes of memory a process holds.
func resident(pid int) (int, error) {
	kilobytes, err := processStatus(pid, "VmRSS")
	return kilobytes << 10, err
}

// processorTime gives how long processes have kept processors busy.
func processorTime(pids ...int) (time.Duration, error) {
	var total time.Duration
	for _, pid := range pids {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		// The second field is the name in brackets, which may hold anything; the
		// 14th and 15th are the times in user mode and in the kernel.
		fields := strings.Fields(string(content[strings.LastIndexByte(string(content), ')')+1:]))
		for _, field := range fields[11:13] {
			ticks, err := strconv.Atoi(field)
			if err != nil {
				return 0, err
			}
			total += time.Duration(ticks) * clockTick
		}
	}
	return total, nil
}

// printMachine says when and on what the figures were taken.
func (b *bench) printMachine(ctx context.Context) error {
	version, err := exec.CommandContext(ctx, b.paths.vault, "version").Output()
	if err != nil {
		return fmt.Errorf("vault version: %w", err)
	}
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	_, model, _ := strings.Cut(string(cpu), "model name\t: ")
	model, _, _ = strings.Cut(model, "\n")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	busy, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(b.out, "Measured on %s with -length %g: %d processors (%s), Linux %s, %s, %s. Load average at the start: %s.\n",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), b.length, runtime.NumCPU(), model,
		strings.TrimSpace(string(kernel)), runtime.Version(), strings.TrimSuffix(strings.Join(strings.Fields(string(version))[:2], " "), ","),
		strings.Join(strings.Fields(string(busy))[:3], ", "))
	return nil
}
