package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/childtest"
	"github.com/lockkeeper/lockkeeper/internal/netfault"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// needsSessionTimeout skips where the server is too old to end a silent session by itself.
func needsSessionTimeout(t *testing.T, s *pgserver.Server) {
	t.Helper()
	if strings.HasPrefix(s.Version(), "13") {
		t.Skip("PostgreSQL 13 does not end a silent session: what a frozen client holds stays held")
	}
}

// A middlebox is frozen: both connections stay up, and their kernels acknowledge everything. No setting of TCP sees it;
// the server's own limit for idle sessions is what frees the locks, and their holders know before.
func TestFrozenMiddlebox(t *testing.T) { eachWay(t, checkFrozenMiddlebox) }

func checkFrozenMiddlebox(t *testing.T, w way) {
	t.Helper()
	s := pgtest.Shared(t)
	w.needsSessionTimeout(t, s)
	audit(t, s)
	config := parse(t, w.front(t, s))
	behind := net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	o := newOutsider(t, s)
	var y tally
	rounds := often(1, 10)
	for done := 0; done < rounds; {
		box := childtest.Start(t, "middlebox", behind)
		address, err := netip.ParseAddrPort(box.Line(t))
		if err != nil {
			t.Fatal(err)
		}
		config.Host, config.Port = address.Addr().String(), address.Port()
		m := w.open(t, source(t, config.Copy()), short.options()...)
		name := func() string { return fmt.Sprint("frozen middlebox ", time.Now().UnixNano()) }
		all := holds(t, m, o, name())
		for !stillHeld(all) {
			all = holds(t, m, o, name())
		}
		cut := time.Now()
		box.Freeze(t)
		if stillHeld(all) { // else it was lost before
			follow(t, o, all)
			y.add(t, all, cut)
			done++
		}
		box.Kill(t)
		closeNow(t, m)
	}
	t.Log(&y)
}

// A process is stopped for longer than its lease. Somebody else has the lock when it wakes, and its first look says so,
// before any of its timers has had a chance.
func TestHolderWokenPastItsLease(t *testing.T) { eachWay(t, checkHolderWokenPastItsLease) }

func checkHolderWokenPastItsLease(t *testing.T, w way) {
	t.Helper()
	s := pgtest.Shared(t)
	w.needsSessionTimeout(t, s)
	audit(t, s)
	dsn := w.namedFront(t, s)
	c := childtest.Start(t, "look", dsn, "woken", strconv.FormatBool(w.inTransaction))
	m := open(t, near(t, s))
	var freed figures
	rounds := often(1, 50)
	for done := 0; done < rounds; {
		for c.Line(t) != "held" {
		}
		began := time.Now()
		c.Freeze(t)
		lock := acquire(t, m, "woken", manager.WithRetryPolicy(patient()))
		freed = append(freed, time.Since(began))
		if !c.Quiet() { // it had lost the lock before it was stopped: this machine is busy
			release(t, lock)
			c.Wake(t)
			continue
		}
		// What it looks at is the lock that it held: the other one is not released before it has said so.
		c.Wake(t)
		switch got := c.Line(t); got {
		case "woken true":
			done++
		case "lost": // before it was stopped, and it had yet to say so
		default:
			t.Fatalf("the child's first look: %s", got)
		}
		release(t, lock)
	}
	t.Logf("%d of %d rounds: lost at the first look; the server freed the lock of a stopped process after: %v (session timeout %v)",
		rounds, rounds, freed, short.server)
	c.End(t)
}

// A process is killed while the network is cut: nothing tells the server, and nobody is there to declare anything.
func TestHolderDiesBehindACutNetwork(t *testing.T) { eachWay(t, checkHolderDiesBehindACutNetwork) }

func checkHolderDiesBehindACutNetwork(t *testing.T, w way) {
	t.Helper()
	s, n := farAway(t)
	w.needsCutsSeen(t, s)
	audit(t, s)
	o := newOutsider(t, s)
	m := w.open(t, w.through(t, s, n), short.options()...)
	all := holds(t, m, o, "dies")
	cut := time.Now()
	if err := n.Cut(t.Context(), netfault.Both); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := m.Acquire(ctx, "dialled", manager.WithDedicatedSession()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a session was opened through a cut network: %v", err)
	}
	// An unlock whose answer cannot come is neither a release nor a loss.
	if err := all[0].lock.Release(bounded(t)); !errors.Is(err, manager.ErrReleaseUnknown) && !errors.Is(err, manager.ErrLost) {
		t.Errorf("a release through a cut network: %v", err)
	} else {
		t.Logf("a release through a cut network, after %v: %v", time.Since(cut).Round(time.Millisecond), err)
	}
	closing := time.Now()
	closeNow(t, m) // as the kernel of a process that dies would: what it sends does not arrive
	closedAfter := time.Since(closing)
	follow(t, o, all)
	t.Logf("the manager's Close took %v, with nothing left of it; the server freed the locks within %v (session timeout %v)",
		closedAfter.Round(time.Millisecond), time.Since(cut).Round(time.Millisecond), short.server)
}
