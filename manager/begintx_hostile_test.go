package manager_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/manager"
)

// TestBeginTxWithAContextThatMisbehaves: it costs its own call. The next transaction of the same hold begins, or the hold is lost and says so.
func TestBeginTxWithAContextThatMisbehaves(t *testing.T) {
	m := open(t)
	for how, deed := range map[string]func(){"panics": func() { panic("the user's context") }, "exits": runtime.Goexit} {
		for _, method := range []string{"Deadline", "Done", "Err", "Value", "AfterFunc", "stop"} {
			for from := range int64(5) {
				what := fmt.Sprint(how, method, from)
				lock := acquire(t, m, what, manager.WithDedicatedSession())
				parent, cancel := context.WithCancel(bounded(t))
				ctx := &oddContext{Context: parent, method: method, from: from + 1, deed: deed}
				got, ok := inTime(t, what, fateOf(func() (pgx.Tx, error) { return lock.BeginTx(ctx, pgx.TxOptions{}) }))
				if ok && got.value != nil {
					if err := got.value.Rollback(bounded(t)); err != nil {
						t.Errorf("%s: rollback: %v", what, err)
					}
				}
				tx, err := lock.BeginTx(bounded(t), pgx.TxOptions{})
				switch {
				case err == nil:
					if err := tx.Commit(bounded(t)); err != nil {
						t.Errorf("%s: commit: %v", what, err)
					}
					release(t, lock)
				case errors.Is(err, manager.ErrLost):
					wantIs(t, lock.Release(bounded(t)), manager.ErrLost)
				default:
					t.Errorf("%s: the next transaction: %v", what, err)
					release(t, lock)
				}
				cancel()
			}
		}
	}
}

// TestBeginTxTellsTheCause: the error has what the owner of the context gave as the cause of its end, whenever that comes.
func TestBeginTxTellsTheCause(t *testing.T) {
	m := open(t)
	errOwn := errors.New("the owner's reason")
	seen := 0
	for after := time.Duration(0); seen < 20; after += 20 * time.Microsecond {
		lock := acquire(t, m, "tx", manager.WithDedicatedSession())
		ctx, cancel := context.WithCancelCause(bounded(t))
		timer := time.AfterFunc(after, func() { cancel(errOwn) })
		tx, err := lock.BeginTx(ctx, pgx.TxOptions{})
		if err == nil {
			_ = tx.Rollback(bounded(t))
			seen++ // late enough
		} else if !errors.Is(err, errOwn) || !errors.Is(err, context.Canceled) {
			t.Errorf("after %v: %v", after, err)
		}
		timer.Stop()
		cancel(nil)
		_ = lock.Release(bounded(t))
	}
}

