package main

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
)

// A loop spins if all of this is so:
//
//  1. It is a for statement with or without a condition, or one over an integer.
//  2. Nothing in it can wait: no channel operation, no select without default, no range over a channel or a function, no
//     call that may wait. A function of this package may wait if something in it can; one of another package unless it is
//     in neverWaits; an interface's method and a function value may. A time.Sleep is no wait: it makes a spin slower.
//  3. It looks at shared state to find out whether to go on: it loads an atomic value, or has a select with a default.
//     A value does not count if the loop chooses another one each time (s[i].Load()), or if the comparison's other side is a
//     variable that the loop changes (i < n.Load()): then the loop gets on by itself.
//  4. Either shared state decides on each way out of it (the parts of its condition, each break, return and goto), or
//     it does nothing but look: it calls nothing but what only looks, and sets nothing but local variables. Leaving by the
//     default of a select is the loop's own decision: it has emptied a channel.
//
// A loop around a CompareAndSwap whose old value the loop reads anew is no spin if //arch:publishes excuses it: of several
// such loops one gets on.

// neverWaits are the packages whose functions only compute, time.Sleep included.
var neverWaits = []string{
	"bytes", "cmp", "errors", "fmt", "hash/maphash", "maps", "math", "math/bits", "math/rand", "math/rand/v2", "runtime", "slices",
	"sort", "strconv", "strings", "sync/atomic", "time", "unsafe",
}

// onlyLooks are those whose functions are no work that a loop could be there for.
var onlyLooks = []string{"runtime", "sync/atomic", "time"}

// spins knows of each function of the package what matters to a loop that calls it.
type spins struct {
	*checker
	waits, looks, works map[*types.Func]bool
}

func (c *checker) checkSpins() {
	s := &spins{checker: c, waits: map[*types.Func]bool{}, looks: map[*types.Func]bool{}, works: map[*types.Func]bool{}}
	s.learn(s.waits, s.canWait)
	s.learn(s.works, s.doesWork)
	s.learn(s.looks, func(body ast.Node) bool { return s.loads(body, nil) && !s.doesWork(body) })
	c.inspect(func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ForStmt:
			s.checkLoop(n, n.Cond, n.Body)
		case *ast.RangeStmt:
			if b, ok := c.info.TypeOf(n.X).Underlying().(*types.Basic); ok && b.Info()&types.IsInteger != 0 {
				s.checkLoop(n, n.X, n.Body)
			}
		}
		return true
	})
}

// learn finds of which functions something is so, until a round finds no more: some are so because of what they call.
func (s *spins) learn(known map[*types.Func]bool, is func(body ast.Node) bool) {
	for count := -1; count != len(known); {
		count = len(known)
		for f, decl := range s.funcs {
			if decl.Body != nil && is(decl.Body) {
				known[f] = true
			}
		}
	}
}

func (s *spins) checkLoop(n ast.Stmt, cond ast.Expr, body *ast.BlockStmt) {
	if s.canWait(n) {
		return
	}
	l := &loop{spins: s, node: n, changes: map[types.Object]bool{}, shared: map[types.Object]bool{}}
	l.learnVariables()
	if !l.decides(n) || l.isExcused() {
		return
	}
	l.wayOut(cond)
	l.waysOut(body, false, true)
	if !l.ownWayOut || !s.doesWork(body) {
		s.report(n.Pos(), ruleSpin, "this loop waits for shared state by looking at it again and again: wait in a select")
	}
}

// canWait reports whether something in n can wait.
func (s *spins) canWait(n ast.Node) (can bool) {
	inspectOwn(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt, *ast.DeferStmt:
			return false
		case *ast.SendStmt:
			can = true
		case *ast.UnaryExpr:
			can = can || n.Op == token.ARROW
		case *ast.RangeStmt:
			switch s.info.TypeOf(n.X).Underlying().(type) {
			case *types.Chan, *types.Signature:
				can = true
			}
		case *ast.SelectStmt:
			if defaultOf(n) == nil {
				can = true
				break
			}
			for _, clause := range n.Body.List { // the communication itself does not wait
				for _, stmt := range clause.(*ast.CommClause).Body { //nolint:forcetypeassert // a select has no others
					can = can || s.canWait(stmt)
				}
			}
			return false
		case *ast.CallExpr:
			can = can || s.mayWait(n)
		}
		return !can
	})
	return can
}

