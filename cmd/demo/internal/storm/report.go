package storm

import (
	"fmt"
	"io"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
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
	Waiters     int           `json:"waiters"`
	Keys        int           `json:"keys"`
	QueuedMS    float64       `json:"queued_ms"`    // until every waiter stood in its queue
	ReturnedMS  float64       `json:"returned_ms"`  // from the end of the contexts to the last call's return
	NotReturned int           `json:"not_returned"` // calls that were still out when the demo gave up
	Granted     int           `json:"granted"`      // waiters that got a lock which another held
	WrongErrors int           `json:"wrong_errors"` // errors that are not the context's
	RetakeMS    float64       `json:"retake_ms"`    // to take a key again; the slowest of all keys
	MemoryMiB   Memory        `json:"memory_mib"`   // objects and stacks in use
	ResidentMiB Memory        `json:"resident_mib"` // what the kernel counts
	Leaked      server.Leaked `json:"leaked"`

	Stacks  string `json:"-"`
	Example string `json:"-"`
}

// faults says in words what is wrong with a round.
func (r *Round) faults(bound time.Duration) []string {
	var out []string
	add := func(bad bool, format string, args ...any) {
		if bad {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(r.NotReturned > 0, "%s never returned", report.Of(r.NotReturned, "call"))
	add(r.NotReturned == 0 && r.ReturnedMS > ms(bound), "the last call returned after %s, and the bound is %v", report.Millis(r.ReturnedMS), bound)
	add(r.Granted > 0, "%s got a lock that another held", report.Of(r.Granted, "waiter"))
	add(r.WrongErrors > 0, "%s got an error other than its context's, for example: %s", report.Of(r.WrongErrors, "waiter"), r.Example)
	add(r.RetakeMS > ms(bound), "taking a key again took %s, and the bound is %v", report.Millis(r.RetakeMS), bound)
	add(r.Leaked != server.Leaked{}, "left behind: %v", r.Leaked)
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
	t := &report.Text{Style: style}
	name := r.Server
	if r.Throwaway {
		name += ", throwaway"
	}
	t.Printf("\n%s on %s\n", t.Bold("demo storm"), name)
	for i := range r.Rounds {
		r.Rounds[i].text(t, r.bound())
	}
	if r.Interrupted {
		t.Printf("\nInterrupted: what had not been finished is not shown.\n")
	}
	_, err := io.WriteString(w, t.String())
	return err
}

func (r *Round) text(t *report.Text, bound time.Duration) {
	where, each := "on ", "within %s of the holder's release"
	if r.Keys > 1 {
		where, each = "spread over ", "each within %s of its holder's release"
	}
	faults := r.faults(bound)
	verdict := t.Good("EVERY CALL RETURNED, NOTHING LEFT")
	if len(faults) > 0 {
		verdict = t.Bad("FAILED")
	}
	t.Printf("\n%s %s  %s\n", t.Bold(report.Of(r.Waiters, "waiter")), where+report.Of(r.Keys, "key"), verdict)
	for _, fault := range faults {
		t.Printf("  %s\n", t.Bad(report.Wrap(2, fault)))
	}
	memory := func(label string, m Memory) {
		if m.Peak > 0 {
			t.Line(label, "%.0f MiB before, %.0f at the peak (%.1f KiB a waiter), %.0f after",
				m.Before, m.Peak, (m.Peak-m.Before)*1024/float64(r.Waiters), m.After)
		}
	}
	t.Line("queued", "all within %s", report.Millis(r.QueuedMS))
	t.Line("returned", "all within %s of the end of their contexts (bound %v)", report.Millis(r.ReturnedMS), bound)
	t.Line("retaken", each, report.Millis(r.RetakeMS))
	memory("memory", r.MemoryMiB)
	memory("resident", r.ResidentMiB)
	if r.MemoryMiB.After-r.MemoryMiB.Before > 1 {
		t.Line("", "(Go's runtime keeps half a KiB of every goroutine that has ended, and gives it to the next)")
	}
	t.Line("left", "%v", r.Leaked)
	if r.Stacks != "" {
		t.Printf("\nGoroutines that are left:\n%s\n", r.Stacks)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
