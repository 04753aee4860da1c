package summary

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
)

func bad(t *report.Text, n int, what string) string {
	if n > 0 {
		return t.Bad(fmt.Sprintf("%d %s", n, what))
	}
	return fmt.Sprintf("%d %s", n, what)
}

// Text writes the report in words.
func (r *Report) Text(w io.Writer, style report.Style) error {
	t := &report.Text{Style: style}
	t.Printf("\n%s on %s, %.1f s, seed %d\n%s\n\n", t.Bold("demo chaos"), r.Server, r.Seconds, r.Seed, t.Faint(report.Wrap(0, r.settings())))
	r.headline(t)
	r.operations(t)
	r.faults(t)
	r.losses(t)
	r.rest(t)
	_, err := io.WriteString(w, t.String())
	return err
}

func (r *Report) settings() string {
	text := fmt.Sprintf("%s x %s · %s · health %v + %v: trust %v · session timeout %v", report.Of(r.Processes, "process"),
		report.Of(r.Workers, "worker"), report.Of(r.Keys, "key"), r.Interval, r.Timeout, r.Trust, r.Session)
	if len(r.Uses) < len(plan.Uses) {
		text += fmt.Sprintf(" · kinds of locks %v", r.Uses)
	}
	if r.Wait != plan.Mixed {
		text += " · waits by " + r.Wait
	}
	if r.Pooler != "" {
		text += " · behind PgBouncer, pool_mode " + r.Pooler
	}
	if r.Without != "" {
		text += " · faults of the network left out: " + r.Without
	}
	if r.Lie {
		text += " · WORKERS LIE"
	}
	if r.Interrupted {
		text += " · interrupted"
	}
	return text
}

func (r *Report) headline(t *report.Text) {
	switch {
	case r.Violations > 0:
		t.Printf("%s  %s\n", t.Bad("VIOLATED"), report.Of(r.Violations, "violation"))
		for _, v := range r.Found[:min(len(r.Found), 10)] {
			t.Say("%s, key %d, at %.3f s: %s", v.Kind, v.Key, v.At.Seconds(), v.Text)
		}
		if r.Lie {
			t.Say("That was to be expected: workers pretended to hold locks.")
		}
	case r.Grants == 0 || len(r.Problems) > 0:
		t.Printf("%s\n", t.Bad("NOT SHOWN"))
	case len(r.FalseLosses)+len(r.LateLosses) > 0:
		t.Printf("%s  %s checked, no lock was held twice.\n", t.Bad("LOSSES"), report.Of(r.Checked, "hold"))
		t.Say("%d losses that no fault explains, %d told too late: see below.", len(r.FalseLosses), len(r.LateLosses))
	default:
		t.Printf("%s  %s checked, 0 violations.\n", t.Good("HELD"), report.Of(r.Checked, "hold"))
		t.Say("The history is that of a lock, exclusive or shared, for each key (Porcupine, %s); no holders who exclude each other believed in one lock at one time, but "+
			"where the server itself had ended a session; every loss was told within its bound.", report.Of(r.Windows, "window"))
	}
	t.Printf("\n")
}

func outcomes(counts map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, report.Count(counts[name])+" "+name)
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, " · ")
}

func (r *Report) operations(t *report.Text) {
	o := &r.Operations
	t.Line("operations", "%s, %s per second", report.Count(o.All), report.Count(int(float64(o.All)/max(r.Seconds, 0.001))))
	t.Line("holds", "%s", outcomes(o.Grants))
	if r.Runs > 0 {
		t.Line("once", "%s that ran in their period, and %s again after a fault that may have freed the first one's lock",
			report.Of(r.Runs, "job"), report.Count(r.RunsAgain))
	}
	t.Line("acquire", "%s", outcomes(o.Acquire))
	t.Line("try", "%s", outcomes(o.Try))
	t.Line("release", "%s", outcomes(o.Release))
	t.Line("write", "%s; stale ones of holders whose hold had ended: %d", outcomes(o.Write), r.StaleWrites)
	t.Line("killed", "%s of killed processes", report.Of(r.Killed, "hold"))
	t.Line("restarts", "%d of keepers that panicked", r.KeeperRestarts)
}

