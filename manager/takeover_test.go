package manager_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// never is a takeover delay that no test waits for.
const never = time.Hour

// delayed are the options of managers whose takeover delay is d, which must be longer than the trust.
func delayed(d time.Duration) []manager.Option {
	trust := min(d*3/4, 20*time.Second)
	return []manager.Option{manager.WithTakeoverDelay(d), manager.WithHealth(trust/8, trust*7/8)}
}

// endSession ends the session that has the lock, behind the back of its holder.
func endSession(t *testing.T, s *pgserver.Server, lock *manager.Lock) time.Time {
	t.Helper()
	pid := held(t, s)[lock.ID()]
	if pid == 0 {
		t.Fatal("nobody has the lock")
	}
	terminate(t, s, pid)
	return time.Now()
}

// After a hold that has not ended cleanly the next holder is told when the delay is over, and not before: for one key and for a set.
func TestTakeoverDelay(t *testing.T) {
	s := migrated(t)
	const d = 4 * time.Second
	old, next := openOn(t, s, delayed(d)...), openOn(t, s, delayed(d)...)
	lock := acquire(t, old, "takeover")
	ended := endSession(t, s, lock)
	if lock = acquire(t, next, "takeover"); time.Since(ended) < d {
		t.Errorf("the next holder is told after %v", time.Since(ended))
	}
	ended = endSession(t, s, lock)
	set, err := old.AcquireAll(bounded(t), "takeover too", "takeover")
	if err != nil {
		t.Fatal(err)
	}
	if time.Since(ended) < d {
		t.Errorf("the next holder, of a set, is told after %v", time.Since(ended))
	}
	if err := set.Release(bounded(t)); err != nil {
		t.Error(err)
	}
}

// A clean end delays nobody, however it comes.
func TestTakeoverAfterACleanEnd(t *testing.T) {
	s := migrated(t)
	next, others := openOn(t, s, delayed(never)...), openOn(t, s)
	for name, end := range map[string]func(m *manager.Manager) error{
		"the loss of another hold, whose context it has": func(m *manager.Manager) error {
			outer := acquire(t, others, "outer")
			lock, err := m.Acquire(outer.Context(), "clean")
			if err != nil {
				return err
			}
			endSession(t, s, outer)
			ended(t, "the end of the hold", lock.Done())
			return nil
		},
		"Release": func(m *manager.Manager) error { return acquire(t, m, "clean").Release(bounded(t)) },
		"context": func(m *manager.Manager) error {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := m.Acquire(ctx, "clean")
			return err
		},
		"Close": func(m *manager.Manager) error { acquire(t, m, "clean"); closeNow(t, m); return nil },
		"detached": func(m *manager.Manager) error {
			acquire(t, m, "clean", manager.WithDetachedHold())
			closeNow(t, m)
			return nil
		},
		"Do": func(m *manager.Manager) error {
			return m.Do(bounded(t), "clean", func(context.Context) error { return nil })
		},
		"Elect": func(m *manager.Manager) error {
			return m.Elect(bounded(t), "clean", func(context.Context) error { return nil })
		},
		"a set": func(m *manager.Manager) error {
			set, err := m.AcquireAll(bounded(t), "clean", "clean too")
			if err != nil {
				return err
			}
			return set.Release(bounded(t))
		},
		"the end of a set's context": func(m *manager.Manager) error {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := m.AcquireAll(ctx, "clean", "clean too")
			return err
		},
		"local hand-offs": func(m *manager.Manager) error {
			errs := make(chan error, 4)
			for range cap(errs) {
				go func() {
					errs <- m.Do(bounded(t), "clean", func(context.Context) error { return nil })
				}()
			}
			return errors.Join(<-errs, <-errs, <-errs, <-errs)
		},
	} {
		m := openOn(t, s, delayed(never)...)
		if err := end(m); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, key := range []string{"clean", "clean too"} {
			lock, err := next.Acquire(bounded(t), key)
			if err != nil {
				t.Fatalf("after %s: %v", name, err)
			}
			release(t, lock)
		}
		closeNow(t, m)
	}
}

