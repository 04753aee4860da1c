package manager_test

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

var troubleInLog = regexp.MustCompile(`(?m)^.*: (WARNING|ERROR|FATAL|PANIC): .*$`)

// between is the server's log between two marks. The server must have been stopped.
func between(t *testing.T, log, from, to string) string {
	t.Helper()
	_, log, begun := strings.Cut(log, from)
	log, _, done := strings.Cut(log, to)
	if !begun || !done {
		t.Fatalf("the marks %s and %s are not in the log", from, to)
	}
	return log
}

func mark(t *testing.T, s *pgserver.Server, name string) {
	t.Helper()
	query(t, s, "DO $$ BEGIN RAISE LOG '"+name+"'; END $$")
}

// A1. Keys that are waited for leave no ERROR and no WARNING line in the server's log: not while they wait, not when the
// waiters give up or are granted, and not when the manager is closed under them.
func TestA1WaitingLeavesNoErrorsInTheLog(t *testing.T) {
	const slice, slices = 100 * time.Millisecond, 8
	for name, c := range map[string]struct {
		keys int
		opts []manager.Option
	}{
		"sixteen keys":           {16, nil},
		"more keys than waiters": {40, []manager.Option{manager.WithWaitingSessions(8)}},
		"by polling":             {16, []manager.Option{manager.WithRetry(manager.LinearRetry(1000, 10*time.Millisecond))}},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			s := pgtest.New(t, pgserver.Options{Log: &log})
			patient := manager.WithCloseTimeout(soon) // a backend whose client does not wait for its end says so
			other := openOn(t, s, patient)
			m := openOn(t, s, append(c.opts, manager.WithWaitSlice(slice), patient)...)
			var theirs []*manager.Lock
			for i := range c.keys {
				theirs = append(theirs, acquire(t, other, fmt.Sprint("key ", i)))
			}
			ctx, cancel := context.WithCancel(bounded(t))
			defer cancel()
			mark(t, s, "lk waiting")
			var waiting, cancelled []<-chan acquired
			for i := range c.keys {
				key := fmt.Sprint("key ", i)
				waiting = append(waiting, acquiring(bounded(t), t, m, key))
				cancelled = append(cancelled, acquiring(ctx, t, m, key))
			}
			since := time.Now()
			eventually(t, "several slices are over", func() bool { return time.Since(since) > slices*slice })
			if n := m.Stats().Waiting; n != 2*c.keys {
				t.Errorf("%d of %d wait", n, 2*c.keys)
			}
			mark(t, s, "lk cancelling")
			cancel()
			for _, call := range cancelled {
				wantIs(t, ended(t, "the end of a wait", call).err, context.Canceled)
			}
			_, err := m.Acquire(bounded(t), "key 0", manager.WithWaitTimeout(3*slice))
			wantIs(t, err, manager.ErrWaitTimeout)
			_, err = m.TryAcquire(bounded(t), "key 0")
			wantIs(t, err, manager.ErrNotAcquired)
			mark(t, s, "lk granting")
			for i, call := range waiting[:c.keys/2] {
				release(t, theirs[i])
				got := ended(t, "the grant", call)
				if got.err != nil {
					t.Fatal(got.err)
				}
				release(t, got.lock)
			}
			alone, cancelAlone := context.WithCancel(bounded(t)) // the only one who waits for its key in this process
			key := fmt.Sprint("key ", c.keys/2)
			mark(t, s, "lk closing")
			closeNow(t, m)
			for _, call := range waiting[c.keys/2:] {
				wantIs(t, ended(t, "the end of a wait", call).err, manager.ErrClosed)
			}
			mark(t, s, "lk alone")
			again := openOn(t, s, append(c.opts, manager.WithWaitSlice(slice), patient)...)
			mark(t, s, "lk opened")
			last := acquiring(alone, t, again, key)
			cancelAlone()
			wantIs(t, ended(t, "the end of the wait", last).err, context.Canceled)
			closeNow(t, again)
			closeNow(t, other)
			mark(t, s, "lk end")
			if err := s.Stop(bounded(t)); err != nil {
				t.Fatal(err)
			}
			whole := log.String()
			if err := s.Start(bounded(t)); err != nil { // for the checks that follow
				t.Fatal(err)
			}
			for _, phase := range [][2]string{{"lk waiting", "lk cancelling"}, {"lk cancelling", "lk granting"},
				{"lk granting", "lk closing"}, {"lk closing", "lk alone"}, {"lk opened", "lk end"}} {
				if found := troubleInLog.FindAllString(between(t, whole, phase[0], phase[1]), -1); len(found) > 0 {
					t.Errorf("from %q to %q: %d lines such as %s", phase[0], phase[1], len(found), found[0])
				}
			}
		})
	}
}
