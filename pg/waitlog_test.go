package pg

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Waiting and the server's log, and the moment in which a slice ends.

// Sixteen sessions wait for several slices: the server's log has nothing to say about it.
func TestWaitingLogsNothing(t *testing.T) {
	noLeaks(t)
	d := newServer(t, map[string]string{"log_min_messages": "warning", "log_lock_waits": "on", "deadlock_timeout": "1s",
		"log_min_error_statement": "error"})
	p := openDSN(t, d.dsn(), quick())
	holder := newCaller(1)
	s := holder.take(t, p)
	from := len(d.Log())
	var waiters sync.WaitGroup
	own := make([]*Solo, defaultWaitingSessions)
	callers := make([]*caller, len(own))
	for i := range own {
		callers[i] = newCaller(1)
		own[i] = callers[i].reserve(t, p, UseWaiting)
		waiters.Go(func() {
			for range 3 {
				if a := callers[i].on(t, own[i], OpWait); a.ok || a.err != nil {
					t.Errorf("%+v", a)
				}
			}
		})
	}
	waiters.Wait()
	holder.release(t, s)
	for i, c := range callers {
		waiters.Go(func() {
			for a := c.on(t, own[i], OpWait); !a.ok; a = c.on(t, own[i], OpWait) {
				if a.err != nil {
					t.Errorf("%+v", a)
					return
				}
			}
			if a := c.on(t, own[i], OpUnlock); !a.ok {
				t.Errorf("%+v", a)
			}
		})
	}
	waiters.Wait()
	closePool(t, p)
	for line := range strings.Lines(d.Log()[from:]) {
		for _, bad := range []string{"ERROR", "WARNING", "still waiting", "STATEMENT", "acquired"} {
			if strings.Contains(line, bad) {
				t.Errorf("the server's log says %s", line)
			}
		}
	}
}

// A lock that is released at about the end of a slice is granted, or it is not: the answer and the server's table agree, and one
// unlock is enough.
func TestAReleaseAtTheEndOfASlice(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	config := patient()
	config.WaitSlice = minDuration
	p := openDSN(t, d.dsn(), config)
	rounds := 100
	switch {
	case os.Getenv("LOCKKEEPER_STRESS") != "":
		rounds = 5000
	case testing.Short():
		rounds = 40
	}
	holder, waiter := newCaller(1), newCaller(1)
	own := waiter.reserve(t, p, UseWaiting)
	granted := 0
	for i := range rounds {
		waiter.r.Shared = i%2 == 1
		s := holder.take(t, p)
		release := time.NewTimer(config.WaitSlice - time.Millisecond + time.Duration(rand.IntN(2500))*time.Microsecond)
		waiter.submit(own, OpWait)
		<-release.C
		holder.submit(s, OpUnlock)
		a := waiter.await(t)
		if a.err != nil {
			t.Fatalf("%+v", a)
		}
		if b := holder.await(t); !b.ok {
			t.Fatalf("%+v", b)
		}
		told := map[int64]bool{}
		if a.ok {
			told[1] = true
		}
		agree(t, d, own, told)
		if a.ok {
			granted++
			waiter.release(t, own)
			agree(t, d, own, map[int64]bool{})
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d of %d were granted", granted, rounds)
	if granted == 0 || granted == rounds {
		t.Log("no race was met")
	}
	holder.quiet(t)
	waiter.quiet(t)
}

// The end of a slice may meet the release of the lock: the wait finds it free, and is not to take another lock of its session for it.
func TestAWaitTakesNoOtherLockForItsOwn(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	const id = 7<<32 + 8
	for before, has := range map[string]string{ // the mode in which the session has the lock by then, if any
		"SELECT pg_advisory_lock(99)": "", "SELECT pg_advisory_lock_shared(7::int8 << 32)": "", "SELECT pg_advisory_lock(8)": "",
		"SELECT pg_advisory_lock(7, 8)": "", "BEGIN; SELECT pg_advisory_xact_lock(8)": "",
		fmt.Sprintf("SELECT pg_advisory_lock(%d)", id): "exclusive", fmt.Sprintf("SELECT pg_advisory_lock_shared(%d)", id): "shared",
	} {
		for _, mode := range []string{"exclusive", "shared"} {
			t.Run(before+", "+mode, func(t *testing.T) {
				shared := mode == "shared"
				function := map[bool]string{true: "_shared"}[shared]
				wait, over := "PERFORM pg_catalog.pg_advisory_lock"+function+"(id);", "RAISE lock_not_available;"
				text := strings.Replace(waitText(waitSQL, id, shared), wait, over, 1) // as lock_timeout does; the lock is free by then
				if !strings.Contains(text, over) {
					t.Fatalf("the wait is not in %s", text)
				}
				conn, err := pgconn.Connect(within(t), d.dsn())
				if err != nil {
					t.Fatal(err)
				}
				defer closeConn(conn)
				results, err := conn.Exec(within(t), before+"; "+text).ReadAll()
				if err != nil {
					t.Fatal(err)
				}
				want := map[bool]string{true: "t", false: "f"}[mode == has]
				if got := string(results[len(results)-1].Rows[0][0]); got != want {
					t.Errorf("answered %s, should be %s", got, want)
				}
				if pid, held := d.locks(t)[id]; held != (has != "") {
					t.Errorf("held by %d", pid)
				}
			})
			d.isEmpty(t)
		}
	}
}

// Where the database has no PL/pgSQL, or the role no right to it, waits are plain ones.
func TestWaitingWithoutPLpgSQL(t *testing.T) {
	for name, sql := range map[string]string{"no such language": "DROP EXTENSION plpgsql",
		"no right to it": "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC"} {
		t.Run(name, func(t *testing.T) {
			shared := name != "no such language" // either mode once
			noLeaks(t)
			d := newDatabase(t)
			dsn := d.newRole(t, "plain")
			conn, err := pgconn.Connect(within(t), d.dsn())
			if err != nil {
				t.Fatal(err)
			}
			_, err = conn.Exec(within(t), sql).ReadAll()
			closeConn(conn)
			if err != nil {
				t.Fatal(err)
			}
			config := quick()
			config.WaitSlice = 50 * time.Millisecond
			p := openDSN(t, dsn, config)
			holder, waiter := newCaller(1), newCaller(1)
			waiter.r.Shared = shared
			s := holder.take(t, p)
			own := waiter.reserve(t, p, UseWaiting)
			for range 3 { // the first finds out
				if a := waiter.on(t, own, OpWait); a.ok || a.err != nil {
					t.Errorf("%+v", a)
				}
			}
			if !p.plainWait.Load() {
				t.Error("the pool does not know")
			}
			holder.release(t, s)
			if a := waiter.on(t, own, OpWait); !a.ok || a.err != nil {
				t.Errorf("%+v", a)
			}
			agree(t, d, own, map[int64]bool{1: true})
			waiter.release(t, own)
			agree(t, d, own, map[int64]bool{})
			waiter.quiet(t)
		})
	}
}
