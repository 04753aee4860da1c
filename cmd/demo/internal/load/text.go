package load

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/worker"
)

// fairEnough is the index that the library promises for a contended key.
const fairEnough = 0.95

// Text writes the last screen.
func (r *Report) Text(w io.Writer, style report.Style) error {
	t := &report.Text{Style: style}
	name := r.Server
	if r.Throwaway {
		name += ", throwaway"
	}
	t.Printf("\n%s on %s, %.1f s\n%s\n\n", t.Bold("demo load"), name, r.Seconds, t.Faint(report.Wrap(0, r.settings())))
	r.exclusion(t)
	r.figures(t)
	r.failures(t)
	r.leftovers(t)
	for _, problem := range r.Problems {
		t.Printf("\n%s  %s\n", t.Bad("PROBLEM"), indent(problem))
	}
	if r.Interrupted {
		t.Printf("\nInterrupted: the figures are those up to then.\n")
	}
	_, err := io.WriteString(w, t.String())
	return err
}

func (r *Report) settings() string {
	parts := []string{
		fmt.Sprintf("%s x %s", report.Of(r.Processes, "process"), report.Of(r.Workers, "worker")),
		fmt.Sprintf("%s, %s", report.Of(r.Keys, "key"), r.Plan.Skew),
		fmt.Sprintf("hold %v", r.Plan.Hold),
	}
	if r.Plan.Cancel > 0 {
		parts = append(parts, fmt.Sprintf("cancel %v", r.Plan.Cancel))
	}
	if r.Plan.Readers > 0 {
		parts = append(parts, fmt.Sprintf("readers %v", r.Plan.Readers))
	}
	if r.Plan.NoLocks {
		parts = append(parts, "NO LOCKS")
	} else {
		parts = append(parts, "waits by "+r.Plan.Wait)
	}
	return strings.Join(parts, " · ")
}

// claim is the verdict in a few words and in a sentence.
func (r *Report) claim() (heading, detail string) {
	switch {
	case r.Violations > 0:
		return violated, fmt.Sprintf("%s on %d of %s.", report.Of(r.Violations, "violation"), r.Verdict.BadKeys, report.Of(r.Verdict.Keys, "key"))
	case !r.Verdict.Complete:
		return notShown, "The run did not get as far as comparing the counters."
	case r.Acquired == 0:
		return notShown, "Not one acquisition was granted, so nothing was put to the test."
	case r.untested():
		return notShown, "Only readers were granted a lock, and they exclude nobody."
	default:
		return proven, report.Of(r.Acquired, "acquisition") + ", 0 violations."
	}
}

const (
	violated = "EXCLUSION VIOLATED"
	notShown = "EXCLUSION NOT SHOWN"
	proven   = "EXCLUSION PROVEN"
)

// exclusion is the verdict in words.
func (r *Report) exclusion(t *report.Text) {
	v := r.Verdict
	switch heading, detail := r.claim(); heading {
	case violated:
		t.Printf("%s  %s\n", t.Bad(heading), detail)
		r.violations(t)
	case notShown:
		t.Printf("%s\n  %s\n", t.Bad(heading), detail)
	default:
		t.Printf("%s  %s\n", t.Good(heading), detail)
		holder := "holder"
		if r.Readers != nil {
			holder = "writer"
		}
		t.Say("Each "+holder+" did an unguarded read-modify-write on its key's row. The %s to %s: every counter equals its grants, "+
			"not one update was lost, and no two live holders met.", counters(v.Keys), report.Count(v.Counted))
		if r.Readers != nil {
			t.Say("Each reader read the counter at the beginning and at the end of its hold: it had not changed, and no writer was there.")
		}
	}
	if v.Resolved > 0 {
		t.Say("%s whose answer never came turned out to have arrived, and is counted.", report.Of(v.Resolved, "write"))
	}
	if n := r.Total.AfterLoss; n > 0 {
		how := ""
		if r.Total.SlowestNews > 0 {
			how = ", which took up to " + report.Span(r.Total.SlowestNews)
		}
		t.Say("%s met another one because a session had ended and its holder had yet to hear of it%s.", report.Of(n, "holder"), how)
	}
	t.Printf("\n")
}

// violations says what the two detectors saw.
func (r *Report) violations(t *report.Text) {
	v := r.Verdict
	if v.Complete {
		t.Say("The counters should add up to %s and add up to %s: %s swallowed.",
			report.Count(v.Grants+v.Resolved), report.Count(v.Counted), report.Of(v.LostUpdates, "update"))
	}
	t.Say("Writes whose value was stale when they arrived: %s.", report.Count(v.Torn))
	t.Say("Holders that met another one, and neither's lock was lost: %s.", report.Count(v.Overlaps))
	if r.Readers != nil {
		t.Say("Readers whose counter changed while they held: %s.", report.Count(v.Changed))
	}
	if v.Misfits > 0 {
		t.Say("Writes that are missing, or that no holder made: %s.", report.Count(v.Misfits))
	}
	if v.Explained > 0 {
		t.Say("%s of the violations are on keys where a holder wrote while its lock was being lost: the server had ended its "+
			"session. Sessions alone cannot close that gap; a fencing token can.", report.Count(v.Explained))
	}
	if r.Plan.NoLocks {
		t.Say("That was to be expected: --no-locks let everybody in.")
	}
}

