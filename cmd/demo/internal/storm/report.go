package storm

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
)

// Report is the result of a storm: one object in JSON.
type Report struct {
	Server  string  `json:"server"`
	BoundMS float64 `json:"bound_ms"`
	Rounds  []Round `json:"rounds"`

	Throwaway   bool `json:"-"`
	Interrupted bool `json:"-"`
}

// Round is one storm over a number of keys.
type Round struct {
	Waiters     int     `json:"waiters"`
	Keys        int     `json:"keys"`
	QueuedMS    float64 `json:"queued_ms"`    // until every waiter stood in its queue
	ReturnedMS  float64 `json:"returned_ms"`  // from the end of the contexts to the last call's return
	NotReturned int     `json:"not_returned"` // calls that were still out when the demo gave up
	Granted     int     `json:"granted"`      // waiters that got a lock which another held
	WrongErrors int     `json:"wrong_errors"` // errors that are not the context's
	RetakeMS    float64 `json:"retake_ms"`    // to take a key again; the slowest of all keys
	MemoryMiB   Memory  `json:"memory_mib"`   // objects and stacks in use
	ResidentMiB Memory  `json:"resident_mib"` // what the kernel counts
	Leaked      Leaked  `json:"leaked"`

	Stacks  string `json:"-"`
	Example string `json:"-"`
}

// Leaked is what was left after the managers had been closed.
type Leaked = report.Leaked

// faults says in words what is wrong with a round.
func (r *Round) faults(bound time.Duration) []string {
	var out []string
	add := func(bad bool, format string, args ...any) {
		if bad {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(r.NotReturned > 0, "%s never returned", report.Of(r.NotReturned, "call"))
	add(r.NotReturned == 0 && r.ReturnedMS > ms(bound), "the last call returned after %s, and the bound is %v", span(r.ReturnedMS), bound)
	add(r.Granted > 0, "%s got a lock that another held", report.Of(r.Granted, "waiter"))
	add(r.WrongErrors > 0, "%s got an error other than its context's, for example: %s", report.Of(r.WrongErrors, "waiter"), r.Example)
	add(r.RetakeMS > ms(bound), "taking a key again took %s, and the bound is %v", span(r.RetakeMS), bound)
	add(r.Leaked != Leaked{}, "left behind: server locks %d, connections %d, goroutines %d", r.Leaked.ServerLocks, r.Leaked.Connections, r.Leaked.Goroutines)
	return out
}

// ExitStatus is 1 where a call was late or something was left.
func (r *Report) ExitStatus() int {
	for i := range r.Rounds {
		if len(r.Rounds[i].faults(r.bound())) > 0 {
			return report.ExitFailed
		}
	}
	if r.Interrupted {
		return report.ExitInterrupted
	}
	return report.ExitOK
}

func (r *Report) bound() time.Duration { return time.Duration(r.BoundMS * float64(time.Millisecond)) }

// Text writes the last screen.
func (r *Report) Text(w io.Writer, style report.Style) error {
	var b strings.Builder
	server := r.Server
	if r.Throwaway {
		server += ", throwaway"
	}
	fmt.Fprintf(&b, "\n%s on %s\n", style.Bold("demo storm"), server)
	for i := range r.Rounds {
		r.Rounds[i].text(&b, style, r.bound())
	}
	if r.Interrupted {
		fmt.Fprintf(&b, "\nInterrupted: what had not been finished is not shown.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Round) text(b *strings.Builder, style report.Style, bound time.Duration) {
	where := fmt.Sprintf("on %s", report.Of(r.Keys, "key"))
	if r.Keys > 1 {
		where = fmt.Sprintf("spread over %s", report.Of(r.Keys, "key"))
	}
	faults := r.faults(bound)
	verdict := style.Good("EVERY CALL RETURNED, NOTHING LEFT")
	if len(faults) > 0 {
		verdict = style.Bad("FAILED")
	}
	fmt.Fprintf(b, "\n%s %s  %s\n", style.Bold(report.Of(r.Waiters, "waiter")), where, verdict)
	for _, fault := range faults {
		fmt.Fprintf(b, "  %s\n", style.Bad(report.Wrap(2, fault)))
	}
	line := func(label, format string, args ...any) {
		fmt.Fprintf(b, "  %s %s\n", style.Faint(fmt.Sprintf("%-10s", label)), report.Wrap(13, fmt.Sprintf(format, args...)))
	}
	memory := func(label string, m Memory) {
		if m.Peak > 0 {
			line(label, "%.0f MiB before, %.0f at the peak (%.1f KiB a waiter), %.0f after",
				m.Before, m.Peak, (m.Peak-m.Before)*1024/float64(r.Waiters), m.After)
		}
	}
	line("queued", "all within %s", span(r.QueuedMS))
	line("returned", "all within %s of the end of their contexts (bound %v)", span(r.ReturnedMS), bound)
	retake := "within %s of the holder's release"
	if r.Keys > 1 {
		retake = "each within %s of its holder's release"
	}
	line("retaken", retake, span(r.RetakeMS))
	memory("memory", r.MemoryMiB)
	memory("resident", r.ResidentMiB)
	if r.MemoryMiB.After-r.MemoryMiB.Before > 1 {
		line("", "(Go's runtime keeps half a KiB of every goroutine that has ended, and gives it to the next)")
	}
	line("left", "server locks %d · connections %d · goroutines %d", r.Leaked.ServerLocks, r.Leaked.Connections, r.Leaked.Goroutines)
	if r.Stacks != "" {
		fmt.Fprintf(b, "\nGoroutines that are left:\n%s\n", r.Stacks)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func span(ms float64) string { return report.Span(time.Duration(ms * float64(time.Millisecond))) }
