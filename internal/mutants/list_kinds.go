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
		{"actor/keeper.go", "!waiters && e.claim.MinHold == 0", "!waiters"}}},
	{name: "Close waits for a minimum hold", test: "actor TestMinHoldEndsWithClose", edits: []edit{
		{"actor/machine.go", "\tcase stKept:\n\t\tm.kept = nil\n\t\tm.unlock()\n", "\tcase stKept:\n"}}},
	{name: "Once releases when its function has returned", test: "manager TestOnceInAPeriod", edits: []edit{
		{"manager/once.go", "o.minHold = max(o.minHold, keep)", "o.minHold = max(o.minHold, min(keep, 0))"}}},
	{name: "Once forgets that clocks differ", test: "manager TestOnceKeepsTheLockForTheSlowestClock", edits: []edit{
		{"manager/once.go", "begin.Add(period + m.config.clockSkew)", "begin.Add(period)"}}},
	{name: "all periods of Once have one lock", test: "manager TestOnceInAPeriod", edits: []edit{
		{"manager/once.go", " + \"@\" + begin.UTC().Format(time.RFC3339Nano)", ""}}},
	{name: "Once waits for the one that runs", test: "manager TestOnceInAPeriod", edits: []edit{
		{"manager/once.go", "actor.Terms{Try: true, ", "actor.Terms{"}}},
}
