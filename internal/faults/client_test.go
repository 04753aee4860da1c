package faults

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/childtest"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// A holder's process is killed. Its lock is free at once: the server, or what stands before it, sees the end of the connection.
func TestClientKilled(t *testing.T) { eachWay(t, checkClientKilled) }

func checkClientKilled(t *testing.T, w way) {
	t.Helper()
	s := pgtest.Shared(t)
	audit(t, s)
	dsn := w.namedFront(t, s)
	m := open(t, near(t, s))
	var freed figures
	for range often(3, 50) {
		child := childtest.Start(t, "look", dsn, "killed", strconv.FormatBool(w.inTransaction), "for long")
		for child.Line(t) != "held" {
		}
		began := time.Now()
		child.Kill(t)
		lock := acquire(t, m, "killed", manager.WithRetryPolicy(patient()))
		took := time.Since(began)
		freed = append(freed, took)
		if took > patience/2 { // the server itself would free it after an hour
			t.Errorf("the lock was free after %v", took)
		}
		release(t, lock)
	}
	t.Logf("the lock of a killed process was free after: %v", freed)
}

// A pgpool-II that has fewer processes than connections are needed lets the others wait: the error says which limit of ours was met.
func TestPgpoolTooSmall(t *testing.T) {
	s := pgtest.Shared(t)
	for children, enough := range map[int]bool{1: false, 4: true} {
		p := pgtest.NewPgpool(t, []*pgserver.Server{s}, map[string]string{"num_init_children": strconv.Itoa(children)})
		for _, opts := range [][]manager.Option{nil, {manager.WithTransactionPooler()}} {
			limit := 2 * time.Second
			if enough {
				limit = patience
			}
			began := time.Now()
			m, err := manager.New(bounded(t), source(t, parse(t, p.DSN)), append(opts, manager.WithConnectTimeout(limit))...)
			switch {
			case enough && err != nil:
				t.Error(err)
			case enough:
				lock := acquire(t, m, "small")
				release(t, lock)
				closeNow(t, m)
			case err == nil:
				closeNow(t, m)
				t.Error("it was opened with one connection")
			case !strings.Contains(err.Error(), "2s"):
				t.Error(err)
			}
			t.Logf("%d processes, %d options: %v after %v", children, len(opts), err, time.Since(began).Round(time.Millisecond))
		}
	}
}
