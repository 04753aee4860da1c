package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/golist"
)

const module = "github.com/lockkeeper/lockkeeper/"

// packages that bugs are put into: those that are imported come first.
var packages = []string{"actor", "pg", "manager", "otel", "prom"}

// Names and types go on as well as texts: what comes of each bug is accepted by the compiler.
func TestW18_EveryBugCompiles(t *testing.T) {
	c := newChecker(t)
	for _, group := range apart(mutants) {
		if c.check(group...) == nil {
			continue
		}
		for _, m := range group {
			if err := c.check(m); err != nil {
				t.Errorf("%s: %v", m.name, err)
			}
		}
	}
	broken := mutant{edits: []edit{{"actor/errors.go", "package actor\n", "package actor\n\nvar broken int = nothing\n"}}}
	if err := c.check(broken); err == nil {
		t.Error("a bug that does not compile was accepted")
	}
}

// apart makes groups of bugs no two of which are in one file: a group is checked in the time of one bug.
func apart(all []mutant) (groups [][]mutant) {
	var used []map[string]bool // the files, by group
	for _, m := range all {
		isUsed := func(files map[string]bool) bool {
			return slices.ContainsFunc(m.edits, func(e edit) bool { return files[e.file] })
		}
		at := slices.IndexFunc(used, func(files map[string]bool) bool { return !isUsed(files) })
		if at < 0 {
			at = len(groups)
			groups, used = append(groups, nil), append(used, map[string]bool{})
		}
		groups[at] = append(groups[at], m)
		for _, e := range m.edits {
			used[at][e.file] = true
		}
	}
	return groups
}

// checker checks the types of packages with a bug in them. What they import is read from the build cache.
type checker struct {
	fset    *token.FileSet
	imports types.Importer
	files   map[string]map[string]*ast.File // of each package, by name
	fresh   map[string]*types.Package       // packages that have been checked with the bug
}

func newChecker(t *testing.T) *checker {
	t.Helper()
	c := &checker{fset: token.NewFileSet(), files: map[string]map[string]*ast.File{}}
	patterns := make([]string, len(packages))
	for i, folder := range packages {
		patterns[i] = "./" + folder
	}
	all, err := golist.List(filepath.Join("..", ".."), patterns...)
	if err != nil {
		t.Fatal(err)
	}
	c.imports = golist.Importer(c.fset, all)
	for _, l := range all {
		if l.DepOnly {
			continue
		}
		folder := strings.TrimPrefix(l.ImportPath, module)
		c.files[folder] = map[string]*ast.File{}
		for _, name := range l.GoFiles {
			file, err := parser.ParseFile(c.fset, filepath.Join(l.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			c.files[folder][folder+"/"+name] = file
		}
	}
	return c
}

// Import implements [types.Importer].
func (c *checker) Import(path string) (*types.Package, error) {
	if p := c.fresh[path]; p != nil {
		return p, nil
	}
	return c.imports.Import(path)
}

// check puts bugs in and checks each package that has a part of them, or imports one that has.
func (c *checker) check(bugs ...mutant) error {
	changed := map[string]*ast.File{}
	for _, m := range bugs {
		changes, err := m.apply(source)
		if err != nil {
			return err
		}
		for file, text := range changes {
			if changed[file], err = parser.ParseFile(c.fset, file, text.after, parser.SkipObjectResolution); err != nil {
				return err
			}
		}
	}
	c.fresh = map[string]*types.Package{}
	config := types.Config{Importer: c}
	for _, folder := range packages {
		var files []*ast.File
		concerned := folder == "manager"
		for name, file := range c.files[folder] {
			if with := changed[name]; with != nil {
				file, concerned = with, true
			}
			files = append(files, file)
		}
		if !concerned {
			continue
		}
		p, err := config.Check(module+folder, c.fset, files, nil)
		if err != nil {
			return fmt.Errorf("it does not compile: %w", err)
		}
		c.fresh[module+folder] = p
	}
	return nil
}