// mayWait reports whether a call may wait.
func (s *spins) mayWait(call *ast.CallExpr) bool {
	if s.isPlain(call) {
		return false
	}
	f := s.called(call)
	switch {
	case f == nil || types.IsInterface(receiverOf(f)):
		return true
	case f.Pkg() == s.types:
		return s.waits[f.Origin()]
	default:
		return f.Pkg() == nil || !slices.Contains(neverWaits, f.Pkg().Path())
	}
}

// isPlain reports whether a call is a conversion or of a built-in function.
func (s *spins) isPlain(call *ast.CallExpr) bool {
	tv := s.info.Types[call.Fun]
	return tv.IsType() || tv.IsBuiltin()
}

func receiverOf(f *types.Func) types.Type {
	if recv := f.Signature().Recv(); recv != nil {
		return recv.Type()
	}
	return types.Typ[types.Invalid]
}

// loads reports whether n looks at shared state that stays the same as l goes round; l may be nil.
func (s *spins) loads(n ast.Node, l *loop) (does bool) {
	if n == nil {
		return false
	}
	inspectOwn(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if l != nil && isComparison(n.Op) && (l.progresses(n.X) || l.progresses(n.Y)) {
				return false
			}
		case *ast.Ident:
			does = does || l != nil && l.shared[s.info.Uses[n]]
		case *ast.CallExpr:
			f := s.called(n)
			switch {
			case f == nil:
			case isIn(f, "sync/atomic"):
				does = does || f.Name() != "Store" && f.Name() != "Add" && (l == nil || !l.mentionsChange(n.Fun))
			case s.looks[f.Origin()]:
				does = does || l == nil || !l.mentionsChange(n)
			}
		}
		return !does
	})
	return does
}

// doesWork reports whether n does more than look: it calls what does not only look, or sets more than local variables.
func (s *spins) doesWork(n ast.Node) (does bool) {
	inspectOwn(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				does = does || !s.isLocal(left)
			}
		case *ast.IncDecStmt:
			does = does || !s.isLocal(n.X)
		case *ast.GoStmt, *ast.DeferStmt:
			does = true
		case *ast.CallExpr:
			does = does || s.isWork(n)
		}
		return !does
	})
	return does
}

func (s *spins) isWork(call *ast.CallExpr) bool {
	if s.isPlain(call) {
		switch id := lastName(call.Fun); {
		case id == nil:
			return false
		case s.info.Types[call.Fun].IsBuiltin():
			return !slices.Contains([]string{"len", "cap", "min", "max"}, id.Name)
		default:
			return false
		}
	}
	f := s.called(call)
	switch {
	case f == nil || f.Pkg() == nil:
		return true
	case f.Pkg() == s.types:
		return s.works[f.Origin()] || s.funcs[f.Origin()] == nil
	default:
		return !slices.Contains(onlyLooks, f.Pkg().Path())
	}
}

// isLocal reports whether an assignment's left side is a variable of the function.
func (s *spins) isLocal(e ast.Expr) bool {
	id, ok := ast.Unparen(e).(*ast.Ident)
	if !ok {
		return false
	}
	o := s.info.ObjectOf(id)
	return o == nil || o.Parent() != s.types.Scope()
}

// inspectOwn visits the nodes under n, but for the bodies of function literals: these run elsewhere, or at another time.
func inspectOwn(n ast.Node, visit func(ast.Node) bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		if _, ok := n.(*ast.FuncLit); ok || n == nil {
			return false
		}
		return visit(n)
	})
}

// defaultOf is the default clause of a select, or nil.
func defaultOf(n *ast.SelectStmt) *ast.CommClause {
	for _, clause := range n.Body.List {
		if c, ok := clause.(*ast.CommClause); ok && c.Comm == nil {
			return c
		}
	}
	return nil
}
