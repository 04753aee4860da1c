package main

// ofSessions are bugs of the sessions and of their pool.
var ofSessions = []mutant{
	{name: "holders are told after their session was hung up", edits: []edit{
		{"pg/leave.go", "\ttold := s.tellHolders()\n", "\ttold := false\n"}}},
	{name: "the holders on a lost session are not told", edits: []edit{
		{"pg/leave.go", "\t\tclient.Lost(s.self, id)\n", "\t\t_, _ = id, client\n"}}},
	{name: "a standby grants locks", test: "pg TestStatementsDoNothingOnAStandby", edits: []edit{
		{"pg/statement.go", "WHEN pg_catalog.pg_is_in_recovery() THEN 's'::pg_catalog.text WHEN pg_catalog.pg_try_advisory_lock(t.id)", "WHEN pg_catalog.pg_try_advisory_lock(t.id)"}}},
	{name: "a standby's answer is that the lock is another's", test: "pg TestAStandbysAnswerEndsTheSession", edits: []edit{
		{"pg/batch.go", "\t\t\tf.broken = errStray\n\t\t\treturn\n", "\t\t\treturn\n"}}},
	{name: "a transaction takes its lock on a standby", test: "manager TestAcquireTxOnAStandby", edits: []edit{
		{"manager/tx.go", "\tcase answer == nil:\n\t\treturn false, errTxOnStandby\n", "\tcase answer == nil:\n\t\treturn true, nil\n"}}},
	{name: "an operation under way on a lost session gets no answer", edits: []edit{
		{"pg/leave.go", "\t\ts.refuseSending(f)\n", "\t\t_ = f\n"}}},
	{name: "answers that were delivered before a session's end are not recorded", edits: []edit{
		{"pg/leave.go", "\ts.recordAnswered()\n\ttold", "\ttold"},
		{"pg/leave.go", "\t\tcase f := <-s.answered:\n\t\t\ts.self.record(f)\n\t\t\ts.tellHolders()\n", ""},
		{"pg/leave.go", "\ts.recordAnswered() // what the reader", "\t// what the reader"}}},
	{name: "a statement that failed is told without being settled", edits: []edit{
		{"pg/session.go", "f.kind == kindLocks:\n\t\ts.settle(f)\n",
			"f.kind == kindLocks:\n\t\tf.doubt = f.err\n\t\ts.self.settled(f)\n\t\ts.tellSettled(f)\n\t\ts.recycle(f)\n"}}},
	{name: "a session whose doubts could not be settled is used again", edits: []edit{
		{"pg/session.go", "\tcase f.err != nil:\n\t\ts.air",
			"\tcase f.err != nil && f.kind == kindSettle:\n\t\ts.self.settled(f)\n\t\ts.tellSettled(f)\n\t\ts.recycle(f)\n\tcase f.err != nil:\n\t\ts.air"}}},
	{name: "a health question that is cancelled ends the session", test: "pg TestACancelledQuestionIsAskedAgain", edits: []edit{
		{"pg/session.go", "\tcase f.mayRepeat():\n", "\tcase f.kind != kindAsk && f.mayRepeat():\n"}}},
	{name: "a doubt that is cancelled ends the session", test: "pg TestACancelledQuestionIsAskedAgain", edits: []edit{
		{"pg/session.go", "\tcase f.mayRepeat():\n", "\tcase f.kind == kindAsk && f.mayRepeat():\n"}}},
	{name: "a cancelled end of a loan ends the session", test: "pg TestACancelledEndOfALoanIsSentAgain", edits: []edit{
		{"pg/lend.go", "f.kind == kindBack && f.mayRepeat()", "f.kind == kindLend && f.mayRepeat()"}}},
	{name: "a wait that failed is unlocked once only", test: "pg TestAFailedWaitIsUnlockedToTheEnd", edits: []edit{
		{"pg/session.go", "f.entries[0].op == OpWait && f.entries[0].ok:\n", "f.entries[0].op == OpWait && f.entries[0].ok && len(f.entries) > 1:\n"}}},
	{name: "a wait keeps a lock that is granted at the end of its slice", test: "pg TestAReleaseAtTheEndOfASlice", edits: []edit{
		{"pg/statement.go", "    answer := 't';\n   END IF;", "    answer := 'f';\n   END IF;"}}},
	{name: "a wait takes another lock of its session for its own", test: "pg TestAWaitTakesNoOtherLockForItsOwn", edits: []edit{
		{"pg/statement.go", " AND l.objid OPERATOR(pg_catalog.=) ` + low + `::pg_catalog.oid AND l.database", " AND l.database"}}},
	{name: "trust counts from the answer, not from the question", edits: []edit{
		{"pg/reader.go", "s.trust(f.sent)", "s.trust(time.Now())"}}},
	{name: "the health question is never sent", edits: []edit{
		{"pg/session.go", "\ts.askedAt = time.Now()\n", "\ts.askedAt = time.Now()\n\tif err == nil {\n\t\treturn\n\t}\n"}}},
	{name: "another backend's answer is taken", test: "pg TestWhatAnswersIsCompared", edits: []edit{
		{"pg/session.go", "\tif same {\n\t\treturn\n", "\tif same || !recovery {\n\t\treturn\n"}}},
	{name: "a session without locks asks", edits: []edit{
		{"pg/shared.go", "\t\tcase len(s.ids) > 0 && time.Since", "\t\tcase time.Since"},
		{"pg/shared.go", "s.setTimer(len(s.ids) > 0 && len(s.air)", "s.setTimer(len(s.air)"}}},
	{name: "a trust that is too long is said of an option that is not set", test: "pg TestATrustOfHalfAMonth", edits: []edit{
		{"pg/config.go", "\t\tif c.SessionTimeout > maxDuration {\n\t\t\treturn fmt.Errorf(\"WithHealth", "\t\tif c.SessionTimeout < 0 {\n\t\t\treturn fmt.Errorf(\"WithHealth"}}},
	{name: "an unused session never ends", edits: []edit{
		{"pg/config.go", "\treturn min(c.IdleTime, (c.Trust()+c.SessionTimeout)/2)\n", "\treturn 1000 * time.Hour\n"}}},
	{name: "the end of trust is not looked at", test: "pg TestTheEndOfTrustIsLookedAt", edits: []edit{
		{"pg/session.go", "\tcase holds && !now.Before(s.TrustedUntil()):\n", "\tcase false && holds:\n"},
		{"pg/session.go", "; holds && until.Before(at) {", "; holds && until.Before(at.Add(-time.Hour)) {"}}},
	{name: "a lost session is trusted", test: "pg TestASessionThatTheServerEnds", edits: []edit{
		{"pg/session.go", "\tif s.lost.Load() != nil {\n\t\treturn s.asked\n\t}\n", ""}}},
	{name: "a late statement's session is kept", test: "manager TestW13HungServerIsNoContextError", edits: []edit{
		{"pg/session.go", "\treturn least\n", "\treturn least.Add(time.Hour)\n"},
		{"pg/session.go", "\t\treturn until\n\t}\n\treturn least", "\t\treturn until.Add(time.Hour)\n\t}\n\treturn least"}}},
	{name: "the answers of a batch are mixed up", test: "pg TestAnswersOfABatchAreInOrder", edits: []edit{
		{"pg/batch.go", "append(append(f.letters, values[0]...), values[1]...)", "append(append(f.letters, values[1]...), values[0]...)"}}},
	{name: "an unlock leaves the id in the session's table", edits: []edit{
		{"pg/shared.go", "\tdefault:\n\t\tdelete(s.ids, e.id)\n", "\tdefault:\n"}}},
	{name: "a reservation that is taken back has no answer", edits: []edit{
		{"pg/reserve.go", "\tr.Client.Reserved(r, nil, ErrWithdrawn)\n", ""}}},
	{name: "tries that wait for a session get no answer where there is none", edits: []edit{
		{"pg/open.go", "\t\tr.answer(nil, false, err)\n", "\t\t_, _ = r, err\n"}}},
	{name: "a session that has ended can still be chosen", edits: []edit{
		{"pg/open.go", "\t\tp.shared.Store(&rest)\n", "\t\t_ = rest\n"},
		{"pg/choose.go", "\t\tcase s.lost.Load() != nil:\n\t\t\tcontinue\n", "\t\tcase s.lost.Load() != nil && n < 0:\n\t\t\tcontinue\n"}}},
	{name: "a dedicated session that was returned counts as in use", edits: []edit{
		{"pg/reserve.go", "\tp.inUse[use]--\n", ""}}},
	{name: "a dedicated session that has ended counts as in use", edits: []edit{
		{"pg/open.go", "\t\tp.inUse[place.use]--\n", ""}}},
	{name: "sessions are opened beyond the limit while one ends", test: "pg TestASessionThatEndsCounts", edits: []edit{
		{"pg/open.go", "\treturn p.total()+kept < p.config.MaxSessions\n", "\treturn p.total()+kept < p.config.MaxSessions || p.ending()\n"}}},
	{name: "a request that the pool sent to a session that has ended gets no answer", test: "pg TestWhatAnEndedSessionNeverReceived", edits: []edit{
		{"pg/open.go", "\t\tp.unsentTo(s)\n", ""}}},
}

