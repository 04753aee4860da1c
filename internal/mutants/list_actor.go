package main

// ofKeepers are bugs of the keepers and of their supervisor.
var ofKeepers = []mutant{
	{name: "a keeper's work runs on a sender's goroutine", test: "actor TestThousandCancelledAtOnce", race: true, edits: []edit{
		{"actor/claim.go", "func (c *Claim) send(m message) bool {\n",
			"func (c *Claim) send(m message) bool {\n\tif _, ok := m.(contextEnded); ok {\n\t\tc.keeper.handle(m)\n\t\treturn true\n\t}\n"}}},
	{name: "a timer's goroutine does the keeper's work", test: "actor TestPausesBetweenTries", race: true, edits: []edit{
		{"actor/alarm.go", "\tcase k.requests <- due{}:\n", "\tdefault:\n\t\tk.handle(due{})\n"}}},
	{name: "a user's backoff runs on a keeper", test: "manager TestI11UserCodeAndNeighbours", edits: []edit{
		{"actor/claim.go", "type Terms struct {\n", "type Terms struct {\n\tBackoff func()\n"},
		{"actor/perform.go", "\t\tfx.claim.askedPause = true\n",
			"\t\tfx.claim.askedPause = true\n\t\tif fx.claim.Backoff != nil {\n\t\t\tfx.claim.Backoff()\n\t\t}\n"},
		{"manager/acquire.go", "\tt := &l.claim.Terms\n", "\tt := &l.claim.Terms\n\tt.Backoff = func() { retry.Backoff().NextBackOff() }\n"}}},
	{name: "the lock of Do ends with its context", edits: []edit{
		{"actor/hold.go", "\tcase c.Hold != HoldWithContext:\n", "\tcase c.Hold == HoldDetached:\n"}}},
	{name: "the lock of Do ends with Close", edits: []edit{
		{"actor/machine.go", "\t\t\tif c.Hold == HoldForWork {\n", "\t\t\tif c.Hold == HoldForWork && m.now.IsZero() {\n"}}},
	{name: "the function of Do is not told of Close", edits: []edit{
		{"actor/machine.go", "\t\t\t\tm.do(fxNotify, c, ErrClosed)\n", ""}}},
	{name: "Close does not end the holder's hold", edits: []edit{
		{"actor/machine.go", "\t\t\t\tm.endHold(c, ErrClosed)\n", ""}}},
	{name: "a keeper does not end with Close", test: "actor TestCloseWaitsForWork", edits: []edit{
		{"actor/perform.go", "\tcase fxExit:\n\t\tk.retire = true\n", "\tcase fxExit:\n"}}},
	{name: "a grant on a session that is trusted no longer", test: "actor TestNoGrantWithoutTrust", edits: []edit{
		{"actor/hold.go", " && m.now.Before(m.trusted)", ""}}},
	{name: "a lock for a dedicated session is held on a shared one", edits: []edit{
		{"actor/hold.go", " && (!c.Dedicated || m.server.onOwn)", ""}}},
	{name: "Unsent is ignored", edits: []edit{
		{"actor/keeper.go", "\treturn k.link.Unsent()\n", "\treturn nil\n"}}},
	{name: "an operation counts as unsent before the answers that have come are read", test: "actor TestUnsentAfterUnsent", edits: []edit{
		{"actor/keeper.go", "\tselect {\n\tcase e := <-k.events:\n\t\tk.handle(e)\n\tdefault:\n", "\tselect {\n\tdefault:\n"}}},
	{name: "the unlock is not asked for", edits: []edit{
		{"actor/hold.go", "\tm.do(fxUnlock, nil, nil)\n", ""}}},
	{name: "a release does not unlock", edits: []edit{
		{"actor/hold.go", "\tc.stage, m.leaving = stageReleasing, c\n\tm.unlock()", "\tm.do(fxSettle, c, nil)\n\tm.drive()"}}},
	{name: "the holder is not told that its hold is over", edits: []edit{
		{"actor/claim.go", "\tc.Owner.HoldEnds(cause, at)\n", ""}}},
	{name: "a holder hears of the end after the server", edits: []edit{
		{"actor/hold.go", "\tm.do(fxOver, c, cause)\n\tm.holders.remove(c)\n", "\tm.holders.remove(c)\n\tif m.keeps(c) {\n\t\tm.do(fxOver, c, cause)\n\t}\n"},
		{"actor/hold.go", "\t\t\tm.do(fxSettle, c, nil)\n\t\t\treturn", "\t\t\tm.do(fxOver, c, cause)\n\t\t\tm.do(fxSettle, c, nil)\n\t\t\treturn"},
		{"actor/hold.go", "\t\tm.leaving = nil\n", "\t\tm.leaving = nil\n\t\tm.do(fxOver, c, ErrReleased)\n"}}},
	{name: "a lost session is not told to the holder", edits: []edit{
		{"actor/hold.go", "head.Session != on {", "head.Session != on || m.queue.n > 0 {"}}},
	{name: "a wait for a release does not end with its context", edits: []edit{
		{"actor/hold.go", "\t\tc.releaserLeaves()\n", ""}}},
	{name: "two waiters are granted one lock", edits: []edit{
		{"actor/hold.go", "\tm.do(fxGrant, c, nil)\n", "\tm.do(fxGrant, c, nil)\n\tif n := m.queue.head; n != nil && !n.Try {\n" +
			"\t\tm.queue.remove(n)\n\t\tn.stage = stageHolding\n\t\tm.do(fxGrant, n, nil)\n\t}\n"}}},
	{name: "the newest waiter is served first", edits: []edit{
		{"actor/queue.go", "func (q *queue) push(c *Claim) {\n", "func (q *queue) push(c *Claim) {\n\tif h := q.head; h != nil && h.next == nil {\n" +
			"\t\tc.prev, c.next, h.prev, q.head = nil, h, c, c\n\t\tq.n++\n\t\treturn\n\t}\n"}}},
	{name: "the lock is handed on past the count", edits: []edit{
		{"actor/hold.go", "m.handOffs+1 < m.limits.HandOffGrants && ", ""}}},
	{name: "the lock is handed on past the time", edits: []edit{
		{"actor/hold.go", " && m.now.Sub(m.grantedAt) < m.limits.HandOffTime", ""}}},
	{name: "a failed attempt is not counted", edits: []edit{
		{"actor/attempt.go", "\tm.failed++\n", ""}}},
	{name: "an error counts as \"not acquired\"", edits: []edit{
		{"actor/attempt.go", "\tcase a.Err != nil:\n", "\tcase a.Err != nil && !a.Transient:\n"}}},
	{name: "one waiter is not told of a failure", edits: []edit{
		{"actor/attempt.go", "\t\tc = next\n\t}\n\tm.askAt", "\t\tif c = next; c != nil {\n\t\t\tc = c.next\n\t\t}\n\t}\n\tm.askAt"}}},
	{name: "a try is not repeated where its session had ended", test: "manager TestW12TryAfterTheSessionEnded", edits: []edit{
		{"actor/attempt.go", "c != nil && a.Ended && !c.retried {", "c != nil && a.Ended && !c.retried && !c.Try {"}}},
	{name: "a try waits in the queue", edits: []edit{
		{"actor/machine.go", "m.queue.n > 0 || state == stHeld || ", "m.queue.n > 0 || "}}},
	{name: "a dedicated session is not returned", edits: []edit{
		{"actor/attempt.go", "\t\tm.do(fxReturn, nil, nil)\n", ""}}},
	{name: "a poll does not end with its last waiter", edits: []edit{
		{"actor/hold.go", "m.server.op == opPoll && (c == nil || c.Dedicated || ", "m.server.op == opPoll && c != nil && (c.Dedicated || "}}},
	{name: "a keeper retires while a claim is on its way", test: "actor TestClaimDuringARetirement", edits: []edit{
		{"actor/keeper.go", "\t\tk.retire = k.retire && k.machine.closing // one", "\t\t// one"}}},
	{name: "a claim that meets a retirement is not sent again", test: "actor TestRetirementRounds", edits: []edit{
		{"actor/supervisor.go", "\t\tif c.send(acquire{c}) {\n\t\t\tbreak\n\t\t}\n\t\tok = false // it", "\t\tif ok = true; c.send(acquire{c}) || ok {\n\t\t\tbreak\n\t\t}\n\t\tok = false // it"}}},
}

