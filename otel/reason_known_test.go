package lockotel

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// withoutReason are the errors of package manager that no acquisition fails with and no hold ends with, each with what it belongs to. error.type
// has no value for them.
var withoutReason = map[string]string{
	"ErrReleased":       "holds that were released have no error.type",
	"ErrReleaseUnknown": "Release, after the end of the hold",
	"ErrNotLeader":      "IsLeader and Resign",
	"ErrNoLeader":       "Current",
	"ErrResigned":       "the context of a term, whose hold is released",
	"ErrSessionGone":    "Terminate",
	"ErrSessionHidden":  "Terminate",
	"ErrNotDedicated":   "BeginTx",
	"ErrTxOpen":         "BeginTx and Release",
	"ErrFenced":         "Guard",
	"ErrNilContext":     "calls without a context, which are not observed",
}

// variables are those that the file declares outside of functions, with their values.
func variables(t *testing.T, name string) map[string]ast.Expr {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]ast.Expr{}
	for _, decl := range file.Decls {
		group, is := decl.(*ast.GenDecl)
		if !is || group.Tok != token.VAR {
			continue
		}
		for _, spec := range group.Specs {
			v, is := spec.(*ast.ValueSpec)
			if !is {
				continue
			}
			for i, name := range v.Names {
				all[name.Name] = nil
				if i < len(v.Values) {
					all[name.Name] = v.Values[i]
				}
			}
		}
	}
	return all
}

// errorsOfManager are the names of the errors that package manager exports.
func errorsOfManager(t *testing.T) (names []string) {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", "github.com/lockkeeper/lockkeeper/manager").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		for name := range variables(t, file) {
			if strings.HasPrefix(name, "Err") {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Each error of package manager has a reason, or a line in withoutReason: a new one must not become "_OTHER" by oversight.
func TestEachErrorHasAReason(t *testing.T) {
	known := map[string]bool{}
	ast.Inspect(variables(t, "reason.go")["reasons"], func(n ast.Node) bool {
		if s, is := n.(*ast.SelectorExpr); is {
			known[s.Sel.Name] = true
		}
		return true
	})
	all := errorsOfManager(t)
	if len(all) < 30 || !slices.Contains(all, "ErrNotAcquired") {
		t.Fatalf("only %q are found", all)
	}
	for _, name := range all {
		belongs, without := withoutReason[name]
		switch {
		case known[name] && without:
			t.Errorf("manager.%s is in reasons, and in withoutReason: %s", name, belongs)
		case !known[name] && !without:
			t.Errorf("manager.%s has no error.type: add it to reasons, or to withoutReason", name)
		}
	}
	for name := range withoutReason {
		if !slices.Contains(all, name) {
			t.Errorf("package manager has no %s any more", name)
		}
	}
}
