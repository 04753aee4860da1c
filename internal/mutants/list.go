package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// mutant is a bug.
type mutant struct {
	name  string
	edits []edit
	// test is the check that is asked first: a package, and the test of it that finds the bug. Where it is empty the
	// simulations are asked first.
	test string
	// race says that the test needs the race detector.
	race bool
}

// edit is a change of a text that is there once.
type edit struct{ file, old, new string }

// change is a file without a bug and with it.
type change struct{ before, after string }

// apply makes the edits in the texts that read gives, and returns the files that they change. Each text to be changed is there once.
func (m *mutant) apply(read func(file string) ([]byte, error)) (map[string]change, error) {
	changes := map[string]change{}
	var errs []error
	for _, e := range m.edits {
		c, known := changes[e.file]
		if !known {
			raw, err := read(e.file)
			if err != nil {
				return nil, err
			}
			c = change{before: string(raw), after: string(raw)}
		}
		if n := strings.Count(c.after, e.old); n != 1 || e.old == e.new {
			errs = append(errs, fmt.Errorf("%s: the text to be changed is there %d times: %q", e.file, n, e.old))
		}
		c.after = strings.Replace(c.after, e.old, e.new, 1)
		changes[e.file] = c
	}
	return changes, errors.Join(errs...)
}

// mutants are the bugs: first those of the helper that this library replaced, then others that one could make.
var mutants = slices.Concat(oldBugs, ofKeepers, ofFailures, ofSessions, ofSetUp, ofLocks, ofKinds, ofObserver, ofTelemetry, ofFences)

// simulations that may find a bug: the keepers' knows nothing of what is not in actor/.
func (m *mutant) simulations() []string {
	for _, e := range m.edits {
		if !strings.HasPrefix(e.file, "actor/") {
			return []string{"TestStack"}
		}
	}
	return []string{"TestKeepers", "TestStack"}
}

// oldBugs are those of the helper that this library replaced.
var oldBugs = []mutant{
	{name: "old bug 1: a connection that failed once is not tried again", edits: []edit{
		{"pg/connector.go", "type connector struct {\n", "type connector struct {\n\tfailure atomic.Pointer[error]\n"},
		{"pg/connector.go", "\ta := newAttempt(c.config.ConnectTimeout)\n",
			"\tif failed := c.failure.Load(); failed != nil {\n\t\treturn nil, *failed\n\t}\n\ta := newAttempt(c.config.ConnectTimeout)\n"},
		{"pg/connector.go", "\t\treturn nil, connectError(ctx, err)\n",
			"\t\terr = connectError(ctx, err)\n\t\tc.failure.Store(&err)\n\t\treturn nil, err\n"}}},
	{name: "old bug 2: a lock counts as held before the server has answered", edits: []edit{
		{"actor/machine.go", "\tm.do(kind, c, nil)\n", "\tm.do(kind, c, nil)\n\tm.assign(c, false)\n"},
		{"actor/attempt.go", "\tcase a.OK:\n", "\tcase a.OK && m.holders.n > 0:\n\tcase a.OK:\n"}}},
	{name: "old bug 3: each attempt registers with the context", edits: []edit{
		{"manager/context.go", "// unregister takes", "func (l *Lock) registerAgain() {\n\tcontext.AfterFunc(&l.parent, func() { _ = contextReason(&l.parent) })\n}\n\n// unregister takes"},
		{"manager/retry.go", "\t\t\tn.start() // the last", "\t\t\tl.registerAgain()\n\t\t\tn.start() // the last"}}},
	{name: "old bug 4: another id is unlocked than was locked", edits: []edit{
		{"pg/batch.go", "e.int8(&unlockStatement, first.id)", "e.int8(&unlockStatement, first.id+1)"}}},
	{name: "old bug 5: the lock is a transaction's", edits: []edit{
		{"pg/statement.go", "THEN pg_catalog.pg_try_advisory_lock($1", "THEN pg_catalog.pg_try_advisory_xact_lock($1"}}},
	{name: "old bug 6: the caller's context does not end the wait", edits: []edit{
		{"manager/context.go", "\tif l.parent.Done() == nil {\n", "\tif l.parent.Done() == nil || !l.claim.Try {\n"}}},
	{name: "old bug 6: the caller's context does not end the opening", test: "manager TestOpenReturnsWithItsContext", edits: []edit{
		{"pg/pool.go", "p.connector.probe(ctx)", "p.connector.probe(context.WithoutCancel(ctx))"}}},
	{name: "old bug 7: a release looks and marks in two steps", test: "manager TestBug7_ConcurrentReleaseUnlocksOnce", edits: []edit{
		{"manager/lock.go", "\tfirst := !l.releasing.Swap(true)", "\tfirst := !l.releasing.Load()"},
		{"manager/lock.go", "\tif known || first {", "\tl.releasing.Store(true)\n\tif known || first {"}}},
	{name: "a second release unlocks again", edits: []edit{
		{"actor/hold.go", "\tcase c.stage == stageHolding:\n\t\tm.endHold(c, ErrReleased)\n\tcase c == m.kept", "\tcase c.stage == stageHolding || c.stage == stageReleasing:\n\t\tm.endHold(c, ErrReleased)\n\tcase c == m.kept"}}},
	{name: "old bug 8: a lock that nobody wants any more is kept", edits: []edit{
		{"actor/hold.go", "\t\tm.tellSoon()\n\t\treturn\n\t}\n\tm.unlock()", "\t\tm.shareOut()\n\t\treturn\n\t}\n\tm.drive()"}}},
	{name: "a session that nobody wants any more is kept", edits: []edit{
		{"actor/machine.go", "\t\tm.clearWait()\n\t\tm.cancelOwn()\n", "\t\tm.clearWait()\n"}}},
	{name: "a connection that is made too late is left open", test: "pg TestW20_ADialThatReturnsLate", edits: []edit{
		{"pg/dial.go", "\tif err := ctx.Err(); err != nil {\n\t\tcloseSocket(conn)\n", "\tif err := ctx.Err(); err != nil {\n"}}},
}
