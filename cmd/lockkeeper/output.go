package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printJSON prints one value; on one line where many follow each other.
func printJSON(w io.Writer, value any, oneLine bool) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	if !oneLine {
		encoder.SetIndent("", "  ")
	}
	return encoder.Encode(value)
}

// printTable aligns columns, with two blanks between them. The last is not padded.
func printTable(w io.Writer, rows [][]string) error {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			fmt.Fprintf(&line, "%-*s  ", widths[i], cell)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printable replaces what a terminal would obey, what is not seen, and what turns the direction of writing: a name comes from anybody.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, text)
}
