package main

import (
	"fmt"
	"go/ast"
	"go/types"
	"path/filepath"
	"strings"
	"unicode"
)

// reach says in which names a word is reported.
type reach int

const (
	everywhere reach = iota
	lasting          // not in local variables and parameters: there the word may mean something plain
	function         // only as the whole name of a function or method
)

// words are the words that no name contains, and the field's words for what they stood for. A word of several parts is found as such:
// "let go" in letGoOfAll. Other forms of a word are words of their own here.
var words = []struct {
	reach reach
	words []string
	use   string
}{
	{everywhere, []string{"turn", "turns"}, "owner"},
	{function, []string{"take", "try take"}, "request"},
	{everywhere, []string{"door", "doors"}, "in-flight count"},
	{everywhere, []string{"shut"}, "closed"},
	{lasting, []string{"enter", "enters", "entered"}, "in-flight count"},
	{everywhere, []string{"shortcut", "shortcuts"}, "recently used cache"},
	{everywhere, []string{"touched"}, "recently used cache"},
	{everywhere, []string{"epoch", "epochs"}, "tick"},
	{everywhere, []string{"duty", "duties", "attend", "attends", "attended", "attendance"}, "reader"},
	{everywhere, []string{"doze", "dozes", "dozing", "must read"}, "reader"},
	{everywhere, []string{"ledger", "ledgers"}, "server state"},
	{lasting, []string{"note", "notes"}, "apply"},
	{everywhere, []string{"heir", "heirs"}, "next waiter"},
	{lasting, []string{"line", "lines"}, "queue"},
	{everywhere, []string{"let go", "lets go", "letting go"}, "retire, close, delete or reject"},
	{lasting, []string{"forget", "forgets", "drop", "drops"}, "retire, close, delete or reject"},
	{everywhere, []string{"linger", "lingers", "lingering"}, "idle timeout"},
	{everywhere, []string{"farewell"}, "drain delay"},
	{everywhere, []string{"telling"}, "notify"},
	{everywhere, []string{"land", "lands", "landed"}, "reply received"},
	{everywhere, []string{"spare", "spares"}, "free list"},
	{everywhere, []string{"rare"}, "new message"},
	{everywhere, []string{"lineage", "lineages"}, "timeline"},
	{everywhere, []string{"deposed"}, "failed over"},
	{everywhere, []string{"seat", "seats"}, "slot"},
	{lasting, []string{"give", "gives"}, "assign"},
	{everywhere, []string{"wane", "wanes", "waning"}, "stop growing"},
	{everywhere, []string{"quantum"}, "hand-off limit"},
}

// checkWords finds the words in the names that the package declares, its files' included. Other packages' names are theirs.
func (c *checker) checkWords() {
	for id, o := range c.info.Defs {
		_, isFunc := o.(*types.Func)
		c.checkName(id, id.Name, isFunc, o != nil && c.isLasting(o))
	}
	for _, s := range c.files {
		name := strings.TrimSuffix(filepath.Base(s.name), ".go")
		if problem := wordIn(name, false, true); problem != "" && !c.excused(s.Package, named) {
			c.report(s.FileStart, ruleWord, "file name %s: %s", name, problem)
		}
	}
}

func (c *checker) checkName(id *ast.Ident, name string, isFunc, isLasting bool) {
	if problem := wordIn(name, isFunc, isLasting); problem != "" && !c.excused(id.Pos(), named) {
		c.report(id.Pos(), ruleWord, "%s: %s", name, problem)
	}
}

// isLasting reports whether a name outlives the function that it stands in: it is no local name and no parameter.
func (c *checker) isLasting(o types.Object) bool {
	if v, ok := o.(*types.Var); ok && v.IsField() {
		return true
	}
	_, isFunc := o.(*types.Func)
	return isFunc || o.Parent() == c.types.Scope()
}

// wordIn says which word of the table a name contains, and what to write instead; empty if none.
func wordIn(name string, isFunc, isLasting bool) string {
	parts := " " + strings.Join(split(name), " ") + " "
	for _, row := range words {
		for _, word := range row.words {
			found := strings.Contains(parts, " "+word+" ")
			switch row.reach {
			case everywhere:
			case lasting:
				found = found && isLasting
			case function:
				found = isFunc && parts == " "+word+" "
			}
			if found {
				return fmt.Sprintf("instead of %q say %q", word, row.use)
			}
		}
	}
	return ""
}

// split gives the words of a name in lower case: letGo is "let", "go", and SQLText2 is "sql", "text".
func split(name string) []string {
	var parts []string
	runes := []rune(name)
	for i := 0; i < len(runes); {
		start := i
		for i < len(runes) && unicode.IsUpper(runes[i]) {
			i++
		}
		if i-start > 1 && i < len(runes) && unicode.IsLower(runes[i]) {
			i-- // the last capital begins the next word
			parts = append(parts, strings.ToLower(string(runes[start:i])))
			start = i
			i++
		}
		for i < len(runes) && unicode.IsLower(runes[i]) {
			i++
		}
		if i == start {
			i++ // a digit or an underscore
			continue
		}
		parts = append(parts, strings.ToLower(string(runes[start:i])))
	}
	return parts
}
