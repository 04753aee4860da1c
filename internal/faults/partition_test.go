package faults

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/lockkeeper/lockkeeper/internal/netfault"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// lease is what these tests use, so that they end in seconds: a trust of 1.2 s, and a server that ends a session which
// has been silent for 6 s. TestPartitionWithTheDefaults uses the real ones.
type lease struct{ interval, timeout, server time.Duration }

var short = lease{interval: 300 * time.Millisecond, timeout: 900 * time.Millisecond, server: 6 * time.Second}

func (l lease) options() []manager.Option {
	return []manager.Option{manager.WithHealth(l.interval, l.timeout), manager.WithSessionTimeout(l.server),
		manager.WithSharedSessions(1), manager.WithConnectTimeout(5 * time.Second)}
}

// hold is one lock that is partitioned away, and what was seen of it.
type hold struct {
	lock     *manager.Lock
	how      string
	mu       sync.Mutex
	lostAt   time.Time
	lastHeld time.Time // when the server was last asked and had it
}

// holds takes locks in each way in which a lock can be held: on a shared session, on one of its own, and by waiting.
func holds(t *testing.T, m *manager.Manager, o *outsider, name string) []*hold {
	t.Helper()
	waited := m.Key(name + " waited")
	if !o.is("SELECT pg_try_advisory_lock(%d)", waited.ID()) {
		t.Fatal("the outsider cannot take a free lock")
	}
	granted := make(chan *hold, 1)
	go func() {
		lock, err := waited.Acquire(context.Background(), manager.WithWaitTimeout(patience))
		if err != nil {
			t.Error(err)
		}
		granted <- &hold{lock: lock, how: "waited"}
	}()
	eventually(t, "it waits at the server", func() bool { return o.waitsFor(waited.ID()) })
	if !o.is("SELECT pg_advisory_unlock(%d)", waited.ID()) {
		t.Fatal("the outsider's lock is gone")
	}
	out := []*hold{
		{lock: acquire(t, m, name+" shared"), how: "shared"},
		{lock: acquire(t, m, name+" dedicated", manager.WithDedicatedSession()), how: "dedicated"},
		ended(t, "the grant", granted),
	}
	if t.Failed() {
		t.FailNow()
	}
	return out
}

// stillHeld reports whether nothing was lost before the fault, as happens where this machine is very busy.
func stillHeld(all []*hold) bool {
	for _, h := range all {
		if h.lock.Err() != nil {
			return false
		}
	}
	return true
}

// follow notes on one clock when each context ends and when the server last had each lock, until both are over.
func follow(t *testing.T, o *outsider, all []*hold) {
	t.Helper()
	var told sync.WaitGroup
	for _, h := range all {
		told.Go(func() {
			<-h.lock.Context().Done()
			h.mu.Lock()
			defer h.mu.Unlock()
			h.lostAt = time.Now()
		})
	}
	eventually(t, "the server has freed every lock", func() bool {
		asked := time.Now()
		have, left := o.held(), 0
		for _, h := range all {
			if _, held := have[h.lock.ID()]; held {
				h.lastHeld = asked
				left++
			}
		}
		return left == 0
	})
	told.Wait()
}

// tally gathers what came of many partitions.
type tally struct {
	runs, before      int
	loss, freed, room figures
}

func (y *tally) add(t *testing.T, all []*hold, cut time.Time) {
	t.Helper()
	y.runs++
	ok := true
	for _, h := range all {
		if !errors.Is(h.lock.Err(), manager.ErrLost) {
			t.Errorf("%s: %v", h.how, h.lock.Err())
		}
		y.loss = append(y.loss, h.lostAt.Sub(cut))
		y.freed = append(y.freed, h.lastHeld.Sub(cut))
		y.room = append(y.room, h.lastHeld.Sub(h.lostAt))
		ok = ok && h.lostAt.Before(h.lastHeld)
	}
	if ok {
		y.before++
	} else {
		t.Errorf("the server may have freed a lock before its holder knew: %v", y.room)
	}
}

func (y *tally) String() string {
	return fmt.Sprintf("%d of %d runs: the context ended before the server's earliest release; loss told after the cut: %v; "+
		"server still had it after: %v; room between: %v", y.before, y.runs, y.loss, y.freed, y.room)
}

// A holder is cut off. Its context ends before the server frees its locks, whichever packets vanish.
func TestPartitionedHolder(t *testing.T) { eachWay(t, checkPartitionedHolder) }