// ofFailures are bugs in what comes after a keeper's failure.
var ofFailures = []mutant{
	{name: "a keeper's Goexit is taken for a return", edits: []edit{
		{"actor/recovery.go", "\t\tif !returned { // by a Goexit, recover gives nil\n\t\t\tk.report(recover())\n\t\t}\n",
			"\t\tif v := recover(); v != nil && !returned {\n\t\t\tk.report(v)\n\t\t}\n"}}},
	{name: "after a failure the held lock is not known", edits: []edit{
		{"actor/recovery.go", "if m.inherited || k.server.held {", "if m.inherited {"}}},
	{name: "after a failure the operation under way is not known", edits: []edit{
		{"actor/recovery.go", "m.inherited = k.server.op != opNone", "m.inherited = k.server.op != opNone && k.server.op != opTry"}}},
	{name: "after a failure what an inherited try got is kept", edits: []edit{
		{"actor/attempt.go", "\t\tm.unlock() // this", "\t\tm.grant() // this"}}},
	{name: "after a failure the dedicated session is not known", edits: []edit{
		{"actor/recovery.go", "\told := k.machine\n", "\told := k.machine\n\tk.server.own = ownNone\n"}}},
	{name: "after a failure the claim that was being handled gets no answer", edits: []edit{
		{"actor/recovery.go", "{claimOf(k.current), old.leaving}", "{old.leaving}"}}},
	{name: "after a failure the holder is not told", edits: []edit{
		{"actor/recovery.go", "\t\told.holders.remove(c)\n\t\tk.discard(c, f.err)\n", "\t\told.holders.remove(c)\n"}}},
	{name: "after a failure a caller of Release gets no answer", edits: []edit{
		{"actor/recovery.go", "{claimOf(k.current), old.leaving}", "{claimOf(k.current)}"}}},
	{name: "after a failure the effects of its step are not carried out", edits: []edit{
		{"actor/recovery.go", "range old.effects {", "range old.effects[:0] {"}}},
	{name: "a message is recorded after the step that may fail", edits: []edit{
		{"actor/keeper.go", "\tk.server.receive(m)\n", "\tknown := before\n\tknown.receive(m)\n"},
		{"actor/keeper.go", "&before, &k.server, m", "&before, &known, m"}}},
	{name: "a key that is refused for a while keeps its lock", edits: []edit{
		{"actor/recovery.go", "\tcase s.op == opNone && s.held:\n\t\ts.op = opUnlock\n\t\tk.link.Unlock(nil)\n", ""}}},
	{name: "who holds the lock is asked for nobody", test: "actor TestNoSessionIsNoFailureOfAPoll", edits: []edit{
		{"actor/machine.go", "\tcase m.queue.n == 0: // whom it was for has given up\n\t\tm.askAt = time.Time{}\n", ""}}},
	{name: "the last poll after a failure does not ask", test: "actor TestTheLastPollAfterAFailureAsks", edits: []edit{
		{"actor/machine.go", "\t\tif m.drive(); m.askAt.IsZero() {\n\t\t\tm.askAt = askAt\n\t\t}\n", "\t\tm.drive()\n\t\tm.askAt = askAt\n"}}},
	{name: "a question that failed has the holder forgotten", test: "actor TestWhoIsInTheWay", edits: []edit{
		{"actor/machine.go", "\tcase t.Asked.IsZero(): // the question failed\n", ""}}},
	{name: "a turn that nobody took is still waited for", test: "actor TestATurnThatNobodyTook", edits: []edit{
		{"actor/peers.go", "\t\tp.listed = false // its turn has come, and goes\n", ""}}},
	{name: "a session stays asked for by callers that have gone", test: "actor TestWithdraw", edits: []edit{
		{"actor/hold.go", "\tif c == nil && m.server.own == ownAsked {\n\t\tm.cancelOwn() //", "\tif c == nil && m.server.own == ownHave {\n\t\tm.cancelOwn() //"}}},
}
