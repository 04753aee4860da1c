package main

// ofObserver are bugs in what observers are told.
var ofObserver = []mutant{
	{name: "the observer is not told of the end of a hold", test: "manager TestObserverIsToldOfEachAcquisitionAndEachEnd", edits: []edit{
		{"manager/lock.go", "\t\tl.observedEnd(cause)\n", ""}}},
	{name: "a lost set is told as released", test: "manager TestObserverIsToldOfALostSet", edits: []edit{
		{"manager/observe.go", "\t\tcause = *lost\n", "\t\t_ = lost\n"}}},
	{name: "an observer that blocks is waited for", test: "manager TestObserverThatBlocksHoldsNobodyUp", edits: []edit{
		{"manager/aside.go", "\tselect {\n\tcase a.work <- f:\n\tdefault:\n\t\ta.dropped.Add(1)\n\t}\n", "\ta.work <- f\n"}}},
	{name: "a function of the observer's that panics ends its goroutine", test: "manager TestObserverThatFailsIsCounted", edits: []edit{
		{"manager/aside.go", "\t\t// Joined by stop, as before.\n\t\tgo a.run()\n", "\t\tclose(a.done)\n"}}},
	{name: "an event is allocated without an observer", test: "manager TestWithoutAnObserverNothingIsSpent", edits: []edit{
		{"manager/observe.go", "\tobserved := a // a copy: without an observer nothing is allocated\n" +
			"\tobserved.About, observed.Begin = o.observer.Begin(ctx), time.Now()\n\treturn &observed\n",
			"\ta.About, a.Begin = o.observer.Begin(ctx), time.Now()\n\treturn &a\n"}}},
}

// ofTelemetry are bugs in what OpenTelemetry and Prometheus are told.
var ofTelemetry = []mutant{
	{name: "an error's text is shown with its key", test: "otel TestKeysAreNotShown", edits: []edit{
		{"otel/observer.go", "status) // the error's text has the key", "a.Err.Error())"}}},
	{name: "keys are shown without WithKeyOnSpans", test: "otel TestKeysAreNotShown", edits: []edit{
		{"otel/observer.go", "\tif o.config.keys {\n", "\tif a.Key != \"\" {\n"}}},
	{name: "the number of key classes has no bound", test: "otel TestClassesAreBounded", edits: []edit{
		{"otel/class.go", "const maxClasses = 100", "const maxClasses = 1000"}}},
	{name: "a hold has no link", test: "otel TestSpansOfAnAcquisitionAndItsHold", edits: []edit{
		{"otel/observer.go", "\t\ta.Hold.Data = span.SpanContext()\n", "\t\ta.Hold.Data = nil\n"}}},
	{name: "a span begins when the observer is called", test: "otel TestSpanOfALoss", edits: []edit{
		{"otel/observer.go", "trace.WithTimestamp(h.Begin), ", ""}}},
	{name: "\"not acquired\" counts as a failure", test: "otel TestSpansOfFailures", edits: []edit{
		{"otel/reason.go", "return reason != \"not_acquired\" && ", "return "}}},
	{name: "a failed attempt names the reason of a cancellation", test: "otel TestReason", edits: []edit{
		{"otel/reason.go", "\t\terr = acquire.Reason\n", "\t\t_ = acquire.Reason\n"}}},
	{name: "the first loss is a new series for OpenTelemetry", test: "otel TestLossesByCause", edits: []edit{
		{"otel/watch.go", "\t\tall[strings.ReplaceAll(cause, \" \", \"_\")] = s.Losses[cause]\n", "\t\tif n := s.Losses[cause]; n > 0 {\n\t\t\tall[strings.ReplaceAll(cause, \" \", \"_\")] = n\n\t\t}\n"}}},
	{name: "the first loss is a new series for Prometheus", test: "prom TestLossesByCause", edits: []edit{
		{"prom/collector.go", "\t\tall[strings.ReplaceAll(cause, \" \", \"_\")] = s.Losses[cause]\n", "\t\tif n := s.Losses[cause]; n > 0 {\n\t\t\tall[strings.ReplaceAll(cause, \" \", \"_\")] = n\n\t\t}\n"}}},
	{name: "buckets are off by one", test: "prom TestHistograms", edits: []edit{
		{"prom/collector.go", "upTo[bound.Seconds()] = b.Counts[i]", "upTo[bound.Seconds()] = b.Counts[max(i-1, 0)]"}}},
	{name: "a key that is no UTF-8 ends the program at a scrape", test: "prom TestAnyKeyMayBeWatchedForItsLeader", edits: []edit{
		{"prom/collector.go", "strings.ToValidUTF8(key, \"\\ufffd\")", "strings.Clone(key)"}}},
	{name: "a key that is no UTF-8 is an attribute", test: "otel TestAttributesAreText", edits: []edit{
		{"otel/class.go", "return strings.ToValidUTF8(text, \"\\ufffd\")", "return strings.Clone(text)"}}},
	{name: "of several managers the last tells whether one leads", test: "otel TestSeveralManagers", edits: []edit{
		{"otel/watch.go", "{\"lockkeeper.leader\", \"{leader}\", sum", "{\"lockkeeper.leader\", \"{leader}\", gauge"}}},
}