// TestAllAtOnce: locks, sets, slots, shared locks, leaders and transactions, guarded and on the lock's session, for a few keys by many, while
// sessions are terminated, contexts end and managers close. Every call returns, every confirmed commit is there, and nothing is left.
func TestAllAtOnce(t *testing.T) {
	s := migrated(t)
	rows := table(t, s)
	var mu sync.Mutex
	confirmed, unsure := 0, 0
	count := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			confirmed++
		} else {
			unsure++
		}
	}
	add := func(ctx context.Context, begin func() (pgx.Tx, error), guard func(tx pgx.Tx) error) {
		tx, err := begin()
		if err != nil {
			return
		}
		err = guard(tx)
		var v int
		if err == nil {
			err = tx.QueryRow(ctx, "SELECT value FROM "+rows).Scan(&v)
		}
		if err == nil {
			_, err = tx.Exec(ctx, fmt.Sprintf("UPDATE %s SET value = %d", rows, v+1))
		}
		if err != nil {
			_ = tx.Rollback(bounded(t))
			return
		}
		count(tx.Commit(ctx))
	}
	const span = time.Second // of a round
	rounds := 3
	if testing.Short() {
		rounds = 2
	}
	for n := 0; n < rounds || confirmed == 0 && n < 10*rounds; n++ {
		managers := []*manager.Manager{openOn(t, s), openOn(t, s, manager.WithNotify())}
		begun := time.Now()
		var all sync.WaitGroup
		for worker := range 12 {
			all.Go(func() {
				r := rand.New(rand.NewPCG(uint64(worker), uint64(begun.UnixNano())))
				for time.Since(begun) < span {
					m := managers[r.IntN(len(managers))]
					ctx, cancel := context.WithTimeout(bounded(t), time.Duration(1+r.IntN(300))*time.Millisecond)
					work := func(ctx context.Context) error { return ctx.Err() }
					switch r.IntN(9) {
					case 0, 1: // the two that write take one key, and draw
						if lock, err := m.Acquire(ctx, "writes", manager.WithToken(), manager.WithDedicatedSession()); err == nil {
							add(ctx, func() (pgx.Tx, error) { return lock.BeginTx(ctx, pgx.TxOptions{}) }, func(pgx.Tx) error { return nil })
							_ = lock.Release(ctx)
						}
					case 2:
						if lock, err := m.Acquire(ctx, "writes", manager.WithToken()); err == nil {
							conn, err := pgx.Connect(bounded(t), dsn(s))
							if err == nil {
								add(ctx, func() (pgx.Tx, error) { return conn.Begin(ctx) }, func(tx pgx.Tx) error { return manager.Guard(ctx, tx, lock) })
								closeConn(t, conn.Close)
							}
							_ = lock.Release(ctx)
						}
					case 3:
						if set, err := m.Keys("a", "b", "c").Acquire(ctx, manager.WithToken()); err == nil {
							go func() { _ = set.Release(ctx) }()
							_ = set.Release(ctx)
						}
					case 4:
						_ = m.DoSlot(ctx, "slots", 2, work)
					case 5:
						_ = m.DoShared(ctx, "shared", work)
					case 6:
						_ = m.Elect(ctx, "leader", work)
					case 7:
						_ = m.Do(ctx, "a", func(ctx context.Context) error { return m.Do(ctx, "b", work) })
					case 8:
						_ = m.Do(ctx, "b", func(ctx context.Context) error { return m.Do(ctx, "a", work) }, manager.WithMinHold(time.Duration(r.IntN(20))*time.Millisecond))
					}
					cancel()
				}
			})
		}
		all.Go(func() {
			for time.Since(begun) < span*3/4 {
				for _, pid := range held(t, s) {
					terminate(t, s, pid)
					break
				}
				<-time.After(30 * time.Millisecond)
			}
		})
		<-time.After(time.Until(begun.Add(span * 17 / 20)))
		for _, m := range managers {
			all.Go(func() { closeNow(t, m) })
		}
		finished := make(chan struct{})
		go func() { all.Wait(); close(finished) }()
		ended(t, "all calls", finished)
	}
	v := int(number(t, valueOf(t, s, rows)))
	t.Logf("%d commits confirmed, %d not, and the value is %d", confirmed, unsure, v)
	if confirmed == 0 || v < confirmed || v > confirmed+unsure {
		t.Errorf("%d commits were confirmed, %d were not, and the value is %d", confirmed, unsure, v)
	}
}

// TestBeginTxWhateverTheEnvironment: what it says of connections to a server does not concern the one that a transaction has to its lock's session.
func TestBeginTxWhateverTheEnvironment(t *testing.T) {
	m := open(t)
	lock := acquire(t, m, "tx", manager.WithDedicatedSession())
	for name, value := range map[string]string{
		"PGCHANNELBINDING": "require", "PGREQUIREAUTH": "scram-sha-256", "PGSSLNEGOTIATION": "direct", "PGSSLMODE": "verify-full", "PGSSLCERT": "/nowhere", "PGSSLKEY": "/nowhere",
		"PGSSLROOTCERT": "/nowhere", "PGMINPROTOCOLVERSION": "3.2", "PGMAXPROTOCOLVERSION": "3.2", "PGTARGETSESSIONATTRS": "standby", "PGHOST": "a,b", "PGPORT": "1,2",
		"PGOPTIONS": "-c x=y", "PGAPPNAME": "x", "PGTZ": "x", "PGCONNECT_TIMEOUT": "x", "PGPASSFILE": "/nowhere", "PGDATABASE": "x", "PGUSER": "x", "PGPASSWORD": "x", "PGSSLSNI": "1",
		"PGSSLCERTMODE": "require", "PGSSLPASSWORD": "x",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if name == "PGMINPROTOCOLVERSION" {
				t.Setenv("PGMAXPROTOCOLVERSION", value)
			}
			tx, err := lock.BeginTx(bounded(t), pgx.TxOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if err := tx.Commit(bounded(t)); err != nil {
				t.Error(err)
			}
		})
	}
	release(t, lock)
}
