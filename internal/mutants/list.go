package main

// simulations are asked in this order.
var simulations = []string{"TestKeepers"}

// mutant is a bug.
type mutant struct {
	name  string
	edits []edit
}

// edit is a change of a text that is there once.
type edit struct{ file, old, new string }

// mutants are the bugs: first those of the helper that this library replaced, then others that one could make.
var mutants = []mutant{
	{"old bug 2: held before the server has said so", []edit{{"actor/keeper.go", "\t\tk.ledger.on = false\n\t\tk.link.Try()",
		"\t\tk.ledger.on = false\n\t\tk.Answered(Answer{OK: true})\n\t\tk.link.Try()"}}},
	{"old bug 3: the context registration is not taken back", []edit{{"actor/claim.go",
		"\tif c.Unregister != nil {\n\t\tc.Unregister()\n\t}\n", ""}}},
	{"old bug 7: a second release unlocks again", []edit{
		{"actor/claim.go", "\tif !c.ending.CompareAndSwap(nil, &endCause{cause}) {\n\t\treturn\n\t}\n", "\tc.ending.Store(&endCause{cause})\n"},
		{"actor/hold.go", "\tcase stageHolding:\n\t\tm.release(e, c, cause)\n\tcase stageNew, stageReleasing, stageOver:",
			"\tcase stageHolding, stageReleasing:\n\t\tm.release(e, c, cause)\n\tcase stageNew, stageOver:"}}},
	{"old bug 8: a lock that nobody wants any more is kept", []edit{{"actor/hold.go",
		"\t\tm.give(e, c, false)\n\t\treturn\n\t}\n\tm.unlock()", "\t\tm.give(e, c, false)\n\t\treturn\n\t}\n\tm.drive(e.now)"}}},

	{"a release that does not unlock", []edit{{"actor/hold.go", "\tc.stage, m.leaving = stageReleasing, c\n\tm.unlock()",
		"\tm.do(effect{kind: fxSettle, claim: c})\n\tm.drive(e.now)"}}},
	{"a grant to two", []edit{{"actor/hold.go", "\tm.do(effect{kind: fxGrant, claim: c})\n",
		"\tm.do(effect{kind: fxGrant, claim: c})\n\tif n := m.line.head; n != nil && !n.Try {\n\t\tm.line.remove(n)\n\t\tn.stage = stageHolding\n\t\tm.do(effect{kind: fxGrant, claim: n})\n\t}\n"}}},
	{"a failed attempt that is not counted", []edit{{"actor/attempt.go", "\tm.failed++\n", ""}}},
	{"an error that is taken for a no", []edit{{"actor/attempt.go", "\tif e.answer.Err != nil {\n", "\tif e.answer.Err != nil && !e.answer.Transient {\n"}}},
	{"the lock is handed on past the quantum's count", []edit{{"actor/hold.go", "m.handed+1 < m.limits.QuantumGrants && ", ""}}},
	{"the lock is handed on past the quantum's time", []edit{{"actor/hold.go", " && e.now.Sub(m.grantedAt) < m.limits.QuantumTime", ""}}},
	{"one waiter is not told of a failure", []edit{{"actor/attempt.go", "\t\tc = next\n\t}\n\tm.askAt",
		"\t\tif c = next; c != nil {\n\t\t\tc = c.next\n\t\t}\n\t}\n\tm.askAt"}}},
	{"a grant to one who has given up", []edit{{"actor/hold.go", "\t\tif ending == nil {\n", "\t\tif ending == nil || !m.closing {\n"}}},
	{"the last comes first", []edit{{"actor/waiters.go", "func (l *line) push(c *Claim) {\n",
		"func (l *line) push(c *Claim) {\n\tif h := l.head; h != nil && h.next == nil {\n\t\tc.prev, c.next, h.prev, l.head = nil, h, c, c\n\t\tl.n++\n\t\treturn\n\t}\n"}}},
	{"a grant on a session that is trusted no longer", []edit{{"actor/hold.go", " && e.now.Before(e.trust)", ""}}},
	{"a holder hears of the end after the server", []edit{
		{"actor/hold.go", "\tm.do(effect{kind: fxOver, claim: c, err: cause})\n\tm.holder = nil\n\tif m.handed", "\tm.holder = nil\n\tif m.handed"},
		{"actor/hold.go", "\t\t\tm.do(effect{kind: fxSettle, claim: c})\n\t\t\tm.handed++", "\t\t\tm.do(effect{kind: fxOver, claim: c, err: cause})\n\t\t\tm.do(effect{kind: fxSettle, claim: c})\n\t\t\tm.handed++"},
		{"actor/hold.go", "\t\tm.leaving = nil\n\t\tm.do(", "\t\tm.leaving = nil\n\t\tm.do(effect{kind: fxOver, claim: c, err: c.ending.Load().err})\n\t\tm.do("}}},
	{"a lost session is not told to the holder", []edit{{"actor/hold.go", "\tif m.state != stHeld || e.gone == nil {", "\tif m.state != stHeld || e.gone == nil || m.line.n > 0 {"}}},
	{"a lock for one's own session is held on another's", []edit{{"actor/hold.go", " && (m.onReserved || !c.Dedicated)", ""}}},
	{"a keeper retires while a claim is on its way", []edit{{"actor/directory.go", " || e.forwarded != k.seen.Load()", ""}}},
	{"an end that comes before the keeper has the claim is lost", []edit{{"actor/machine.go",
		"\tcase ending != nil:\n", "\tcase ending != nil && c.Dedicated:\n"}}},
	{"after a panic the lock that was held is forgotten", []edit{{"actor/supervisor.go",
		"\tcase k.ledger.held:\n\t\tm.state = stUnlocking\n\t\tk.operate(fxUnlock)\n", ""}}},
	{"after a panic the operation under way is forgotten", []edit{{"actor/supervisor.go", "\tcase k.ledger.busy:\n", "\tcase k.ledger.busy && k.ledger.flight != fxTry:\n"}}},
	{"after a panic what an inherited try got is kept", []edit{{"actor/attempt.go", "\t\tif m.settling && e.answer.OK {\n\t\t\tm.unlock()\n\t\t\treturn\n\t\t}\n", "\t\tif m.settling && e.answer.OK {\n\t\t\tm.grant(e)\n\t\t\treturn\n\t\t}\n"}}},
	{"after a panic the session of its own is forgotten", []edit{{"actor/supervisor.go", "m.reserved, m.onReserved = k.ledger.reserved, k.ledger.on", "m.onReserved = k.ledger.on"}}},
	{"after a panic the claim that was dealt with gets no answer", []edit{{"actor/supervisor.go", "\tk.discard(k.current.claim, err)\n", ""}}},
	{"after a panic the holder is not told", []edit{{"actor/supervisor.go", "\tk.discard(old.holder, err)\n", ""}}},
	{"a message is noted after it may have failed", []edit{{"actor/keeper.go",
		"\tk.note(m, &e) // first: whatever fails after this, what the message said of the server or the directory is known\n\tif k.world.hook != nil {\n\t\tk.world.hook(k.id, \"message \"+m.kind.String())\n\t}\n",
		"\tif k.world.hook != nil {\n\t\tk.world.hook(k.id, \"message \"+m.kind.String())\n\t}\n\tk.note(m, &e)\n"}}},
	{"a key that is given up for a while keeps its lock", []edit{{"actor/supervisor.go",
		"\t\tif !k.ledger.busy && k.ledger.held {\n\t\t\tk.operate(fxUnlock)\n\t\t}\n", ""}}},
	{"who waits in the server's queue is not ended with its last waiter", []edit{{"actor/hold.go",
		"\tcase m.state == stWaiting && c == nil && !m.abandoned:\n\t\tm.abandoned = true\n\t\tm.do(effect{kind: fxAbandon})\n", ""}}},
	{"a session of its own is not given back", []edit{{"actor/attempt.go", "\t\tm.reserved = resNone\n\t\tm.do(effect{kind: fxGiveBack})\n", "\t\tm.reserved = resNone\n"}}},
	{"Close forgets the holder", []edit{{"actor/hold.go", "\tcase stHeld:\n\t\tm.release(e, m.holder, ErrClosed)\n\tcase stWaiting:", "\tcase stHeld:\n\tcase stWaiting:"}}},
	{"a try waits in line", []edit{{"actor/machine.go", "m.line.n > 0 || m.state == stHeld || m.state == stWaiting", "m.line.n > 0 || m.state == stWaiting"}}},
	{"a message that comes during a turn is left lying", []edit{{"actor/keeper.go", "\tfor !k.inbox.Empty() && k.turn.Try() {", "\tif !k.inbox.Empty() && k.turn.Try() {"}}},
}