func counters(keys int) string {
	if keys == 1 {
		return "counter comes"
	}
	return report.Of(keys, "counter") + " add up"
}

// figures are a line each, the label in front.
func (r *Report) figures(t *report.Text) {
	t.Line("acquired", "%s, %s per second", report.Count(r.Acquired), report.Count(uint64(r.AcquiredPerSecond)))
	if r.Total.GrantsLocal+r.Total.GrantsServer > 0 && !r.Plan.NoLocks {
		local := 100 * float64(r.Total.GrantsLocal) / float64(r.Total.GrantsLocal+r.Total.GrantsServer)
		how := "handed on"
		if r.Readers != nil {
			how = "handed on or shared"
		}
		t.Line("granted", "%.1f %% %s within a process, %.1f %% by the server", local, how, 100-local)
	}
	if r.Plan.Cancel > 0 {
		t.Line("cancelled", "%s on the way; %s more were granted first and released by it", report.Count(r.Cancelled), report.Count(r.Total.CutShort))
	} else {
		t.Line("cancelled", "%s", report.Count(r.Cancelled))
	}
	t.Line("withdrawn", "%s still waiting at the end", report.Count(r.Total.Withdrawn))
	for _, bad := range []struct {
		label string
		count uint64
	}{{"failed", r.Failed}, {"lost", r.Lost}} {
		if bad.count > 0 {
			t.Line(bad.label, "%s", t.Bad(report.Count(bad.count)))
		} else {
			t.Line(bad.label, "0")
		}
	}
	w, ms := r.WaitMS, report.Millis
	t.Line("wait", "p50 %s, p90 %s, p99 %s, p99.9 %s, max %s", ms(w.P50), ms(w.P90), ms(w.P99), ms(w.P999), ms(w.Max))
	if r.Readers != nil {
		t.Line("readers", "%v; at most %s held one key at one time", r.Readers, report.Count(r.Readers.MostAtOnce))
		t.Line("writers", "%v", r.Writers)
	}
	t.Line("fairness", "%s", r.fairness())
	t.Line("sessions", "%s for locks at most, for %s", report.Count(r.Sessions), report.Of(r.Processes*r.Workers, "worker"))
}

func (s *Side) String() string {
	w, ms := s.WaitMS, report.Millis
	return fmt.Sprintf("%s, wait p50 %s, p99 %s, max %s", report.Count(s.Acquired), ms(w.P50), ms(w.P99), ms(w.Max))
}

func (r *Report) fairness() string {
	if r.Acquired == 0 {
		return "nothing was shared out"
	}
	if len(r.PerProcess) == 1 {
		return "one process has it all to itself"
	}
	word := "even"
	if r.FairnessJain < fairEnough {
		word = "UNEVEN"
	}
	least, most := slices.Min(r.PerProcess), slices.Max(r.PerProcess)
	return fmt.Sprintf("%.4f (Jain), %s: %s to %s per process", r.FairnessJain, word, report.Count(least), report.Count(most))
}

// failures lists what went wrong, the commonest first, with the first error of each kind.
func (r *Report) failures(t *report.Text) {
	if len(r.Total.Reasons) == 0 {
		return
	}
	slices.SortFunc(r.Total.Reasons, func(x, y worker.Reason) int { return cmp.Compare(y.Count, x.Count) })
	t.Printf("\n%s\n", t.Bold("Why acquisitions failed"))
	for _, reason := range r.Total.Reasons {
		t.Printf("  %s x %s\n    for example: %s\n", report.Count(reason.Count), indent(reason.Kind), indent(reason.First))
	}
}

const nothingLeft = "NOTHING LEFT BEHIND"

// left says in a few words whether something was left behind.
func (r *Report) left() string {
	switch {
	case r.Leaked != server.Leaked{}:
		return "LEFT BEHIND"
	case !r.Verdict.Complete:
		return "LEFT BEHIND, AS FAR AS SEEN"
	default:
		return nothingLeft
	}
}

func (r *Report) leftovers(t *report.Text) {
	heading := r.left()
	if heading == nothingLeft {
		heading = t.Good(heading)
	} else {
		heading = t.Bad(heading)
	}
	t.Printf("\n%s  %v\n", heading, r.Leaked)
	if r.Total.Stacks != "" {
		t.Printf("\nGoroutines of one process that has more of them than before:\n%s\n", r.Total.Stacks)
	}
}

// indent keeps a text of several lines under its first.
func indent(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") }
