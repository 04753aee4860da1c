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
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// pkg is one package with its syntax and types.
type pkg struct {
	fset  *token.FileSet
	files []*source
	types *types.Package
	info  *types.Info
	// skipped are the files that a build constraint leaves out here.
	skipped []string
}

// source is one file. Its text is kept to tell whether a comment stands alone on its line.
type source struct {
	*ast.File
	name  string
	lines [][]byte
}

// listed is what "go list -json" says of a package.
type listed struct {
	ImportPath, Dir, Export string
	DepOnly                 bool
	GoFiles, IgnoredGoFiles []string
	Error                   *struct{ Err string }
}

// load type-checks the packages in and below the folders. The types of what they import come from the build cache.
func load(dir string, folders []string) ([]*pkg, error) {
	patterns := make([]string, len(folders))
	for i, folder := range folders {
		patterns[i] = "./" + filepath.ToSlash(folder) + "/..."
	}
	all, err := list(dir, patterns)
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	imports := importerOf(fset, all)
	var pkgs []*pkg
	for _, l := range all {
		if l.DepOnly {
			continue
		}
		if l.Error != nil {
			return nil, errors.New(l.Error.Err)
		}
		texts := map[string][]byte{}
		for _, name := range l.GoFiles {
			path := filepath.Join(l.Dir, name)
			if texts[path], err = os.ReadFile(path); err != nil {
				return nil, err
			}
		}
		p, err := typecheck(fset, imports, l.ImportPath, texts)
		if err != nil {
			return nil, err
		}
		for _, name := range l.IgnoredGoFiles {
			if !strings.HasSuffix(name, "_test.go") {
				p.skipped = append(p.skipped, filepath.Join(l.Dir, name))
			}
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) == 0 {
		return nil, fmt.Errorf("no packages in %s", strings.Join(folders, " "))
	}
	return pkgs, nil
}

// list runs go list: the packages that fit the patterns, and all that they need.
func list(dir string, patterns []string) ([]listed, error) {
	args := append([]string{"list", "-e", "-export", "-deps", "-json=ImportPath,Dir,Export,DepOnly,GoFiles,IgnoredGoFiles,Error"}, patterns...)
	cmd := exec.Command("go", args...) //nolint:noctx,gosec // a moment's work
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	raw, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var all []listed
	for decoder := json.NewDecoder(bytes.NewReader(raw)); ; {
		var l listed
		switch err := decoder.Decode(&l); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("go list: %w", err)
		}
		all = append(all, l)
	}
}

// importerOf reads the export data that the compiler wrote.
func importerOf(fset *token.FileSet, all []listed) types.Importer {
	exports := map[string]string{}
	for _, l := range all {
		exports[l.ImportPath] = l.Export
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		file, ok := exports[path]
		if !ok || file == "" {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(file)
	})
}

// typecheck parses and checks the files of one package, given by name and text.
func typecheck(fset *token.FileSet, imports types.Importer, path string, texts map[string][]byte) (*pkg, error) {
	p := &pkg{fset: fset, info: &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{},
		Selections: map[*ast.SelectorExpr]*types.Selection{},
	}}
	var files []*ast.File
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		text := texts[name]
		file, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
		p.files = append(p.files, &source{File: file, name: name, lines: bytes.Split(text, []byte("\n"))})
	}
	config := types.Config{Importer: imports}
	var err error
	p.types, err = config.Check(path, fset, files, p.info)
	return p, err
}
