package main

import "strings"

// simulations that may find a bug: the keepers' knows nothing of what is not in actor/.
func (m *mutant) simulations() []string {
	for _, e := range m.edits {
		if !strings.HasPrefix(e.file, "actor/") {
			return []string{"TestStack"}
		}
	}
	return []string{"TestKeepers", "TestStack"}
}

// mutant is a bug.
type mutant struct {
	name  string
	edits []edit
	// stress is a test of actor that finds it when it runs for long, where nothing else does.
	stress string
}

// edit is a change of a text that is there once.
type edit struct{ file, old, new string }

// mutants are the bugs: first those of the helper that this library replaced, then others that one could make.
var mutants = []mutant{
	{name: "old bug 2: held before the server has said so", edits: []edit{{"actor/keeper.go", "\t\tk.ledger.on = false\n\t\tk.link.Try()",
		"\t\tk.ledger.on = false\n\t\tk.Answered(Answer{OK: true})\n\t\tk.link.Try()"}}},
	{name: "old bug 3: the context is registered with once per attempt", edits: []edit{{"manager/manager.go",
		"\t\tm.registrations.join(ctx, l)\n",
		"\t\tm.registrations.join(ctx, l)\n\t\tfor range terms.MaxAttempts {\n\t\t\tcontext.AfterFunc(ctx, l.contextEnded)\n\t\t}\n"}}},
	{name: "old bug 7: a second release unlocks again", edits: []edit{
		{"actor/claim.go", "\tif !c.ending.CompareAndSwap(nil, newEndCause(cause)) {\n\t\treturn\n\t}\n", "\tc.ending.Store(&endCause{cause})\n"},
		{"actor/hold.go", "\tcase stageHolding:\n\t\tm.release(e, c, cause)\n\tcase stageNew, stageReleasing, stageOver:",
			"\tcase stageHolding, stageReleasing:\n\t\tm.release(e, c, cause)\n\tcase stageNew, stageOver:"}}},
	{name: "old bug 8: a lock that nobody wants any more is kept", edits: []edit{{"actor/hold.go",
		"\t\tm.give(e, c, false)\n\t\treturn\n\t}\n\tm.unlock()", "\t\tm.give(e, c, false)\n\t\treturn\n\t}\n\tm.drive(e.now)"}}},

	{name: "old bug 1: after a failed connection none is opened any more", edits: []edit{{"pg/pool.go",
		"\tp.opening[m.use]--\n\tif m.err != nil {\n", "\tif m.err == nil {\n\t\tp.opening[m.use]--\n\t}\n\tif m.err != nil {\n"}}},
	{name: "old bug 4: another id is unlocked than was locked", edits: []edit{{"pg/send.go",
		"return s.encode.int8(&unlockStatement, f.entries[0].id)", "return s.encode.int8(&unlockStatement, f.entries[0].id+1)"}}},
	{name: "old bug 5: the lock is a transaction's", edits: []edit{{"pg/statement.go",
		"\"SELECT pg_catalog.pg_try_advisory_lock($1", "\"SELECT pg_catalog.pg_try_advisory_xact_lock($1"}}},
	{name: "old bug 6: the caller's context does not end the wait", edits: []edit{{"manager/manager.go",
		"\tif ctx.Done() != nil {\n", "\tif ctx.Done() != nil && try {\n"}}},

	{name: "the context registration is not taken back", edits: []edit{{"actor/claim.go",
		"\t\tc.Registration.Unregister()\n", "\t\t_ = 0\n"}}},
	{name: "of those who share a context's registration only one is told", edits: []edit{{"manager/registration.go",
		"\t\tb = next\n", "\t\tb = &r.members\n\t\t_ = next\n"}}},
	{name: "a registration that is over is joined", edits: []edit{{"manager/registration.go",
		"\tif r.over {\n\t\treturn false\n\t}\n\tr.used", "\tr.used"},
		{"manager/registration.go", "\t\tr.in.kept.CompareAndDelete(r.done, r)\n", ""}}},
	{name: "who waits for a release is not told of the end of its context", edits: []edit{{"manager/lock.go",
		"\tl.claim.Interrupt()\n", ""}}},
	{name: "a second release takes the first one's registration back", edits: []edit{{"manager/lock.go",
		"\t\tl.claim.End(ErrReleased)\n", "\t\tl.detach()\n\t\tl.claim.End(ErrReleased)\n"}}},
	{name: "a release that does not unlock", edits: []edit{{"actor/hold.go", "\tc.stage, m.leaving = stageReleasing, c\n\tm.unlock()",
		"\tm.do(effect{kind: fxSettle, claim: c})\n\tm.drive(e.now)"}}},
	{name: "a grant to two", edits: []edit{{"actor/hold.go", "\tm.do(effect{kind: fxGrant, claim: c})\n",
		"\tm.do(effect{kind: fxGrant, claim: c})\n\tif n := m.line.head; n != nil && !n.Try {\n\t\tm.line.remove(n)\n\t\tn.stage = stageHolding\n\t\tm.do(effect{kind: fxGrant, claim: n})\n\t}\n"}}},
	{name: "a failed attempt that is not counted", edits: []edit{{"actor/attempt.go", "\tm.failed++\n", ""}}},
	{name: "an error that is taken for a no", edits: []edit{{"actor/attempt.go", "\tif e.answer.Err != nil {\n", "\tif e.answer.Err != nil && !e.answer.Transient {\n"}}},
	{name: "the lock is handed on past the quantum's count", edits: []edit{{"actor/hold.go", "int(m.handed)+1 < m.limits.QuantumGrants && ", ""}}},
	{name: "the lock is handed on past the quantum's time", edits: []edit{{"actor/hold.go", " && e.now.Sub(m.grantedAt) < m.limits.QuantumTime", ""}}},
	{name: "one waiter is not told of a failure", edits: []edit{{"actor/attempt.go", "\t\tc = next\n\t}\n\tm.askAt",
		"\t\tif c = next; c != nil {\n\t\t\tc = c.next\n\t\t}\n\t}\n\tm.askAt"}}},
	{name: "a grant to one who has given up", edits: []edit{{"actor/hold.go", "\t\tif ending == nil {\n", "\t\tif ending == nil || !m.closing {\n"}}},
	{name: "the last comes first", edits: []edit{{"actor/waiters.go", "func (l *line) push(c *Claim) {\n",
		"func (l *line) push(c *Claim) {\n\tif h := l.head; h != nil && h.next == nil {\n\t\tc.prev, c.next, h.prev, l.head = nil, h, c, c\n\t\tl.n++\n\t\treturn\n\t}\n"}}},
	{name: "a grant on a session that is trusted no longer", edits: []edit{{"actor/hold.go", " && e.now.Before(e.trust)", ""}}},
	{name: "a holder hears of the end after the server", edits: []edit{
		{"actor/hold.go", "\tm.do(effect{kind: fxOver, claim: c, err: cause})\n\tm.holder = nil\n\tif int(m.handed)", "\tm.holder = nil\n\tif int(m.handed)"},
		{"actor/hold.go", "\t\t\tm.do(effect{kind: fxSettle, claim: c})\n\t\t\tm.handed++", "\t\t\tm.do(effect{kind: fxOver, claim: c, err: cause})\n\t\t\tm.do(effect{kind: fxSettle, claim: c})\n\t\t\tm.handed++"},
		{"actor/hold.go", "\t\tm.leaving = nil\n\t\tm.do(", "\t\tm.leaving = nil\n\t\tm.do(effect{kind: fxOver, claim: c, err: c.ending.Load().err})\n\t\tm.do("}}},
	{name: "a lost session is not told to the holder", edits: []edit{{"actor/hold.go", "\tif m.state != stHeld || e.gone == nil {", "\tif m.state != stHeld || e.gone == nil || m.line.n > 0 {"}}},
	{name: "a lock for one's own session is held on another's", edits: []edit{{"actor/hold.go", " && (m.onReserved || !c.Dedicated)", ""}}},
	{name: "a claim takes the short way past a door that is shut", edits: []edit{{"actor/shortcuts.go", " || !k.door.enter() {", " {"}}},
	{name: "a claim takes the short way past one that came before", edits: []edit{{"actor/shortcuts.go", " || !d.inbox.Empty() || d.turn.Taken()", ""}}},
	{name: "a keeper that has been let go does not end", edits: []edit{{"actor/keeper.go", "k.gone = k.gone || k.door.shut(k.received)", "k.gone = k.door.shut(k.received)"}}},
	{name: "a keeper retires while a claim is on its way", edits: []edit{{"actor/retire.go", " && k.door.shut(k.seen.Load()) {", " {"}}},
	{name: "an end that comes before the keeper has the claim is lost", edits: []edit{{"actor/machine.go",
		"\tcase ending != nil:\n", "\tcase ending != nil && c.Dedicated:\n"}}},
	{name: "after a panic the lock that was held is forgotten", edits: []edit{{"actor/supervisor.go",
		"\tcase k.ledger.held:\n\t\tm.state = stUnlocking\n\t\tk.operate(fxUnlock)\n", ""}}},
	{name: "after a panic the operation under way is forgotten", edits: []edit{{"actor/supervisor.go", "\tcase k.ledger.busy:\n", "\tcase k.ledger.busy && k.ledger.flight != fxTry:\n"}}},
	{name: "after a panic what an inherited try got is kept", edits: []edit{{"actor/attempt.go", "\t\tif m.settling && e.answer.OK {\n\t\t\tm.unlock()\n\t\t\treturn\n\t\t}\n", "\t\tif m.settling && e.answer.OK {\n\t\t\tm.grant(e)\n\t\t\treturn\n\t\t}\n"}}},
	{name: "after a panic the session of its own is forgotten", edits: []edit{{"actor/supervisor.go", "m.reserved, m.onReserved, m.closing = k.ledger.reserved, k.ledger.on,", "m.onReserved, m.closing = k.ledger.on,"}}},
	{name: "after a panic the claim that was dealt with gets no answer", edits: []edit{{"actor/supervisor.go", "\tk.discard(k.current, err)\n", ""}}},
	{name: "after a panic the holder is not told", edits: []edit{{"actor/supervisor.go", "\tk.discard(old.holder, err)\n", ""}}},
	{name: "a message is noted after it may have failed", edits: []edit{{"actor/keeper.go",
		"\tk.note(m, &e) // first: whatever fails after this, what the message said of the server or the directory is known\n\tif k.world.hook != nil {\n\t\tk.world.hook(k.id, \"message \"+m.kind.String())\n\t}\n",
		"\tif k.world.hook != nil {\n\t\tk.world.hook(k.id, \"message \"+m.kind.String())\n\t}\n\tk.note(m, &e)\n"}}},
	{name: "a key that is given up for a while keeps its lock", edits: []edit{{"actor/supervisor.go",
		"\t\tif !k.ledger.busy && k.ledger.held {\n\t\t\tk.operate(fxUnlock)\n\t\t}\n", ""}}},
	{name: "who waits in the server's queue is not ended with its last waiter", edits: []edit{{"actor/hold.go",
		"\tcase m.state == stWaiting && c == nil, m.polling() && c.Dedicated:\n\t\tm.abandon()\n",
		"\tcase m.state == stWaiting && c == nil:\n\tcase m.polling() && c.Dedicated:\n\t\tm.abandon()\n"}}},
	{name: "a session of its own is not given back", edits: []edit{{"actor/attempt.go", "\t\tm.reserved = resNone\n\t\tm.do(effect{kind: fxGiveBack})\n", "\t\tm.reserved = resNone\n"}}},
	{name: "Close forgets the holder", edits: []edit{{"actor/hold.go", "\tcase stHeld:\n\t\tm.release(e, m.holder, ErrClosed)\n\tcase stWaiting:", "\tcase stHeld:\n\tcase stWaiting:"}}},
	{name: "a try waits in line", edits: []edit{{"actor/machine.go", "m.line.n > 0 || m.state == stHeld || m.state == stWaiting", "m.line.n > 0 || m.state == stWaiting"}}},
	{name: "a message that comes during a turn is left lying", edits: []edit{{"actor/keeper.go", "\tfor !k.inbox.Empty() && k.turn.Try() {", "\tif !k.inbox.Empty() && k.turn.Try() {"}},
		stress: "TestNoMessageIsLeftLying"},

	{name: "trust counts from the answer, not from the question", edits: []edit{{"pg/reader.go", "s.trust(f.sent)", "s.trust(time.Now())"}}},
	{name: "a statement that failed is not settled", edits: []edit{{"pg/land.go", "\t\ts.settle(f)\n\tcase f.err != nil && f.kind == flightAsk:",
		"\t\tf.doubt = f.err\n\t\ts.settled(f)\n\tcase f.err != nil && f.kind == flightAsk:"}}},
	{name: "a session whose doubts could not be settled is used again", edits: []edit{{"pg/land.go",
		"\t\ts.current = f\n\t\ts.lose(CauseDoubt, errors.Join(f.doubt, f.err))", "\t\ts.settled(f)"}}},
	{name: "an error on the way to a keeper is dropped", edits: []edit{{"manager/link.go",
		"return actor.Answer{OK: ok, Err: err, Transient: err != nil && pg.Transient(err)}", "_ = err\n\treturn actor.Answer{OK: ok, Transient: pg.Transient(err)}"}}},
	{name: "a silent session is believed in for ever", edits: []edit{{"pg/session.go",
		"\t\ts.lose(CauseSilence, fmt.Errorf(\"no answer within %v\", s.config.Trust()))", "\t\t_ = fmt.Errorf"},
		{"pg/session.go", "return s.base.Add(time.Duration(s.trusted.Load()))", "return time.Now().Add(time.Hour)"}}},
	{name: "the server is told to bear any silence", edits: []edit{{"pg/connect.go",
		"{name: \"idle_session_timeout\", value: ms(c.SessionTimeout),", "{name: \"idle_session_timeout\", value: \"0\","}}},
	{name: "the holders on a lost session are not told", edits: []edit{{"pg/end.go", "\t\tclient.Lost(s, id, err)\n", "\t\t_, _ = id, client\n"}}},
	{name: "no health question is asked", edits: []edit{{"pg/send.go", "\tif time.Since(s.asked) >= s.config.HealthInterval {\n\t\ts.ask()\n\t\treturn\n\t}\n", ""}}},
	{name: "the answers of a batch are mixed up", edits: []edit{{"pg/reader.go", "append(append(f.letters, values[0]...), values[1]...)", "append(append(f.letters, values[1]...), values[0]...)"}}},
	{name: "an unlock leaves the id in the session's books", edits: []edit{{"pg/land.go", "\t\tcase e.op == OpUnlock && e.ok:\n\t\t\tdelete(s.held, e.id)\n", "\t\tcase e.op == OpUnlock && e.ok:\n"}}},
	{name: "a reservation that is taken back has no answer", edits: []edit{{"pg/line.go", "\tr.Client.Reserved(r, nil, ErrWithdrawn)\n", ""}}},
	{name: "tries that wait for a session are not told that there is none", edits: []edit{{"pg/pool.go", "\tfor _, r := range p.pending {\n\t\tr.answer(nil, false, err)\n\t}\n\tp.pending = nil\n}\n\nfunc (p *Pool) returned", "}\n\nfunc (p *Pool) returned"}}},
	{name: "a session that is lost stays in the choice", edits: []edit{{"pg/end.go", "\ts.pool.unshare(s)\n\ts.telling", "\ts.telling"}, {"pg/close.go", "\t\tp.unshare(s) // it may have been shared as it died, after it had taken itself out\n", ""}}},
	{name: "a session of its own that comes back is counted as out", edits: []edit{{"pg/pool.go", "\tuse := seat.use\n\tp.inUse[use]--\n", "\tuse := seat.use\n"}}},
	{name: "a caller who reads is kept until its session has ended", edits: []edit{{"pg/attend.go",
		"\tif s.duty.Load() == dutyCaller {\n\t\t_ = s.conn.SetReadDeadline(time.Now())\n\t\treturn\n\t}\n", ""}}},
	{name: "what is under way on a lost session has no answer", edits: []edit{{"pg/end.go", "\t\ts.refuse(f)\n\t}\n\ts.refuse(s.parked)", "\t\t_ = f\n\t}\n\ts.refuse(s.parked)"}}},
	{name: "the end of a hold is not told to its context", edits: []edit{{"manager/lock.go", "\tl.claim.Watch(w.end)\n", ""}}},
	{name: "a wait's time is not bounded", edits: []edit{{"manager/manager.go", "\tif o.waitTimeout > 0 {\n\t\ttimer =", "\tif o.waitTimeout > time.Minute {\n\t\ttimer ="}}},
	{name: "a holder does not look at the clock", edits: []edit{{"manager/lock.go", "gone == nil && (l.expired.Load() || !time.Now().Before(l.claim.Session.TrustedUntil()))", "gone == nil && (l.expired.Load() || time.Now().IsZero())"}}},
}
