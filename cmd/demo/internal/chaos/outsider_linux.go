package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/hashing"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
)

// connect opens a connection of this process to the primary.
func (s *stage) connect(ctx context.Context, app string) (*pgx.Conn, error) {
	primary, _ := s.servers()
	conn, err := pgx.Connect(ctx, primary.DSN()+"&connect_timeout=10&application_name="+app)
	if err != nil {
		return nil, fmt.Errorf("the nemesis connects: %w", err)
	}
	return conn, nil
}

// disconnect returns when the server has ended the session.
func disconnect(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = conn.Close(ctx)
	<-conn.PgConn().CleanupDone()
}

// fillLockTable takes locks of another kind, with two numbers each, until there is no room for one more.
func (r *run) fillLockTable(ctx context.Context, f *plan.Fault) error {
	conn, err := r.connect(ctx, "lockkeeper-nemesis")
	if err != nil {
		return err
	}
	defer disconnect(conn)
	return r.inflict(ctx, f, func() error {
		_, err := conn.Exec(ctx, "SELECT count(pg_advisory_lock(4242, g)) FROM generate_series(1, 50000) AS g")
		if full, ok := errors.AsType[*pgconn.PgError](err); !ok || full.Code != "53200" {
			return fmt.Errorf("the lock table does not get full: %w", err)
		}
		return nil
	}, func() error {
		_, err := conn.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock_all()")
		return err
	})
}

// outsider takes the workers' locks with plain SQL, as any program may.
func (r *run) outsider(ctx context.Context, f *plan.Fault) error {
	conn, err := r.connect(ctx, "lockkeeper-nemesis")
	if err != nil {
		return err
	}
	defer disconnect(conn)
	if _, err := conn.Exec(ctx, "SET lock_timeout = '100ms'"); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(f.Pick, 1))
	taken := 0
	err = r.inflict(ctx, f, func() (err error) {
		for end := time.Now().Add(f.For); err == nil && ctx.Err() == nil && time.Now().Before(end); {
			var got bool
			got, err = r.borrow(ctx, conn, random.IntN(r.plan.Keys), time.Duration(random.IntN(20))*time.Millisecond)
			if got {
				taken++
			}
		}
		return err
	}, nil)
	r.note(f, "%d locks taken and dropped", taken)
	return err
}

func (r *run) borrow(ctx context.Context, conn *pgx.Conn, key int, hold time.Duration) (got bool, _ error) {
	id := hashing.NamespacedFNV1a(namespace)(keyName(key))
	r.borrowed++
	record := history.Record{Key: uint32(key), Handle: history.NewHandle(0, 0, r.borrowed), Call: now()}
	add := func(kind history.Kind, outcome history.Outcome) {
		record.Kind, record.Outcome = kind, outcome
		r.book.Add(record)
	}
	add(history.Asked, history.OK)
	_, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", id)
	record.Return = now()
	if err != nil {
		// It may have been granted all the same; the unlock settles that.
		_, unlockErr := conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", id)
		if _, ok := errors.AsType[*pgconn.PgError](err); ok && unlockErr == nil {
			err = nil
		}
		add(history.Refused, history.Failed)
		return false, err
	}
	add(history.Granted, history.OK)
	_ = interrupt.Sleep(ctx, hold)
	record.Call = now()
	add(history.Letting, history.OK)
	var released bool
	err = conn.QueryRow(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", id).Scan(&released)
	if err == nil && !released {
		err = errors.New("the outsider's lock was gone")
	}
	outcome := history.OK
	if err != nil {
		outcome = history.Unknown
	}
	record.Return = now()
	add(history.Let, outcome)
	return true, err
}

const (
	pulseEvery = 50 * time.Millisecond
	pulseBound = 10 * time.Second
)

// pulse asks the primary all the time, and records when it does not answer, or when this process gets no processor: unless
// a fault was made, the machine is busy then.
func (r *run) pulse(ctx context.Context) {
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			disconnect(conn)
		}
	}()
	ticker := time.NewTicker(pulseEvery)
	defer ticker.Stop()
	for last := now(); ; last = now() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if conn == nil {
			conn, _ = r.connect(ctx, "lockkeeper-pulse")
			last = now() // connecting takes its time
		}
		if conn == nil {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, pulseBound)
		_, err := conn.Exec(bounded, "SELECT 1")
		cancel()
		if at := now(); at-last > int64(leastStall) {
			r.book.Add(history.Record{Kind: history.Stalled, Call: last, Return: at})
		}
		if err != nil {
			disconnect(conn)
			conn = nil
		}
	}
}
