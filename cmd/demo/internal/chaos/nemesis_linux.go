package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/internal/forward"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

const (
	// faultBound bounds one fault. A server that does not come back ends the run.
	faultBound = 90 * time.Second
	// panics is how many keepers one fault makes panic, storms how many cancellation storms follow each other.
	panics, storms = 3, 5
)

// nemesis makes the faults, each at its time, or as soon as the one before is healed. It returns with ctx, after it has
// undone the current fault.
func (r *run) nemesis(ctx context.Context) error {
	for _, f := range r.faults {
		if interrupt.Sleep(ctx, time.Duration(r.start+int64(f.At)-now())) != nil {
			return nil //nolint:nilerr // the run is over
		}
		r.book.Begin(f)
		err := r.makeFault(ctx, f)
		healErr := r.healthy(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // whatever came of it: the run is over
		}
		if err != nil {
			r.book.Change(func() { f.Failed = err.Error() })
		}
		if healErr != nil {
			return fmt.Errorf("fault %d (%s): %w, and the server does not come back", f.N, f.Kind, errors.Join(err, healErr))
		}
		r.mark(&f.Healed)
	}
	return nil
}

// healthy waits until the primary answers.
func (r *run) healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, faultBound)
	defer cancel()
	return until(ctx, func() bool {
		_, err := r.ask(ctx, "SELECT 1")
		return err == nil
	})
}

func (r *run) makeFault(ctx context.Context, f *plan.Fault) error {
	ctx, cancel := context.WithTimeout(ctx, faultBound)
	defer cancel()
	undo := context.WithoutCancel(ctx)
	primary, standby := r.servers()
	switch f.Kind {
	case plan.Terminate:
		return r.terminate(ctx, f)
	case plan.KillBackend:
		return r.killBackend(ctx, f)
	case plan.FastRestart:
		return r.inflict(ctx, f, func() error { return primary.Restart(ctx, pgserver.Fast) }, nil)
	case plan.ImmediateRestart:
		return r.inflict(ctx, f, func() error { return primary.Restart(ctx, pgserver.Immediate) }, nil)
	case plan.Promote:
		return r.promote(ctx, f, primary, standby)
	case plan.FreezeServer:
		return r.inflict(ctx, f, func() error { return primary.SignalAll(syscall.SIGSTOP) },
			func() error { return primary.SignalAll(syscall.SIGCONT) })
	case plan.FreezeWorker:
		w := r.worker(f.Target)
		return r.inflict(ctx, f, func() error { return freeze(w.Process) }, func() error { return thaw(w.Process) })
	case plan.KillWorker:
		return r.killWorker(ctx, f)
	case plan.Partition, plan.PartitionUp, plan.PartitionDown:
		s := r.network.spaces[f.Target-1]
		return r.inflict(ctx, f, func() error { return s.cut(ctx, f.Kind != plan.PartitionDown, f.Kind != plan.PartitionUp) },
			func() error { return s.heal(undo) })
	case plan.FreezeForwarder:
		g := r.gateways[f.Target]
		return r.inflict(ctx, f, func() error { return freeze(g.Process) }, func() error { return thaw(g.Process) })
	case plan.Latency:
		g := r.gateways[f.Target]
		r.note(f, "%v + 0 to %v each way, by forwarder", f.Delay, f.Jitter)
		return r.inflict(ctx, f, func() error { return g.setPace(forward.Pace{Delay: f.Delay, Jitter: f.Jitter}) },
			func() error { return g.setPace(forward.Pace{}) })
	case plan.CancelStorm:
		return r.cancelStorm(ctx, f)
	case plan.FullLockTable:
		return r.fillLockTable(ctx, f)
	case plan.Outsider:
		return r.outsider(ctx, f)
	case plan.KeeperPanic:
		w := r.worker(f.Target)
		return r.inflict(ctx, f, func() error { return call(w.Process, "Panic", panics, nil, readyBound) },
			func() error { return call(w.Process, "Panic", 0, nil, readyBound) })
	}
	return fmt.Errorf("BUG: no fault %q", f.Kind)
}

// mark notes the time.
func (r *run) mark(at *int64) { r.book.Change(func() { *at = now() }) }

func (r *run) note(f *plan.Fault, format string, args ...any) {
	r.book.Change(func() { f.Note = fmt.Sprintf(format, args...) })
}

// inflict does something. If there is an undo it waits for the fault's time and undoes it, whatever happens meanwhile.
func (r *run) inflict(ctx context.Context, f *plan.Fault, do, undo func() error) error {
	hit := r.book.Holders(f.Target)
	r.book.Change(func() { f.Hit, f.Begin = hit, now() })
	err := do()
	if err == nil {
		r.mark(&f.Active)
	}
	if err == nil && undo != nil {
		_ = interrupt.Sleep(ctx, f.For) // if it is cut short, the fault is undone as well
	}
	r.mark(&f.End)
	if undo != nil {
		err = cmp.Or(err, undo())
	}
	return err
}

