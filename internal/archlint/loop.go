package main

import (
	"go/ast"
	"go/token"
	"go/types"
)

// loop is one loop that spins, or not: see spins.go.
type loop struct {
	*spins
	node      ast.Stmt
	changes   map[types.Object]bool // variables that the loop sets or declares
	shared    map[types.Object]bool // those among them that it sets from shared state
	ownWayOut bool                  // something other than shared state may end it
}

// learnVariables finds the variables that the loop sets, and then which of them it sets from shared state. It looks for
// these twice, since one may be set from another.
func (l *loop) learnVariables() {
	if r, ok := l.node.(*ast.RangeStmt); ok && r.Key != nil {
		l.changes[l.info.ObjectOf(lastName(r.Key))] = true
	}
	l.eachSet(func(o types.Object, _ ast.Expr) { l.changes[o] = true })
	for range 2 {
		l.eachSet(func(o types.Object, from ast.Expr) {
			if from != nil && l.loads(from, l) {
				l.shared[o] = true
			}
		})
	}
}

// eachSet visits what the loop sets each time: a variable or a field, and from what; from nil where that is a step by one.
func (l *loop) eachSet(visit func(o types.Object, from ast.Expr)) {
	set := func(left, from ast.Expr) {
		if id := lastName(left); id != nil && l.info.ObjectOf(id) != nil {
			visit(l.info.ObjectOf(id), from)
		}
	}
	var once ast.Stmt
	if f, ok := l.node.(*ast.ForStmt); ok {
		once = f.Init
	}
	inspectOwn(l.node, func(n ast.Node) bool {
		if n == once {
			return false
		}
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				set(left, n.Rhs[min(i, len(n.Rhs)-1)])
			}
		case *ast.ValueSpec:
			for i, id := range n.Names {
				if len(n.Values) > 0 {
					set(id, n.Values[min(i, len(n.Values)-1)])
				}
			}
		case *ast.IncDecStmt:
			set(n.X, nil)
		}
		return true
	})
}

// progresses reports whether an expression gets on as the loop does: it mentions what the loop changes by itself.
func (l *loop) progresses(e ast.Expr) (does bool) {
	if l.loads(e, nil) {
		return false
	}
	inspectOwn(e, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			o := l.info.Uses[id]
			does = does || l.changes[o] && !l.shared[o]
		}
		return !does
	})
	return does
}

// mentionsChange reports whether an expression chooses by a variable that the loop changes: another value each time.
func (l *loop) mentionsChange(e ast.Expr) (does bool) {
	inspectOwn(e, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			does = does || l.changes[l.info.Uses[id]]
		}
		return !does
	})
	return does
}

// isExcused reports whether the loop is around a CompareAndSwap from a value that it reads anew, with a reason.
func (l *loop) isExcused() (is bool) {
	inspectOwn(l.node, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 2 {
			return true
		}
		f := l.called(call)
		is = is || f != nil && isIn(f, "sync/atomic") && f.Name() == "CompareAndSwap" && l.mentionsChange(call.Args[0]) &&
			l.excused(lastName(call.Fun).Pos(), publishes)
		return !is
	})
	return is
}

// decides reports whether shared state decides on anything in the loop.
func (l *loop) decides(n ast.Node) (does bool) {
	inspectOwn(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ForStmt:
			does = does || n.Cond != nil && l.loads(n.Cond, l)
		case *ast.IfStmt:
			does = does || l.loads(n.Cond, l)
		case *ast.SwitchStmt:
			does = does || n.Tag != nil && l.loads(n.Tag, l)
		case *ast.CaseClause:
			for _, e := range n.List {
				does = does || l.loads(e, l)
			}
		case *ast.SelectStmt:
			does = does || defaultOf(n) != nil
		}
		return !does
	})
	return does
}

// wayOut looks at a condition that ends the loop when it is false. Each part of an && may.
func (l *loop) wayOut(cond ast.Expr) {
	if cond == nil {
		return
	}
	if and, ok := ast.Unparen(cond).(*ast.BinaryExpr); ok && and.Op == token.LAND {
		l.wayOut(and.X)
		l.wayOut(and.Y)
		return
	}
	l.ownWayOut = l.ownWayOut || !l.loads(cond, l)
}

// waysOut looks for statements that leave the loop. Shared says that shared state decides whether the statement is come to,
// breaks that a break without a label leaves this loop.
func (l *loop) waysOut(n ast.Stmt, shared, breaks bool) {
	switch n := n.(type) {
	case *ast.ReturnStmt:
		l.ownWayOut = l.ownWayOut || !shared
	case *ast.BranchStmt:
		leaves := n.Tok == token.GOTO || n.Label != nil || n.Tok == token.BREAK && breaks
		l.ownWayOut = l.ownWayOut || leaves && !shared
	case *ast.LabeledStmt:
		l.waysOut(n.Stmt, shared, breaks)
	case *ast.BlockStmt:
		l.waysOutOf(n.List, shared, breaks)
	case *ast.IfStmt:
		shared = shared || l.loads(n.Cond, l)
		l.waysOut(n.Body, shared, breaks)
		if n.Else != nil {
			l.waysOut(n.Else, shared, breaks)
		}
	case *ast.ForStmt:
		l.waysOut(n.Body, shared, false)
	case *ast.RangeStmt:
		l.waysOut(n.Body, shared, false)
	case *ast.SwitchStmt:
		l.waysOut(n.Body, shared || l.decides(n), false)
	case *ast.TypeSwitchStmt:
		l.waysOut(n.Body, shared, false)
	case *ast.SelectStmt:
		l.waysOut(n.Body, shared, false)
	case *ast.CaseClause:
		l.waysOutOf(n.Body, shared, breaks)
	case *ast.CommClause:
		l.waysOutOf(n.Body, shared || n.Comm != nil, breaks)
	}
}

// waysOutOf goes through a list. What follows "if shared state says so { ...; continue }" is decided on by that too.
func (l *loop) waysOutOf(list []ast.Stmt, shared, breaks bool) {
	for _, stmt := range list {
		l.waysOut(stmt, shared, breaks)
		guard, ok := stmt.(*ast.IfStmt)
		if !ok || len(guard.Body.List) == 0 || !l.loads(guard.Cond, l) {
			continue
		}
		if last, ok := guard.Body.List[len(guard.Body.List)-1].(*ast.BranchStmt); ok && last.Tok == token.CONTINUE {
			shared = true
		}
	}
}