func (t Times) String() string {
	if t.Count == 0 {
		return "-"
	}
	return fmt.Sprintf("%s / %s / %s", report.Millis(t.P50), report.Millis(t.P99), report.Millis(t.Max))
}

func (r *Report) faults(t *report.Text) {
	t.Printf("\n%s\n", t.Bold("Faults, and how fast losses were told (p50 / p99 / max)"))
	t.Printf("  %s\n", t.Faint(fmt.Sprintf("%-22s %5s %7s %7s %-27s %s", "kind", "made", "holders", "losses", "told after", "overlaps")))
	for _, f := range r.Faults {
		made, overlaps := fmt.Sprint(f.Done), fmt.Sprint(f.Overlaps)
		if f.Failed > 0 {
			made += fmt.Sprintf("+%d", f.Failed)
		}
		if f.Overlaps > 0 {
			overlaps += ", max " + report.Millis(f.Overlap.Max)
		}
		t.Printf("  %-22s %5s %7s %7s %-27s %s\n", f.Kind, made, report.Count(f.Hit), report.Count(f.Losses), f.Told, overlaps)
	}
	for _, f := range r.Schedule {
		if f.Failed != "" {
			t.Printf("  %s %d (%s): %s\n", t.Bad("could not be made:"), f.N, f.Kind, f.Failed)
		}
	}
}

func (r *Report) losses(t *report.Text) {
	t.Printf("\n%s\n", t.Bold("Losses told"))
	t.Line("losses", "%s: %s", report.Count(r.Losses), outcomes(r.ByCause))
	bound := report.Span(r.Trust)
	t.Line("by server", "%s after the server began to end sessions (p50 / p99 / max), at most %s allowed", r.ToldServer, bound)
	t.Line("silence", "%s after a silence began, at most %s allowed", r.ToldSilence, bound)
	t.Line("waking", "%s after a frozen process was woken", r.ToldWake)
	t.Line("false", "%s", bad(t, len(r.FalseLosses), "losses that no fault explains"))
	if r.Stalls > 0 || r.StallLosses > 0 {
		t.Line("stalls", "%s when nothing was broken and the machine was busy elsewhere, the longest %s; %s come of them",
			report.Of(r.Stalls, "time"), report.Span(r.LongestStall), report.Of(r.StallLosses, "loss"))
	}
	t.Line("late", "%s", bad(t, len(r.LateLosses), "losses told later than that"))
	all := slices.Concat(r.FalseLosses, r.LateLosses)
	for _, l := range all[:min(len(all), 6)] {
		t.Line("", "process %d, key %d, at %.3f s: %s; fault %d, %v after it", l.Process, l.Key, l.At.Seconds(), l.Cause, l.Fault, l.After)
	}
	t.Line("overlaps", "%s where the server had ended the first holder's session, for %s", report.Count(r.Overlaps), r.OverlapMS)
}

// failureKinds returns the texts of the failures, the most frequent first.
func (r *Report) failureKinds() []string {
	return slices.SortedFunc(maps.Keys(r.Failures), func(x, y string) int { return r.Failures[y] - r.Failures[x] })
}

func (r *Report) rest(t *report.Text) {
	if len(r.Failures) > 0 {
		t.Printf("\n%s\n", t.Bold("What acquisitions and releases failed with"))
		kinds := r.failureKinds()
		for _, kind := range kinds[:min(len(kinds), 12)] {
			t.Printf("  %6s  %s\n", report.Count(r.Failures[kind]), report.Wrap(10, kind))
		}
	}
	if r.Flat != nil {
		t.Printf("\n%s\n", t.Bold("What the worker processes use"))
		for _, words := range r.Flat.Words {
			t.Printf("  %s\n", words)
		}
	}
	heading := t.Good("NOTHING LEFT BEHIND")
	if r.Leaks() > 0 {
		heading = t.Bad("LEFT BEHIND")
	}
	t.Printf("\n%s  %s\n", heading, r.Leaked)
	if r.Stacks != "" {
		t.Printf("\nGoroutines of one process that has more of them than before:\n%s\n", r.Stacks)
	}
	for _, problem := range r.Problems {
		t.Printf("\n%s  %s\n", t.Bad("PROBLEM"), strings.ReplaceAll(strings.TrimSpace(problem), "\n", "\n    "))
	}
}