// ofSetUp are bugs in how a session is opened, checked and set up.
var ofSetUp = []mutant{
	{name: "a pooler that keeps a dead client's locks is accepted", test: "pg TestASessionPoolerThatKeepsLocksIsRefused", edits: []edit{
		{"pg/probeleft.go", "err != nil || free == \"t\":", "err != nil || free != \"\":"}}},
	{name: "the lock that a pooler keeps is looked for in one session", test: "pg TestAPoolerThatRollsBack", edits: []edit{
		{"pg/probeleft.go", "\tp.sought = append(p.sought, sought{w, end})\n", "\tp.sought = append(p.sought, sought{w, end})\n\tdefer func() { p.endSearch(ctx); p.sought = nil }()\n"}}},
	{name: "a session from a pool is not cleaned", test: "pg TestW6_SessionsBeginClean", edits: []edit{
		{"pg/wire.go", "\tif !w.used {\n", "\tif !w.used || w.status == 'I' {\n"}}},
	{name: "the identity has the role in it", test: "pg TestW14_ARoleMayBeRenamedOrDropped", edits: []edit{
		{"pg/identity.go", "AS a), '-'), ' ',\n", "AS a), '-'), ':', CURRENT_USER, ' ',\n"}}},
	{name: "the identity changes with extra_float_digits", test: "pg TestW14_SettingsDoNotChangeTheIdentity", edits: []edit{
		{"pg/identity.go", "` + microseconds(\"pg_catalog.pg_postmaster_start_time()\") + `, ",
			"pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()), "}}},
	{name: "the identity changes with client_encoding", test: "pg TestW14_SettingsDoNotChangeTheIdentity", edits: []edit{
		{"pg/identity.go", "pg_catalog.encode(` + databaseBytes + `, 'escape'::pg_catalog.text)", "pg_catalog.current_database()"}}},
	{name: "the start of a holder's session changes with extra_float_digits", test: "pg TestW14_SettingsDoNotChangeTheIdentity", edits: []edit{
		{"pg/statement.go", "` + microseconds(\"a.backend_start\") + `::pg_catalog.text, ",
			"(pg_catalog.date_part('epoch', a.backend_start) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.text, "}}},
	{name: "a connect timeout is a context.DeadlineExceeded", test: "manager TestW13HungServerIsNoContextError", edits: []edit{
		{"pg/connecterror.go", "e.add(silence.Error(), nil)", "e.add(silence.Error(), context.DeadlineExceeded)"}}},
	{name: "a Goexit of DialFunc is taken for a return", test: "pg TestW21_AFunctionThatPanicsOrEndsItsGoroutine", edits: []edit{
		{"pg/attempt.go", "\t\tvar err error = &panicError{} //", "\t\tvar err error //"}}},
	{name: "the server is given no limit for a silent session", edits: []edit{
		{"pg/settings.go", "{name: \"idle_session_timeout\", value: ms(c.SessionTimeout),", "{name: \"idle_session_timeout\", value: \"0\","}}},
	{name: "a session is opened on an old primary", test: "pg TestAnOldPrimaryIsNotGoneBackTo", edits: []edit{
		{"pg/timeline.go", "\treturn t.system == h.latest.system && t.replacedBy(h.latest) || slices", "\treturn slices"}}},
	{name: "a token is drawn at an old primary", test: "pg TestAReplacedServerIsAskedNothing", edits: []edit{
		{"pg/query.go", " && !q.connector.replaced(q.conn.timeline) {", " {"}}},
	{name: "sessions of two clusters have locks", test: "pg TestAnotherClusterUnderTheSameName", edits: []edit{
		{"pg/timeline.go", "(t.system != latest.system || t.number < latest.number)", "t.system == latest.system && t.number < latest.number"}}},
	{name: "a cluster that was left is gone back to", test: "pg TestAnotherClusterUnderTheSameName", edits: []edit{
		{"pg/timeline.go", " || slices.Contains(h.left, t.system)", " || slices.Contains(h.left[:0], t.system)"}}},
	{name: "a question tells nobody that it has met the new primary", test: "pg TestAQuestionMeetsTheNewPrimary", edits: []edit{
		{"pg/timeline.go", "\t\t\t\tc.moved()\n", "\t\t\t\t_ = c.moved\n"}}},
	{name: "a solo session of an old primary that is told late is given out", test: "pg TestASessionOfTheOldPrimaryIsToldLate", edits: []edit{
		{"pg/open.go", "\tif p.connector.replaced(s.timeline) {", "\tif p.closing && p.connector.replaced(s.timeline) {"}}},
	{name: "a shared session of an old primary that is told late is given out", test: "pg TestASessionOfTheOldPrimaryIsToldLate", edits: []edit{
		{"pg/open.go", "\tif p.closing || p.connector.replaced(s.timeline) {", "\tif p.closing {"}}},
	{name: "a standby is accepted", test: "pg TestALaterSessionElsewhereIsRefused", edits: []edit{
		{"pg/setup.go", "\tcase s.identity.recovery && database != \"\": // the probe has found a primary\n\t\treturn errDemoted\n\tcase s.identity.recovery:\n\t\treturn errStandby\n", ""}}},
	{name: "a demoted primary refuses all who wait", test: "pg TestALaterSessionElsewhereIsRefused", edits: []edit{
		{"pg/connecterror.go", "e.permanent = !errors.Is(err, errDemoted)", "e.permanent = true"}}},
	{name: "no host is tried after one that was demoted", test: "pg TestAHostThatWasDemoted", edits: []edit{
		{"pg/source.go", " && !errors.Is(err, errDemoted) {", " {"}}},
	{name: "a read of pgx's in the background stays with a connection of database/sql's", test: "pg TestASlowWriteLeavesNoReaderBehind", edits: []edit{
		{"pg/source.go", "if err := endBackgroundRead(ctx, std.Conn().PgConn()); err != nil {", "if err := ctx.Err(); err != nil {"}}},
	{name: "a session that ended before its opening was told stays in the pool", test: "pg TestASharedSessionThatEndsBeforeItsOpeningIsTold", edits: []edit{
		{"pg/open.go", "\t\ts.endTold = true // perhaps before its opener has told of it\n", ""}}},
	{name: "a request is sent before it is taken off the backlog", test: "pg TestW21_AConnectionThatPanicsCostsItsSession", edits: []edit{
		{"pg/lend.go", "\t\ts.backlog = s.backlog[1:] // before it is sent: a Write that panics leaves it in the air\n", ""},
		{"pg/lend.go", "\t\t\ts.sendLend(r)\n\t\t}\n", "\t\t\ts.sendLend(r)\n\t\t}\n\t\ts.backlog = s.backlog[1:]\n"}}},
	{name: "the text of a loss is made by who asks for it", test: "pg TestW21_AConnectionThatPanicsCostsItsSession", edits: []edit{
		{"pg/errors.go", "\t\te.text += fmt.Sprintf(\": %v\", err)\n", ""},
		{"pg/errors.go", "{ return e.text }", "{ return fmt.Sprint(e.text, e.Err) }"}}},
	{name: "a session on which nothing was understood hangs up at once", test: "pg TestTheServerKeepsALockWhoseSessionIsMisunderstood", edits: []edit{
		{"pg/leave.go", "if moment != nil && s.readEnd == misunderstood {", "if moment != nil && s.readEnd > endedInOrder {"}}},
	{name: "a message that makes no sense is the end of the connection", test: "pg TestTheServerKeepsALockWhoseSessionIsMisunderstood", edits: []edit{
		{"pg/reader.go", "if s.input != nil && !s.input.failed {", "if s.input == nil {"}}},
	{name: "a session that has been lent for long is idle", test: "pg TestTheTimerOfALentSession", edits: []edit{
		{"pg/solo.go", "case s.phase == lendNone:\n\t\ts.setTimer(", "case s.phase != lendAsked:\n\t\ts.setTimer("}}},
	{name: "a write may block longer than the session is trusted", test: "pg TestAWriteBlocksNoLongerThanTheTrust", edits: []edit{
		{"pg/session.go", "until.Before(most) && s.self.holds()", "until.Before(most) && !s.self.holds()"}}},
	{name: "a dedicated session's loss is told as a waiting one's", test: "pg TestAWriteBlocksNoLongerThanTheTrust", edits: []edit{
		{"pg/reserve.go", "\ts.use.Store(int32(use))\n", "\ts.use.Store(int32(UseWaiting))\n"}}},
	{name: "a goodbye that ends its goroutine ends leave", test: "pg TestW21_AConnectionThatPanicsCostsItsSession", edits: []edit{
		{"pg/connector.go", "\tstart(func() (struct{}, error) { f(); return struct{}{}, nil }, func(struct{}, error) { close(done) })\n\t<-done\n", "\tclose(done)\n\tf()\n"}}},
	{name: "another is asked to listen twice", test: "pg TestOneSessionListens", edits: []edit{
		{"pg/hints.go", "\tcase b.text == \"\" && err != nil: //", "\tcase b.text == \"\" && err != nil && p.closing: //"}}},
	{name: "a LISTEN that is cancelled switches hints off", test: "pg TestListenIsTriedAgain", edits: []edit{
		{"pg/hints.go", "b.on.Lost() == nil && !Transient(err): // it may not", "b.on.Lost() == nil: // it may not"}}},
	{name: "nobody is announced again after a LISTEN that failed", test: "pg TestListenIsTriedAgain", edits: []edit{
		{"pg/hints.go", "n.listener, n.listened, n.paused = nil, true, true", "n.listener, n.paused = nil, true"}}},
	{name: "polls that have ended gather in the hints", test: "pg TestPollsThatNobodyWasToldOfAreForgotten", edits: []edit{
		{"pg/hints.go", "func(each *poll) bool { return each.in == nil })", "func(each *poll) bool { return each == nil })"}}},
	{name: "a session is opened for polls that were stopped", test: "pg TestAStoppedPollOpensNothing", edits: []edit{
		{"pg/poller.go", "if r.waits() && p.mayOpen()", "if p.mayOpen()"}}},
}
