package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/internal/golist"
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

// load type-checks the packages in and below the folders. The types of what they import come from the build cache.
func load(dir string, folders []string) ([]*pkg, error) {
	patterns := make([]string, len(folders))
	for i, folder := range folders {
		patterns[i] = "./" + filepath.ToSlash(folder) + "/..."
	}
	all, err := golist.List(dir, patterns...)
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	imports := golist.Importer(fset, all)
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
