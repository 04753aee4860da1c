package manager_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// pooled is a database that is reached through a PgBouncer in transaction mode.
type pooled struct {
	*pgserver.Server
	*pgtest.Bouncer
	name string
}

// behindPooler gives the test a database and a PgBouncer in transaction mode before it. Nothing of the test's may be left in the pooler's
// server connections.
func behindPooler(t *testing.T, settings map[string]string) pooled {
	t.Helper()
	s, name := pgtest.NewDatabase(t)
	return poolerOn(t, s, name, settings)
}

func poolerOn(t *testing.T, s *pgserver.Server, name string, settings map[string]string) pooled {
	t.Helper()
	all := map[string]string{"pool_mode": "transaction", "default_pool_size": "30"}
	maps.Copy(all, settings)
	p := pooled{s, pgtest.NewBouncer(t, s, name, all), name}
	leakFree(t, s)
	t.Cleanup(func() {
		eventually(t, "no transaction is left open", func() bool { return len(p.transactions(t)) == 0 })
	})
	return p
}

func (p pooled) open(t *testing.T, opts ...manager.Option) *manager.Manager {
	t.Helper()
	return opened(t, p.Server, func(ctx context.Context) (*manager.Manager, error) {
		return manager.Open(ctx, p.Bouncer.DSN, append([]manager.Option{manager.WithTransactionPooler()}, opts...)...)
	})
}

func (p pooled) refuses(t *testing.T, opts ...manager.Option) error {
	t.Helper()
	m, err := manager.Open(bounded(t), p.Bouncer.DSN, opts...)
	if err == nil {
		closeNow(t, m)
		t.Fatal("it was opened")
	}
	return err
}

// transactions are the backends whose transaction is open.
func (p pooled) transactions(t *testing.T) (pids []string) {
	t.Helper()
	for _, row := range query(t, p.Server, fmt.Sprintf("SELECT pid FROM pg_stat_activity WHERE datname = '%s' AND xact_start IS NOT NULL "+
		"AND pid <> pg_backend_pid()", p.name)) {
		pids = append(pids, row[0])
	}
	return pids
}

