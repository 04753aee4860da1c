package doccheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// errorValues are the exported error variables of the packages in folders of the module, by package and name, with their values.
func errorValues(t *testing.T, folders ...string) map[string]ast.Expr {
	t.Helper()
	all := map[string]ast.Expr{}
	for _, folder := range folders {
		names, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range file.Decls {
				group, is := decl.(*ast.GenDecl)
				if !is || group.Tok != token.VAR {
					continue
				}
				for _, spec := range group.Specs {
					if v, is := spec.(*ast.ValueSpec); is && strings.HasPrefix(v.Names[0].Name, "Err") {
						all[folder+"."+v.Names[0].Name] = v.Values[0]
					}
				}
			}
		}
	}
	return all
}

// textOf is the text of an error variable; of one that wraps another, what stands before that.
func textOf(all map[string]ast.Expr, value ast.Expr) string {
	switch v := value.(type) {
	case *ast.SelectorExpr: // another package's
		if from, is := v.X.(*ast.Ident); is {
			return textOf(all, all[from.Name+"."+v.Sel.Name])
		}
	case *ast.CallExpr:
		if text, is := v.Args[0].(*ast.BasicLit); is {
			if text, err := strconv.Unquote(text.Value); err == nil {
				return strings.TrimSuffix(text, ": %w")
			}
		}
	}
	return ""
}

// Each error of package manager has a row in docs/errors.md, where its name and its text can be looked up, a cause and a remedy.
func TestErrorsAreOnTheirPage(t *testing.T) {
	all := errorValues(t, "actor", "pg", "manager")
	var rows []string
	for _, p := range pages(t) {
		if p.name == "docs/errors.md" {
			rows = p.lines
		}
	}
	found := 0
	for full, value := range all {
		name, ours := strings.CutPrefix(full, "manager.")
		if !ours {
			continue
		}
		found++
		text := textOf(all, value)
		if text == "" {
			t.Errorf("the text of %s is not found", name)
		}
		at := slices.IndexFunc(rows, func(row string) bool { return strings.HasPrefix(row, "| `"+name+"`") })
		if at < 0 {
			t.Errorf("docs/errors.md has no row of %s", name)
			continue
		}
		cells := strings.Split(strings.Trim(rows[at], "|"), " | ")
		if len(cells) != 4 || !strings.Contains(cells[1], "`"+text+"`") {
			t.Errorf("docs/errors.md:%d: the row of %s needs four columns, and the text %q in the second", at+1, name, text)
		} else if strings.TrimSpace(cells[3]) == "" {
			t.Errorf("docs/errors.md:%d: the row of %s has no remedy", at+1, name)
		}
	}
	if found < 30 {
		t.Errorf("only %d errors are found", found)
	}
}
