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
	{name: "an event is allocated without an observer", test: "manager TestWithoutAnObserverNothingIsSpent", edits: []edit{
		{"manager/observe.go", "\tobserved := a // a copy: without an observer nothing is allocated\n" +
			"\tobserved.About, observed.Begin = o.observer.Begin(ctx), time.Now()\n\treturn &observed\n",
			"\ta.About, a.Begin = o.observer.Begin(ctx), time.Now()\n\treturn &a\n"}}},
}

// ofTelemetry are bugs in what OpenTelemetry and Prometheus are told.
var ofTelemetry = []mutant{
	{name: "an error's text is shown with its key", test: "otel TestKeysAreNotShown", edits: []edit{
		{"otel/observer.go", "status) // the error's text has the key", "a.Err.Error())"}}},
	{name: "keys are shown unasked", test: "otel TestKeysAreNotShown", edits: []edit{
		{"otel/observer.go", "\tif o.config.keys {\n", "\tif a.Key != \"\" {\n"}}},
	{name: "key classes without end", test: "otel TestClassesAreBounded", edits: []edit{
		{"otel/class.go", "const maxClasses = 100", "const maxClasses = 1000"}}},
	{name: "a hold has no link", test: "otel TestSpansOfAnAcquisitionAndItsHold", edits: []edit{
		{"otel/observer.go", "\t\ta.Hold.Data = span.SpanContext()\n", "\t\ta.Hold.Data = nil\n"}}},
	{name: "a span begins when it is told", test: "otel TestSpanOfALoss", edits: []edit{
		{"otel/observer.go", "trace.WithTimestamp(h.Begin), ", ""}}},
	{name: "held by another is a failure", test: "otel TestSpansOfFailures", edits: []edit{
		{"otel/reason.go", "return reason != \"not_acquired\" && ", "return "}}},
	{name: "a failed attempt names the reason of a cancellation", test: "otel TestReason", edits: []edit{
		{"otel/reason.go", "\t\terr = acquire.Reason\n", "\t\t_ = acquire.Reason\n"}}},
	{name: "the first loss is a new series for OpenTelemetry", test: "otel TestLossesByCause", edits: []edit{
		{"otel/watch.go", "\t\tall[strings.ReplaceAll(cause, \" \", \"_\")] = s.Losses[cause]\n", "\t\tif n := s.Losses[cause]; n > 0 {\n\t\t\tall[strings.ReplaceAll(cause, \" \", \"_\")] = n\n\t\t}\n"}}},
	{name: "the first loss is a new series for Prometheus", test: "prom TestLossesByCause", edits: []edit{
		{"prom/collector.go", "\t\tall[strings.ReplaceAll(cause, \" \", \"_\")] = s.Losses[cause]\n", "\t\tif n := s.Losses[cause]; n > 0 {\n\t\t\tall[strings.ReplaceAll(cause, \" \", \"_\")] = n\n\t\t}\n"}}},
	{name: "buckets are off by one", test: "prom TestHistograms", edits: []edit{
		{"prom/collector.go", "upTo[bound.Seconds()] = b.Counts[i]", "upTo[bound.Seconds()] = b.Counts[max(i-1, 0)]"}}},
}
