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

// Text writes the report in words.
func (r *Report) Text(w io.Writer, style report.Style) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s on %s, %.1f s, seed %d\n%s\n\n", style.Bold("demo chaos"), r.Server, r.Seconds, r.Seed, style.Faint(report.Wrap(0, r.settings())))
	r.headline(&b, style)
	r.operations(&b, style)
	r.faults(&b, style)
	r.losses(&b, style)
	r.rest(&b, style)
	_, err := io.WriteString(w, b.String())
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

func (r *Report) headline(b *strings.Builder, style report.Style) {
	say := func(format string, args ...any) {
		fmt.Fprintf(b, "  %s\n", report.Wrap(2, fmt.Sprintf(format, args...)))
	}
	switch {
	case r.Violations > 0:
		fmt.Fprintf(b, "%s  %s\n", style.Bad("VIOLATED"), report.Of(r.Violations, "violation"))
		for _, v := range r.Found[:min(len(r.Found), 10)] {
			say("%s, key %d, at %.3f s: %s", v.Kind, v.Key, v.At.Seconds(), v.Text)
		}
		if r.Lie {
			say("That was to be expected: workers pretended to hold locks.")
		}
	case r.Grants == 0 || len(r.Problems) > 0:
		fmt.Fprintf(b, "%s\n", style.Bad("NOT SHOWN"))
	case len(r.FalseLosses)+len(r.LateLosses) > 0:
		fmt.Fprintf(b, "%s  %s checked, no lock was held twice.\n", style.Bad("LOSSES"), report.Of(r.Checked, "hold"))
		say("%d losses that no fault explains, %d told too late: see below.", len(r.FalseLosses), len(r.LateLosses))
	default:
		fmt.Fprintf(b, "%s  %s checked, 0 violations.\n", style.Good("HELD"), report.Of(r.Checked, "hold"))
		say("The history is that of a lock for each key (Porcupine, %s); no two holders believed in one lock at one time, but "+
			"where the server itself had ended a session; every loss was told within its bound.", report.Of(r.Windows, "window"))
	}
	b.WriteByte('\n')
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

func (r *Report) line(b *strings.Builder, style report.Style, label, format string, args ...any) {
	fmt.Fprintf(b, "  %s %s\n", style.Faint(fmt.Sprintf("%-10s", label)), report.Wrap(13, fmt.Sprintf(format, args...)))
}

func (r *Report) operations(b *strings.Builder, style report.Style) {
	o := &r.Operations
	r.line(b, style, "operations", "%s, %s per second", report.Count(o.All), report.Count(int(float64(o.All)/max(r.Seconds, 0.001))))
	r.line(b, style, "acquire", "%s", outcomes(o.Acquire))
	r.line(b, style, "try", "%s", outcomes(o.Try))
	r.line(b, style, "release", "%s", outcomes(o.Release))
	r.line(b, style, "write", "%s; stale ones of holders whose hold had ended: %d", outcomes(o.Write), r.StaleWrites)
	r.line(b, style, "killed", "%s of killed processes", report.Of(r.Killed, "hold"))
	r.line(b, style, "restarts", "%d of keepers that panicked", r.KeeperRestarts)
}

func (t Times) String() string {
	if t.Count == 0 {
		return "-"
	}
	return fmt.Sprintf("%s / %s / %s", span(t.P50), span(t.P99), span(t.Max))
}

func span(ms float64) string { return report.Span(time.Duration(ms * float64(time.Millisecond))) }

func (r *Report) faults(b *strings.Builder, style report.Style) {
	fmt.Fprintf(b, "\n%s\n", style.Bold("Faults, and how fast losses were told (p50 / p99 / max)"))
	fmt.Fprintf(b, "  %s\n", style.Faint(fmt.Sprintf("%-22s %5s %7s %-27s %8s", "kind", "made", "losses", "told after", "overlaps")))
	for _, f := range r.Faults {
		made := fmt.Sprint(f.Done)
		if f.Failed > 0 {
			made += fmt.Sprintf("+%d", f.Failed)
		}
		overlaps := fmt.Sprint(f.Overlaps)
		if f.Overlaps > 0 {
			overlaps += ", max " + span(f.Overlap.Max)
		}
		fmt.Fprintf(b, "  %-22s %5s %7s %-27s %8s\n", f.Kind, made, report.Count(f.Losses), f.Told, overlaps)
	}
	for _, f := range r.Schedule {
		if f.Failed != "" {
			fmt.Fprintf(b, "  %s %d (%s): %s\n", style.Bad("could not be made:"), f.N, f.Kind, f.Failed)
		}
	}
}

func (r *Report) losses(b *strings.Builder, style report.Style) {
	fmt.Fprintf(b, "\n%s\n", style.Bold("Losses told"))
	r.line(b, style, "losses", "%s: %s", report.Count(r.Losses), outcomes(r.ByCause))
	bound := report.Span(r.Trust)
	r.line(b, style, "by server", "%s after the server began to end sessions (p50 / p99 / max), at most %s allowed", r.ToldServer, bound)
	r.line(b, style, "silence", "%s after a silence began, at most %s allowed", r.ToldSilence, bound)
	r.line(b, style, "waking", "%s after a frozen process was woken", r.ToldWake)
	r.line(b, style, "false", "%s", bad(style, len(r.FalseLosses), "losses that no fault explains"))
	if r.Stalls > 0 || r.StallLosses > 0 {
		r.line(b, style, "stalls", "%s when nothing was broken and the machine was busy elsewhere, the longest %s; %s come of them",
			report.Of(r.Stalls, "time"), report.Span(r.LongestStall), report.Of(r.StallLosses, "loss"))
	}
	r.line(b, style, "late", "%s", bad(style, len(r.LateLosses), "losses told later than that"))
	for _, l := range append(slices.Clone(r.FalseLosses), r.LateLosses...)[:min(len(r.FalseLosses)+len(r.LateLosses), 6)] {
		r.line(b, style, "", "process %d, key %d, at %.3f s: %s; fault %d, %v after it", l.Process, l.Key, l.At.Seconds(), l.Cause, l.Fault, l.After)
	}
	r.line(b, style, "overlaps", "%s where the server had ended the first holder's session, for %s", report.Count(r.Overlaps), r.OverlapMS)
}

func bad(style report.Style, n int, what string) string {
	text := fmt.Sprintf("%d %s", n, what)
	if n > 0 {
		return style.Bad(text)
	}
	return text
}

func (r *Report) rest(b *strings.Builder, style report.Style) {
	if len(r.Failures) > 0 {
		fmt.Fprintf(b, "\n%s\n", style.Bold("What acquisitions and releases failed with"))
		kinds := slices.SortedFunc(maps.Keys(r.Failures), func(x, y string) int { return r.Failures[y] - r.Failures[x] })
		for _, kind := range kinds[:min(len(kinds), 12)] {
			fmt.Fprintf(b, "  %6s  %s\n", report.Count(r.Failures[kind]), report.Wrap(10, kind))
		}
	}
	if r.Flat != nil {
		fmt.Fprintf(b, "\n%s\n", style.Bold("What the worker processes use"))
		for _, words := range r.Flat.Words {
			fmt.Fprintf(b, "  %s\n", words)
		}
	}
	heading := style.Good("NOTHING LEFT BEHIND")
	if r.Leaks() > 0 {
		heading = style.Bad("LEFT BEHIND")
	}
	fmt.Fprintf(b, "\n%s  server locks %d · connections %d · goroutines %d\n", heading, r.Leaked.ServerLocks, r.Leaked.Connections, r.Leaked.Goroutines)
	if r.Stacks != "" {
		fmt.Fprintf(b, "\nGoroutines of one process that has more of them than before:\n%s\n", r.Stacks)
	}
	for _, problem := range r.Problems {
		fmt.Fprintf(b, "\n%s  %s\n", style.Bad("PROBLEM"), strings.ReplaceAll(strings.TrimSpace(problem), "\n", "\n    "))
	}
}
