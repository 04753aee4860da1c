package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The code goes on, and each bug has to go with it: its texts are there once, and it changes them.
func TestW18_EveryBugStillFits(t *testing.T) {
	names := map[string]bool{}
	for _, m := range mutants {
		if names[m.name] {
			t.Errorf("%s is there twice", m.name)
		}
		names[m.name] = true
		changed := map[string]string{} // files, with the edits so far
		for _, e := range m.edits {
			text, known := changed[e.file]
			if !known {
				raw, err := os.ReadFile(filepath.Join("..", "..", e.file))
				if err != nil {
					t.Fatal(err)
				}
				text = string(raw)
			}
			if n := strings.Count(text, e.old); n != 1 || e.old == e.new {
				t.Errorf("%s: in %s the text to be changed is there %d times: %q", m.name, e.file, n, e.old)
			}
			changed[e.file] = strings.Replace(text, e.old, e.new, 1)
		}
	}
}

// Tests get other names, and each bug has to be told: the test that is named for it is there.
func TestW18_EveryNamedTestIsThere(t *testing.T) {
	for _, m := range mutants {
		if m.test == "" {
			continue
		}
		folder, name, _ := strings.Cut(m.test, " ")
		files, err := filepath.Glob(filepath.Join("..", "..", folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		there := false
		for _, file := range files {
			raw, err := os.ReadFile(file) //nolint:gosec // a file of ours
			if err != nil {
				t.Fatal(err)
			}
			there = there || bytes.Contains(raw, []byte("\nfunc "+name+"("))
		}
		if !there {
			t.Errorf("%s: %s has no %s", m.name, folder, name)
		}
	}
}
