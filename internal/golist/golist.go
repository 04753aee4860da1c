// Package golist asks the go command for packages and reads the types of what they import from its build cache.
package golist

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
)

// Package is what "go list -json" says of a package.
type Package struct {
	ImportPath, Dir, Export string
	DepOnly                 bool
	GoFiles, IgnoredGoFiles []string
	Error                   *struct{ Err string }
}

// List returns the packages in a folder that fit the patterns, and all that they need, which it has compiled.
func List(dir string, patterns ...string) ([]Package, error) {
	args := append([]string{"list", "-e", "-export", "-deps", "-json=ImportPath,Dir,Export,DepOnly,GoFiles,IgnoredGoFiles,Error"}, patterns...)
	cmd := exec.Command("go", args...) //nolint:noctx,gosec // a moment's work
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	raw, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var all []Package
	for decoder := json.NewDecoder(bytes.NewReader(raw)); ; {
		var p Package
		switch err := decoder.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("go list: %w", err)
		}
		all = append(all, p)
	}
}

// Importer reads the export data that the compiler wrote.
func Importer(fset *token.FileSet, all []Package) types.Importer {
	exports := map[string]string{}
	for _, p := range all {
		exports[p.ImportPath] = p.Export
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		file, ok := exports[path]
		if !ok || file == "" {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(file)
	})
}
