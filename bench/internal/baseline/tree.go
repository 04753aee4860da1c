package baseline

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/format"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// renamed is the module path of the library at the baseline's commit.
const renamed = module + "-baseline"

// extract returns the folder with the library's sources at the commit. The folder is made once for a commit and is complete
// when it has its name, so that two runs may extract at the same time.
func extract(ctx context.Context, repository, cache string, c Commit) (folder string, err error) {
	folder = filepath.Join(cache, c.Hash)
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	staging, err := os.MkdirTemp(cache, ".new-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	archive, err := gitBytes(ctx, repository, "archive", "--format=tar", c.Hash)
	if err != nil {
		return "", fmt.Errorf("extracting %s: %w", c, err)
	}
	if err := unpack(bytes.NewReader(archive), staging); err != nil {
		return "", fmt.Errorf("extracting %s: %w", c, err)
	}
	if !isModule(staging, renamed) {
		return "", fmt.Errorf("%s has no go.mod of module %s: it is no commit of the library", c, module)
	}
	if err := os.Rename(staging, folder); err != nil {
		if _, there := os.Stat(folder); there != nil {
			return "", err
		}
	}
	return folder, nil
}

// unpack writes the library's files of a tar archive to folder, with the module renamed.
func unpack(in io.Reader, folder string) error {
	for archive := tar.NewReader(in); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg || !ofLibrary(header.Name) {
			continue
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			return err
		}
		switch {
		case header.Name == "go.mod":
			text = bytes.Replace(text, []byte("module "+module+"\n"), []byte("module "+renamed+"\n"), 1)
		case strings.HasSuffix(header.Name, ".go"):
			text = renameImports(header.Name, text, func(path string) bool { return path == module || strings.HasPrefix(path, module+"/") })
		}
		file := filepath.Join(folder, filepath.FromSlash(header.Name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
}

// ofLibrary reports whether the library is built from the file: its programs are modules of their own, and tests stay out.
func ofLibrary(name string) bool {
	if !filepath.IsLocal(filepath.FromSlash(name)) || strings.HasSuffix(name, "_test.go") {
		return false
	}
	top, _, nested := strings.Cut(name, "/")
	if !nested {
		return name == "go.mod" || name == "go.sum" || strings.HasSuffix(name, ".go")
	}
	return top != "bench" && top != "cmd" && top != "docs" && !strings.HasPrefix(top, ".")
}

// renameImports makes the imports that belong to the library those of the renamed module. A file that cannot be parsed stays
// as it is, for the compiler to complain about.
func renameImports(name string, text []byte, belongs func(path string) bool) []byte {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, parser.ImportsOnly)
	if err != nil {
		return text
	}
	changed := false
	for _, spec := range slices.Backward(file.Imports) { // the places of those before stay right
		literal := spec.Path
		path, err := strconv.Unquote(literal.Value)
		if err != nil || !belongs(path) {
			continue
		}
		at, end := set.Position(literal.Pos()).Offset, set.Position(literal.End()).Offset
		text = []byte(string(text[:at]) + strconv.Quote(renamed+strings.TrimPrefix(path, module)) + string(text[end:]))
		changed = true
	}
	if formatted, err := format.Source(text); changed && err == nil { // the order of imports may be another one
		return formatted
	}
	return text
}
