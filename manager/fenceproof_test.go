package manager_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/internal/childtest"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

const (
	fenceLanes = 4
	// fenceWindow is the time around COMMIT in which a session is ended. A COMMIT takes up to 2 ms: a deferred trigger sleeps.
	fenceWindow = 8 * time.Millisecond
)

// TestNoCommitFollowsTheNextGrant: a process has a lock and a transaction on the lock's session that writes the number of the round. It commits,
// and at a random moment around that the server ends its session, its connection is cut, or it is killed; or it is stopped past its lease and
// commits on waking. Another process waits for the lock and reads the row as soon as it has it, and again when the old session is gone.
// It must read the same: nothing was committed after the grant; and if a commit was confirmed, it is there.
func TestNoCommitFollowsTheNextGrant(t *testing.T) {
	s := server(t)
	rounds := 100
	if text := os.Getenv("LOCKKEEPER_FENCE_ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	query(t, s, "CREATE TABLE lk_fence (lane int PRIMARY KEY, value bigint)")
	query(t, s, "CREATE FUNCTION lk_fence_slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(random() * 0.002); RETURN NULL; END'")
	query(t, s, "CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON lk_fence DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION lk_fence_slow()")
	t.Cleanup(func() {
		query(t, s, "DROP TABLE lk_fence")
		query(t, s, "DROP FUNCTION lk_fence_slow")
	})
	m := open(t, patientHealth)
	var sum, control fenceSum
	began := time.Now()
	t.Run("lanes", func(t *testing.T) {
		for lane := range fenceLanes {
			t.Run(strconv.Itoa(lane), func(t *testing.T) {
				t.Parallel()
				newFenceLane(t, s, m, lane, &sum).run(rounds/fenceLanes, wayOf)
			})
		}
	})
	t.Run("control", func(t *testing.T) { // a check that cannot fail checks nothing
		if old(s) {
			t.Skip("PostgreSQL 13 does not end the session of a stopped process that has no transaction on it")
		}
		lane := newFenceLane(t, s, m, fenceLanes, &control)
		lane.elsewhere = true
		lane.run(max(3, rounds/1000), func(int) int { return wayStopped })
	})
	if control.errors.Load() == 0 && !old(s) {
		t.Error("a transaction on another session is not seen to commit after the next grant")
	}
	t.Logf("in %v: %v", time.Since(began).Round(time.Second), &sum)
	t.Logf("with the transaction on another session: %v", &control)
	if !t.Failed() && (sum.confirmed.Load() == 0 || sum.undone.Load() == 0) {
		t.Errorf("the moments are not around COMMIT: %v", &sum)
	}
}

// fenceSum counts rounds by how they went.
type fenceSum struct {
	by                              [4]atomic.Int64 // fenceWays
	confirmed, undone, done, errors atomic.Int64
}

func (s *fenceSum) String() string {
	var b strings.Builder
	for i, way := range fenceWays {
		fmt.Fprintf(&b, "%d %s, ", s.by[i].Load(), way)
	}
	fmt.Fprintf(&b, "%d commits confirmed, all of them seen; %d without confirmation that were aborted, %d that were carried out before the grant; %d commits after a grant or lost",
		s.confirmed.Load(), s.undone.Load(), s.done.Load(), s.errors.Load())
	return b.String()
}

// fenceWays are how a session ends.
var fenceWays = [...]string{"terminated", "cut", "killed", "stopped"}

const wayStopped = 3

// wayOf is how the session of a round ends: processes take long to start, and leases to run out.
func wayOf(round int) int {
	switch {
	case round%100 == 50:
		return wayStopped
	case round%20 == 10:
		return 2
	}
	return round % 2
}

// fenceLane is one key, the process that holds it and the one that waits for it, which is this.
type fenceLane struct {
	t     *testing.T
	s     *pgserver.Server
	dsn   string // by which it is reached
	m     *manager.Manager
	lane  int
	conn  *pgx.Conn // for the waiter's reads, and to end sessions
	child *childtest.Child
	value int64 // of the row, when the last round was over
	sum   *fenceSum

	elsewhere bool // the transaction is on another session than the lock
}

func newFenceLane(t *testing.T, s *pgserver.Server, m *manager.Manager, lane int, sum *fenceSum) *fenceLane {
	t.Helper()
	l := &fenceLane{t: t, s: s, dsn: front(t, s), m: m, lane: lane, conn: connect(t, s), sum: sum}
	if _, err := l.conn.Exec(bounded(t), "INSERT INTO lk_fence VALUES ($1, 0)", lane); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *fenceLane) key() string { return fmt.Sprintf("fence/%d", l.lane) }

func (l *fenceLane) run(rounds int, wayOf func(round int) int) {
	for round := 1; round <= rounds && !l.t.Failed(); round++ {
		l.round(int64(round), wayOf(round))
		if round%500 == 0 {
			l.t.Logf("%d of %d rounds", round, rounds)
		}
	}
	if l.child != nil {
		ends(l.t, l.child)
	}
}

func (l *fenceLane) round(round int64, way int) {
	if l.child == nil {
		l.child = childtest.Start(l.t, "fence", l.dsn, l.key(), strconv.Itoa(l.lane), strconv.FormatBool(l.elsewhere))
	}
	c, ctx := l.child, bounded(l.t)
	c.Say(l.t, fmt.Sprintf("write %d", round))
	pid := int(number(l.t, strings.TrimPrefix(c.Line(l.t), "written ")))
	waiter := make(chan acquired, 1) // the lanes have one manager, so that its count of waiters does not tell when this one waits
	go func() {
		lock, err := l.m.Acquire(ctx, l.key())
		waiter <- acquired{lock, err}
	}()
	id := l.m.Key(l.key()).ID()
	eventually(l.t, "the waiter is in the server's queue, or has been served", func() bool {
		return len(waiter) > 0 || queued(l.t, l.s, id) > 0
	})

	moment := time.Duration(rand.Int64N(int64(fenceWindow)))
	cut := -1
	if fenceWays[way] == "cut" {
		cut = int(moment.Microseconds())
	}
	if fenceWays[way] == "stopped" {
		c.Freeze(l.t)
	}
	c.Say(l.t, fmt.Sprintf("commit %d", cut))
	after := time.NewTimer(moment)
	defer after.Stop()
	<-after.C
	switch fenceWays[way] {
	case "terminated":
		if _, err := l.conn.Exec(ctx, "SELECT pg_terminate_backend($1)", pid); err != nil {
			l.t.Fatal(err)
		}
	case "killed":
		c.Kill(l.t)
	}
	next := ended[acquired](l.t, "the wait", waiter)
	seen := l.read() // at once
	if next.err != nil {
		l.t.Fatalf("round %d, %s: %v", round, fenceWays[way], next.err)
	}
	var said []string
	switch fenceWays[way] {
	case "killed":
		said, l.child = c.Died(l.t), nil
	case "stopped":
		c.Wake(l.t)
		fallthrough
	default:
		said = []string{c.Line(l.t), c.Line(l.t)}
	}
	eventually(l.t, "the old session is gone", func() bool {
		var n int
		if err := l.conn.QueryRow(ctx, l.alive(), pid).Scan(&n); err != nil {
			l.t.Fatal(err)
		}
		return n == 0 || l.elsewhere
	})
	if wrong := l.judge(round, seen, l.read(), said, way == wayStopped); wrong != "" {
		l.sum.errors.Add(1)
		if !l.elsewhere {
			l.t.Errorf("round %d, %s: %s", round, fenceWays[way], wrong)
		}
	}
	l.sum.by[way].Add(1)
	if err := next.lock.Err(); err != nil {
		l.t.Errorf("round %d: the waiter has lost its lock: %v", round, err)
	}
	release(l.t, next.lock)
}

// alive counts the old session. A pooler may have reset its backend and have another client use it: then it is gone when it is idle.
func (l *fenceLane) alive() string {
	if l.dsn != dsn(l.s) {
		return "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND state <> 'idle'"
	}
	return "SELECT count(*) FROM pg_stat_activity WHERE pid = $1"
}

func (l *fenceLane) read() (value int64) {
	if err := l.conn.QueryRow(bounded(l.t), "SELECT value FROM lk_fence WHERE lane = $1", l.lane).Scan(&value); err != nil {
		l.t.Fatal(err)
	}
	return value
}

// judge compares what was read at the grant, what was read when the old session was gone, and what the old holder was told.
func (l *fenceLane) judge(round, seen, later int64, said []string, stopped bool) (wrong string) {
	confirmed := len(said) > 0 && said[0] == "confirmed"
	before := l.value
	l.value = later
	switch {
	case seen != later:
		return fmt.Sprintf("%d was committed after the next grant, which read %d", later, seen)
	case confirmed && seen != round:
		return fmt.Sprintf("a confirmed commit is lost: %d", seen)
	case seen != round && seen != before:
		return fmt.Sprintf("%d is nobody's value", seen)
	case confirmed && stopped:
		return "a process that was stopped past its lease has committed"
	case confirmed:
		l.sum.confirmed.Add(1)
	case seen == round:
		l.sum.done.Add(1)
	default:
		l.sum.undone.Add(1)
	}
	return ""
}

// childFence takes the lock and writes in its transaction when it is told to, and commits when it is told to: "confirmed", or "failed" and why. It says
// "lost" when the hold is over. It can cut the connection itself.
func childFence(args []string) error {
	ctx := context.Background()
	config, err := pgx.ParseConfig(args[0])
	if err != nil {
		return err
	}
	dialled := make(chan net.Conn, 1000) // to be cut
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil {
			dialled <- conn
		}
		return conn, err
	}
	source, err := manager.FromConfig(config)
	if err != nil {
		return err
	}
	m, err := manager.New(ctx, source, manager.WithHealth(500*time.Millisecond, 1500*time.Millisecond), manager.WithSessionTimeout(2500*time.Millisecond))
	if err != nil {
		return err
	}
	var lock *manager.Lock
	var tx pgx.Tx
	for scanner := bufio.NewScanner(os.Stdin); scanner.Scan(); {
		what, number, _ := strings.Cut(scanner.Text(), " ")
		n, err := strconv.Atoi(number)
		if err != nil {
			return err
		}
		if what == "write" {
			var pid int
			if lock, tx, pid, err = fenceWrite(ctx, m, args, n); err != nil {
				return err
			}
			fmt.Fprintln(os.Stdout, "written", pid)
			continue
		}
		if n >= 0 {
			time.AfterFunc(time.Duration(n)*time.Microsecond, func() {
				for len(dialled) > 0 {
					_ = (<-dialled).Close()
				}
			})
		}
		if err := tx.Commit(ctx); err != nil {
			fmt.Fprintf(os.Stdout, "failed %q\n", err)
		} else {
			fmt.Fprintln(os.Stdout, "confirmed")
		}
		<-lock.Done()
		fmt.Fprintln(os.Stdout, "lost")
		_ = lock.Release(ctx)
	}
	return m.Close(ctx)
}

// fenceWrite takes the lock and writes n, again where a busy machine has lost the lock meanwhile.
func fenceWrite(ctx context.Context, m *manager.Manager, args []string, n int) (*manager.Lock, pgx.Tx, int, error) {
	var failures error
	for range 10 {
		lock, err := m.Acquire(ctx, args[1], manager.WithDedicatedSession())
		if err != nil {
			return nil, nil, 0, err
		}
		var pid int
		tx, err := fenceBegin(ctx, lock, args)
		if err == nil {
			err = tx.QueryRow(ctx, "UPDATE lk_fence SET value = $1 WHERE lane = $2 RETURNING pg_backend_pid()", n, args[2]).Scan(&pid)
		}
		if err == nil {
			return lock, tx, pid, nil
		}
		failures = errors.Join(failures, err, lock.Release(ctx))
	}
	return nil, nil, 0, failures
}

func fenceBegin(ctx context.Context, lock *manager.Lock, args []string) (pgx.Tx, error) {
	if args[3] != "true" {
		return lock.BeginTx(ctx, pgx.TxOptions{})
	}
	conn, err := pgx.Connect(ctx, args[0]) // closed with the process
	if err != nil {
		return nil, err
	}
	return conn.Begin(ctx)
}
