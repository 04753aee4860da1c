package main

import (
	"go/ast"
	"go/types"
	"regexp"
)

// joinedBy is the sentence that says how a goroutine is waited for.
var joinedBy = regexp.MustCompile(`(?m)(^|[.:;] )Joined by \S`)

// checkStarts finds goroutines of which nothing says how they are joined.
func (c *checker) checkStarts() {
	waited := c.waitedGroups()
	for _, s := range c.files {
		above := map[int]string{} // the comments, by the line below them
		for _, group := range s.Comments {
			above[c.fset.Position(group.End()).Line+1] = group.Text()
		}
		for _, d := range s.Decls {
			var doc string
			if f, ok := d.(*ast.FuncDecl); ok {
				doc = f.Doc.Text()
			}
			if joinedBy.MatchString(doc) {
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				if n != nil && !joinedBy.MatchString(above[c.fset.Position(n.Pos()).Line]) {
					c.checkStart(n, waited)
				}
				return true
			})
		}
	}
}

func (c *checker) checkStart(n ast.Node, waited map[types.Object]bool) {
	switch n := n.(type) {
	case *ast.GoStmt:
		c.report(n.Pos(), ruleGo, "nothing says how this goroutine is joined: write \"Joined by ...\" above it or in its function's doc comment")
	case *ast.CallExpr:
		sel, ok := ast.Unparen(n.Fun).(*ast.SelectorExpr)
		if !ok || !c.isGroupMethod(sel, "Go") {
			return
		}
		if group := c.groupOf(sel); group == nil || !waited[group] {
			c.report(sel.Sel.Pos(), ruleGo, "nothing waits for this sync.WaitGroup: call its Wait, or write \"Joined by ...\" above this line")
		}
	}
}

// waitedGroups are the fields and variables on which the package calls sync.WaitGroup.Wait.
func (c *checker) waitedGroups() map[types.Object]bool {
	waited := map[types.Object]bool{}
	c.inspect(func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && c.isGroupMethod(sel, "Wait") {
			waited[c.groupOf(sel)] = true
		}
		return true
	})
	return waited
}

func (c *checker) isGroupMethod(sel *ast.SelectorExpr, name string) bool {
	f, ok := c.info.Uses[sel.Sel].(*types.Func)
	return ok && isIn(f, "sync") && receiverName(f) == "WaitGroup" && f.Name() == name
}

// groupOf is the field or variable that holds the WaitGroup whose method is selected; an embedded one is a field too.
func (c *checker) groupOf(sel *ast.SelectorExpr) types.Object {
	selection := c.info.Selections[sel]
	if selection == nil {
		return nil
	}
	var group types.Object
	if id := lastName(sel.X); id != nil {
		group = c.info.Uses[id]
	}
	t := selection.Recv()
	for _, i := range selection.Index()[:len(selection.Index())-1] {
		if p, ok := t.Underlying().(*types.Pointer); ok {
			t = p.Elem()
		}
		s, ok := t.Underlying().(*types.Struct)
		if !ok {
			return nil
		}
		group, t = s.Field(i), s.Field(i).Type()
	}
	if v, ok := group.(*types.Var); ok {
		return v.Origin()
	}
	return group
}
