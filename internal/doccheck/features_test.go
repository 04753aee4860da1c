package doccheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// code is what stands between backquotes; named is a name in it that its package, or a value of it, exports.
var (
	code  = regexp.MustCompile("`([^`]+)`")
	named = regexp.MustCompile(`\b[A-Z]\w*`)
)

// features are the rows of the table under README's heading "Use": the line of each, and the names in its first column. What stands in
// parentheses are parameters.
func features(t *testing.T) map[int][]string {
	t.Helper()
	rows := map[int][]string{}
	for _, p := range pages(t) {
		if p.name != "README.md" {
			continue
		}
		inside := false
		for i, line := range p.lines {
			if strings.HasPrefix(line, "## ") {
				inside = line == "## Use"
			}
			if cells := strings.Split(line, " | "); inside && strings.HasPrefix(line, "| `") && len(cells) > 1 {
				for _, span := range code.FindAllStringSubmatch(cells[0], -1) {
					call, _, _ := strings.Cut(span[1], "(")
					rows[i+1] = append(rows[i+1], named.FindAllString(call, -1)...)
				}
			}
		}
	}
	if len(rows) < 20 {
		t.Fatalf("only %d rows are found", len(rows))
	}
	return rows
}

// uses are the names that the functions of all tests use: those of examples, and the others, which are tests and their helpers. An example uses
// what it is named for.
func uses(t *testing.T) (byExamples, byTests map[string]bool) {
	t.Helper()
	byExamples, byTests = map[string]bool{}, map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, is := decl.(*ast.FuncDecl)
			if !is {
				continue
			}
			names := byTests
			if about, example := strings.CutPrefix(f.Name.Name, "Example"); example {
				names = byExamples
				names[about[strings.LastIndex(about, "_")+1:]] = true
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if s, is := n.(*ast.SelectorExpr); is {
					names[s.Sel.Name] = true
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return byExamples, byTests
}

// What README's table promises is used by an example, which go doc shows, and by a test.
func TestFeaturesHaveExamplesAndTests(t *testing.T) {
	byExamples, byTests := uses(t)
	for line, names := range features(t) {
		if len(names) == 0 {
			t.Errorf("README.md:%d: no name is found", line)
		}
		for _, name := range names {
			if !byExamples[name] {
				t.Errorf("README.md:%d: no example uses %s", line, name)
			}
			if !byTests[name] {
				t.Errorf("README.md:%d: no test uses %s", line, name)
			}
		}
	}
}
