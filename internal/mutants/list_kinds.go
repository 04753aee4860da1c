package main

// ofKinds are bugs of what is more than one exclusive lock.
var ofKinds = []mutant{
	{name: "a minimum hold is not kept", test: "actor TestMinHoldKeepsTheLock", edits: []edit{
		{"actor/minhold.go", "\treturn c.MinHold > 0 && ", "\treturn c.MinHold < 0 && "}}},
	{name: "a minimum hold never ends", test: "actor TestMinHoldOnTheClock", edits: []edit{
		{"actor/machine.go", "\t\tm.keptEnough()\n", ""}}},
	{name: "a minimum hold ends early", test: "actor TestMinHoldKeepsTheLock", edits: []edit{
		{"actor/minhold.go", "\tif !m.now.Before(m.kept.keptUntil()) {", "\tif m.kept != nil {"}}},
	{name: "a minimum hold that is lost goes on", test: "actor TestMinHoldEndsWithItsSession", edits: []edit{
		{"actor/minhold.go", "\tm.kept = nil\n\tm.leftSession()", "\tm.leftSession()"}}},
	{name: "a minimum hold does not see the clock where nobody waits", test: "actor TestMinHoldThatIsOverOnTheClock", edits: []edit{
		{"actor/keeper.go", "\tcase Answered:\n\t\tif !waiters {", "\tcase release, Answered:\n\t\tif !waiters {"}}},
	{name: "Close waits for a minimum hold", test: "actor TestMinHoldEndsWithClose", edits: []edit{
		{"actor/machine.go", "\tcase stKept:\n\t\tm.kept = nil\n\t\tm.unlock()\n", "\tcase stKept:\n"}}},
	{name: "a lock that is returned unused keeps its minimum hold on the clock", test: "actor TestMinHoldOfAnUnusedLockOnTheClock", edits: []edit{
		{"actor/claim.go", "\t\tc.send(unused{c})\n", ""}}},
	{name: "a lock that is returned unused keeps its minimum hold", test: "actor TestMinHoldOfAnUnusedLock", edits: []edit{
		{"actor/hold.go", "\tcase c == m.kept:\n\t\tm.keptEnough()\n", ""}}},
	{name: "a set that was not acquired keeps its keys for a minimum hold", test: "manager TestAcquireAllReleasesWithoutAMinimumHold", edits: []edit{
		{"manager/keyset.go", "\t\tc.ReleaseUnused()\n", "\t\tc.ReleaseLater()\n"}}},
	{name: "Once releases when its function has returned", test: "manager TestOnceInAPeriod", edits: []edit{
		{"manager/once.go", "o.minHold = max(o.minHold, keep)", "o.minHold = max(o.minHold, min(keep, 0))"}}},
	{name: "Once takes a caller that asks for one that has run", test: "manager TestOnceIsNotToldOfACallerThatFails", edits: []edit{
		{"manager/once.go", "if refused.Attempts > 0 || refused.Holder != nil {", "if true {"}}},
	{name: "Once does not allow for clocks that differ", test: "manager TestOnceKeepsTheLockForTheSlowestClock", edits: []edit{
		{"manager/once.go", "sum(begin.Add(period).Sub(now), m.config.clockSkew)", "begin.Add(period).Sub(now)"}}},
	{name: "all periods of Once have one lock", test: "manager TestOnceInAPeriod", edits: []edit{
		{"manager/once.go", "\tkey += \"@\" + begin.UTC().Format(time.RFC3339Nano)\n", "\tkey += \"@\"\n"}}},
	{name: "Once waits for the one that runs", test: "manager TestOnceInAPeriod", edits: []edit{
		{"manager/once.go", "actor.Terms{Try: true, ", "actor.Terms{"}}},
	{name: "Resign releases before Elect's function is back", test: "manager TestResign", edits: []edit{
		{"manager/leader.go", "\tterm.holdContext().cancel(ErrResigned)\n", "\tterm.holdContext().cancel(ErrResigned)\n\tterm.claim.ReleaseLater()\n"}}},
	{name: "the end of a term is not told", test: "manager TestElect", edits: []edit{
		{"manager/elect.go", "\t\te.transitions.tell(Transition{At: time.Now(), Cause: cause})\n", ""}}},
	{name: "transitions are told out of order", test: "manager TestObserverOfTransitions", edits: []edit{
		{"manager/elect.go", "\to.last = done\n", "\to.last = nil\n"}}},
	{name: "a leader that has lost its term does not campaign again", test: "manager TestElectAfterALoss", edits: []edit{
		{"manager/elect.go", "\tcase errors.Is(cause, ErrLost), errors.Is", "\tcase errors.Is"}}},
	{name: "an error of Elect's function after its term is lost", test: "manager TestElectReturnsWhatItsFunctionReturns", edits: []edit{
		{"manager/elect.go", "\tcase err != nil && !errors.Is(err, cause)", "\tcase errors.Is(err, ErrClosed) && !errors.Is(err, cause)"}}},
	{name: "a hold by Do counts as a term", test: "manager TestLeaderOfWhatIsNoElection", edits: []edit{
		{"manager/leader.go", "lock != nil && lock.leading.Load() && lock.claim", "lock != nil && lock.claim"}}},
	{name: "a leader that has resigned still leads", test: "manager TestResign", edits: []edit{
		{"manager/leader.go", "hold.Err() != nil {", "hold.Err() != nil && !errors.Is(context.Cause(hold), ErrResigned) {"},
		{"manager/leader.go", "\t\"context\"\n", "\t\"context\"\n\t\"errors\"\n"}}},
	{name: "a bounded wait in a transaction leaves it aborted", test: "manager TestAcquireTxBoundedWait", edits: []edit{
		{"manager/tx.go", "\"ROLLBACK TO SAVEPOINT lockkeeper\"", "\"SELECT 1\""}}},
	{name: "a transaction's lock_timeout is not put back", test: "manager TestAcquireTxBoundedWait", edits: []edit{
		{"manager/tx.go", "\t\terr = l.tx.exec(ctx, lockTimeout, before)\n", "\t\terr = l.tx.exec(ctx, \"SELECT 1\")\n"}}},
	{name: "a transaction's lock has another id", test: "manager TestAcquireTxExcludes", edits: []edit{
		{"manager/tx.go", "\tfirst, second := l.options.config.ids()\n", "\tl.options.config.namespace = \"\"\n\tfirst, second := l.options.config.ids()\n"}}},
	{name: "a shared lock of a transaction is exclusive", test: "manager TestAcquireTxShared", edits: []edit{
		{"manager/tx.go", "\t\treturn \"_shared\"\n", "\t\treturn \"\"\n"}}},
	{name: "a set holds on when one of its locks is lost", test: "manager TestLockSetEndsAsOne", edits: []edit{
		{"manager/lockset.go", "\tif lead := s.lead.Load(); lead != nil {\n", "\tif lead := s.lead.Load(); lead == nil {\n"}}},
	{name: "a set releases its lead alone", test: "manager TestAcquireAll", edits: []edit{
		{"manager/lockset.go", "\tlead := s.lead.Load()\n\ts.releaseOthers(false)\n", "\tlead := s.lead.Load()\n"}}},
	{name: "the end of its context releases a set's lead alone", test: "manager TestLockSetEndsAsOne", edits: []edit{
		{"manager/lockset.go", "\tif s.lead.Load() == l && l.claim", "\tif s.lead.Load() != l && l.claim"}}},
	{name: "a set keeps what it has while it waits", test: "manager TestAcquireAllHoldsNothingWhileItWaits", edits: []edit{
		{"manager/keyset.go", "\tfor _, c := range g.others {\n\t\tc.ReleaseUnused()\n\t}\n", ""}}},
	{name: "Close releases locks of a set that is held still", test: "manager TestLockSetReleasesNothingBeforeItsEnd", edits: []edit{
		{"manager/keyset.go", "const otherHold = actor.HoldForWork", "const otherHold = actor.HoldDetached"}}},
	{name: "two keys of a set with one id are two locks", test: "manager TestAcquireAllFoldsCollisions", edits: []edit{
		{"manager/keyset.go", "return a.id == b.id", "return a.name == b.name"}}},
	{name: "a set tries its keys again and again", test: "manager TestAcquireAllTakesTheLocksInOrderAtLast", edits: []edit{
		{"manager/keyset.go", "\t\tcase 1:\n", "\t\tcase 1, g.round:\n"}}},
	{name: "a reader joins while a writer waits here", test: "manager TestALocalWriterIsNotPassed", edits: []edit{
		{"actor/share.go", "c.Shared && m.queue.n == 0 && ", "c.Shared && "}}},
	{name: "a reader joins while a writer waits elsewhere", test: "manager TestARemoteWriterIsNotPassed", edits: []edit{
		{"actor/share.go", "m.draining = t.Waiters", "m.draining = t.Waiters && m.now.IsZero()"}}},
	{name: "the server is not asked whether a writer waits elsewhere", test: "manager TestARemoteWriterIsNotPassed", edits: []edit{
		{"actor/share.go", "m.now.Sub(m.askedAt) >= askReaders", "m.now.Sub(m.askedAt) < 0"}}},
	{name: "a writer elsewhere that has given up keeps readers out", test: "manager TestReadersGoOnWhenARemoteWriterGivesUp", edits: []edit{
		{"actor/share.go", "m.draining = t.Waiters", "m.draining = m.draining || t.Waiters"}}},
	{name: "a writer here that has given up keeps readers out", test: "manager TestReadersGoOnWhenTheWriterGivesUp", edits: []edit{
		{"actor/hold.go", "\tcase state == stHeld:\n\t\tm.shareOut()\n", "\tcase state == stHeld:\n"}}},
	{name: "a shared lock at the server is given to a writer", test: "actor TestRandomHistories", edits: []edit{
		{"actor/hold.go", " && c.Shared == m.server.shared\n", "\n"}}},
	{name: "a shared lock is released with its first reader", test: "manager TestSharedLocksOfAProcessAreOneAtTheServer", edits: []edit{
		{"actor/hold.go", "\tif m.holders.n > 0 { // they", "\tif m.holders.n > 1<<20 { // they"}}},
	{name: "the loss of a shared lock is told to one", test: "actor TestTheLossOfASharedLockIsToldToAll", edits: []edit{
		{"actor/hold.go", "\tfor c := m.holders.head; c != nil; c = m.holders.head {\n\t\tm.holders.remove(c)\n\t\tc.lost", "\tfor c := m.holders.head; c != nil; c = nil {\n\t\tm.holders.remove(c)\n\t\tc.lost"}}},
	{name: "a shared lock is exclusive at the server", test: "pg TestStatementsOfBothModes", edits: []edit{
		{"pg/batch.go", "entry{id: r.ID, op: r.Op, shared: r.Shared, ", "entry{id: r.ID, op: r.Op, "}}},
	{name: "a shared wait is an exclusive one", test: "pg TestAReleaseAtTheEndOfASlice", edits: []edit{
		{"pg/statement.go", "waitText(sql, w.id, w.shared)", "waitText(sql, w.id, w.shared && w.ok)"}}},
	{name: "there is one slot too many", test: "manager TestSlots", edits: []edit{
		{"manager/slotsearch.go", "\torder := rand.Perm(s.n)\n\tfor size", "\torder := rand.Perm(s.n + 1)\n\tfor size"}}},
	{name: "another number of slots is not told", test: "manager TestAnotherNumberOfSlotsIsTold", edits: []edit{
		{"manager/slotting.go", "\tcase differs:\n", "\tcase differs && s.n == 0:\n"}}},
	{name: "a single slot does not see that there are several", test: "manager TestAnotherNumberOfSlotsIsTold", edits: []edit{
		{"manager/slotting.go", "\tcase several:\n", "\tcase several && s.n == 0:\n"}}},
	{name: "a holder that releases in this moment causes an ErrSlots", test: "manager TestSlotsUnderCancellation", edits: []edit{
		{"manager/slotting.go", "pause > confirmLatest {", "pause > 0 {"}}},
	{name: "a try overtakes the waiters for a slot", test: "manager TestATryDoesNotPassTheGate", edits: []edit{
		{"manager/slotting.go", "\t\tbound = []AcquireOption{WithWaitTimeout(gatePatience)}\n\t}\n", "\t\treturn nil\n\t}\n"}}},
	{name: "the gate's lock is not released", test: "manager TestSlots", edits: []edit{
		{"manager/slotting.go", "\t\ts.gate.releaseLater()\n\t}\n\ts.gate = nil\n", "\t\ts.gate.unregister()\n\t}\n\ts.gate = nil\n"}}},
	{name: "the requests beside a slot's are not withdrawn", test: "manager TestW21_AContextThatMisbehavesAndSlots", edits: []edit{
		{"manager/slotting.go", "\ts.withdraw(slices.Clone(s.asked)...)\n", ""}}},
	{name: "Close frees a slot under its function", test: "manager TestDoSlot", edits: []edit{
		{"manager/lockset.go", " && l.claim.Over() != nil && cause", " && cause"}}},
	{name: "a question for a lock's holder is dropped while another is under way", test: "pg TestEveryWishIsAnswered", edits: []edit{
		{"pg/who.go", "\tif !p.closing {\n\t\tp.wishes[w] = true", "\tif !p.closing && p.asking == nil {\n\t\tp.wishes[w] = true"}}},
	{name: "a slow server is asked as often as a fast one", test: "pg TestQuestionsKeepTheirDistance", edits: []edit{
		{"pg/who.go", "min(max(askGap, askShare*time.Since(p.askedAt)), askGapMost)", "askGap"}}},
	{name: "readers behind a writer here that gives up do not ask about one elsewhere", test: "actor TestWhoJoinsAsksForWritersElsewhere", edits: []edit{
		{"actor/share.go", "\t\tm.join(c)\n", "\t\tm.assign(c, true)\n"}}},
	{name: "a try gets the answer to another's", test: "actor TestATryHasTheAnswerToItsOwn", edits: []edit{
		{"actor/attempt.go", "case c == nil, c.isUnasked():", "case c == nil:"}}},
	{name: "a try waits for the slice of a wait that was given up", test: "actor TestTryAfterACallerGaveUp", edits: []edit{
		{"actor/try.go", "\tif c.isUnasked() && !c.Shared && m.server.op == opWait && t.Holder", "\tif false && t.Holder"}}},
	{name: "a try is refused by what was asked before it", test: "actor TestTryAfterACallerGaveUp", edits: []edit{
		{"actor/try.go", " && !t.Asked.Before(m.triedAt)", ""}}},
	{name: "a try to share is refused by a holder that may share", test: "actor TestTryAfterACallerGaveUp", edits: []edit{
		{"actor/try.go", " && !c.Shared", ""}}},
	{name: "a wait that is granted refuses a try", test: "actor TestAGrantedWaitIsNoOther", edits: []edit{
		{"actor/try.go", "\t\tt.Holder = nil\n", ""}}},
	{name: "where readers only try nobody asks why they are kept out", test: "actor TestReadersAreKeptOutAsLongAsAWriterWaits", edits: []edit{
		{"actor/share.go", "\tif !m.draining {\n", "\tif !m.draining || m.queue.n == 0 {\n"}}},
	{name: "a question that failed says that nobody waits", test: "pg TestWhoWaitsIsTold", edits: []edit{
		{"pg/reader.go", "\t\tif f.err == nil { // else", "\t\tif f.kind == kindWho { // else"}}},
	{name: "a writer that waited before the grant keeps readers out", test: "actor TestWhatWasAskedBeforeTheGrantKeepsNobodyOut", edits: []edit{
		{"actor/share.go", "m.server.shared && t.Asked.After(m.grantedAt)", "m.server.shared"}}},
	{name: "a reader joins on a session that is trusted no longer", test: "actor TestRandomHistories", edits: []edit{
		{"actor/share.go", "!m.draining && m.mayHold(c)", "!m.draining && m.server.shared && !m.closing && (!c.Dedicated || m.server.onOwn)"}}},
	{name: "a reader whose context has ended stays among the holders", test: "actor TestRandomHistories", edits: []edit{
		{"actor/hold.go", "\tm.do(fxOver, c, cause)\n\tm.holders.remove(c)\n", "\tm.do(fxOver, c, cause)\n\tif cause == ErrReleased || m.holders.n == 1 {\n\t\tm.holders.remove(c)\n\t}\n"}}},
	{name: "a shared lock is granted to one of several waiting readers", test: "actor TestRandomHistories", edits: []edit{
		{"actor/hold.go", "\t\tm.assign(c, false)\n\t\tm.shareOut()\n", "\t\tm.assign(c, false)\n"}}},
	{name: "the last reader hands on past a writer elsewhere", test: "actor TestTheLastReaderIsFollowedByAWriterElsewhere", edits: []edit{
		{"actor/hold.go", " < m.limits.HandOffTime && !m.draining {", " < m.limits.HandOffTime {"}}},
	{name: "a writer elsewhere keeps readers out after it has had the lock", test: "actor TestRandomHistories", edits: []edit{
		{"actor/attempt.go", "m.handOffs, m.draining = m.now, m.now, 0, false", "m.handOffs = m.now, m.now, 0"}}},
	{name: "readers that were kept out are not let in when they may be", test: "actor TestReadersAreKeptOutAsLongAsAWriterWaits", edits: []edit{
		{"actor/share.go", "\t\tm.draining = t.Waiters\n\t\tm.shareOut()\n", "\t\tm.draining = t.Waiters\n"}}},
	{name: "a poll goes on in a mode that nobody waits for", test: "actor TestRandomHistories", edits: []edit{
		{"actor/hold.go", "(c == nil || c.Dedicated || c.Shared != m.server.shared):", "(c == nil || c.Dedicated):"}}},
	{name: "Close ends the first hold of a shared lock", test: "actor TestRandomHistories", edits: []edit{
		{"actor/machine.go", "\t\t\tc = next\n\t\t}\n\tcase stKept:", "\t\t\tc, _ = nil, next\n\t\t}\n\tcase stKept:"}}},
	{name: "after a failure one of several readers is told", test: "actor TestFailureAtEveryStep", edits: []edit{
		{"actor/recovery.go", "\tfor c := old.holders.head; c != nil; c = old.holders.head {", "\tif c := old.holders.head; c != nil {"}}},
	{name: "a shared lock is unlocked as an exclusive one", test: "manager TestSharedLocksOfAProcessAreOneAtTheServer", edits: []edit{
		{"manager/link.go", "\tl.begin(pg.OpUnlock)\n", "\tl.begin(pg.OpUnlock)\n\tl.request.Shared = false\n"}}},
	{name: "after an error locks are unlocked as exclusive ones", test: "pg TestAFailedStatementIsSettled", edits: []edit{
		{"pg/batch.go", "\t\treturn e.batch(f.shared, f.entries, nil)\n", "\t\treturn e.batch(false, f.entries, nil)\n"}}},
	{name: "the modes of a statement's locks are mixed up", test: "pg TestStatementsOfBothModes", edits: []edit{
		{"pg/statement.go", "appendModes(e.c[:0], unlocks), appendModes(e.d[:0], tries)", "appendModes(e.c[:0], tries), appendModes(e.d[:0], unlocks)"}}},
	{name: "with two functions the new one's id is not locked", test: "manager TestBothExcludes", edits: []edit{
		{"manager/manager.go", "\t\tk.second = m.config.secondHash(name)\n", ""}}},
	{name: "the two ids of a key are taken in the functions' order", test: "manager TestBothNeverDeadlock", edits: []edit{
		{"manager/both.go", "lower.id, upper.id = min(k.id, k.second), max(k.id, k.second)", "upper.id = k.second"}}},
	{name: "the two ids of a key are tried at one time", test: "manager TestBothTriedByTwo", edits: []edit{
		{"manager/both.go", "terms: t, round: lastRound}", "terms: t, round: min(lastRound, 0)}"}}},
	{name: "of two ids the lead's alone is released", test: "manager TestBothExcludes", edits: []edit{
		{"manager/lock.go", "\tif l.set != nil { // of both ids\n\t\treturn l.set.Release(ctx)\n\t}\n", ""}}},
	{name: "the id shown is the lower of two", test: "manager TestBothShowsTheOldID", edits: []edit{
		{"manager/lock.go", "return l.manager.Key(l.claim.Name).id", "return l.claim.ID"}}},
	{name: "of two ids that of the hold outside is seen late", test: "manager TestBothCollide", edits: []edit{
		{"manager/lock.go", " || k.second != k.id && l.has(k.second))", ")"}}},
	{name: "Close releases one of two ids under the function of Do", test: "manager TestBothEndAsOne", edits: []edit{
		{"manager/lockset.go", "l.claim.Over() != nil && cause", "cause"}}},
	{name: "the holder of the first of two ids counts as the leader", test: "manager TestBothElect", edits: []edit{
		{"manager/both.go", "slices.Backward(k.single(nil))", "slices.All(k.single(nil))"}}},
	{name: "who waits for the second of two ids is the leader where the server is slow", test: "manager TestBothOfAHungServerNamesNoWaiter", edits: []edit{
		{"manager/both.go", "; h != nil || !known {\n", "; h != nil || !known && h != nil {\n"}}},
	{name: "Resign waits for one of two ids", test: "manager TestBothResign", edits: []edit{
		{"manager/leader.go", "range term.claims() {", "range term.claims()[:1] {"}}},
	{name: "both ids have a session to themselves", test: "manager TestBothOnDedicatedSessions", edits: []edit{
		{"manager/keyset.go", "o.detach, o.dedicated, o.before = true, false, before", "o.detach, o.before = true, before"}}},
	{name: "Close frees a slot that is held still", test: "manager TestASlotReleasesNothingBeforeItsEnd", edits: []edit{
		{"manager/slotting.go", "t.MaxAttempts, t.Hold = k.name, (*setOwner)(s.set), 1, otherHold", "t.MaxAttempts, t.Hold = k.name, (*setOwner)(s.set), 1, actor.HoldDetached"}}},
	{name: "a slot with two ids is held by the first alone", test: "manager TestBothSlots", edits: []edit{
		{"manager/slotting.go", "\t\ts.asked, claims = append(s.asked, c), append(claims, c)\n", "\t\ts.asked, claims = append(s.asked, c), append(claims, c)\n\t\tbreak\n"}}},
	{name: "one lock of a gate with two ids is not released", test: "manager TestBothSlots", edits: []edit{
		{"manager/lock.go", "\t\tl.set.releaseOthers(true)\n", ""}}},
	{name: "a name with two ids is twice in a set", test: "manager TestBothShowsTheOldID", edits: []edit{
		{"manager/keyset.go", "\t\tif !seen[k.name] {\n", "\t\tif len(seen) >= 0 {\n"}}},
	{name: "a transaction keeps the first of two ids", test: "manager TestBothInATransaction", edits: []edit{
		{"manager/both.go", "\"ROLLBACK TO SAVEPOINT lockkeeper_both\"", "\"SELECT 1\""}}},
	{name: "a transaction locks the old one of two ids", test: "manager TestBothInATransaction", edits: []edit{
		{"manager/tx.go", "\t\tl.second = second(key)\n", ""}}},
	{name: "Once asks for the wrong one of two ids", test: "manager TestBothOnce", edits: []edit{
		{"manager/once.go", "m.holderOf(ctx, refused.ID)", "m.holderOf(ctx, k.id)"}}},
	{name: "Terminate does not look whose pid it is", test: "manager TestLocksAndTerminate", edits: []edit{
		{"manager/locks.go", " AND a.application_name OPERATOR(pg_catalog.=) pg_catalog.convert_from", " AND '' OPERATOR(pg_catalog.<>) pg_catalog.convert_from"}}},
	{name: "Locks takes waiters for holders", test: "manager TestLocksAndTerminate", edits: []edit{
		{"manager/locks.go", "\t\tif row[1] == \"t\" {\n", "\t\tif row[1] != \"\" {\n"}}},
	{name: "circles are not looked for", test: "manager TestDeadlockIsTold", edits: []edit{
		{"manager/deadlock.go", "\tif path := w.circle(w.wanted, make(map[*actor.Claim]bool)); path != nil {\n", "\tif path := w.circle(w.wanted, make(map[*actor.Claim]bool)); path != nil && w.m == nil {\n"}}},
	{name: "circles of two alone are found", test: "manager TestDeadlockIsTold", edits: []edit{
		{"manager/deadlock.go", "\t\tseen[c] = true\n", "\t\tif seen[c] = true; len(seen) > 1 {\n\t\t\treturn nil\n\t\t}\n"}}},
	{name: "a wait that has ended counts in a circle", test: "manager TestNoDeadlockWhereNobodyWaitsAnyMore", edits: []edit{
		{"manager/deadlock.go", "\t\tc.WaitEnds(w.wanted)\n", "\t\t_ = c\n"}}},
	{name: "the other keys of a set close no circle", test: "manager TestDeadlockWithASet", edits: []edit{
		{"manager/deadlock.go", "\t\tall = append(all, l.set.others...)\n", "\t\tall = append(all, l.set.others[:0]...)\n"}}},
	{name: "readers of one lock count as waiting for each other", test: "manager TestNoDeadlockAmongThoseWhoShare", edits: []edit{
		{"manager/deadlock.go", "\t\tif seen[c] || wanted.Shared && c.Shared && !holding.Queued {", "\t\tif seen[c] {"}}},
	{name: "a reader behind a queued writer counts as waiting for nobody", test: "manager TestNoDeadlockAmongThoseWhoShare", edits: []edit{
		{"manager/deadlock.go", " && !holding.Queued {", " {"}}},
	{name: "a set that is taken in order closes no circle", test: "manager TestDeadlockWithASetInOrder", edits: []edit{
		{"manager/deadlock.go", "\tif len(before) > 0 {\n", "\tif len(before) > 1<<20 {\n"}}},
	{name: "a set in order does not show what it waits for", test: "manager TestDeadlockWithASetInOrder", edits: []edit{
		{"manager/deadlock.go", "\t\tw.set.wanted.Store(&w.wanted)\n", "\t\tw.set.wanted.Store(nil)\n"}}},
	{name: "a long wait is not watched", test: "manager TestALongWaitIsShown", edits: []edit{
		{"manager/acquire.go", "\t\tinside.watch()\n", ""}}},
	{name: "a wait that is over is shown on", test: "manager TestALongWaitIsShown", edits: []edit{
		{"manager/watcher.go", "\t\te.claim.ReleaseLater()\n", ""}}},
	{name: "nobody is told of a circle over processes", test: "manager TestDeadlockOverProcesses", edits: []edit{
		{"manager/watcher.go", "\t\ti.claim.Withdraw(err)\n", "\t\t_, _ = i, err\n"}}},
	{name: "a circle that was seen once counts", test: "manager TestACircleSeenInPassing", edits: []edit{
		{"manager/circle.go", "\t\tif earlier == nil || earlier.marks[m] {\n", "\t\tif earlier == nil || v.marks[m] {\n"}}},
	{name: "the lock that shows a wait is not taken again after a loss", test: "manager TestALostSessionHidesNoDeadlock", edits: []edit{
		{"manager/watcher.go", "\t\tif e.claim != nil && e.claim.Over() != nil {\n", "\t\tif e.claim != nil && e.claim.Over() != nil && w.shown < 0 {\n"}}},
	{name: "other programs' shared locks count as waits", test: "manager TestSharedLocksAreNoWaits", edits: []edit{
		{"manager/round.go", "FROM held AS k)) IS TRUE\n AND (h.low", "FROM held AS k)) IS NOT NULL\n AND (h.low"},
		{"manager/round.go", "FROM held AS k)) IS TRUE\n)", "FROM held AS k)) IS NOT NULL\n)"}}},
	{name: "a hold that is over still counts as waiting", test: "manager TestAHoldThatIsOverWaitsForNothing", edits: []edit{
		{"manager/watcher.go", "return hold.Over() != nil })", "return hold == nil })"}}},
	{name: "a connection for questions is never closed", test: "manager TestALongWaitIsShown", edits: []edit{
		{"manager/round.go", "\t\tr.questions.Close()\n", ""}}},
	{name: "a graph without circles is searched for them", test: "manager TestCircleOf", edits: []edit{
		{"manager/circle.go", "\t\t\tif left[to] > 0 {\n", "\t\t\tif left[to] >= 0 {\n"}}},
	{name: "two processes that see a circle disagree on its first member", test: "manager TestCircleOf", edits: []edit{
		{"manager/circle.go", "\t\tif e.less(other) {\n\t\t\trank++\n", "\t\tif other.less(e) {\n\t\t\trank++\n"}}},
	{name: "a context that panics leaves keys of a set locked", test: "manager TestW21_AContextThatMisbehavesAndKinds", edits: []edit{
		{"manager/keyset.go", "\t\t\tg.abandon()\n", ""}}},
	{name: "a release is not told to those that began to wait during it", test: "internal/sim TestNoWakeUpIsLost", edits: []edit{
		{"actor/peers.go", "\t\tif m.owes { // ", "\t\tif m.owes && m.closing { // "}}},
	{name: "an offer that comes during an unlock is dropped", test: "actor TestAnOfferDuringAnUnlock", edits: []edit{
		{"actor/peers.go", "\tcase stTrying, stUnlocking, stSettling:\n\t\tp.offered", "\tcase stUnlocking, stSettling:\n\tcase stTrying:\n\t\tp.offered"}}},
	{name: "an offer that nobody wants goes no further", test: "internal/sim TestNoWakeUpIsLost", edits: []edit{
		{"actor/peers.go", "\t\tm.offer()        // nobody here would try now\n", "\t\tm.peers.offered = false\n"}}},
	{name: "an offer does not name the waiters of its own process", test: "internal/sim TestNoWakeUpIsLost", edits: []edit{
		{"actor/peers.go", "append(slices.Clip(to), Here), true", "slices.Clip(to), true"}}},
	{name: "a holder does not confirm that it knows of a waiter", test: "manager TestKilledProcessLetsGo", edits: []edit{
		{"actor/peers.go", "\t\tif len(m.peers.queue) > 0 {\n\t\t\tm.tell(", "\t\tif len(m.peers.queue) > 1000 {\n\t\t\tm.tell("}}},
	{name: "a poll is asked for before it is announced", test: "pg TestAPollIsAnnouncedBeforeItIsAskedFor", edits: []edit{
		{"pg/hints.go", "\t\tif !p.sendHint(b, opHint) {\n", "\t\tif p.sendPoll(s, &pollBatch{polls: polls}); !p.sendHint(b, opHint) {\n"}}},
	{name: "an offer goes before its release", test: "pg TestAnOfferFollowsTheRelease", edits: []edit{
		{"pg/shared.go", "\ts.takeOffers(s.backlog[:n])\n", "\ts.takeOffers(s.backlog[:n])\n\tif len(s.offers) > 0 {\n\t\ts.sendOffers()\n\t}\n"}}},
	{name: "when the session that listened has ended nobody listens", test: "pg TestAnotherSessionListens", edits: []edit{
		{"pg/open.go", "\t\tp.listenerEnded(s)\n", ""}}},
	{name: "a statement that was skipped after a failure is not sent again", test: "manager TestTransactionPoolerCancelledStatements", edits: []edit{
		{"pg/session.go", "\tcase f.skipped:\n\t\ts.resend(f)\n", ""}}},
	{name: "a pooled session's transaction is never replaced", test: "manager TestTransactionPoolerLetsVacuumWork", edits: []edit{
		{"pg/statement.go", "e.finishWith(&askStatement, textFormat, e.scope.again)", "e.finish(&askStatement, textFormat)"}}},
	{name: "a pooled session's portal keeps its snapshot", test: "manager TestTransactionPoolerLetsVacuumWork", edits: []edit{
		{"pg/statement.go", "e.finishWith(s, results, e.scope.done)", "e.finishWith(s, results, nil)"}}},
	{name: "a pooled session ends in the midst of its transaction", test: "manager TestTransactionPoolerLeavesNothing", edits: []edit{
		{"pg/leave.go", "if len(message) == 0 ||", "if len(message) >= 0 ||"}}},
	{name: "a pooler in statement mode is not recognised", test: "manager TestTransactionPoolerIsRefused", edits: []edit{
		{"pg/scope.go", "strings.Contains(server.Message, \"statement pooling\")", "server.Message == \"\""}}},
	{name: "WithNotify is accepted where nothing is delivered", test: "manager TestTransactionPoolerIsRefused", edits: []edit{
		{"manager/config.go", "if c.notify && c.sessions.InTransaction {", "if c.notify && !c.notify {"}}},
	{name: "a session with a transaction goes to the next local holder", test: "manager TestALentSessionIsNobodyElses", edits: []edit{
		{"actor/hold.go", "\tif !m.server.lent && m.handOffs", "\tif m.handOffs"}}},
	{name: "a session that was lent is kept for the key's next holder", test: "manager TestALentSessionIsNobodyElses", edits: []edit{
		{"actor/hold.go", "!next.Dedicated || m.server.lent {", "!next.Dedicated {"}}},
	{name: "a session that was lent goes back to the pool", test: "manager TestALentSessionIsNobodyElses", edits: []edit{
		{"pg/reserve.go", "\tif s.lent.Load() {", "\tif s.lent.Load() && s.Lost() != nil {"}}},
	{name: "an idle transaction is not pinged", test: "manager TestLongTransactionsKeepTheLock", edits: []edit{
		{"pg/solo.go", "\t\ts.prove(now)\n", ""}}},
	{name: "a session is not pinged while its holder's statement is under way", test: "manager TestLongTransactionsKeepTheLock", edits: []edit{
		{"pg/lend.go", "\t\ts.pool.Who(s.id, s.loan)\n", ""}}},
	{name: "another holder of the lock is taken as evidence that the session holds it", test: "pg TestEvidenceOfALentSession", edits: []edit{
		{"pg/lend.go", "a.Holder == nil || a.Holder.PID != s.pid || ", "a.Holder == nil || "}}},
	{name: "evidence is as old as its answer", test: "pg TestEvidenceOfALentSession", edits: []edit{
		{"pg/lend.go", "\t\ts.trust(a.Asked)\n", "\t\ts.trust(time.Now())\n"}}},
	{name: "a transaction commits without waiting for the disk", test: "manager TestBeginTxHasTheRolesSettings", edits: []edit{
		{"pg/lendsql.go", "\"synchronous_commit\", ", ""}}},
	{name: "a lock that a transaction has released counts as held", test: "pg TestWhatALoanLeaves", edits: []edit{
		{"pg/lendsql.go", "\tcase held == \"0\":\n\t\treturn errUnlocked\n", "\tcase held == \"0\":\n\t\treturn nil\n"}}},
	{name: "a transaction that is open at the release is not rolled back", test: "manager TestHoldEndsUnderATransaction", edits: []edit{
		{"pg/lendsql.go", "\tif status != 'I' {", "\tif status == 0 {"}}},
	{name: "a release does not tell of the transaction", test: "manager TestHoldEndsUnderATransaction", edits: []edit{
		{"manager/locktx.go", "\t\tl.txLeft.Store(true)\n", ""}}},
	{name: "a second transaction is begun beside the first", test: "manager TestBeginTxRefuses", edits: []edit{
		{"pg/lend.go", "\t\t\tr.answer(s, false, ErrTxOpen)\n", "\t\t\tr.answer(s, true, nil)\n"}}},
	{name: "the rows of a COPY are counted as questions", test: "pg TestFramesCountWhatIsAnswered", edits: []edit{
		{"pg/courier.go", "\tcase 'd', 'c', 'f': //", "\tcase 0: //"}}},
	{name: "the environment rules the connection of a lock's transaction", test: "manager TestBeginTxWhateverTheEnvironment", edits: []edit{
		{"pg/tx.go", " require_auth=''", ""}}},
	{name: "a driver calls the methods of the user's context", test: "manager TestBeginTxWithAContextThatMisbehaves", edits: []edit{
		{"manager/locktx.go", "loan.Begin(bound)", "loan.Begin(ctx)"}}},
	{name: "BeginTx does not tell the cause", test: "manager TestBeginTxTellsTheCause", edits: []edit{
		{"manager/locktx.go", "\t\t\terr = withCause(ctx, err)\n", ""}}},
	{name: "a set is released in part where the context panics", test: "manager TestW21_AContextThatMisbehavesInRelease", edits: []edit{
		{"manager/lockset.go", "{ return s.release(patienceOf(ctx)) }", "{ s.releaseOthers(false); return s.release(patienceOf(ctx)) }"}}},
	{name: "a nil option is called", test: "manager TestNilOptions", edits: []edit{
		{"manager/options.go", "\t\tif opt != nil {\n\t\t\topt(o)\n\t\t}\n", "\t\topt(o)\n"}}},
	{name: "a nil pointer passes for a transaction", test: "manager TestNilPointers", edits: []edit{
		{"manager/tx.go", " || v.Kind() == reflect.Pointer && v.IsNil()", ""}}},
	{name: "the longest period overflows", test: "manager TestLongestDurations", edits: []edit{
		{"manager/once.go", "if s := a + b; s >= a {", "if s := a + b; true {"}}},
	{name: "the longest wait of a transaction overflows", test: "manager TestLongestDurations", edits: []edit{
		{"manager/tx.go", "return min(bound, longestWait), over", "return bound, over"}}},
	{name: "Once keeps the period for no function", test: "manager TestNilFunctions", edits: []edit{
		{"manager/once.go", "\tif f == nil {\n\t\treturn k.refused(errNoFunction, 0)\n\t}\n", ""}}},
	{name: "the reader waits for a holder that has asked nothing", test: "manager TestNotificationsToAnIdleHolder", edits: []edit{
		{"pg/lend.go", "\tif !l.busy() {\n", "\tif len(l.out) < 0 {\n"}}},
	{name: "a holder's rows are as short as ours", test: "manager TestBeginTxCarriesAll", edits: []edit{
		{"pg/reader.go", "\t\t\t\ts.front.SetMaxBodyLen(0)", "\t\t\t\ts.front.SetMaxBodyLen(maxMessage)"}}},
	{name: "Commit with a context that has ended is sent", test: "pg TestEndedContextSendsNoCommit", edits: []edit{
		{"pg/tx.go", "\terr := ctx.Err()\n\tif err == nil {\n\t\terr = how(ctx)\n\t}\n", "\terr := how(context.WithoutCancel(ctx))\n"}}},
}
