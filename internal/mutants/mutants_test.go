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
		if _, err := m.apply(source); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

// source reads a file of the tree.
func source(file string) ([]byte, error) { return os.ReadFile(filepath.Join("..", "..", file)) }

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