// backend picks a session of a worker process, or of any for target 0: one that holds locks, if there is one.
func (r *run) backend(ctx context.Context, f *plan.Fault) (pid string, _ error) {
	app := "lockkeeper-chaos p%"
	if f.Target > 0 {
		app = appOf(f.Target)
	}
	var rows [][]string
	var err error
	none := until(ctx, func() bool { // all may have been lost a moment ago
		rows, err = r.ask(ctx, `SELECT a.pid, count(l.pid) FROM pg_stat_activity a
			LEFT JOIN pg_locks l ON l.pid = a.pid AND l.locktype = 'advisory' AND l.granted
			WHERE a.application_name LIKE '`+app+`' GROUP BY a.pid ORDER BY count(l.pid) = 0, a.pid`)
		return err != nil || len(rows) > 0
	})
	if err != nil {
		return "", err
	}
	if none != nil {
		return "", fmt.Errorf("no session is there: %w", none)
	}
	holding := slices.IndexFunc(rows, func(row []string) bool { return row[1] == "0" })
	if holding <= 0 { // all hold, or none does
		holding = len(rows)
	}
	row := rows[f.Pick%uint64(holding)]
	r.note(f, "backend %s with %s locks", row[0], row[1])
	return row[0], nil
}

// terminate ends a session: as an operator would, or as a program that uses the library may.
func (r *run) terminate(ctx context.Context, f *plan.Fault) error {
	if f.Pick>>63 == 1 {
		var s manager.LockSession
		by := r.worker(1).Process
		if err := call(by, "Holder", Victim{appOf(f.Target), f.Pick}, &s, readyBound); err != nil {
			return err
		}
		r.note(f, "pid %d by Manager.Terminate", s.PID)
		return r.inflict(ctx, f, func() error { return call(by, "Terminate", s, nil, readyBound) }, nil)
	}
	pid, err := r.backend(ctx, f)
	if err != nil {
		return err
	}
	var ago int64
	err = r.inflict(ctx, f, func() error {
		// Connecting takes a while, so the server says when it ended the session.
		rows, err := r.ask(ctx, `SELECT (1000000 * extract(epoch FROM clock_timestamp()))::bigint, pg_terminate_backend(`+pid+`)`)
		if err != nil {
			return err
		}
		micros, err := strconv.ParseInt(rows[0][0], 10, 64)
		ago = 1000 * (time.Now().UnixMicro() - micros)
		return err
	}, nil)
	if err == nil {
		r.book.Change(func() { f.Begin = min(f.Active, max(f.Begin, f.Active-ago)) })
	}
	return err
}

func (r *run) killBackend(ctx context.Context, f *plan.Fault) error {
	text, err := r.backend(ctx, f)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	return r.inflict(ctx, f, func() error { return syscall.Kill(pid, syscall.SIGKILL) }, nil)
}

// promote stops the primary before the standby takes over: two primaries would be two lock spaces. A fast stop sends the
// standby all that was committed, so that the oracle's table loses nothing.
func (r *run) promote(ctx context.Context, f *plan.Fault, old, standby *pgserver.Server) error {
	if standby == nil {
		return errors.New("there is no standby")
	}
	err := until(ctx, func() bool {
		rows, err := old.Exec(ctx, "SELECT FROM pg_stat_replication WHERE state = 'streaming'")
		return err == nil && len(rows) > 0
	})
	if err != nil {
		return fmt.Errorf("the standby does not follow: %w", err)
	}
	err = r.inflict(ctx, f, func() error {
		if err := old.Stop(ctx); err != nil {
			return err
		}
		return standby.Promote(ctx)
	}, nil)
	if err != nil {
		return err
	}
	r.setServers(standby, nil)
	r.note(f, "port %d takes over from %d", standby.Port(), old.Port())
	if err := old.Follow(ctx, standby); err != nil {
		return fmt.Errorf("the old primary does not follow the new one: %w", err)
	}
	r.setServers(standby, old)
	return nil
}

func (r *run) killWorker(ctx context.Context, f *plan.Fault) error {
	w := r.worker(f.Target)
	err := r.inflict(ctx, f, func() error {
		if err := w.kill(); err != nil {
			return err
		}
		gone := until(ctx, func() bool {
			rows, err := r.ask(ctx, "SELECT FROM pg_stat_activity WHERE application_name = '"+appOf(f.Target)+"'")
			return err == nil && len(rows) == 0
		})
		r.book.Died(w.process, w.generation, now())
		return gone
	}, nil)
	if err != nil {
		return fmt.Errorf("killing a process and its sessions: %w", err)
	}
	return r.launch(f.Target)
}

func (r *run) cancelStorm(ctx context.Context, f *plan.Fault) error {
	random := rand.New(rand.NewPCG(f.Pick, 0))
	return r.inflict(ctx, f, func() error {
		for range storms {
			if err := call(r.worker(f.Target).Process, "Storm", struct{}{}, nil, readyBound); err != nil {
				return err
			}
			_ = interrupt.Sleep(ctx, time.Duration(random.IntN(30))*time.Millisecond)
		}
		return nil
	}, nil)
}