func checkPartitionedHolder(t *testing.T, w way) {
	t.Helper()
	s, n := farAway(t)
	w.needsCutsSeen(t, s)
	audit(t, s)
	cut := cutter{w, s, n, w.through(t, s, n)}
	directions := []netfault.Direction{netfault.Both, netfault.ToServer, netfault.ToClient}
	tallies := make(map[netfault.Direction]*tally)
	var all tally
	for run := range often(3, 50) {
		d := directions[run%len(directions)]
		if tallies[d] == nil {
			tallies[d] = &tally{}
		}
		cut.partition(t, d, short, tallies[d], &all)
		if t.Failed() {
			break
		}
	}
	for _, d := range directions {
		t.Logf("cut %s: %v", d, tallies[d])
	}
	t.Logf("all: %d of %d", all.before, all.runs)
	if often(0, 1) == 1 {
		var y tally
		cut.partition(t, netfault.Both, lease{5 * time.Second, 2 * time.Second, 14 * time.Second}, &y)
		t.Logf("cut both ways, default times: %v", &y)
	}
}

// A waiter is cut off, and the lock comes free: the server grants it to somebody who cannot hear. It must not stay so, and
// the waiter is served when the network is back.
func TestPartitionedWaiter(t *testing.T) { eachWay(t, checkPartitionedWaiter) }

func checkPartitionedWaiter(t *testing.T, w way) {
	t.Helper()
	s, n := farAway(t)
	w.needsCutsSeen(t, s)
	audit(t, s)
	o := newOutsider(t, s)
	m := w.open(t, w.through(t, s, n), append(short.options(), manager.WithWaitSlice(10*time.Second))...)
	key := m.Key("a partitioned waiter")
	var stuck figures
	for range often(1, 10) {
		if !o.is("SELECT pg_try_advisory_lock(%d)", key.ID()) {
			t.Fatal("the outsider cannot take a free lock")
		}
		got := make(chan *manager.Lock, 1)
		go func() {
			lock, err := key.Acquire(context.Background(), manager.WithRetryPolicy(patient()))
			if err != nil {
				t.Error(err)
			}
			got <- lock
		}()
		eventually(t, "it waits at the server", func() bool { return o.waitsFor(key.ID()) })
		if err := n.Cut(context.Background(), netfault.Both); err != nil {
			t.Fatal(err)
		}
		if !o.is("SELECT pg_advisory_unlock(%d)", key.ID()) {
			t.Fatal("the outsider's lock is gone")
		}
		freed := time.Now()
		eventually(t, "the server has given up the session", func() bool {
			return o.is("SELECT pg_try_advisory_lock(%d)", key.ID())
		})
		stuck = append(stuck, time.Since(freed))
		if len(got) > 0 {
			t.Error("a lock was handed out that nobody can have been told of")
		}
		heal(t, n)
		if !o.is("SELECT pg_advisory_unlock(%d)", key.ID()) {
			t.Fatal("the outsider's lock is gone")
		}
		lock := ended(t, "the grant", got)
		if t.Failed() {
			return
		}
		if !released(t, lock) {
			retake(t, m, lock.Key())
		}
	}
	t.Logf("granted to a waiter that is cut off, the lock was free again after: %v (session timeout %v)", stuck, short.server)
}

// released releases a lock. It is false where the hold was lost: trust is short, and the machine may be busy.
func released(t *testing.T, lock *manager.Lock) bool {
	t.Helper()
	err := lock.Release(bounded(t))
	if err != nil && !errors.Is(err, manager.ErrLost) && !errors.Is(err, manager.ErrReleaseUnknown) {
		t.Fatal(err)
	}
	return err == nil
}

// retake takes a key and releases it, and again where it was lost meanwhile.
func retake(t *testing.T, m *manager.Manager, key string) {
	t.Helper()
	eventually(t, "a key can be taken again, and released", func() bool {
		return released(t, acquire(t, m, key, manager.WithRetryPolicy(patient())))
	})
}

// patient retries for as long as a fault may take.
func patient() manager.RetryPolicy {
	return manager.RetryPolicy{Attempts: 1000, Backoff: func() backoff.BackOff {
		return backoff.NewConstantBackOff(50 * time.Millisecond)
	}}
}

// cutter causes partitions between managers and a far server.
type cutter struct {
	way
	server  *pgserver.Server
	network *netfault.Network
	source  manager.Source
}

// partition causes one, with a manager of its own.
func (c cutter) partition(t *testing.T, d netfault.Direction, l lease, tallies ...*tally) {
	t.Helper()
	o := newOutsider(t, c.server)
	for attempt := 0; ; attempt++ {
		m := c.open(t, c.source, l.options()...)
		all := holds(t, m, o, fmt.Sprint("partition ", time.Now().UnixNano()))
		if attempt < 20 && !stillHeld(all) {
			closeNow(t, m)
			continue
		}
		cut := time.Now()
		if err := c.network.Cut(context.Background(), d); err != nil {
			t.Fatal(err)
		}
		if attempt < 20 && !stillHeld(all) { // it was lost while the cut was made
			heal(t, c.network)
			closeNow(t, m)
			continue
		}
		follow(t, o, all)
		heal(t, c.network)
		for _, y := range tallies {
			y.add(t, all, cut)
		}
		// The manager finds its way back: the same keys can be taken again.
		for _, h := range all {
			retake(t, m, h.lock.Key())
		}
		closeNow(t, m)
		return
	}
}
