// Licences looks at the licence of every module that the packages of a module need, and fails where one is not on the list.
// Run it in the module's folder.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// forUsers are the licences of what is linked into a user's program: none asks for more than a notice. forTests are
// those of what stays here: tests and benchmarks, which nobody is given.
var (
	forUsers = []string{"MIT", "BSD", "ISC", "Apache-2.0"}
	forTests = append(slices.Clone(forUsers), "MPL-2.0", "CC0-1.0", "Unlicense")
)

// phrases tell a licence by what only it says. The first that fits counts: a file may quote another.
var phrases = []struct{ licence, phrase string }{
	{"MPL-2.0", "mozilla public license version 2.0"}, // which names the others
	{"AGPL", "gnu affero general public license"},
	{"LGPL", "gnu lesser general public license"},
	{"GPL", "gnu general public license"},
	{"BUSL", "business source license"},
	{"SSPL", "server side public license"},
	{"Apache-2.0", "apache license version 2.0"},
	{"CC0-1.0", "cc0 1.0 universal"},
	{"Unlicense", "this is free and unencumbered software"},
	{"BSD", "redistribution and use in source and binary forms"},
	{"ISC", "permission to use, copy, modify, and/or distribute this software"},
	{"ISC", "permission to use, copy, modify, and distribute this software"},
	{"MIT", "permission is hereby granted, free of charge, to any person obtaining a copy"},
}

func main() {
	tests := flag.Bool("tests", false, "nothing of this module is given to anybody: what tests may need, all of it may")
	flag.Parse()
	if err := check(os.Stdout, *tests); err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

func check(out io.Writer, tests bool) error {
	linked, err := modules("-deps")
	if err != nil {
		return err
	}
	all, err := modules("-deps", "-test")
	if err != nil {
		return err
	}
	var wrong []string
	count := map[string]int{}
	for module, dir := range all {
		licence := licenceIn(dir)
		count[licence]++
		allowed, what := forTests, "tests"
		if _, is := linked[module]; is && !tests {
			allowed, what = forUsers, "users' programs"
		}
		if !slices.Contains(allowed, licence) {
			wrong = append(wrong, fmt.Sprintf("%s, needed by %s: %s", module, what, licence))
		}
	}
	var found []string
	for licence, n := range count {
		found = append(found, fmt.Sprintf("%d %s", n, licence))
	}
	slices.Sort(found)
	fmt.Fprintf(out, "licences of %d modules: %s\n", len(all), strings.Join(found, ", "))
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return errors.New("not on the list of internal/licences:\n  " + strings.Join(wrong, "\n  "))
	}
	return nil
}

// modules gives the modules that packages here need, each with its folder; our own are left out.
func modules(flags ...string) (map[string]string, error) {
	args := append([]string{"list", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}{{end}}"}, flags...)
	cmd := exec.Command("go", append(args, "./...")...) //nolint:noctx,gosec // a moment's work
	cmd.Stderr = os.Stderr
	raw, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		if module, dir, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok && !strings.HasPrefix(module, "github.com/lockkeeper/lockkeeper") {
			found[module] = dir
		}
	}
	return found, nil
}

// licenceIn names the licence of a module by the file that has it.
func licenceIn(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "no folder"
	}
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		if !strings.HasPrefix(name, "LICENSE") && !strings.HasPrefix(name, "LICENCE") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // a folder of them, perhaps
		}
		if licence := licenceOf(string(text)); licence != "" {
			return licence
		}
	}
	return "unknown"
}

func licenceOf(text string) string {
	text = strings.ReplaceAll(strings.Join(strings.Fields(strings.ToLower(text)), " "), ", version", " version")
	for _, p := range phrases {
		if strings.Contains(text, p.phrase) {
			return p.licence
		}
	}
	return ""
}
