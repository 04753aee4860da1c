// Package report is how the commands show what they do: progress on a terminal or in plain lines, words for numbers,
// exit statuses.
package report

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Exit statuses of the program.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitInterrupted = 130 // as shells have it: 128 + SIGINT
)

// ErrInterrupted is the cause of a context that the user's Ctrl-C ended.
var ErrInterrupted = errors.New("interrupted")

// Style says whether a text may have colours.
type Style struct{ Colour bool }

func (s Style) paint(code, text string) string {
	if !s.Colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Good is for what was proven.
func (s Style) Good(text string) string { return s.paint("1;32", text) }

// Bad is for violations, leaks and failures.
func (s Style) Bad(text string) string { return s.paint("1;31", text) }

// Bold is for headings.
func (s Style) Bold(text string) string { return s.paint("1", text) }

// Faint is for labels.
func (s Style) Faint(text string) string { return s.paint("2", text) }

// Text is a command's last screen while it is put together.
type Text struct {
	strings.Builder
	Style
}

// Printf writes as it is told.
func (t *Text) Printf(format string, args ...any) { fmt.Fprintf(t, format, args...) }

// Say writes words as lines that fit a terminal.
func (t *Text) Say(format string, args ...any) {
	t.Printf("  %s\n", Wrap(2, fmt.Sprintf(format, args...)))
}

// Line writes a figure with its label in front.
func (t *Text) Line(label, format string, args ...any) {
	t.Printf("  %s %s\n", t.Faint(fmt.Sprintf("%-10s", label)), Wrap(13, fmt.Sprintf(format, args...)))
}

// pageWidth is that of the narrowest terminal that is usual.
const pageWidth = 80

// Wrap breaks a text of plain words into lines that fit a terminal, each after the first under the given indent. The
// first line is taken to begin at the indent already.
func Wrap(indent int, text string) string {
	var b strings.Builder
	column := indent
	for i, word := range strings.Fields(text) {
		width := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+width > pageWidth:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += width
	}
	return b.String()
}

// Count writes a number with commas between the thousands.
func Count[N ~int | ~uint64 | ~int64](n N) string {
	text := strconv.FormatInt(int64(n), 10)
	var b strings.Builder
	for i, digit := range text {
		if i > 0 && (len(text)-i)%3 == 0 && text[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return b.String()
}

// Of is a number with its noun, in the plural but for one.
func Of[N ~int | ~uint64 | ~int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "s") || strings.HasSuffix(noun, "ch") {
		return Count(n) + " " + noun + "es"
	}
	return Count(n) + " " + noun + "s"
}

// Span writes a duration with three digits or so: 0.84 ms, 12.3 ms, 1.20 s.
func Span(d time.Duration) string { return Millis(float64(d) / float64(time.Millisecond)) }

// Millis is Span of a number of milliseconds.
func Millis(ms float64) string {
	switch {
	case ms <= 0:
		return "0 ms"
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	case ms < 100_000:
		return fmt.Sprintf("%.2f s", ms/1000)
	default:
		return fmt.Sprintf("%.0f s", ms/1000)
	}
}
