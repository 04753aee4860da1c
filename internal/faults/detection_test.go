package faults

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// The server ends a session. Its holder hears within milliseconds, and waiters are served when the server is back. Where
// the server only ends the holder's session, the next one can be granted the lock a moment before the holder has
// heard: how often, and for how long, is printed. It is what sessions alone cannot close.
func TestServerEndsASession(t *testing.T) { eachWay(t, checkServerEndsASession) }

func checkServerEndsASession(t *testing.T, w way) {
	t.Helper()
	s := pgtest.New(t, pgserver.Options{})
	audit(t, s)
	src := w.reach(t, s)
	opts := []manager.Option{manager.WithSharedSessions(1)}
	if w.late {
		opts = append(opts, manager.WithHealth(200*time.Millisecond, 2*time.Second))
	}
	holder, waiter := w.open(t, src, opts...), w.open(t, src)
	o := newOutsider(t, s)
	restart := func(mode pgserver.StopMode) func(int) {
		return func(int) {
			if err := s.StopMode(bounded(t), mode); err != nil {
				t.Error(err)
			}
		}
	}
	for _, c := range []struct {
		name        string
		short, long int  // package pg has tests of the kinds that are left out here
		down        bool // the server has to be started again
		fault       func(pid int)
	}{
		{"pg_terminate_backend", 10, 200, false, func(pid int) { o.ask("SELECT pg_terminate_backend(%d)", pid) }},
		{"kill -9 of one backend", 1, 10, true, func(pid int) { kill(t, pid) }},
		{"fast shutdown", 0, 10, true, restart(pgserver.Fast)},
		{"immediate shutdown", 1, 10, true, restart(pgserver.Immediate)},
		{"kill -9 of the postmaster", 0, 10, true, func(int) { kill(t, s.PID()) }},
	} {
		var told, overlap figures
		served := 0
		for range often(c.short, c.long) {
			lock := acquire(t, holder, "ended by the server", manager.WithRetryPolicy(patient()))
			pid := o.held()[lock.ID()]
			if pid == 0 {
				t.Fatal("it was lost before: ", lock.Err())
			}
			next := make(chan time.Time, 1)
			go func() {
				got, err := waiter.Acquire(context.Background(), lock.Key(), manager.WithRetryPolicy(patient()))
				next <- time.Now()
				if err != nil {
					t.Error(err)
					return
				}
				if err := got.Release(context.Background()); err != nil && !errors.Is(err, manager.ErrLost) && !(c.down && errors.Is(err, manager.ErrReleaseUnknown)) {
					t.Error(err)
				}
			}()
			eventually(t, "the next one waits at the server", func() bool { return o.waitsFor(lock.ID()) })
			heard := make(chan time.Time, 1)
			watching := lock.Context()
			go func() {
				<-watching.Done()
				heard <- time.Now()
			}()
			began := time.Now()
			c.fault(pid)
			lost := ended(t, "the loss", heard)
			told = append(told, lost.Sub(began))
			if !errors.Is(lock.Err(), manager.ErrLost) {
				t.Errorf("%s: %v", c.name, lock.Err())
			}
			if c.down {
				// Not a fast stop: the server may be recovering from a killed backend.
				if err := s.Restart(bounded(t), pgserver.Immediate); err != nil {
					t.Fatal(err)
				}
				o = newOutsider(t, s)
			}
			if granted := ended(t, "the waiter's grant", next); granted.Before(lost) {
				overlap = append(overlap, lost.Sub(granted))
			}
			served++
		}
		if served == 0 {
			continue
		}
		t.Logf("%s: holder told after: %v; waiters served %d; next holder first in: %v", c.name, told, served, overlap)
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}
