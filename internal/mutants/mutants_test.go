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

// The end of the time alone finds nothing: a test has to have waited for ever.
func TestTimeThatIsOverIsNoFinding(t *testing.T) {
	for text, want := range map[string]string{
		"panic: test timed out after 15m0s\n\trunning tests:\n\t\tTestSlow (2s)\n":                                "",
		"panic: test timed out after 1m40s\n\trunning tests:\n\t\tTestStuck (1m40s)\n\t\tTestStuck/sub (1m39s)\n": "no end of TestStuck",
		"--- FAIL: TestOther (0.1s)\n": "TestOther",
	} {
		found, err := failure("pg", []byte(text))
		if err != nil || (found == nil) != (want == "") || found != nil && found.check != want {
			t.Errorf("%q: %+v, %v", text, found, err)
		}
	}
}