// The holder that has lost its lock says that its work has ended, and the next is told at once.
func TestTakeoverWhenTheWorkHasEnded(t *testing.T) {
	s := migrated(t)
	old, next := openOn(t, s, delayed(never)...), openOn(t, s, delayed(never)...)
	working, finish := make(chan struct{}), make(chan struct{})
	result := make(chan error, 1)
	go func() {
		result <- old.Do(t.Context(), "work", func(ctx context.Context) error {
			close(working)
			<-ctx.Done()
			<-finish
			return nil
		})
	}()
	ended(t, "the work begins", working)
	id := old.Key("work").ID()
	terminate(t, s, held(t, s)[id])
	granted := make(chan acquired, 1)
	go func() {
		lock, err := next.Acquire(t.Context(), "work", manager.WithWaitTimeout(patience))
		granted <- acquired{lock, err}
	}()
	eventually(t, "the next has the lock", func() bool { return held(t, s)[id] != 0 })
	eventually(t, "it has a token", func() bool {
		return len(query(t, s, "SELECT 1 FROM lockkeeper.fence WHERE token > told AND ended < told")) > 0
	})
	if len(granted) > 0 {
		t.Fatalf("it is told while the other works: %v", <-granted)
	}
	close(finish)
	wantIs(t, ended(t, "the end of Do", result), manager.ErrLost)
	got := ended(t, "the grant", granted)
	if got.err != nil {
		t.Fatal(got.err)
	}
	release(t, got.lock)
}

// Who gives up has waited for those who come after: so the key is had at last, although each waits for less than the delay. The error says what
// was waited for.
func TestTakeoverByThoseWhoGiveUp(t *testing.T) {
	s := migrated(t)
	const d = 4 * time.Second
	old, one, two := openOn(t, s, delayed(d)...), openOn(t, s, delayed(d)...), openOn(t, s, delayed(d)...)
	lock := acquire(t, old, "give up")
	ended := endSession(t, s, lock)
	said := false
	for i := range 200 {
		m := []*manager.Manager{one, two}[i%2]
		next, err := m.Acquire(bounded(t), "give up", manager.WithWaitTimeout(300*time.Millisecond))
		if err == nil {
			if time.Since(ended) < d {
				t.Errorf("told after %v", time.Since(ended))
			}
			if !said {
				t.Error("no error said what was waited for")
			}
			release(t, next)
			return
		}
		wantIs(t, err, manager.ErrWaitTimeout)
		said = said || strings.Contains(err.Error(), "takeover delay")
	}
	t.Error("nobody ever gets the key")
}

// One who waits for the delay loses its session, and hears of that when the next has waited for some time already. That time counts once.
func TestTakeoverCountsNoWaitTwice(t *testing.T) {
	s := migrated(t)
	const d = 6 * time.Second
	var n network
	old, cut, next := openOn(t, s, delayed(d)...), n.manager(t, s, append(delayed(d), manager.WithHealth(375*time.Millisecond, 2625*time.Millisecond))...), openOn(t, s, delayed(d)...)
	lock := acquire(t, old, "twice")
	ended := endSession(t, s, lock)
	id := lock.ID()
	acquires := func(m *manager.Manager) <-chan acquired { // who waits for the delay has the lock: it does not count as waiting
		out := make(chan acquired, 1)
		go func() {
			lock, err := m.Acquire(t.Context(), "twice", manager.WithWaitTimeout(patience))
			out <- acquired{lock, err}
		}()
		return out
	}
	waits := acquires(cut)
	eventually(t, "another waits with a token", func() bool {
		return len(query(t, s, fmt.Sprintf("SELECT 1 FROM lockkeeper.fence WHERE id = %d AND token > told AND ended < told", id))) > 0
	})
	n.deaf.shut()
	terminate(t, s, held(t, s)[id])
	served := acquires(next)
	wantIs(t, (<-waits).err, manager.ErrLost)
	n.deaf.open() // it has it written that it has waited
	got := <-served
	if got.err != nil {
		t.Fatal(got.err)
	}
	if time.Since(ended) < d {
		t.Errorf("the next holder is told after %v", time.Since(ended))
	}
	release(t, got.lock)
}

