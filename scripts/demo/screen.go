package main

import (
	"fmt"
	"os"
	"strings"
)

// screen prints the tour; in colour, if a person looks at it.
type screen struct {
	file                 *os.File
	bold, dim, cmd, none string
	steps                int
}

func newScreen(file *os.File) *screen {
	s := &screen{file: file}
	info, err := file.Stat()
	if err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" {
		s.bold, s.dim, s.cmd, s.none = "\x1b[1m", "\x1b[2m", "\x1b[36m", "\x1b[0m"
	}
	return s
}

// step begins a part of the tour.
func (s *screen) step(title string, explanation ...string) {
	s.steps++
	fmt.Fprintf(s.file, "\n%s%d. %s%s\n", s.bold, s.steps, title, s.none)
	for _, line := range explanation {
		fmt.Fprintf(s.file, "   %s\n", line)
	}
}

func (s *screen) say(format string, args ...any) {
	fmt.Fprintf(s.file, "   "+format+"\n", args...)
}

// command shows what a person would type.
func (s *screen) command(line string) {
	fmt.Fprintf(s.file, "\n   %s$ %s%s\n", s.cmd, line, s.none)
}

// output shows what came of it.
func (s *screen) output(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		fmt.Fprintf(s.file, "   %s%s%s\n", s.dim, strings.TrimRight(line, "\n"), s.none)
	}
}
