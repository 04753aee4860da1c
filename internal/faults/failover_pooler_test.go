package faults

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// Behind a pooler the primary dies, its standby is promoted, and the pooler is told to stand before that one. Later somebody has it stand before the
// old primary, which has come back: who has met the new one takes no lock there, and keeps what he has.
func TestFailoverBehindAPooler(t *testing.T) {
	for _, w := range []way{{name: "transaction", inTransaction: true}, {name: "session"}} {
		t.Run(w.name, func(t *testing.T) { checkFailoverBehindAPooler(t, w) })
	}
}

func checkFailoverBehindAPooler(t *testing.T, w way) {
	t.Helper()
	c := newCluster(t)
	audit(t, c.standby)
	b := pgtest.NewBouncer(t, c.primary, pgserver.Database, map[string]string{"pool_mode": w.name, "default_pool_size": "60", "server_login_retry": "1"})
	src := source(t, parse(t, b.DSN))
	holder, waiter := w.open(t, src), w.open(t, src)
	lock := acquire(t, holder, "moves")
	granted := make(chan *manager.Lock, 1)
	go func() {
		got, err := waiter.Acquire(context.Background(), "moves", manager.WithRetryPolicy(patient()))
		if err != nil {
			t.Error(err)
		}
		granted <- got
	}()
	o := newOutsider(t, c.primary)
	eventually(t, "it waits at the server", func() bool { return o.waitsFor(lock.ID()) })
	died := time.Now()
	if err := c.primary.SignalAll(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ended(t, "the loss", lock.Done())
	told := time.Since(died)
	if !errors.Is(lock.Err(), manager.ErrLost) {
		t.Error(lock.Err())
	}
	c.promote(t)
	promoted := time.Now()
	b.Serve(c.standby)
	moved := ended(t, "the grant by the new primary", granted)
	if t.Failed() {
		return
	}
	served := time.Since(promoted)
	fresh := newOutsider(t, c.standby)
	if _, there := fresh.held()[moved.ID()]; !there {
		t.Errorf("the new primary has %v", fresh.held())
	}
	if err := c.primary.Start(bounded(t)); err != nil {
		t.Fatal(err)
	}
	b.Serve(c.primary)
	eventually(t, "the old primary is what new connections reach", func() bool {
		got, err := waiter.Acquire(bounded(t), "back", manager.WithDedicatedSession(), manager.WithRetryPolicy(manager.LinearRetry(1, time.Millisecond)))
		if err == nil { // a connection that was there
			if _, there := fresh.held()[got.ID()]; !there {
				t.Fatal("a manager that knows the new primary has a lock of the old one")
			}
			release(t, got)
			return false
		}
		if !strings.Contains(err.Error(), "an old primary answered") {
			t.Fatal(err)
		}
		return true
	})
	if err := moved.Err(); err != nil {
		t.Error(err)
	}
	b.Serve(c.standby)
	release(t, acquire(t, waiter, "back", manager.WithDedicatedSession(), manager.WithRetryPolicy(patient())))
	release(t, moved)
	t.Logf("the holder was told %v after the primary was killed; the waiter was served %v after the promotion", told.Round(time.Millisecond),
		served.Round(time.Millisecond))
}
