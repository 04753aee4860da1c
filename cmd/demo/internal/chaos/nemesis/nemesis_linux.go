// Package nemesis carries out a schedule of faults, one after the other, and notes when each began, was in place, was
// taken back, and was healed.
package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/event"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/player"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/stage"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
)

// Nemesis carries out faults. Its fields are set by who makes it.
type Nemesis struct {
	Plan  *plan.Plan
	Stage *stage.Stage
	Book  *history.Book
	// Take gets the records of the outsider.
	Take func([]event.Record)
	// Replace launches a process again that was killed.
	Replace func(process int) error
	// Say tells of a fault.
	Say func(f *history.Fault)
	// Start is when the load began.
	Start int64

	outsiders uint64 // acquisitions of the outsider
}

// faultBound bounds one fault: a server that does not come back ends the run.
const faultBound = 90 * time.Second

// Run carries the steps out, each at its time, or as soon as the one before is healed. It returns with ctx, having taken
// back what was in place.
func (n *Nemesis) Run(ctx context.Context, steps []plan.Step) error {
	for _, step := range steps {
		if interrupt.Sleep(ctx, time.Duration(n.Start+int64(step.At)-event.Now())) != nil {
			return nil //nolint:nilerr // the run is over
		}
		f := &history.Fault{Step: step}
		n.Book.Begin(f)
		n.Say(f)
		err := n.one(ctx, f)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // whatever came of it: the run is over
		}
		if err != nil {
			n.Book.Change(func() { f.Failed = err.Error() })
			if n.healthy(ctx) != nil && ctx.Err() == nil {
				return fmt.Errorf("fault %d (%s): %w, and the server does not come back", f.N, f.Kind, err)
			}
		}
		n.mark(&f.Healed)
	}
	return nil
}

func (n *Nemesis) one(ctx context.Context, f *history.Fault) error {
	ctx, cancel := context.WithTimeout(ctx, faultBound)
	defer cancel()
	switch f.Kind {
	case plan.Terminate:
		return n.terminate(ctx, f)
	case plan.KillBackend:
		return n.killBackend(ctx, f)
	case plan.FastRestart, plan.ImmediateRestart:
		return n.restart(ctx, f)
	case plan.Promote:
		return n.promote(ctx, f)
	case plan.FreezeServer:
		return n.freezeServer(ctx, f)
	case plan.FreezeWorker:
		return n.lasting(ctx, f, func() error { return n.Stage.StopWorker(f.Target) },
			func() error { return n.Stage.WakeWorker(f.Target) })
	case plan.KillWorker:
		return n.killWorker(ctx, f)
	case plan.Partition, plan.PartitionUp, plan.PartitionDown:
		return n.lasting(ctx, f, func() error {
			return n.Stage.Cut(ctx, f.Target, f.Kind != plan.PartitionDown, f.Kind != plan.PartitionUp)
		}, func() error { return n.Stage.Heal(context.WithoutCancel(ctx), f.Target) })
	case plan.FreezeForwarder:
		return n.lasting(ctx, f, func() error { return n.Stage.Freeze(f.Target) },
			func() error { return n.Stage.Thaw(f.Target) })
	case plan.Latency:
		return n.latency(ctx, f)
	case plan.CancelStorm:
		return n.storm(ctx, f)
	case plan.FullLockTable:
		return n.fillLockTable(ctx, f)
	case plan.Outsider:
		return n.outsider(ctx, f)
	case plan.KeeperPanic:
		return n.panicKeepers(ctx, f)
	}
	return fmt.Errorf("BUG: no fault %q", f.Kind)
}

func (n *Nemesis) panicKeepers(ctx context.Context, f *history.Fault) error {
	worker := n.Stage.Worker(f.Target)
	return n.lasting(ctx, f,
		func() error { worker.Order(player.Panic, panics); return nil },
		func() error { worker.Order(player.Panic, 0); return nil })
}

// panics is how many keepers are to panic.
const panics = 3

// begin notes the time at which a fault begins, and how many holders it meets.
func (n *Nemesis) begin(f *history.Fault) {
	hit := n.Book.Holders(f.Target)
	n.Book.Change(func() { f.Hit, f.Begin = hit, event.Now() })
}

// mark notes the time.
func (n *Nemesis) mark(at *int64) {
	n.Book.Change(func() { *at = event.Now() })
}

func (n *Nemesis) note(f *history.Fault, format string, args ...any) {
	n.Book.Change(func() { f.Note = fmt.Sprintf(format, args...) })
}

// lasting does something, waits, and takes it back, whatever happens meanwhile.
func (n *Nemesis) lasting(ctx context.Context, f *history.Fault, do, undo func() error) error {
	n.begin(f)
	err := do()
	if err == nil {
		n.mark(&f.Active)
		_ = interrupt.Sleep(ctx, f.For) // cut short, it is taken back as well
	}
	n.mark(&f.End)
	if undo != nil {
		if undoErr := undo(); err == nil {
			err = undoErr
		}
	}
	return err
}

func (n *Nemesis) latency(ctx context.Context, f *history.Fault) error {
	return n.lasting(ctx, f, func() error {
		how, err := n.Stage.Delay(ctx, f.Target, f.Delay, f.Jitter)
		n.note(f, "%v + 0 to %v each way, by %s", f.Delay, f.Jitter, how)
		return err
	}, func() error {
		_, err := n.Stage.Delay(context.WithoutCancel(ctx), f.Target, 0, 0)
		return err
	})
}

// storms is how often a cancellation storm blows, shortly after one another.
const storms = 5

func (n *Nemesis) storm(ctx context.Context, f *history.Fault) error {
	random := rand.New(rand.NewPCG(f.Pick, 0))
	n.begin(f)
	n.mark(&f.Active)
	for range storms {
		n.Stage.Worker(f.Target).Order(player.Storm, 0)
		_ = interrupt.Sleep(ctx, time.Duration(random.IntN(30))*time.Millisecond)
	}
	n.mark(&f.End)
	return nil
}

func (n *Nemesis) killWorker(ctx context.Context, f *history.Fault) error {
	w := n.Stage.Worker(f.Target)
	n.begin(f)
	if err := w.Kill(); err != nil {
		return err
	}
	n.mark(&f.Active)
	primary, _ := n.Stage.Primary()
	gone := stage.Until(ctx, func() bool {
		rows, err := primary.Exec(ctx, "SELECT FROM pg_stat_activity WHERE application_name = '"+stage.AppOf(f.Target)+"'")
		return err == nil && len(rows) == 0
	})
	n.Book.Died(w.Process, w.Generation, event.Now())
	n.mark(&f.End)
	if gone != nil {
		return fmt.Errorf("sessions of the killed process are left: %w", gone)
	}
	return n.Replace(f.Target)
}
