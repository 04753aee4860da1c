package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/lockkeeper/lockkeeper/"

// packages that bugs are put into: those that are imported come first.
var packages = []string{"actor", "pg", "manager"}

// Names and types go on as well as texts: what comes of each bug is accepted by the compiler.
func TestW18_EveryBugCompiles(t *testing.T) {
	c := newChecker(t)
	for _, m := range mutants {
		if err := c.check(m); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
	broken := mutant{edits: []edit{{"actor/errors.go", "package actor\n", "package actor\n\nvar broken int = nothing\n"}}}
	if err := c.check(broken); err == nil {
		t.Error("a bug that does not compile was accepted")
	}
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
	exports := map[string]string{}
	for _, l := range list(t) {
		exports[l.ImportPath] = l.Export
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
	c.imports = importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	return c
}

type listed struct {
	ImportPath, Dir, Export string
	DepOnly                 bool
	GoFiles                 []string
}

func list(t *testing.T) (all []listed) {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Dir,Export,DepOnly,GoFiles"}
	for _, folder := range packages {
		args = append(args, "./"+folder)
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir, cmd.Stderr = filepath.Join("..", ".."), os.Stderr
	raw, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for decoder := json.NewDecoder(bytes.NewReader(raw)); ; {
		var l listed
		switch err := decoder.Decode(&l); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, l)
	}
}

// Import implements [types.Importer].
func (c *checker) Import(path string) (*types.Package, error) {
	if p := c.fresh[path]; p != nil {
		return p, nil
	}
	return c.imports.Import(path)
}

// check puts a bug in and checks each package that has a part of it, or imports one that has.
func (c *checker) check(m mutant) error {
	changed := map[string]*ast.File{}
	for file, text := range m.texts() {
		parsed, err := parser.ParseFile(c.fset, file, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		changed[file] = parsed
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

// texts are the files that the bug changes, as they are with it.
func (m *mutant) texts() map[string]string {
	texts := map[string]string{}
	for _, e := range m.edits {
		text, known := texts[e.file]
		if !known {
			raw, _ := os.ReadFile(filepath.Join("..", "..", e.file)) // that it is there is another test's claim
			text = string(raw)
		}
		texts[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	return texts
}
