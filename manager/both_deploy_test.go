package manager_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/lockkeeper/lockkeeper/hashing"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// unguarded is a counter that loses counts where two add at a time.
type unguarded struct{ n atomic.Int64 }

func (u *unguarded) add() {
	n := u.n.Load()
	runtime.Gosched()
	u.n.Store(n + 1)
}

// replica is one program of a deploy, with its workers.
type replica struct {
	m       *manager.Manager
	stop    context.CancelFunc
	workers sync.WaitGroup
}

// deploy is a service whose replicas count under a few keys, in all kinds of calls.
type deploy struct {
	s        *pgserver.Server
	counters [4]unguarded
	counted  [4]atomic.Int64
	slots    [2]atomic.Int64 // who has each
	slotted  atomic.Int64
	storm    bool // contexts end at any time
}

func (d *deploy) start(t *testing.T, ids manager.Option) *replica {
	t.Helper()
	r := &replica{m: openOn(t, d.s, ids, manager.WithHealth(5*time.Second, 20*time.Second))}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	t.Cleanup(stop)
	for w := range 4 {
		r.workers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 13))
			for ctx.Err() == nil {
				d.work(ctx, t, r.m, random)
			}
		})
	}
	return r
}

func (d *deploy) work(ctx context.Context, t *testing.T, m *manager.Manager, random *rand.Rand) {
	if d.storm {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(random.IntN(20_000))*time.Microsecond)
		defer cancel()
	}
	n := random.IntN(len(d.counters))
	count := func(hold context.Context, n int) {
		if hold.Err() == nil { // one that has ended need not exclude others any more
			d.counters[n].add()
			d.counted[n].Add(1)
		}
	}
	// A hold that ends with its context may end in the midst of counting; that of Do does not, and a detached one.
	var err error
	switch random.IntN(4) {
	case 0:
		err = m.Do(ctx, fmt.Sprint("key ", n), func(ctx context.Context) error { count(ctx, n); return nil })
	case 1:
		var lock *manager.Lock
		if lock, err = m.Acquire(ctx, fmt.Sprint("key ", n), manager.WithDetachedHold()); err == nil {
			count(lock.Context(), n)
			err = lock.Release(context.Background())
		}
	case 2:
		err = m.DoSlot(ctx, "slots", len(d.slots), func(ctx context.Context) error {
			number, _ := manager.SlotOf(ctx)
			if d.slots[number].Add(1) != 1 {
				t.Errorf("slot %d is held twice", number)
			}
			runtime.Gosched()
			d.slots[number].Add(-1)
			d.slotted.Add(1)
			return nil
		})
	default:
		var set *manager.LockSet
		other := random.IntN(len(d.counters))
		if set, err = m.Keys(fmt.Sprint("key ", n), fmt.Sprint("key ", other)).Acquire(ctx, manager.WithDetachedHold()); err == nil {
			count(set.Context(), n)
			if other != n {
				count(set.Context(), other)
			}
			err = set.Release(context.Background())
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func (r *replica) end(t *testing.T) {
	t.Helper()
	r.stop()
	done := make(chan struct{})
	go func() { defer close(done); r.workers.Wait() }()
	ended(t, "the return of all calls", done)
	closeNow(t, r.m)
}

// progress waits until each key was counted under again: nobody is stuck.
func (d *deploy) progress(t *testing.T) {
	t.Helper()
	var before [len(d.counted)]int64
	for i := range d.counted {
		before[i] = d.counted[i].Load()
	}
	for i := range d.counted {
		eventually(t, "more is counted", func() bool { return d.counted[i].Load() >= before[i]+3 })
	}
}

// Three replicas are replaced one by one, at first by those that have both ids, then by those with the new one: the counter that the
// locks guard loses no count.
func TestRollingDeploy(t *testing.T) {
	for _, storm := range []bool{false, true} {
		t.Run(fmt.Sprintf("storm %v", storm), func(t *testing.T) {
			d := &deploy{s: server(t), storm: storm}
			var replicas []*replica
			for range 3 {
				replicas = append(replicas, d.start(t, withOld))
			}
			d.progress(t)
			for _, version := range [][]manager.Option{{withBoth, withSwapped, withBoth}, {withNew, withNew, withNew}} {
				for i, ids := range version {
					replicas[i].end(t)
					replicas[i] = d.start(t, ids)
					d.progress(t)
				}
			}
			for _, r := range replicas {
				r.end(t)
			}
			for i := range d.counters {
				if got, want := d.counters[i].n.Load(), d.counted[i].Load(); got != want {
					t.Errorf("key %d: counted %d of %d", i, got, want)
				}
			}
			if d.slotted.Load() == 0 {
				t.Error("nobody had a slot")
			}
			wantHeldAtServer(t, d.s)
		})
	}
}

// The slots of a key are the same for all programs of a deploy, and so is their number.
func TestBothSlots(t *testing.T) {
	s := server(t)
	for name, versions := range map[string][]manager.Option{"before": {withOld, withBoth, withSwapped}, "after": {withNew, withBoth, withSwapped}} {
		for _, n := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, %d slots", name, n), func(t *testing.T) {
				var all []*manager.Manager
				for _, ids := range versions {
					all = append(all, openOn(t, s, ids))
				}
				var slots []*manager.Slot
				numbers := make(map[int]bool)
				for i := range n {
					slot := acquireSlot(t, all[i], n)
					slots, numbers[slot.Number()] = append(slots, slot), true
				}
				if len(numbers) != n {
					t.Errorf("%d slots have the numbers %v", n, numbers)
				}
				for i, m := range all {
					_, err := m.TryAcquireSlot(bounded(t), "k", n)
					wantIs(t, err, manager.ErrNotAcquired)
					_, err = trySlot(t, m, 4)
					wantIs(t, err, manager.ErrSlots)
					_, err = m.TryAcquire(bounded(t), "k")
					wantIs(t, err, manager.ErrNotAcquired)
					waiting := make(chan *manager.Slot, 1)
					go func() { waiting <- acquireSlot(t, m, n) }()
					freed := slots[i%n]
					freeSlot(t, freed)
					slots[i%n] = ended(t, "the slot that was freed", waiting)
					if slots[i%n].Number() != freed.Number() {
						t.Errorf("slot %d was freed, and %d taken", freed.Number(), slots[i%n].Number())
					}
				}
				for _, slot := range slots {
					freeSlot(t, slot)
				}
				eventually(t, "nothing is held", func() bool { return len(held(t, s)) == 0 })
			})
		}
	}
}

