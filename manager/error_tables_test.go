package manager_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The tables of docs/errors.md have every error, every cause of a loss, and every reason for which no session can be opened.
func TestTheTablesOfErrorsAreWhole(t *testing.T) {
	raw, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	var cells []string // what the first column of each table has in quotes
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "| `") {
			first, _, _ := strings.Cut(line[2:], " | ")
			for _, quoted := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(first, -1) {
				cells = append(cells, quoted[1])
			}
		}
	}
	inTable := func(kind, text string) {
		if !slices.ContainsFunc(cells, func(cell string) bool { return strings.HasPrefix(text, cell) }) {
			t.Errorf("docs/errors.md does not have the %s %q", kind, text)
		}
	}
	errs, causes, reasons := declared(t, "errors.go", "Err"), declared(t, "../pg/errors.go", "Cause"), reasonsOf(t, "../pg/connecterror.go")
	if len(errs) < 10 || len(causes) < 5 || len(reasons) < 10 {
		t.Fatalf("%d errors, %d causes, %d reasons were found in the code", len(errs), len(causes), len(reasons))
	}
	for name := range errs {
		inTable("error", name)
	}
	for _, text := range causes {
		inTable("cause", text)
	}
	for _, text := range reasons {
		inTable("reason", text)
	}
	for _, cell := range cells {
		if _, known := errs[cell]; strings.HasPrefix(cell, "Err") && !known {
			t.Errorf("docs/errors.md has %s, and the code has not", cell)
		}
	}
}

// declared are the package's variables and constants whose names begin so, with their text where they are one.
func declared(t *testing.T, file, prefix string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, d := range parsed(t, file).Decls {
		group, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range group.Specs {
			if v, ok := s.(*ast.ValueSpec); ok && strings.HasPrefix(v.Names[0].Name, prefix) {
				found[v.Names[0].Name] = literal(v.Values[0])
			}
		}
	}
	return found
}

// reasonsOf are the texts that are given to a method named add, and the second ones of pairs.
func reasonsOf(t *testing.T, file string) (texts []string) {
	t.Helper()
	ast.Inspect(parsed(t, file), func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "add" {
				texts = append(texts, literal(n.Args[0]))
			}
		case *ast.CompositeLit:
			if len(n.Elts) == 2 && literal(n.Elts[0]) != "" {
				texts = append(texts, literal(n.Elts[1]))
			}
		}
		return true
	})
	return slices.DeleteFunc(texts, func(text string) bool { return text == "" })
}

// literal is the text that an expression begins with.
func literal(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, _ := strconv.Unquote(e.Value)
		return text
	case *ast.BinaryExpr:
		return literal(e.X)
	case *ast.CallExpr:
		if len(e.Args) > 0 {
			return literal(e.Args[0])
		}
	}
	return ""
}

func parsed(t *testing.T, file string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
