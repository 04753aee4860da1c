package doccheck

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`([^\[\]()]*)\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`^#{1,6} +(.*)$`)
	markup  = regexp.MustCompile("[`*_]|\\]\\([^)]*\\)|\\[")
)

// slug is the anchor that GitHub makes of a heading.
func slug(text string) string {
	text = strings.ToLower(markup.ReplaceAllString(text, ""))
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == ' ' || r == '-':
			b.WriteRune('-')
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r > 127:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// anchors are those of a page, by its headings.
func (p page) anchors() map[string]bool {
	all := map[string]bool{}
	_, prose := p.blocks()
	for _, line := range prose {
		if m := heading.FindStringSubmatch(line); m != nil {
			all[slug(m[1])] = true
		}
	}
	return all
}

// Each link in the documentation leads to a file that is there, and where it names a heading, to one of that page. Links to other sites are
// left alone: a test needs no network.
func TestLinks(t *testing.T) {
	all := pages(t)
	byName := map[string]page{}
	for _, p := range all {
		byName[p.name] = p
	}
	links := 0
	for _, p := range all {
		_, prose := p.blocks()
		for i, line := range prose {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				if strings.Contains(m[2], "://") {
					continue
				}
				links++
				target, anchor, _ := strings.Cut(m[2], "#")
				name := p.name
				if target != "" {
					name = path.Join(path.Dir(p.name), target)
				}
				if strings.HasSuffix(m[1], ".md") && path.Base(m[1]) != path.Base(name) {
					t.Errorf("%s:%d: the link to %s is called %s", p.name, i+1, name, m[1])
				}
				if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(name))); err != nil {
					t.Errorf("%s:%d: %s: %v", p.name, i+1, m[2], err)
				} else if page, known := byName[name]; anchor != "" && (!known || !page.anchors()[anchor]) {
					t.Errorf("%s:%d: %s: no such heading", p.name, i+1, m[2])
				}
			}
		}
	}
	if links < 20 {
		t.Errorf("only %d links are found", links)
	}
}

func TestSlug(t *testing.T) {
	for text, want := range map[string]string{
		"How managers wait":                 "how-managers-wait",
		"`Once`, and not merely one":        "once-and-not-merely-one",
		"What [Open](x.md) refuses":         "what-open-refuses",
		"1. A lost session: what is told?":  "1-a-lost-session-what-is-told",
		"Two  words - and a dash (in 2026)": "two--words---and-a-dash-in-2026",
	} {
		if got := slug(text); got != want {
			t.Errorf("%q is %q, should be %q", text, got, want)
		}
	}
}
