package main

// ofLocks are bugs of package manager.
var ofLocks = []mutant{
	{name: "Close does not wait for Do", test: "manager TestW5CloseWaitsForF", edits: []edit{
		{"manager/manager.go", "\t_ = m.supervisor.Close(ctx)\n", "\tended, cancel := context.WithCancel(ctx)\n\tcancel()\n\t_ = m.supervisor.Close(ended)\n"}}},
	{name: "Do releases before its function is back", edits: []edit{
		{"manager/context.go", "\t\tl.holdContext().cancel(reason) // its", "\t\tl.claim.ReleaseLater()\n\t\tl.holdContext().cancel(reason) // its"}}},
	{name: "the function of Do is not told of the end of its context", edits: []edit{
		{"manager/context.go", "\t\tl.holdContext().cancel(reason) // its", "\t\t_ = l.holdContext() // its"}}},
	{name: "a function of Do that ends its goroutine keeps the lock", test: "manager TestW2FThatEndsItsGoroutine", edits: []edit{
		{"manager/acquire.go", "\tdefer func() { err = errors.Join(err, lock.releaseWork()) }()\n\treturn f(lock.Context())\n",
			"\terr = f(lock.Context())\n\treturn errors.Join(err, lock.releaseWork())\n"}}},
	{name: "Do does not say that its lock was lost", edits: []edit{
		{"manager/acquire.go", "\tdefer func() { err = errors.Join(err, lock.releaseWork()) }()\n", "\tdefer func() { _ = lock.releaseWork() }()\n"}}},
	{name: "a backoff runs on its caller's goroutine", test: "manager TestW1BackoffOfOneCallThatBlocks", edits: []edit{
		{"manager/retry.go", "func (n *nextPause) start() { go n.ask() }", "func (n *nextPause) start() { n.ask() }"}}},
	{name: "a backoff's Goexit is taken for a return", edits: []edit{
		{"manager/retry.go", "r := pauseResult{err: errors.New(\"RetryPolicy.Backoff called runtime.Goexit\")}", "r := pauseResult{}"}}},
	{name: "an acquisition registers twice", edits: []edit{
		{"manager/acquire.go", "\tl.register()\n", "\tl.register()\n\tcontext.AfterFunc(&l.parent, func() { _ = contextReason(&l.parent) })\n"}}},
	{name: "the context registration is not taken back", edits: []edit{
		{"manager/context.go", "\tl.stopOnce()\n\tl.touching.Wait()\n", ""}}},
	{name: "the registration of a hold that ends by itself is not taken back", test: "manager TestRegistrationIsTakenBackWithoutRelease", edits: []edit{
		{"manager/lock.go", "\t\tl.manager.unregisterSoon(l)\n", "\t\treturn\n"}}},
	{name: "a release does not wait for a registration that still runs", test: "manager TestReleaseWaitsForTheRegistration", edits: []edit{
		{"manager/context.go", "\tl.touching.Wait()\n", ""}}},
	{name: "a second release takes the first one's registration back", edits: []edit{
		{"manager/lock.go", "\tif known || first {", "\tif known || first || l.stop != nil {"}}},
	{name: "a lock is granted to a caller whose context has ended", test: "manager TestContextEndsAsTheLockIsGranted", edits: []edit{
		{"manager/acquire.go", "\tif err == nil && ctx.Err() != nil { // it", "\tif err == nil && ctx.Err() != nil && o.detach { // it"}}},
	{name: "a hold of the same key in the context is not seen", test: "manager TestA3SameKeyInItsOwnDo", edits: []edit{
		{"manager/acquire.go", "\tl.outer, _ = ctx.Value(heldKey{}).(*Lock)\n", ""}}},
	{name: "the end of a hold is not told to its context", edits: []edit{
		{"manager/lock.go", "\t\th.cancel(cause)\n", "\t\t_ = h\n"}}},
	{name: "a wait's time is not bounded", edits: []edit{
		{"manager/acquire.go", "\tif o.waitTimeout > 0 {\n\t\ttimer", "\tif o.waitTimeout > time.Minute {\n\t\ttimer"}}},
	{name: "a holder does not look at the clock", test: "manager TestErrComparesTheClock", edits: []edit{
		{"manager/lock.go", "!time.Now().Before(l.claim.Session.TrustedUntil())", "time.Now().IsZero()"}}},
	{name: "an unlock is answered and not sent", edits: []edit{
		{"manager/link.go", "\tl.unsent = l.request.Session.Submit(&l.request)\n", "\tl.events <- actor.Answered{Answer: granted}\n"}}},
	{name: "an error on the way to a keeper is dropped", edits: []edit{
		{"manager/link.go", "&actor.Answer{Err: err, Transient", "&actor.Answer{Transient"}}},
	{name: "the end of a session is not known to the keeper as such", test: "manager TestW12TryAfterTheSessionEnded", edits: []edit{
		{"manager/link.go", ", Ended: pg.Ended(err)}", "}"}}},
	{name: "a cause that panics ends the process", test: "manager TestW21_AContextWhoseCausePanics", edits: []edit{
		{"manager/context.go", "\t\t_ = recover()\n\t\tl.touching.Done()\n", "\t\tl.touching.Done()\n"}}},
	{name: "a registration is taken back twice", test: "manager TestARegistrationThatIsTakenBackTwice", edits: []edit{
		{"manager/context.go", "\tif r.decided.Swap(true) { //arch:publishes as in call\n\t\t<-r.finished\n\t\treturn false\n\t}\n", ""}}},
	{name: "the release after a look for slots waits for the server", test: "manager TestTheReleaseAfterALookKeepsToTheWaitTimeout", edits: []edit{
		{"manager/slotting.go", "err = lock.releaseWithin(s.ctx, s.over)", "err = lock.Release(s.ctx)"}}},
	{name: "a look for slots that is not released ends the acquisition", test: "manager TestALookThatIsNotReleased", edits: []edit{
		{"manager/slotting.go", "\t\terr = s.m.failure(k, c, ErrAttempts, 0)\n", "\t\t_ = c\n"}}},
	{name: "the error of a slot forgets the rounds before", test: "manager TestTheErrorOfASlotHasAllRounds", edits: []edit{
		{"manager/slotround.go", "\te.Attempts, e.Failures = s.attempts, s.failures\n", ""}}},
	{name: "a slot's lock that is held by hand is asked for without a pause", test: "manager TestALockOfSlotsThatIsHeldByHand", edits: []edit{
		{"manager/slotround.go", "errLostMeanwhile: //nolint:errorlint // that very value: no attempt failed\n", "errLostMeanwhile:\n\t\t\tcontinue\n"}}},
	{name: "the loss of an outer hold is one of a set's", test: "manager TestBothForAMinimumHoldAfterTheLossOfAnother", edits: []edit{
		{"manager/lockset.go", "s.releaseOthers(l.claim.Lost())", "s.releaseOthers(errors.Is(cause, ErrLost))"}}},
	{name: "a serialization failure behind another driver is fenced", test: "manager TestGuardBehindOtherDrivers", edits: []edit{
		{"manager/guard.go", "detail: gets.Get(detail), detailed: true}", "detailed: true}"}}},
}
