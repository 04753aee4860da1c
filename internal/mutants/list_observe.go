package main

// ofObserver are bugs in what observers are told.
var ofObserver = []mutant{
	{name: "no end of a hold is told", test: "manager TestObserverIsToldOfEachAcquisitionAndEachEnd", edits: []edit{
		{"manager/lock.go", "\t\tl.observedEnd(cause)\n", ""}}},
	{name: "a lost set is told as released", test: "manager TestObserverIsToldOfALostSet", edits: []edit{
		{"manager/observe.go", "\t\tcause = *lost\n", "\t\t_ = lost\n"}}},
	{name: "an observer that blocks is waited for", test: "manager TestObserverThatBlocksHoldsNobodyUp", edits: []edit{
		{"manager/aside.go", "\tselect {\n\tcase a.work <- f:\n\tdefault:\n\t\ta.dropped.Add(1)\n\t}\n", "\ta.work <- f\n"}}},
	{name: "a function that fails ends the goroutine beside", test: "manager TestObserverThatFailsIsCounted", edits: []edit{
		{"manager/aside.go", "\t\t// Joined by stop, as before.\n\t\tgo a.run()\n", "\t\tclose(a.done)\n"}}},
}
