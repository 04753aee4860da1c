package main

// ofFences are bugs of tokens and guarded transactions.
var ofFences = []mutant{
	{name: "a fence does not delay the next grant", test: "manager TestGuardedTransactionComesBeforeTheNextGrant", edits: []edit{
		{"manager/migrate.go", "$1 FOR SHARE;", "$1;"}}},
	{name: "a fence lets an old token through", test: "manager TestGuardOfAnOldHold", edits: []edit{
		{"manager/migrate.go", "IF newest OPERATOR(pg_catalog.=) $2 THEN", "IF newest OPERATOR(pg_catalog.>=) $2 THEN"}}},
	{name: "a fence's old snapshot is another error", test: "manager TestGuardOfAnOldHold", edits: []edit{
		{"manager/guard.go", "server.code == \"40001\" && server.is", "server.code == \"40002\" && server.is"}}},
	{name: "a fence does not see that the hold is over", test: "manager TestGuardRefuses", edits: []edit{
		{"manager/guard.go", "case held.Err() != nil:", "case held.Err() == manager:"},
		{"manager/guard.go", "var errNoHold = ", "var manager = errors.New(\"\")\n\nvar errNoHold = "}}},
	{name: "a fence of a set is that of one key", test: "manager TestGuardOfASet", edits: []edit{
		{"manager/keyset.go", "\t\tf.ids = append(f.ids, k.id)\n", "\t\tf.ids = []int64{k.id}\n"}}},
	{name: "a token of a set is older than that of one key", test: "manager TestTokenOfEachKind", edits: []edit{
		{"manager/drawing.go", "pg_catalog.max(l.token)", "pg_catalog.min(l.token)"}}},
	{name: "a token is not durable", test: "manager TestTokensSurviveACrash", edits: []edit{
		{"pg/transact.go", "'on'::pg_catalog.text, true)", "'off'::pg_catalog.text, true)"}}},
	{name: "a token's transaction has the role's defaults", test: "manager TestTokensSurviveACrash", edits: []edit{
		{"pg/transact.go", "\"BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE\"", "\"BEGIN\""}}},
	{name: "a token that no standby has is used", test: "pg TestTransactIsNotDurableWithoutTheStandby", edits: []edit{
		{"pg/wire.go", "if m.Code == \"01000\" {", "if m.Code == \"01001\" {"}}},
	{name: "a token is drawn from a table of another version", test: "manager TestNoToken", edits: []edit{
		{"manager/drawing.go", "s.version OPERATOR(pg_catalog.=) %[3]d)\n ), locked", "s.version OPERATOR(pg_catalog.<>) -%[3]d)\n ), locked"}}},
	{name: "a lock without its token is kept", test: "manager TestNoToken", edits: []edit{
		{"manager/fence.go", "\t\tif !drawn {\n\t\t\tl.releaseLater()\n", "\t\tif !drawn && l == nil {\n\t\t\tl.releaseLater()\n"}}},
	{name: "a lost lock gets its token", test: "manager TestGuardedTransactionDoesNotHoldUpForEver", edits: []edit{
		{"manager/fence.go", "\t\tcase <-l.Done():\n", "\t\tcase <-drawer.quit:\n"}}},
	{name: "a shared lock's token is not refused", test: "manager TestTokenIsRefusedWhereThereIsNone", edits: []edit{
		{"manager/acquire.go", "case l.claim.Shared && m.fences(o):", "case l.claim.Shared && l.claim.Try && m.fences(o):"}}},
	{name: "a lock whose takeover is delayed counts as held", test: "manager TestTakeoverDelayIsAWait", edits: []edit{
		{"manager/fence.go", "\tl.manager.untold.Add(int64(len(f.ids)))\n\tdefer l.manager.untold.Add(-int64(len(f.ids)))\n", ""}}},
	{name: "a takeover is not delayed", test: "manager TestTakeoverDelay", edits: []edit{
		{"manager/drawer.go", "if ended || !d.finished.Before(w.due) {", "if ended || d.finished.Before(w.due) {"}}},
	{name: "a takeover is delayed after a release", test: "manager TestTakeoverAfterACleanEnd", edits: []edit{
		{"manager/lock.go", "\tif first {\n\t\tl.markEnded()\n\t}\n", ""}}},
	{name: "a takeover is delayed after the end of a context", test: "manager TestTakeoverAfterACleanEnd", edits: []edit{
		{"manager/lock.go", "\t\tl.markEndedSoon()\n", ""}}},
	{name: "a takeover does not count what earlier waiters have waited", test: "manager TestTakeoverByThoseWhoGiveUp", edits: []edit{
		{"manager/drawer.go", "\t\t\tm.waited += time.Since(w.begun)\n", "\t\t\tm.waited += 0\n"}}},
	{name: "a takeover counts a wait twice", test: "manager TestTakeoverCountsNoWaitTwice", edits: []edit{
		{"manager/marking.go", "m.token THEN m.late ELSE f.waited END", "m.token THEN m.waited ELSE f.waited END"}}},
	{name: "a takeover is delayed for a token that no caller was given", test: "manager TestTakeoverOfATokenThatNobodyWasTold", edits: []edit{
		{"manager/drawer.go", "if w.token == 0 || w.delay == 0 {", "if w.token == 0 || w.delay > 0 {"}}},
	{name: "a void token behind which others have drawn delays a takeover", test: "manager TestTakeoverOfATokenThatNobodyWasToldAmidOthers", edits: []edit{
		{"manager/marking.go", "m.void AND f.ended OPERATOR(pg_catalog.<) m.told THEN f.ended", "m.void THEN f.ended"}}},
	{name: "a later draw hides what a takeover waits for", test: "manager TestTakeoverOfATokenThatNobodyWasToldAmidOthers", edits: []edit{
		{"manager/drawer.go", "w.befores[i] = b.again(seen)", "w.befores[i] = seen"}}},
	{name: "Close writes the marks of ended holds in one attempt", test: "manager TestTakeoverAfterCloseOfManyKeys", edits: []edit{
		{"manager/drawer.go", "if r.last && r.marked == nil {", "if r.last {"}}},
	{name: "a draw waits for whoever has changed a row and not committed", test: "manager TestADrawByHandKeepsNoOtherKey", edits: []edit{
		{"manager/drawing.go", "\n AND NOT EXISTS (SELECT 1 FROM lockkeeper.fence AS f WHERE f.id OPERATOR(pg_catalog.=) v.id)", ""}}},
	{name: "a reader that waits with the end of an answer is taken for idle", test: "manager TestSlowRowsKeepTheLock", edits: []edit{
		{"pg/lend.go", "\t\tl.passing.Store(true) // before nothing is owed any more\n", ""}}},
	{name: "AcquireTx knows pgx's errors alone", test: "manager TestAcquireTxBehindAnotherDriver", edits: []edit{
		{"manager/guard.go", "\t\treturn serverError{code: states.SQLState()}, true\n", "\t\t_ = states.SQLState\n"}}},
}
