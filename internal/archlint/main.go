// Archlint checks the rules of the owner goroutines: it reports each place in a package where state is shared by anything
// but channels and published values. Run it with the folders to check; packages below them are checked too.
//
//	go run ./internal/archlint actor pg manager
//
// It prints one line a finding, "file:line: message (rule)", and exits with 1 if there is any, with 2 if a package cannot
// be loaded. Test files are not checked. The rules, by the word that ends a finding:
//
//	lock       No sync.Mutex, RWMutex, Cond, Once or Locker, by any name, and no method Lock, Unlock or TryLock.
//	atomic     No operation that lets the first of several callers win: CompareAndSwap, Swap, And, Or, an Add whose
//	           result is compared, and their like in sync.Map. No functions of sync/atomic, only its types.
//	yield      No runtime.Gosched.
//	spin       No loop that waits for an atomic value: see spin.go for the exact rule.
//	queue      No list linked by atomic pointers, no atomic pointer to a list, no table of atomic pointers, no import of
//	           internal/mailbox, container/list or container/ring.
//	go         Each go statement says how its goroutine is joined, by a comment "Joined by ..." directly above it or in
//	           its function's doc comment. WaitGroup.Go needs none where the package calls Wait on the same group.
//	channel    The comment of each channel that is a field or a package variable says "sent by", "received by", "closed by"
//	           or "never closed", and "capacity" or "unbuffered". For a chan struct{} that is only ever closed "nothing is
//	           sent" replaces "sent by" and "capacity".
//	measured   The comment of each sync.Map and sync.Pool says which measurement or profile asks for it.
//	writer     The comment of each atomic value says by whom it is "written by". One comment directly above several fields
//	           holds for all of them, up to the next blank line or the next comment that stands above a field.
//	word       No declared name contains one of the words in words.go.
//	directive  Each directive below is known, has a reason, and excuses something.
//
// A finding that is wrong is excused by a directive on its line, or in the comment that ends on the line above:
//
//	//arch:publishes <reason>   atomic, and under queue a table or a pointer to a list: it only publishes a value
//	//arch:yield <reason>       yield
//	//arch:owned <by whom>      the import of container/list or container/ring: one goroutine owns each list
//	//arch:name <reason>        word
package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	found, err := run(os.Stdout, ".", os.Args[1:])
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "archlint:", err)
		os.Exit(2)
	case found:
		os.Exit(1)
	}
}

// run checks the packages in and below the given folders, writes the findings and reports whether there is any.
func run(out io.Writer, dir string, folders []string) (found bool, err error) {
	if len(folders) == 0 {
		return false, errors.New("usage: archlint <folder> [<folder>]")
	}
	pkgs, err := load(dir, folders)
	if err != nil {
		return false, err
	}
	var all []finding
	for _, p := range pkgs {
		all = append(all, check(p)...)
	}
	root, err := filepath.Abs(dir)
	if err != nil {
		return false, err
	}
	for _, f := range all {
		name := f.pos.Filename
		if short, err := filepath.Rel(root, name); err == nil {
			name = filepath.ToSlash(short)
		}
		fmt.Fprintf(out, "%s:%d: %s (%s)\n", name, f.pos.Line, f.message, f.rule)
	}
	fmt.Fprintln(out, summary(len(pkgs), all))
	return len(all) > 0, nil
}

// summary counts the findings by rule.
func summary(packages int, all []finding) string {
	count := map[rule]int{}
	for _, f := range all {
		count[f.rule]++
	}
	var parts []string
	for _, r := range slices.Sorted(maps.Keys(count)) {
		parts = append(parts, fmt.Sprintf("%d %s", count[r], r))
	}
	if len(parts) == 0 {
		parts = append(parts, "nothing found")
	}
	return fmt.Sprintf("owner rules in %d packages: %s", packages, strings.Join(parts, ", "))
}
