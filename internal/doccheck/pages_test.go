package doccheck

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the folder of the module.
const root = "../.."

// page is a page of the documentation.
type page struct {
	name  string // relative to root
	lines []string
}

// pages are the README and its like, and all under docs.
func pages(t *testing.T) (all []page) {
	t.Helper()
	var names []string
	for _, pattern := range []string{"*.md", "docs/*.md", ".github/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	if len(names) < 5 {
		t.Fatalf("only %q are found", names)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page{filepath.ToSlash(relative), strings.Split(string(text), "\n")})
	}
	return all
}

// block is the text between two fences. line is that of its first line, from 1.
type block struct {
	language, text string
	line           int
}

// blocks are the page's. prose is what is between them, with the lines of blocks empty.
func (p page) blocks() (blocks []block, prose []string) {
	var open *block
	for i, line := range p.lines {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			open = &block{language: fence, line: i + 2}
		case isFence:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		default:
			prose = append(prose, line)
			continue
		}
		prose = append(prose, "")
	}
	return blocks, prose
}

// maxLines is how long a page may be.
const maxLines = 300

// generated are pages of tables that a command writes.
var generated = []string{"docs/benchmarks.md", "docs/mutants.md"}

// A page answers one question, and fits in one sitting.
func TestPagesAreShort(t *testing.T) {
	for _, p := range pages(t) {
		if n := len(p.lines); n > maxLines && strings.HasPrefix(p.name, "docs/") && !slices.Contains(generated, p.name) {
			t.Errorf("%s has %d lines, should have %d at most", p.name, n, maxLines)
		}
	}
}
