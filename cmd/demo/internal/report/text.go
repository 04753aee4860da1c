package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/wire"
)

// fairEnough is the index that the library promises for a contended key.
const fairEnough = 0.95

// Text writes the last screen.
func (l *Load) Text(w io.Writer, style Style) error {
	var b strings.Builder
	server := l.Server
	if l.Detail.Throwaway {
		server += ", throwaway"
	}
	fmt.Fprintf(&b, "\n%s on %s, %.1f s\n%s\n\n", style.Bold("demo load"), server, l.Seconds, style.Faint(l.settings()))
	l.exclusion(&b, style)
	l.figures(&b, style)
	l.failures(&b, style)
	l.leftovers(&b, style)
	for _, problem := range l.Detail.Problems {
		fmt.Fprintf(&b, "\n%s  %s\n", style.Bad("PROBLEM"), indent(problem))
	}
	if l.Detail.Interrupted {
		fmt.Fprintf(&b, "\nInterrupted: the figures are those up to then.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (l *Load) settings() string {
	parts := []string{
		fmt.Sprintf("%s x %s", Of(l.Processes, "process"), Of(l.Workers, "worker")),
		fmt.Sprintf("%s, %s", Of(l.Keys, "key"), l.Detail.Skew),
		fmt.Sprintf("hold %v", l.Detail.Hold),
	}
	if l.Detail.Cancel > 0 {
		parts = append(parts, fmt.Sprintf("cancel %v", l.Detail.Cancel))
	}
	if l.Detail.NoLocks {
		parts = append(parts, "NO LOCKS")
	}
	return strings.Join(parts, " · ")
}

// exclusion is the verdict in words.
func (l *Load) exclusion(b *strings.Builder, style Style) {
	v := l.Detail.Verdict
	say := func(format string, args ...any) {
		fmt.Fprintf(b, "  %s\n", Wrap(2, fmt.Sprintf(format, args...)))
	}
	switch {
	case l.Violations > 0:
		fmt.Fprintf(b, "%s  %s on %d of %s.\n", style.Bad("EXCLUSION VIOLATED"), Of(l.Violations, "violation"), v.BadKeys, Of(v.Keys, "key"))
		l.violations(say)
	case !l.judged():
		fmt.Fprintf(b, "%s\n", style.Bad("EXCLUSION NOT SHOWN"))
		say("The run did not get as far as comparing the counters.")
	case l.Acquired == 0:
		fmt.Fprintf(b, "%s\n", style.Bad("EXCLUSION NOT SHOWN"))
		say("Not one acquisition was granted, so nothing was put to the test.")
	default:
		fmt.Fprintf(b, "%s  %s, 0 violations.\n", style.Good("EXCLUSION PROVEN"), Of(l.Acquired, "acquisition"))
		say("Each holder did an unguarded read-modify-write on its key's row. The %s to %s: every counter equals its grants, "+
			"not one update was lost, and no two live holders met.", counters(v.Keys), Count(v.Counted))
	}
	if v.Resolved > 0 {
		say("%s whose answer never came turned out to have arrived, and is counted.", Of(v.Resolved, "write"))
	}
	if n := l.Detail.AfterLoss; n > 0 {
		how := ""
		if l.Detail.SlowestNews > 0 {
			how = ", which took up to " + Span(l.Detail.SlowestNews)
		}
		say("%s met another one because a session had ended and its holder had yet to hear of it%s.", Of(n, "holder"), how)
	}
	b.WriteByte('\n')
}

// violations says what the two detectors saw.
func (l *Load) violations(say func(string, ...any)) {
	v := l.Detail.Verdict
	if v.Complete {
		say("The counters should add up to %s and add up to %s: %s swallowed.",
			Count(v.Grants+v.Resolved), Count(v.Counted), Of(v.LostUpdates, "update"))
	}
	say("Writes whose value was stale when they arrived: %s.", Count(v.Torn))
	say("Holders that met another one, and neither's lock was lost: %s.", Count(v.Overlaps))
	if v.Misfits > 0 {
		say("Writes that are missing, or that no holder made: %s.", Count(v.Misfits))
	}
	if v.Explained > 0 {
		say("%s of the violations are on keys where a holder wrote while its lock was being lost: the server had ended its "+
			"session. Sessions alone cannot close that gap; a fencing token can.", Count(v.Explained))
	}
	if l.Detail.NoLocks {
		say("That was to be expected: --no-locks let everybody in.")
	}
}

func counters(keys int) string {
	if keys == 1 {
		return "counter comes"
	}
	return Of(keys, "counter") + " add up"
}

func (l *Load) judged() bool { return l.Detail.Verdict.Complete }

// figures are a line each, the label in front.
func (l *Load) figures(b *strings.Builder, style Style) {
	line := func(label, format string, args ...any) {
		fmt.Fprintf(b, "  %s %s\n", style.Faint(fmt.Sprintf("%-10s", label)), Wrap(13, fmt.Sprintf(format, args...)))
	}
	line("acquired", "%s, %s per second", Count(l.Acquired), Count(uint64(l.AcquiredPerSecond)))
	if l.Detail.GrantsLocal+l.Detail.GrantsServer > 0 && !l.Detail.NoLocks {
		local := 100 * float64(l.Detail.GrantsLocal) / float64(l.Detail.GrantsLocal+l.Detail.GrantsServer)
		line("granted", "%.1f %% handed on within a process, %.1f %% by the server", local, 100-local)
	}
	if l.Detail.Cancel > 0 {
		line("cancelled", "%s on the way; %s more were granted first and released by it", Count(l.Cancelled), Count(l.Detail.CutShort))
	} else {
		line("cancelled", "%s", Count(l.Cancelled))
	}
	line("withdrawn", "%s still waiting at the end", Count(l.Detail.Withdrawn))
	line("failed", "%s", l.warn(style, l.Failed))
	line("lost", "%s", l.warn(style, l.Lost))
	w := l.WaitMS
	line("wait", "p50 %s, p90 %s, p99 %s, p99.9 %s, max %s", millis(w.P50), millis(w.P90), millis(w.P99), millis(w.P999), millis(w.Max))
	line("fairness", "%s", l.fairness())
	line("sessions", "%s for locks at most, for %s", Count(l.Sessions), Of(l.Processes*l.Workers, "worker"))
}

func (l *Load) warn(style Style, n uint64) string {
	if n == 0 {
		return "0"
	}
	return style.Bad(Count(n))
}

func (l *Load) fairness() string {
	if l.Acquired == 0 {
		return "nothing was shared out"
	}
	if len(l.Detail.PerProcess) == 1 {
		return "one process has it all to itself"
	}
	word := "even"
	if l.FairnessJain < fairEnough {
		word = "UNEVEN"
	}
	least, most := slices.Min(l.Detail.PerProcess), slices.Max(l.Detail.PerProcess)
	return fmt.Sprintf("%.4f (Jain), %s: %s to %s per process", l.FairnessJain, word, Count(least), Count(most))
}

// failures lists what went wrong, the commonest first, with the first error of each kind.
func (l *Load) failures(b *strings.Builder, style Style) {
	if len(l.Detail.Reasons) == 0 {
		return
	}
	slices.SortFunc(l.Detail.Reasons, func(x, y wire.Reason) int { return cmp.Compare(y.Count, x.Count) })
	fmt.Fprintf(b, "\n%s\n", style.Bold("Why acquisitions failed"))
	for _, r := range l.Detail.Reasons {
		fmt.Fprintf(b, "  %s x %s\n    for example: %s\n", Count(r.Count), indent(r.Kind), indent(r.First))
	}
}

func (l *Load) leftovers(b *strings.Builder, style Style) {
	leaked := l.Leaked
	heading := style.Good("NOTHING LEFT BEHIND")
	switch {
	case l.leaks() > 0:
		heading = style.Bad("LEFT BEHIND")
	case !l.judged():
		heading = style.Bad("LEFT BEHIND, AS FAR AS SEEN")
	}
	fmt.Fprintf(b, "\n%s  server locks %d · connections %d · goroutines %d\n", heading, leaked.ServerLocks, leaked.Connections, leaked.Goroutines)
	if l.Detail.Stacks != "" {
		fmt.Fprintf(b, "\nGoroutines of one process that has more of them than before:\n%s\n", l.Detail.Stacks)
	}
}

// indent keeps a text of several lines under its first.
func indent(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") }
