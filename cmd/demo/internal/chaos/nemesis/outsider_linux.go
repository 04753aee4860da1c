package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/event"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/player"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/stage"
	"github.com/lockkeeper/lockkeeper/hashing"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
)

// connect opens a connection of the nemesis's own.
func (n *Nemesis) connect(ctx context.Context) (*pgx.Conn, error) {
	primary, _ := n.Stage.Primary()
	conn, err := pgx.Connect(ctx, primary.DSN()+"&application_name=lockkeeper-nemesis")
	if err != nil {
		return nil, fmt.Errorf("the nemesis connects: %w", err)
	}
	return conn, nil
}

// disconnect waits until the server has let go.
func disconnect(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = conn.Close(ctx)
	<-conn.PgConn().CleanupDone()
}

// fillLockTable takes locks of another kind, of two numbers each, until there is no room for one more.
func (n *Nemesis) fillLockTable(ctx context.Context, f *history.Fault) error {
	conn, err := n.connect(ctx)
	if err != nil {
		return err
	}
	defer disconnect(ctx, conn)
	return n.lasting(ctx, f, func() error {
		_, err := conn.Exec(ctx, "SELECT count(pg_advisory_lock(4242, g)) FROM generate_series(1, 50000) AS g")
		var full *pgconn.PgError
		if !errors.As(err, &full) || full.Code != "53200" {
			return fmt.Errorf("the lock table does not get full: %w", err)
		}
		return nil
	}, func() error {
		_, err := conn.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock_all()")
		return err
	})
}

// outsider takes the workers' locks as any program with SQL may.
func (n *Nemesis) outsider(ctx context.Context, f *history.Fault) error {
	conn, err := n.connect(ctx)
	if err != nil {
		return err
	}
	defer disconnect(ctx, conn)
	if _, err := conn.Exec(ctx, "SET lock_timeout = '100ms'"); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(f.Pick, 1))
	hash := hashing.NamespacedFNV1a(stage.Namespace)
	taken := 0
	n.begin(f)
	n.mark(&f.Active)
	for until := time.Now().Add(f.For); err == nil && ctx.Err() == nil && time.Now().Before(until); {
		var got bool
		key := random.IntN(n.Plan.Keys)
		got, err = n.borrow(ctx, conn, key, hash(player.KeyName(key)), time.Duration(random.IntN(20))*time.Millisecond)
		if got {
			taken++
		}
	}
	n.mark(&f.End)
	n.note(f, "%d locks taken and dropped", taken)
	return err
}

func (n *Nemesis) borrow(ctx context.Context, conn *pgx.Conn, key int, id int64, hold time.Duration) (got bool, _ error) {
	n.outsiders++
	record := event.Record{Key: uint32(key), Handle: event.NewHandle(0, 0, n.outsiders), Call: event.Now()}
	add := func(change func(r *event.Record)) {
		r := record
		change(&r)
		n.Take([]event.Record{r})
	}
	add(func(r *event.Record) { r.Kind = event.Asked })
	_, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", id)
	now := event.Now()
	if err != nil {
		// It may have been granted all the same: the unlock settles that.
		var timeout *pgconn.PgError
		if _, unlockErr := conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", id); unlockErr == nil && errors.As(err, &timeout) {
			err = nil
		}
		add(func(r *event.Record) { r.Kind, r.Outcome, r.Return = event.Refused, event.Failed, now })
		return false, err
	}
	add(func(r *event.Record) { r.Kind, r.Return = event.Granted, now })
	_ = interrupt.Sleep(ctx, hold)
	letting := event.Now()
	add(func(r *event.Record) { r.Kind, r.Call = event.Letting, letting })
	var released bool
	err = conn.QueryRow(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", id).Scan(&released)
	if err == nil && !released {
		err = errors.New("the outsider's lock was gone")
	}
	add(func(r *event.Record) {
		r.Kind, r.Return = event.Let, event.Now()
		if err != nil {
			r.Outcome = event.Unknown
		}
	})
	return true, err
}
