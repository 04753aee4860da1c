package main

import (
	"go/ast"
	"go/token"
	"go/types"
	"iter"
	"regexp"
	"strings"
)

// value is a struct's field or a package's variable, or several that are declared together.
type value struct {
	pos   token.Pos
	name  string
	typ   types.Type
	owner *types.TypeName // the type whose field it is; nil for a variable
	// comment is its own, above it or on its line. group is the last comment above it in its block: no blank line between.
	comment, group string
}

// The words that a comment is searched for, in any case.
var (
	measured = regexp.MustCompile(`(?i)\b(measured|profiles?)\b`)
	writer   = regexp.MustCompile(`(?i)\bwritten by \S`)
	sentBy   = regexp.MustCompile(`(?i)\bsent by \S`)
	receives = regexp.MustCompile(`(?i)\breceived by \S`)
	closes   = regexp.MustCompile(`(?i)\b(closed by \S|never closed\b)`)
	room     = regexp.MustCompile(`(?i)\b(capacity \S|unbuffered\b)`)
	noSends  = regexp.MustCompile(`(?i)\bnothing is sent\b`)
)

// checkFields finds channels, atomic values, sync.Map and sync.Pool whose comments do not say what they have to.
func (c *checker) checkFields() {
	c.eachValue(func(v value) {
		for part := range partsOf(v.typ) {
			switch part := part.(type) {
			case *types.Chan:
				c.checkChannel(v, part)
				return
			case *types.Named:
				o := part.Obj()
				switch {
				case isIn(o, "sync/atomic") && !writer.MatchString(v.comment) && !writer.MatchString(v.group):
					c.report(v.pos, ruleWriter, "the comment of atomic %s does not say \"written by\" whom", v.name)
				case isIn(o, "sync") && (o.Name() == "Map" || o.Name() == "Pool") && !measured.MatchString(v.comment):
					c.report(v.pos, ruleMeasured, "the comment of sync.%s %s does not say what was \"measured\", or which \"profile\" asks for it", o.Name(), v.name)
				}
			}
		}
	})
}

func (c *checker) checkChannel(v value, t *types.Chan) {
	var missing []string
	need := func(words *regexp.Regexp, what string) {
		if !words.MatchString(v.comment) {
			missing = append(missing, what)
		}
	}
	elem, ok := t.Elem().Underlying().(*types.Struct)
	isEmpty := ok && elem.NumFields() == 0
	signal := isEmpty && noSends.MatchString(v.comment)
	if !signal {
		need(sentBy, `"sent by"`)
	}
	need(receives, `"received by"`)
	need(closes, `"closed by" or "never closed"`)
	if !signal {
		need(room, `"capacity" or "unbuffered"`)
	}
	if len(missing) > 0 {
		message := strings.Join(missing, ", ")
		if isEmpty && !signal {
			message += `; if it is only closed, say "nothing is sent"`
		}
		c.report(v.pos, ruleChannel, "the comment of channel %s does not say %s", v.name, message)
	}
}

// partsOf yields t and what it consists of: elements, what pointers point to, type arguments, and what a named type that is
// no struct is defined as. It does not look into structs, functions and interfaces: their fields have their own comments.
func partsOf(t types.Type) iter.Seq[types.Type] {
	seen := map[types.Type]bool{}
	return func(yield func(types.Type) bool) {
		var walk func(t types.Type) bool
		walk = func(t types.Type) bool {
			t = types.Unalias(t)
			if seen[t] {
				return true
			}
			seen[t] = true
			if !yield(t) {
				return false
			}
			switch t := t.(type) {
			case *types.Named:
				for arg := range t.TypeArgs().Types() {
					if !walk(arg) {
						return false
					}
				}
				if _, isStruct := t.Underlying().(*types.Struct); !isStruct {
					return walk(t.Underlying())
				}
			case *types.Map:
				return walk(t.Key()) && walk(t.Elem())
			case interface{ Elem() types.Type }: // pointers, arrays, slices, channels
				return walk(t.Elem())
			}
			return true
		}
		walk(t)
	}
}

// eachValue visits all fields of structs, also of those inside functions, and all variables of the package.
func (c *checker) eachValue(visit func(value)) {
	for _, s := range c.files {
		for _, d := range s.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
				c.eachVariable(g, visit)
			}
		}
		c.eachField(s.File, nil, visit)
	}
}

func (c *checker) eachVariable(g *ast.GenDecl, visit func(value)) {
	b := block{fset: c.fset}
	for _, spec := range g.Specs {
		s := spec.(*ast.ValueSpec) //nolint:forcetypeassert // variables are declared by nothing else
		doc := s.Doc
		if !g.Lparen.IsValid() {
			doc = g.Doc
		}
		comment, group := b.next(s, doc, s.Comment)
		for _, id := range s.Names {
			if o := c.info.Defs[id]; o != nil {
				visit(value{pos: id.Pos(), name: id.Name, typ: o.Type(), comment: comment, group: group})
			}
		}
	}
}

func (c *checker) eachField(root ast.Node, owner *types.TypeName, visit func(value)) {
	ast.Inspect(root, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.TypeSpec:
			if owner == nil {
				o, _ := c.info.Defs[n.Name].(*types.TypeName)
				c.eachField(n.Type, o, visit)
				return false
			}
		case *ast.StructType:
			b := block{fset: c.fset}
			for _, f := range n.Fields.List {
				comment, group := b.next(f, f.Doc, f.Comment)
				var names []string
				for _, id := range f.Names {
					names = append(names, id.Name)
				}
				if names == nil {
					names = append(names, lastName(f.Type).Name)
				}
				visit(value{pos: f.Pos(), name: strings.Join(names, ", "), typ: c.info.TypeOf(f.Type), owner: owner, comment: comment, group: group})
			}
		}
		return true
	})
}

// block follows the comments through a list of declarations.
type block struct {
	fset  *token.FileSet
	group string
	end   int // line of the last declaration
}

// next gives the comments of the next declaration: its own, and its block's.
func (b *block) next(n ast.Node, doc, comment *ast.CommentGroup) (own, group string) {
	start, end := n.Pos(), n.End()
	if doc != nil {
		start = doc.Pos()
	}
	if comment != nil {
		end = comment.End()
	}
	if doc != nil || b.fset.Position(start).Line > b.end+1 {
		b.group = doc.Text()
	}
	b.end = b.fset.Position(end).Line
	return oneLine(doc.Text() + " " + comment.Text()), oneLine(b.group)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
