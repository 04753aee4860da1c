package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// rule is the word that ends a finding.
type rule string

const (
	ruleLock      rule = "lock"
	ruleAtomic    rule = "atomic"
	ruleYield     rule = "yield"
	ruleSpin      rule = "spin"
	ruleQueue     rule = "queue"
	ruleGo        rule = "go"
	ruleChannel   rule = "channel"
	ruleMeasured  rule = "measured"
	ruleWriter    rule = "writer"
	ruleWord      rule = "word"
	ruleDirective rule = "directive"
)

// The verbs of the directives that excuse a finding.
const (
	publishes = "publishes"
	yields    = "yield"
	owned     = "owned"
	named     = "name"
)

// finding is one violation of a rule.
type finding struct {
	pos     token.Position
	rule    rule
	message string
}

// directive is a comment "//arch:<verb> <reason>".
type directive struct {
	pos          token.Pos
	verb, reason string
	used         bool
}

// place is a line of a file.
type place struct {
	file string
	line int
}

// checker collects the findings of one package.
type checker struct {
	*pkg
	found []finding
	// excuses are the directives that hold for a line.
	excuses    map[place][]*directive
	directives []*directive
	funcs      map[*types.Func]*ast.FuncDecl
}

// check applies all rules to a package. The findings are in the order of the source.
func check(p *pkg) []finding {
	c := &checker{pkg: p, excuses: map[place][]*directive{}, funcs: map[*types.Func]*ast.FuncDecl{}}
	for _, s := range p.files {
		c.readDirectives(s)
		for _, d := range s.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				c.funcs[p.info.Defs[f.Name].(*types.Func)] = f //nolint:forcetypeassert // a function's name defines one
			}
		}
	}
	for _, name := range p.skipped {
		c.found = append(c.found, finding{pos: token.Position{Filename: name, Line: 1}, rule: ruleDirective,
			message: "a build constraint leaves this file out, so it is not checked"})
	}
	c.checkLocks()
	c.checkQueues()
	c.checkSpins()
	c.checkStarts()
	c.checkFields()
	c.checkWords()
	c.checkDirectives()
	slices.SortStableFunc(c.found, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.pos.Filename, b.pos.Filename), a.pos.Line-b.pos.Line, a.pos.Column-b.pos.Column,
			cmp.Compare(a.rule, b.rule), cmp.Compare(a.message, b.message))
	})
	return slices.Compact(c.found)
}

func (c *checker) report(pos token.Pos, r rule, format string, args ...any) {
	c.found = append(c.found, finding{pos: c.fset.Position(pos), rule: r, message: fmt.Sprintf(format, args...)})
}

// readDirectives notes for which line each directive of the file holds: its own line, or the line below its comment if
// the comment stands alone.
func (c *checker) readDirectives(s *source) {
	for _, group := range s.Comments {
		start := c.fset.Position(group.Pos())
		holds := place{s.name, start.Line}
		if before := s.lines[start.Line-1][:start.Column-1]; strings.TrimSpace(string(before)) == "" {
			holds.line = c.fset.Position(group.End()).Line + 1
		}
		for _, comment := range group.List {
			text, ok := strings.CutPrefix(comment.Text, "//arch:")
			if !ok {
				continue
			}
			verb, reason, _ := strings.Cut(text, " ")
			d := &directive{pos: comment.Pos(), verb: verb, reason: strings.TrimSpace(reason)}
			c.directives = append(c.directives, d)
			c.excuses[holds] = append(c.excuses[holds], d)
		}
	}
}

// excused reports whether a directive with this verb and a reason holds for the line.
func (c *checker) excused(pos token.Pos, verb string) bool {
	at := c.fset.Position(pos)
	for _, d := range c.excuses[place{at.Filename, at.Line}] {
		if d.verb == verb {
			d.used = true
			return d.reason != "" // checkDirectives reports one without
		}
	}
	return false
}

// checkDirectives runs last: a directive that nothing has asked for excuses nothing.
func (c *checker) checkDirectives() {
	for _, d := range c.directives {
		switch {
		case !slices.Contains([]string{publishes, yields, owned, named}, d.verb):
			c.report(d.pos, ruleDirective, "//arch:%s is not known", d.verb)
		case d.reason == "":
			c.report(d.pos, ruleDirective, "//arch:%s needs a reason", d.verb)
		case !d.used:
			c.report(d.pos, ruleDirective, "//arch:%s excuses nothing here", d.verb)
		}
	}
}

// inspect visits all nodes of the package's files.
func (c *checker) inspect(visit func(ast.Node) bool) {
	for _, s := range c.files {
		ast.Inspect(s.File, visit)
	}
}

// called is the function or method that a call names, or nil: a function value, a conversion, a built-in function.
func (c *checker) called(call *ast.CallExpr) *types.Func {
	f, _ := c.info.Uses[lastName(call.Fun)].(*types.Func)
	return f
}

// lastName is the identifier that an expression ends with: x of a.b.x, of x[i], of *x, of &x and of (x).
func lastName(e ast.Expr) *ast.Ident {
	switch e := e.(type) {
	case *ast.Ident:
		return e
	case *ast.SelectorExpr:
		return e.Sel
	case *ast.IndexExpr:
		return lastName(e.X)
	case *ast.IndexListExpr:
		return lastName(e.X)
	case *ast.ParenExpr:
		return lastName(e.X)
	case *ast.StarExpr:
		return lastName(e.X)
	case *ast.UnaryExpr:
		return lastName(e.X)
	default:
		return nil
	}
}

// isIn reports whether an object belongs to the package with this path.
func isIn(o types.Object, path string) bool {
	return o != nil && o.Pkg() != nil && o.Pkg().Path() == path
}

// receiverName is the name of the type whose method f is; empty for a function.
func receiverName(f *types.Func) string {
	recv := f.Signature().Recv()
	if recv == nil {
		return ""
	}
	if n := namedOf(recv.Type()); n != nil {
		return n.Obj().Name()
	}
	return ""
}

// namedOf is the named type of t or of what t points to, or nil.
func namedOf(t types.Type) *types.Named {
	t = types.Unalias(t)
	if p, ok := t.(*types.Pointer); ok {
		t = types.Unalias(p.Elem())
	}
	n, _ := t.(*types.Named)
	return n
}
