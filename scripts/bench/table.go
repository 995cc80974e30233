package main

import (
	"fmt"
	"strings"
)

// section begins a part of what is printed.
func (b *bench) section(title, explanation string) {
	fmt.Fprintf(b.out, "\n### %s\n\n%s\n", title, explanation)
}

// table prints a Markdown table, its columns in line.
func (b *bench) table(head []string, rows ...[]string) {
	widths := make([]int, len(head))
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	line := func(cells []string) {
		for i, cell := range cells {
			fmt.Fprintf(b.out, "| %-*s ", widths[i], cell)
		}
		fmt.Fprintln(b.out, "|")
	}
	rule := make([]string, len(head))
	for i, width := range widths {
		rule[i] = strings.Repeat("-", width)
	}
	fmt.Fprintln(b.out)
	line(head)
	line(rule)
	for _, row := range rows {
		line(row)
	}
}