// Every way to a lock, over two managers whose sessions share the pooler.
func TestTransactionPoolerLocks(t *testing.T) {
	p := behindPooler(t, nil)
	a, b := p.open(t), p.open(t)
	for name, way := range map[string]func(ctx context.Context, m *manager.Manager, key string) (interface{ Release(context.Context) error }, error){
		"acquire": func(ctx context.Context, m *manager.Manager, key string) (interface{ Release(context.Context) error }, error) {
			return m.Acquire(ctx, key)
		},
		"dedicated": func(ctx context.Context, m *manager.Manager, key string) (interface{ Release(context.Context) error }, error) {
			return m.Acquire(ctx, key, manager.WithDedicatedSession())
		},
		"all": func(ctx context.Context, m *manager.Manager, key string) (interface{ Release(context.Context) error }, error) {
			return m.AcquireAll(ctx, "another", key)
		},
		"slot": func(ctx context.Context, m *manager.Manager, key string) (interface{ Release(context.Context) error }, error) {
			return m.AcquireSlot(ctx, key, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			lock, err := way(bounded(t), a, name)
			if err != nil {
				t.Fatal(err)
			}
			_, err = b.TryAcquire(bounded(t), name)
			wantIs(t, err, manager.ErrNotAcquired)
			eventually(t, "the error names the holder", func() bool { // a busy server may not have said so in time
				_, err := b.Acquire(bounded(t), name, manager.WithWaitTimeout(300*time.Millisecond))
				wantIs(t, err, manager.ErrWaitTimeout)
				holder := failure(t, err).Holder
				return holder != nil && holder.ApplicationName == "lockkeeper"
			})
			waits := make(chan error, 1)
			go func() {
				lock, err := way(bounded(t), b, name)
				if err == nil {
					err = lock.Release(bounded(t))
				}
				waits <- err
			}()
			eventually(t, "the wait is in the server's queue", func() bool {
				return len(query(t, p.Server, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")) == 1
			})
			if err := lock.Release(bounded(t)); err != nil {
				t.Error(err)
			}
			if err := ended(t, "the other's turn", waits); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("shared", func(t *testing.T) {
		one, err := a.AcquireShared(bounded(t), "read")
		if err != nil {
			t.Fatal(err)
		}
		two, err := b.AcquireShared(bounded(t), "read")
		if err != nil {
			t.Fatal(err)
		}
		release(t, one)
		_, err = a.TryAcquire(bounded(t), "read")
		wantIs(t, err, manager.ErrNotAcquired)
		release(t, two)
		release(t, acquire(t, a, "read"))
	})
	t.Run("a wait ends", func(t *testing.T) {
		lock := acquire(t, a, "long")
		_, err := b.Acquire(bounded(t), "long", manager.WithWaitTimeout(1200*time.Millisecond)) // more than a slice
		wantIs(t, err, manager.ErrWaitTimeout)
		release(t, lock)
		release(t, acquire(t, b, "long"))
	})
	for _, m := range []*manager.Manager{a, b} {
		if losses := m.Stats().Losses; len(losses) > 0 {
			t.Errorf("lost: %v", losses)
		}
	}
}

// A direct connection does as well, and excludes whoever comes through the pooler.
func TestTransactionPoolerOnADirectConnection(t *testing.T) {
	p := behindPooler(t, nil)
	m, err := manager.Open(bounded(t), p.DSNOf(p.name), manager.WithTransactionPooler())
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, m)
	lock := acquire(t, m, "k")
	_, err = p.open(t).TryAcquire(bounded(t), "k")
	wantIs(t, err, manager.ErrNotAcquired)
	release(t, lock)
}

// What Open says without the option names it and its price, and what does not go with it is refused.
func TestTransactionPoolerIsRefused(t *testing.T) {
	p := behindPooler(t, nil)
	err := p.refuses(t)
	wantIs(t, err, manager.ErrUnsafe)
	for _, part := range []string{"WithTransactionPooler", "keeps a transaction open", "server connection of the pooler's", "20 a process"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v: does not say %q", err, part)
		}
	}
	if err := p.refuses(t, manager.WithTransactionPooler(), manager.WithNotify()); !strings.Contains(err.Error(), "WithNotify does not go with") {
		t.Error(err)
	}
	p.Reload(map[string]string{"pool_mode": "statement"})
	eventually(t, "the pooler is in statement mode", func() bool {
		err = p.refuses(t, manager.WithTransactionPooler())
		return errors.Is(err, manager.ErrUnsafe)
	})
	if !strings.Contains(err.Error(), "does not keep a transaction on one backend") {
		t.Error(err)
	}
}

// A backend is as clean afterwards as before: it has no lock, no setting, no prepared statement, and it is the same backend. Only Open makes the
// pooler close one, as a client does that dies in its transaction.
func TestTransactionPoolerLeavesNothing(t *testing.T) {
	const size = 4
	p := behindPooler(t, map[string]string{"default_pool_size": fmt.Sprint(size), "server_round_robin": "1"})
	// look opens a transaction on each of the pooler's server connections, so that each shows what it has.
	look := func() map[string]string {
		found := map[string]string{}
		var conns [size]*pgconn.PgConn
		for i := range conns {
			conn, err := pgconn.Connect(bounded(t), p.Bouncer.DSN)
			if err != nil {
				t.Fatal(err)
			}
			conns[i] = conn
			results, err := conn.Exec(bounded(t), `BEGIN; SELECT pid,
				(SELECT count(*) FROM pg_prepared_statements) || ' statements, ' ||
				(SELECT count(*) FROM pg_locks l WHERE l.locktype = 'advisory' AND l.pid = a.pid) || ' locks, settings ' ||
				(SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings WHERE name NOT LIKE '%.%') -- PL/pgSQL's
				FROM pg_stat_activity a WHERE pid = pg_backend_pid()`).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			row := results[1].Rows[0]
			found[string(row[0])] = string(row[1])
		}
		for _, conn := range conns {
			if _, err := conn.Exec(bounded(t), "ROLLBACK").ReadAll(); err != nil {
				t.Error(err)
			}
			if err := conn.Close(bounded(t)); err != nil {
				t.Error(err)
			}
		}
		return found
	}
	before := look()
	a := p.open(t, manager.WithApplicationName("lk pooled"), manager.WithCloseTimeout(patience)) // else a slow server costs its connection
	b := p.open(t, manager.WithCloseTimeout(patience))
	lock := acquire(t, a, "k")
	waits := acquiring(bounded(t), t, b, "k")
	eventually(t, "the wait is in the server's queue", func() bool { return queued(t, p.Server, a.Key("k").ID()) == 1 })
	eventually(t, "three transactions are open", func() bool { return len(p.transactions(t)) == 3 }) // and none of a client that Open has left
	release(t, lock)
	if got := ended(t, "the other's turn", waits); got.err != nil {
		t.Error(got.err)
	}
	acquire(t, a, "held until Close")
	closeNow(t, a)
	closeNow(t, b)
	eventually(t, "no transaction is left open", func() bool { return len(p.transactions(t)) == 0 })
	opened, clean := 0, slices.Collect(maps.Values(before))[0]
	for pid, after := range look() {
		was, same := before[pid]
		if !same {
			was = clean
			opened++
		}
		if after != was {
			had, has := strings.Fields(was), strings.Fields(after)
			t.Errorf("before: %v; after: %v", slices.DeleteFunc(slices.Clone(had), func(word string) bool { return slices.Contains(has, word) }),
				slices.DeleteFunc(slices.Clone(has), func(word string) bool { return slices.Contains(had, word) }))
		}
	}
	if opened != 2 {
		t.Errorf("%d of the pooler's server connections are new: one for each Open was expected", opened)
	}
}

// A session that is idle holds its lock, and neither a snapshot nor a transaction id nor a lock of a table: vacuum removes rows that are
// deleted meanwhile.
func TestTransactionPoolerLetsVacuumWork(t *testing.T) {
	p := behindPooler(t, nil)
	m, other := p.open(t, manager.WithHealth(300*time.Millisecond, 20*time.Second)), p.open(t)
	lock, quiet := acquire(t, m, "k"), acquire(t, p.open(t), "quiet") // no health question ends what that one's statement keeps
	began := func() string {
		return query(t, p.Server, fmt.Sprintf("SELECT xact_start FROM pg_stat_activity WHERE pid = %d", held(t, p.Server)[lock.ID()]))[0][0]
	}
	first := began()
	eventually(t, "the holder's transaction is replaced by a younger one", func() bool { return began() > first })
	eventually(t, "the other one has read the server's views", func() bool {
		_, err := other.Acquire(bounded(t), "k", manager.WithWaitTimeout(300*time.Millisecond))
		return failure(t, err).Holder != nil
	})
	keeping := query(t, p.Server, fmt.Sprintf("SELECT a.pid, a.backend_xmin, a.backend_xid, l.relation::regclass FROM pg_stat_activity a "+
		"LEFT JOIN pg_locks l ON l.pid = a.pid AND l.locktype = 'relation' WHERE a.datname = '%s' AND a.state = 'idle in transaction' "+
		"AND NOT (a.backend_xmin IS NULL AND a.backend_xid IS NULL AND l.relation IS NULL)", p.name))
	if len(keeping) > 0 {
		t.Errorf("idle sessions hold %v", keeping)
	}
	conn, err := pgconn.Connect(bounded(t), p.DSNOf(p.name))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	do := func(sql string) string {
		results, err := conn.Exec(bounded(t), sql).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if rows := results[0].Rows; len(rows) > 0 {
			return string(rows[0][0])
		}
		return ""
	}
	do("CREATE TABLE dead AS SELECT generate_series(1, 1000) AS n")
	do("DELETE FROM dead")
	eventually(t, "vacuum removes the rows", func() bool { // a wait's slice that has not ended pins them
		do("VACUUM dead")
		return do("SELECT pg_relation_size('dead')") == "0"
	})
	if transactions := p.transactions(t); len(transactions) < 2 {
		t.Errorf("%d transactions were open meanwhile", len(transactions))
	}
	do("CREATE INDEX CONCURRENTLY ON dead (n)")
	if err := lock.Err(); err != nil {
		t.Error(err)
	}
	release(t, lock)
	release(t, quiet)
}

// A manager without locks gives its server connections back to the pooler, and takes others when it needs them.
func TestTransactionPoolerGivesIdleSessionsBack(t *testing.T) {
	p := behindPooler(t, nil)
	m := p.open(t, manager.WithIdleTime(200*time.Millisecond), manager.WithHealth(300*time.Millisecond, 5*time.Second))
	for range 2 {
		lock, own := acquire(t, m, "k"), acquire(t, m, "own", manager.WithDedicatedSession())
		if transactions := p.transactions(t); len(transactions) < 2 {
			t.Errorf("%d transactions are open", len(transactions))
		}
		release(t, lock)
		release(t, own)
		eventually(t, "no session is left", func() bool { return len(p.transactions(t)) == 0 && m.Stats().Sessions.Total() == 0 })
	}
	if losses := m.Stats().Losses; len(losses) > 0 {
		t.Errorf("lost: %v", losses)
	}
}