// All keys that Close releases are free at once for the next holders: also more of them than one round marks, and those whose row another writes.
func TestTakeoverAfterCloseOfManyKeys(t *testing.T) {
	s := migrated(t)
	m := openOn(t, s, delayed(never)...)
	var keys, ids []string
	for i := range 1200 {
		keys = append(keys, fmt.Sprint("many ", i))
		ids = append(ids, fmt.Sprint(m.Key(keys[i]).ID()))
	}
	if _, err := m.AcquireAll(bounded(t), keys...); err != nil {
		t.Fatal(err)
	}
	u := beginPgx(t, dsn(s))
	if err := u.exec("SELECT FROM lockkeeper.fence WHERE id = " + ids[0] + " FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	begun := time.Now()
	go func() { closed <- m.Close(t.Context()) }()
	of := fmt.Sprintf("SELECT 1 FROM lockkeeper.fence WHERE ended < token AND id IN (%s)", strings.Join(ids, ","))
	unmarked := func() int { return len(query(t, s, of)) }
	eventually(t, "all marks but one are written", func() bool { return unmarked() == 1 })
	eventually(t, "the locks are released", func() bool { return held(t, s)[m.Key(keys[0]).ID()] == 0 })
	select {
	case err := <-closed:
		t.Errorf("closed before the last mark is written: %v", err)
		closed <- err
	case <-time.After(100 * time.Millisecond):
	}
	if err := u.finish(true); err != nil {
		t.Error(err)
	}
	late := time.Since(begun) > 4*time.Second // the marks are given up after 5 s
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if n := unmarked(); n != 0 && !late {
		t.Errorf("%d of %d holds have no mark of their end", n, len(ids))
	}
}

// Who gives up after a clean end has not held the key: the next is told at once.
func TestTakeoverOfATokenThatNobodyWasTold(t *testing.T) {
	s := migrated(t)
	// A draw that is not answered in time may have been carried out: then nobody knows its token, and the next waits for the whole delay.
	opts := append(delayed(never), manager.WithHealth(5*time.Second, 5*time.Second))
	m, next := openOn(t, s, opts...), openOn(t, s, opts...)
	release(t, acquire(t, m, "void"))
	u := beginPgx(t, dsn(s))
	for range 10 { // it ends at any moment of the draw
		for _, d := range []time.Duration{1, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			_, _ = m.Acquire(ctx, "void", manager.WithWaitTimeout(patience))
			cancel()
			lock, err := next.Acquire(bounded(t), "void")
			if err != nil {
				t.Fatal(err)
			}
			release(t, lock)
		}
	}
	if err := u.finish(true); err != nil {
		t.Error(err)
	}
}

// Who gives up while its draw is under way lets the lock go, and the draw may come after the next holder's: it hides what that one waits for.
func TestTakeoverOfATokenThatNobodyWasToldAmidOthers(t *testing.T) {
	s := migrated(t)
	next := openOn(t, s, delayed(never)...)
	id := next.Key("late").ID()
	drawn := func() (token int64) {
		for _, row := range query(t, s, fmt.Sprintf("SELECT token FROM lockkeeper.fence WHERE id = %d", id)) {
			if _, err := fmt.Sscan(row[0], &token); err != nil {
				t.Fatal(err)
			}
		}
		return token
	}
	drawsLate := func() {
		query(t, s, fmt.Sprintf("UPDATE lockkeeper.fence SET told = token, token = token + 1 WHERE id = %d", id))
	}
	isVoid := func(token int64) { // as a drawer does, it comes again where the row is locked, by an end that is being written
		eventually(t, "a token is void", func() bool { return len(query(t, s, manager.VoidStatement(id, token, token-1))) > 0 })
	}
	release(t, acquire(t, next, "late"))
	eventually(t, "the end of the first hold is written", func() bool {
		return len(query(t, s, fmt.Sprintf("SELECT 1 FROM lockkeeper.fence WHERE id = %d AND ended = token", id))) > 0
	})
	first := drawn()
	drawsLate()
	served := make(chan acquired, 1)
	go func() {
		lock, err := next.Acquire(t.Context(), "late", manager.WithWaitTimeout(patience))
		served <- acquired{lock, err}
	}()
	eventually(t, "the next holder has drawn", func() bool { return drawn() == first+2 })
	drawsLate()
	isVoid(first + 1)
	got := <-served
	if got.err != nil {
		t.Fatal(got.err)
	}
	release(t, got.lock)
	isVoid(first + 3)
	release(t, acquire(t, next, "late"))
}

func TestTakeoverDelayRefusesLessThanTheTrust(t *testing.T) {
	s := server(t)
	for d, want := range map[time.Duration]string{
		time.Second: "WithTakeoverDelay is 1s: it must be at least the health interval and timeout together, 7s",
		-1:          "WithTakeoverDelay is -1ns",
	} {
		_, err := manager.Open(bounded(t), dsn(s), manager.WithTakeoverDelay(d))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", d, err)
		}
	}
}

// A caller for whom the takeover delay goes on has no lock yet, and waits: so do the statistics say.
func TestTakeoverDelayIsAWait(t *testing.T) {
	s := migrated(t)
	old, next := openOn(t, s, delayed(never)...), openOn(t, s, delayed(never)...)
	key := fmt.Sprint("counted ", time.Now().UnixNano()) // whose delay is for ever
	endSession(t, s, acquire(t, old, key))
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	waiting := acquiring(ctx, t, next, key)
	eventually(t, "none held and one waiting, with the server's grant", func() bool {
		got := next.Stats()
		return got.Held == 0 && got.Waiting == 1 && got.GrantsServer == 1
	})
	cancel()
	if got := ended(t, "the wait", waiting); !errors.Is(got.err, context.Canceled) {
		t.Error(got.err)
	}
	eventually(t, "nothing is left", func() bool { got := next.Stats(); return got.Held == 0 && got.Waiting == 0 })
	if got := acquire(t, next, "free"); next.Stats().Held != 1 || next.Stats().Waiting != 0 {
		t.Errorf("one held: %+v", next.Stats())
	} else {
		release(t, got)
	}
}
