package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what is found to the golden files")

// Each folder of testdata is a package with a file findings.txt: what is found, each with the line that it is about.
func TestFindingsAreThoseOfTheGoldenFiles(t *testing.T) {
	folders, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		t.Run(folder.Name(), func(t *testing.T) {
			dir := filepath.Join("testdata", folder.Name())
			pkgs, err := load(".", []string{dir})
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, p := range pkgs {
				for _, f := range check(p) {
					fmt.Fprintf(&got, "%s:%d: %s (%s)\n\t%s\n", filepath.Base(f.pos.Filename), f.pos.Line, f.message, f.rule, lineOf(t, f))
				}
			}
			golden := filepath.Join(dir, "findings.txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("found:\n%s\nshould be, by %s:\n%s", got.String(), golden, want)
			}
		})
	}
}

func lineOf(t *testing.T, f finding) string {
	t.Helper()
	text, err := os.ReadFile(f.pos.Filename)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strings.Split(string(text), "\n")[f.pos.Line-1])
}

func TestACleanPackageHasNoFindings(t *testing.T) {
	var out strings.Builder
	found, err := run(&out, ".", []string{"testdata/clean"})
	if err != nil || found || out.String() != "owner rules in 1 packages: nothing found\n" {
		t.Errorf("%v, %v, %q", found, err, out.String())
	}
}

func TestFindingsAreWrittenWithTheirPathsAndCounted(t *testing.T) {
	var out strings.Builder
	found, err := run(&out, ".", []string{"testdata/clean", "testdata/words"})
	if err != nil || !found {
		t.Fatal(found, err)
	}
	lines := strings.Split(out.String(), "\n")
	if want := `testdata/words/heir.go:1: file name heir: instead of "heir" say "next waiter" (word)`; lines[0] != want {
		t.Errorf("%q, should be %q", lines[0], want)
	}
	if last, want := lines[len(lines)-2], "owner rules in 2 packages: 14 word"; last != want {
		t.Errorf("%q, should be %q", last, want)
	}
}

func TestWhatCannotBeLoadedIsAnError(t *testing.T) {
	for name, folders := range map[string][]string{"nothing": nil, "no such folder": {"testdata/none"}} {
		if found, err := run(&strings.Builder{}, ".", folders); err == nil || found {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module broken\n\ngo 1.26\n", "broken.go": "package broken\n\nvar n int = \"no number\"\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOWORK", "off")
	if found, err := run(&strings.Builder{}, dir, []string{"."}); err == nil || found {
		t.Errorf("a package that does not compile: %v, %v", found, err)
	}
}

func TestNamesAreSplitIntoWords(t *testing.T) {
	for name, want := range map[string][]string{
		"letGo": {"let", "go"}, "HTTPServer": {"http", "server"}, "SQLText2": {"sql", "text"}, "a_b": {"a", "b"},
		"ID": {"id"}, "x": {"x"}, "_": nil, "deposedBy": {"deposed", "by"}, "éÉtat": {"é", "état"},
	} {
		if got := split(name); !slices.Equal(got, want) {
			t.Errorf("%q: %q, should be %q", name, got, want)
		}
	}
}
