package manager_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// A12. PgBouncer's PAUSE waits while a lock is held, and ends beside an open manager that holds nothing; the pooler goes on then.
func TestA12PauseBesideAnIdleManager(t *testing.T) {
	for mode, more := range map[string][]manager.Option{"session": nil, "transaction": {manager.WithTransactionPooler()}} {
		t.Run(mode, func(t *testing.T) {
			s, name := pgtest.NewDatabase(t)
			p := pgtest.NewBouncer(t, s, name, map[string]string{"pool_mode": mode})
			m, err := manager.Open(bounded(t), p.DSN, append(more, manager.WithIdleTime(200*time.Millisecond),
				manager.WithHealth(300*time.Millisecond, 5*time.Second))...)
			if err != nil {
				t.Fatal(err)
			}
			closeAfter(t, m)
			lock := acquire(t, m, "k")

			p.Pause()
			backends := func() int {
				return len(query(t, s, "SELECT 1 FROM pg_stat_activity WHERE datname = '"+name+"' AND pid <> pg_backend_pid()"))
			}
			eventually(t, "the pooler has the signal", func() bool { return strings.Contains(p.Log(), "SIGUSR1") })
			if backends() == 0 {
				t.Fatal("the pooler has no server connection while a lock is held")
			}
			release(t, lock)
			// It has ended when the pooler has none, since it closes each that it gets back.
			eventually(t, "the pause has ended", func() bool { return backends() == 0 })
			p.Resume()
			release(t, acquire(t, m, "k"))
		})
	}
}
