package main

import (
	"fmt"
	"strings"
	"time"
)

// section begins a part of the results.
func (b *bench) section(title, explanation string) {
	fmt.Fprintf(&b.out, "### %s\n\n%s\n\nMeasured on %s; load average when it began: %s.\n", title, explanation,
		b.partBegan.UTC().Format("2006-01-02 15:04 UTC"), b.partLoad)
}

// paragraph adds text to the section.
func (b *bench) paragraph(format string, args ...any) {
	fmt.Fprintf(&b.out, "\n"+format+"\n", args...)
}

// table adds a Markdown table with aligned columns.
func (b *bench) table(head []string, rows ...[]string) {
	widths := make([]int, len(head))
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	line := func(cells []string) {
		for i, cell := range cells {
			fmt.Fprintf(&b.out, "| %-*s ", widths[i], cell)
		}
		fmt.Fprintln(&b.out, "|")
	}
	rule := make([]string, len(head))
	for i, width := range widths {
		rule[i] = strings.Repeat("-", width)
	}
	fmt.Fprintln(&b.out)
	line(head)
	line(rule)
	for _, row := range rows {
		line(row)
	}
}

// beginPart empties the output for the next part.
func (b *bench) beginPart() {
	b.out.Reset()
	b.partBegan, b.partLoad = time.Now(), loadAverage()
}
