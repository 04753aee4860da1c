package summary

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
)

// text is a report in words.
type text struct {
	strings.Builder
	report.Style
}

func (t *text) put(format string, args ...any) { fmt.Fprintf(t, format, args...) }

func (t *text) line(label, format string, args ...any) {
	t.put("  %s %s\n", t.Faint(fmt.Sprintf("%-10s", label)), report.Wrap(13, fmt.Sprintf(format, args...)))
}

func (t *text) bad(n int, what string) string {
	if n > 0 {
		return t.Bad(fmt.Sprintf("%d %s", n, what))
	}
	return fmt.Sprintf("%d %s", n, what)
}

// Text writes the report in words.
func (r *Report) Text(w io.Writer, style report.Style) error {
	t := &text{Style: style}
	t.put("\n%s on %s, %.1f s, seed %d\n%s\n\n", t.Bold("demo chaos"), r.Server, r.Seconds, r.Seed, t.Faint(report.Wrap(0, r.settings())))
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

func (r *Report) headline(t *text) {
	say := func(format string, args ...any) { t.put("  %s\n", report.Wrap(2, fmt.Sprintf(format, args...))) }
	switch {
	case r.Violations > 0:
		t.put("%s  %s\n", t.Bad("VIOLATED"), report.Of(r.Violations, "violation"))
		for _, v := range r.Found[:min(len(r.Found), 10)] {
			say("%s, key %d, at %.3f s: %s", v.Kind, v.Key, v.At.Seconds(), v.Text)
		}
		if r.Lie {
			say("That was to be expected: workers pretended to hold locks.")
		}
	case r.Grants == 0 || len(r.Problems) > 0:
		t.put("%s\n", t.Bad("NOT SHOWN"))
	case len(r.FalseLosses)+len(r.LateLosses) > 0:
		t.put("%s  %s checked, no lock was held twice.\n", t.Bad("LOSSES"), report.Of(r.Checked, "hold"))
		say("%d losses that no fault explains, %d told too late: see below.", len(r.FalseLosses), len(r.LateLosses))
	default:
		t.put("%s  %s checked, 0 violations.\n", t.Good("HELD"), report.Of(r.Checked, "hold"))
		say("The history is that of a lock for each key (Porcupine, %s); no two holders believed in one lock at one time, but "+
			"where the server itself had ended a session; every loss was told within its bound.", report.Of(r.Windows, "window"))
	}
	t.put("\n")
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

func (r *Report) operations(t *text) {
	o := &r.Operations
	t.line("operations", "%s, %s per second", report.Count(o.All), report.Count(int(float64(o.All)/max(r.Seconds, 0.001))))
	t.line("acquire", "%s", outcomes(o.Acquire))
	t.line("try", "%s", outcomes(o.Try))
	t.line("release", "%s", outcomes(o.Release))
	t.line("write", "%s; stale ones of holders whose hold had ended: %d", outcomes(o.Write), r.StaleWrites)
	t.line("killed", "%s of killed processes", report.Of(r.Killed, "hold"))
	t.line("restarts", "%d of keepers that panicked", r.KeeperRestarts)
}

func (t Times) String() string {
	if t.Count == 0 {
		return "-"
	}
	return fmt.Sprintf("%s / %s / %s", span(t.P50), span(t.P99), span(t.Max))
}

func span(ms float64) string { return report.Span(time.Duration(ms * float64(time.Millisecond))) }

func (r *Report) faults(t *text) {
	t.put("\n%s\n", t.Bold("Faults, and how fast losses were told (p50 / p99 / max)"))
	t.put("  %s\n", t.Faint(fmt.Sprintf("%-22s %5s %7s %7s %-27s %s", "kind", "made", "holders", "losses", "told after", "overlaps")))
	for _, f := range r.Faults {
		made, overlaps := fmt.Sprint(f.Done), fmt.Sprint(f.Overlaps)
		if f.Failed > 0 {
			made += fmt.Sprintf("+%d", f.Failed)
		}
		if f.Overlaps > 0 {
			overlaps += ", max " + span(f.Overlap.Max)
		}
		t.put("  %-22s %5s %7s %7s %-27s %s\n", f.Kind, made, report.Count(f.Hit), report.Count(f.Losses), f.Told, overlaps)
	}
	for _, f := range r.Schedule {
		if f.Failed != "" {
			t.put("  %s %d (%s): %s\n", t.Bad("could not be made:"), f.N, f.Kind, f.Failed)
		}
	}
}

func (r *Report) losses(t *text) {
	t.put("\n%s\n", t.Bold("Losses told"))
	t.line("losses", "%s: %s", report.Count(r.Losses), outcomes(r.ByCause))
	bound := report.Span(r.Trust)
	t.line("by server", "%s after the server began to end sessions (p50 / p99 / max), at most %s allowed", r.ToldServer, bound)
	t.line("silence", "%s after a silence began, at most %s allowed", r.ToldSilence, bound)
	t.line("waking", "%s after a frozen process was woken", r.ToldWake)
	t.line("false", "%s", t.bad(len(r.FalseLosses), "losses that no fault explains"))
	if r.Stalls > 0 || r.StallLosses > 0 {
		t.line("stalls", "%s when nothing was broken and the machine was busy elsewhere, the longest %s; %s come of them",
			report.Of(r.Stalls, "time"), report.Span(r.LongestStall), report.Of(r.StallLosses, "loss"))
	}
	t.line("late", "%s", t.bad(len(r.LateLosses), "losses told later than that"))
	all := slices.Concat(r.FalseLosses, r.LateLosses)
	for _, l := range all[:min(len(all), 6)] {
		t.line("", "process %d, key %d, at %.3f s: %s; fault %d, %v after it", l.Process, l.Key, l.At.Seconds(), l.Cause, l.Fault, l.After)
	}
	t.line("overlaps", "%s where the server had ended the first holder's session, for %s", report.Count(r.Overlaps), r.OverlapMS)
}

// failureKinds returns the texts of the failures, the most frequent first.
func (r *Report) failureKinds() []string {
	return slices.SortedFunc(maps.Keys(r.Failures), func(x, y string) int { return r.Failures[y] - r.Failures[x] })
}

func (r *Report) rest(t *text) {
	if len(r.Failures) > 0 {
		t.put("\n%s\n", t.Bold("What acquisitions and releases failed with"))
		kinds := r.failureKinds()
		for _, kind := range kinds[:min(len(kinds), 12)] {
			t.put("  %6s  %s\n", report.Count(r.Failures[kind]), report.Wrap(10, kind))
		}
	}
	if r.Flat != nil {
		t.put("\n%s\n", t.Bold("What the worker processes use"))
		for _, words := range r.Flat.Words {
			t.put("  %s\n", words)
		}
	}
	heading := t.Good("NOTHING LEFT BEHIND")
	if r.Leaks() > 0 {
		heading = t.Bad("LEFT BEHIND")
	}
	t.put("\n%s  server locks %d · connections %d · goroutines %d\n", heading, r.Leaked.ServerLocks, r.Leaked.Connections, r.Leaked.Goroutines)
	if r.Stacks != "" {
		t.put("\nGoroutines of one process that has more of them than before:\n%s\n", r.Stacks)
	}
	for _, problem := range r.Problems {
		t.put("\n%s  %s\n", t.Bad("PROBLEM"), strings.ReplaceAll(strings.TrimSpace(problem), "\n", "\n    "))
	}
}
