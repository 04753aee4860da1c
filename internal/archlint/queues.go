package main

import (
	"go/ast"
	"go/types"
	"strconv"
	"strings"
)

// checkQueues finds queues made by hand: imports of one, lists with atomic pointers in them or to them, tables of these.
func (c *checker) checkQueues() {
	for _, s := range c.files {
		for _, spec := range s.Imports {
			c.checkImport(spec)
		}
	}
	links := c.atomicLinks()
	c.eachValue(func(v value) {
		elem, inTable := atomicPointer(v.typ)
		switch {
		case elem == nil:
		case elem == v.owner:
			c.report(v.pos, ruleQueue, "an atomic pointer links a %s to another: send over a channel", elem.Name())
		case v.owner != nil && reaches(links, elem, v.owner, map[*types.TypeName]bool{}) && !c.excused(v.pos, publishes):
			c.report(v.pos, ruleQueue, "atomic pointers lead from %s to %s and back: send over a channel, or give the reason by //arch:publishes <reason>", v.owner.Name(), elem.Name())
		case linksItself(elem) && !c.excused(v.pos, publishes):
			c.report(v.pos, ruleQueue, "an atomic pointer to %s, which links to others: send over a channel, or give the reason by //arch:publishes <reason>", elem.Name())
		case inTable && !c.excused(v.pos, publishes):
			c.report(v.pos, ruleQueue, "a table of atomic pointers to %s: let a goroutine own it, or give the reason by //arch:publishes <reason>", elem.Name())
		}
	})
}

func (c *checker) checkImport(spec *ast.ImportSpec) {
	path, _ := strconv.Unquote(spec.Path.Value)
	switch {
	case strings.HasSuffix(path, "internal/mailbox"):
		c.report(spec.Pos(), ruleQueue, "%s: send over a channel", path)
	case (path == "container/list" || path == "container/ring") && !c.excused(spec.Pos(), owned):
		c.report(spec.Pos(), ruleQueue, "%s: send over a channel, or name the one goroutine that owns the list by //arch:owned <by whom>", path)
	}
}

// atomicLinks gives, for each struct type of the package, the types that it points to by an atomic pointer.
func (c *checker) atomicLinks() map[*types.TypeName][]*types.TypeName {
	links := map[*types.TypeName][]*types.TypeName{}
	c.eachValue(func(v value) {
		if elem, _ := atomicPointer(v.typ); elem != nil && v.owner != nil {
			links[v.owner] = append(links[v.owner], elem)
		}
	})
	return links
}

// linksItself reports whether a struct has a field that points to another of its kind, as a list's node does.
func linksItself(o *types.TypeName) bool {
	s, ok := o.Type().Underlying().(*types.Struct)
	if !ok {
		return false
	}
	for f := range s.Fields() {
		if n := namedOf(f.Type()); n != nil && n.Origin().Obj() == o { // a struct cannot hold itself: it is a pointer
			return true
		}
	}
	return false
}

// reaches reports whether atomic pointers lead from one type to the other.
func reaches(links map[*types.TypeName][]*types.TypeName, from, to *types.TypeName, seen map[*types.TypeName]bool) bool {
	if from == to {
		return true
	}
	if seen[from] {
		return false
	}
	seen[from] = true
	for _, next := range links[from] {
		if reaches(links, next, to, seen) {
			return true
		}
	}
	return false
}

// atomicPointer gives the named type that an atomic.Pointer within t points to, and whether it stands in an array, a slice
// or a map.
func atomicPointer(t types.Type) (elem *types.TypeName, inTable bool) {
	for part := range partsOf(t) {
		switch part := part.(type) {
		case *types.Array, *types.Slice, *types.Map:
			inTable = true
		case *types.Named:
			if isIn(part.Obj(), "sync/atomic") && part.Obj().Name() == "Pointer" {
				if n := namedOf(part.TypeArgs().At(0)); n != nil {
					return n.Origin().Obj(), inTable
				}
			}
		}
	}
	return nil, false
}
