package main

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// lockTypes are the types of package sync that one goroutine uses to keep others out, and their constructors.
var lockTypes = []string{"Mutex", "RWMutex", "Cond", "Once", "Locker", "NewCond", "OnceFunc", "OnceValue", "OnceValues"}

// lockMethods make a lock of any type that has them without parameters.
var lockMethods = []string{"Lock", "Unlock", "RLock", "RUnlock", "TryLock", "TryRLock"}

// firstWins are the methods of sync.Map that tell one of several callers that it came first.
var firstWins = []string{"CompareAndSwap", "CompareAndDelete", "Swap", "LoadOrStore", "LoadAndDelete"}

// checkLocks finds the uses of locks, of atomic operations that work as one, and of runtime.Gosched.
func (c *checker) checkLocks() {
	compared := c.comparedCalls()
	for id, o := range c.info.Uses {
		switch o := o.(type) {
		case *types.TypeName:
			c.checkLockType(id, o)
		case *types.Func:
			c.checkLockFunc(id, o, compared)
		}
	}
	for id, o := range c.info.Defs {
		if f, ok := o.(*types.Func); ok && isLockMethod(f) {
			c.report(id.Pos(), ruleLock, "method %s makes a lock by hand: let a goroutine own the state", f.Name())
		}
	}
}

// checkLockType finds the types of sync, also where another package gives them another name.
func (c *checker) checkLockType(id *ast.Ident, o *types.TypeName) {
	if n, ok := types.Unalias(o.Type()).(*types.Named); ok && isIn(n.Obj(), "sync") && slices.Contains(lockTypes, n.Obj().Name()) {
		c.report(id.Pos(), ruleLock, "sync.%s: let a goroutine own the state", n.Obj().Name())
	}
}

func (c *checker) checkLockFunc(id *ast.Ident, f *types.Func, compared map[*ast.Ident]bool) {
	name, recv := f.Name(), receiverName(f)
	switch {
	case isIn(f, "sync") && recv == "" && slices.Contains(lockTypes, name),
		isIn(f, "sync") && slices.Contains(lockTypes, recv):
		c.report(id.Pos(), ruleLock, "sync.%s: let a goroutine own the state", strings.TrimPrefix(recv+"."+name, "."))
	case isLockMethod(f):
		c.report(id.Pos(), ruleLock, "call of %s.%s: let a goroutine own the state", recv, name)
	case isIn(f, "sync") && recv == "Map" && slices.Contains(firstWins, name):
		c.reportAtomic(id.Pos(), "sync.Map."+name)
	case isIn(f, "sync/atomic") && recv == "":
		c.report(id.Pos(), ruleAtomic, "atomic.%s: use the types of sync/atomic, so that the field says what it is", name)
	case isIn(f, "sync/atomic") && isFirstWins(name),
		isIn(f, "sync/atomic") && name == "Add" && compared[id]:
		c.reportAtomic(id.Pos(), name)
	case isIn(f, "runtime") && name == "Gosched" && !c.excused(id.Pos(), yields):
		c.report(id.Pos(), ruleYield, "runtime.Gosched: wait in a select, or give the reason by //arch:yield <reason>")
	}
}

func (c *checker) reportAtomic(pos token.Pos, operation string) {
	if !c.excused(pos, publishes) {
		c.report(pos, ruleAtomic, "%s lets the first of several callers win: send to the owner, or give the reason by //arch:publishes <reason>", operation)
	}
}

// isFirstWins reports whether an atomic method's result tells one of several callers that it came first.
func isFirstWins(name string) bool {
	return name == "And" || name == "Or" || name == "Swap" || name == "CompareAndSwap"
}

// isLockMethod reports whether f is a method of something that can be locked: it has TryLock, or both Lock and Unlock.
func isLockMethod(f *types.Func) bool {
	if f.Signature().Recv() == nil || !slices.Contains(lockMethods, f.Name()) || f.Signature().Params().Len() > 0 {
		return false
	}
	recv := f.Signature().Recv().Type()
	return strings.HasPrefix(f.Name(), "Try") || hasMethod(recv, "Lock") && hasMethod(recv, "Unlock") ||
		hasMethod(recv, "RLock") && hasMethod(recv, "RUnlock")
}

// hasMethod reports whether t has a method of that name without parameters.
func hasMethod(t types.Type, name string) bool {
	o, _, _ := types.LookupFieldOrMethod(t, true, nil, name)
	f, ok := o.(*types.Func)
	return ok && f.Signature().Params().Len() == 0
}

// comparedCalls are the names of called methods whose result is compared at once.
func (c *checker) comparedCalls() map[*ast.Ident]bool {
	compared := map[*ast.Ident]bool{}
	c.inspect(func(n ast.Node) bool {
		binary, ok := n.(*ast.BinaryExpr)
		if !ok || !isComparison(binary.Op) {
			return true
		}
		for _, side := range []ast.Expr{binary.X, binary.Y} {
			ast.Inspect(side, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					compared[lastName(call.Fun)] = true
				}
				return true
			})
		}
		return true
	})
	return compared
}

func isComparison(op token.Token) bool {
	switch op {
	case token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ:
		return true
	default:
		return false
	}
}
