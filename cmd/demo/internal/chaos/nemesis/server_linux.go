package nemesis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/stage"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// healthy waits until the primary answers.
func (n *Nemesis) healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, faultBound)
	defer cancel()
	return stage.Until(ctx, func() bool {
		primary, _ := n.Stage.Primary()
		_, err := primary.Exec(ctx, "SELECT 1")
		return err == nil
	})
}

// backend picks a session of a worker process that holds locks; of any process where process is 0.
func (n *Nemesis) backend(ctx context.Context, f *history.Fault) (pid, locks int, _ error) {
	app := stage.App + " p%"
	if f.Target > 0 {
		app = stage.AppOf(f.Target)
	}
	primary, _ := n.Stage.Primary()
	rows, err := primary.Exec(ctx, `SELECT a.pid, count(l.pid) FROM pg_stat_activity a
		LEFT JOIN pg_locks l ON l.pid = a.pid AND l.locktype = 'advisory' AND l.granted
		WHERE a.application_name LIKE '`+app+`' GROUP BY a.pid ORDER BY count(l.pid) = 0, a.pid`)
	if err != nil {
		return 0, 0, err
	}
	holding := 0
	for _, row := range rows {
		if row[1] != "0" {
			holding++
		}
	}
	if holding == 0 {
		holding = len(rows)
	}
	if holding == 0 {
		return 0, 0, errors.New("no session is there")
	}
	row := rows[f.Pick%uint64(holding)]
	pid, pidErr := strconv.Atoi(row[0])
	locks, lockErr := strconv.Atoi(row[1])
	return pid, locks, errors.Join(pidErr, lockErr)
}

func (n *Nemesis) terminate(ctx context.Context, f *history.Fault) error {
	pid, locks, err := n.backend(ctx, f)
	if err != nil {
		return err
	}
	n.note(f, "backend %d with %d locks", pid, locks)
	primary, _ := n.Stage.Primary()
	n.begin(f)
	// Connecting takes its time, so the server says when it did it.
	rows, err := primary.Exec(ctx, fmt.Sprintf(`SELECT (1000000 * extract(epoch FROM clock_timestamp()))::bigint,
		pg_terminate_backend(%d)`, pid))
	if err != nil {
		return err
	}
	micros, err := strconv.ParseInt(rows[0][0], 10, 64)
	if err != nil {
		return err
	}
	ago := time.Now().UnixMicro() - micros
	n.mark(&f.Active)
	n.Book.Change(func() { f.Begin = min(f.Active, max(f.Begin, f.Active-1000*ago)) })
	n.mark(&f.End)
	return nil
}

func (n *Nemesis) killBackend(ctx context.Context, f *history.Fault) error {
	pid, locks, err := n.backend(ctx, f)
	if err != nil {
		return err
	}
	n.note(f, "backend %d with %d locks", pid, locks)
	n.begin(f)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	n.mark(&f.Active)
	n.mark(&f.End)
	return n.healthy(ctx)
}

func (n *Nemesis) restart(ctx context.Context, f *history.Fault) error {
	mode := pgserver.Fast
	if f.Kind == plan.ImmediateRestart {
		mode = pgserver.Immediate
	}
	primary, _ := n.Stage.Primary()
	n.begin(f)
	err := primary.Restart(ctx, mode)
	n.mark(&f.End)
	if err != nil {
		return err
	}
	return n.healthy(ctx)
}

// promote stops the primary before the standby takes over: two primaries at one time are two lock spaces, and no
// library of sessions can join them. A fast stop sends the standby all that was committed, so that the oracle's table
// comes along.
func (n *Nemesis) promote(ctx context.Context, f *history.Fault) error {
	old, standby := n.Stage.Primary()
	if standby == nil {
		return errors.New("there is no standby")
	}
	err := stage.Until(ctx, func() bool {
		rows, err := old.Exec(ctx, "SELECT FROM pg_stat_replication WHERE state = 'streaming'")
		return err == nil && len(rows) > 0
	})
	if err != nil {
		return fmt.Errorf("the standby does not follow: %w", err)
	}
	n.begin(f)
	if err := old.Stop(ctx); err != nil {
		return err
	}
	n.mark(&f.Active)
	if err := standby.Promote(ctx); err != nil {
		return err
	}
	n.Stage.SetPrimary(standby, nil)
	n.mark(&f.End)
	n.note(f, "port %d takes over from %d", standby.Port(), old.Port())
	if err := n.healthy(ctx); err != nil {
		return err
	}
	if err := old.Follow(ctx, standby); err != nil {
		return fmt.Errorf("the old primary does not follow the new one: %w", err)
	}
	n.Stage.SetPrimary(standby, old)
	return nil
}

func (n *Nemesis) freezeServer(ctx context.Context, f *history.Fault) error {
	primary, _ := n.Stage.Primary()
	err := n.lasting(ctx, f, func() error { return primary.SignalAll(syscall.SIGSTOP) },
		func() error { return primary.SignalAll(syscall.SIGCONT) })
	if err != nil {
		return err
	}
	return n.healthy(ctx)
}