// byName are functions whose ids are written in the name.
func byName(i int) hashing.Func {
	return func(name string) int64 {
		var ids [2]int64
		if n, err := fmt.Sscanf(name, "key %d %d", &ids[0], &ids[1]); n != 2 {
			panic(err)
		}
		return ids[i]
	}
}

func openByName(t *testing.T) [4]*manager.Manager {
	t.Helper()
	f, g := byName(0), byName(1)
	return [4]*manager.Manager{open(t, manager.WithHashes(hashing.Both(f, g))), open(t, manager.WithHashes(hashing.Both(g, f))),
		open(t, manager.WithHash(f)), open(t, manager.WithHash(g))}
}

// Two keys whose ids are each other's, in the other order, are one lock, like two keys that collide.
func TestBothCollide(t *testing.T) {
	all := openByName(t)
	one, swapped := all[0], all[1]
	const a, b = "key 1 2", "key 2 1"
	lock := acquire(t, one, a)
	_, err := one.TryAcquire(bounded(t), b)
	wantIs(t, err, manager.ErrNotAcquired)
	_, err = one.Acquire(lock.Context(), b)
	wantIs(t, err, manager.ErrHeld)
	_, err = swapped.TryAcquire(bounded(t), b)
	wantIs(t, err, manager.ErrNotAcquired)
	theirs := acquire(t, all[2], "key 0 9")
	_, err = one.Acquire(lock.Context(), "key 0 2") // which has one id of lock's: the other is not waited for first
	wantIs(t, err, manager.ErrHeld)
	release(t, theirs)
	release(t, lock)
	set := acquireAll(t, one, a, b, "key 2 3")
	if got := set.Keys(); !slices.Equal(got, []string{a, "key 2 3"}) {
		t.Errorf("the keys of the set are %q", got)
	}
	releaseAll(t, set)
	var counter unguarded
	var callers sync.WaitGroup
	const each = 50
	for i := range 8 {
		callers.Go(func() {
			for n := range each {
				m, key := all[i%2], [2]string{a, b}[(i/2+n)%2]
				if err := m.Do(bounded(t), key, func(context.Context) error { counter.add(); return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	if got := counter.n.Load(); got != 8*each {
		t.Errorf("counted %d of %d", got, 8*each)
	}
}

// Of several who try one succeeds, since nobody has the second id without the first: else a period of Once could pass without anybody.
func TestBothTriedByTwo(t *testing.T) {
	s, lower := server(t), bothIDs(oneKey)[0]
	tries, mayTry := make(chan struct{}), make(chan struct{})
	late := openOn(t, s, withBoth, manager.WithHook(func(id int64, step string) {
		if id == lower && step == "try" {
			close(tries)
			<-mayTry
		}
	}))
	quick := openOn(t, s, withSwapped)
	done := make(chan error, 1)
	go func() {
		_, err := late.TryAcquire(bounded(t), oneKey)
		done <- err
	}()
	ended(t, "the try of the first id", tries)
	for range 10 { // the other id would take no longer
		wantHeldAtServer(t, s)
	}
	lock, err := quick.TryAcquire(bounded(t), oneKey)
	close(mayTry)
	if err != nil {
		t.Fatal(err)
	}
	wantIs(t, ended(t, "the answer to the other", done), manager.ErrNotAcquired)
	release(t, lock)
}

// Whatever ids keys have, and in whatever order managers have the functions, all callers are served, and no id is anybody else's meanwhile.
func TestBothNeverDeadlock(t *testing.T) {
	all := openByName(t)
	rapid.Check(t, func(r *rapid.T) {
		const ids = 4
		id := rapid.IntRange(0, ids-1)
		keys := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) string { return fmt.Sprintf("key %d %d", id.Draw(r, "old"), id.Draw(r, "new")) }), 1, 3)
		type call struct {
			m     int
			names []string
		}
		calls := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) call { return call{rapid.IntRange(0, 3).Draw(r, "manager"), keys.Draw(r, "keys")} }), 1, 12)
		var holders [ids]atomic.Int32
		var callers sync.WaitGroup
		for _, c := range calls.Draw(r, "calls") {
			hashes := [4][]int{{0, 1}, {0, 1}, {0}, {1}}[c.m]
			used := make(map[int64]bool)
			for _, name := range c.names {
				for _, i := range hashes {
					used[byName(i)(name)] = true
				}
			}
			callers.Go(func() {
				work := func() {
					for id := range used {
						if holders[id].Add(1) != 1 {
							t.Errorf("id %d is held twice", id)
						}
					}
					runtime.Gosched()
					for id := range used {
						holders[id].Add(-1)
					}
				}
				var err error
				if m := all[c.m]; len(c.names) == 1 {
					err = m.Do(bounded(t), c.names[0], func(context.Context) error { work(); return nil })
				} else if set, failed := m.AcquireAll(bounded(t), c.names...); failed == nil {
					work()
					err = set.Release(bounded(t))
				} else {
					err = failed
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		if t.Failed() {
			r.FailNow()
		}
	})
}

// All contexts end at once while some wait for the first id and some hold it and wait for the second: every call returns, and nothing is left.
func TestBothInACancellationStorm(t *testing.T) {
	s := server(t)
	v := openVersions(t, s)
	theirs := []*manager.Lock{acquire(t, v.after, oneKey), acquire(t, v.before, otherKey), acquire(t, v.before, "report")}
	ctx, cancel := context.WithCancelCause(bounded(t))
	var calls sync.WaitGroup
	const n = 300
	for i := range n {
		calls.Go(func() {
			_, err := []*manager.Manager{v.between, v.swapped}[i%2].Acquire(ctx, []string{oneKey, otherKey, "report"}[i%3])
			wantIs(t, err, context.Canceled, errWhy)
		})
	}
	eventually(t, "all wait", func() bool { return v.between.Stats().Waiting+v.swapped.Stats().Waiting == n })
	cancel(errWhy)
	done := make(chan struct{})
	go func() { defer close(done); calls.Wait() }()
	ended(t, "the return of every call", done)
	eventually(t, "nothing else is held", func() bool { return len(held(t, s)) == len(theirs) })
	for _, lock := range theirs {
		release(t, lock)
		for _, m := range []*manager.Manager{v.between, v.swapped} {
			release(t, acquire(t, m, lock.Key()))
		}
	}
}
