package actor

import (
	"testing"
	"testing/synctest"
	"time"
)

// byHand is a directory that the test is the owner of: it hears what keepers say when the test calls handleAll.
func byHand(t *testing.T) (r *rig, handleAll func() []eventKind) {
	r = &rig{t: t, store: newFakeStore(), live: map[int64]*caller{}, patience: time.Minute}
	d := &Directory{keys: make(map[int64]*keeper), maxKeys: 10, done: make(chan struct{})}
	d.turn.Take()
	d.world = world{store: r.store, directory: d, counters: &d.Counters, limits: Limits{MaxWaiters: 9, QuantumGrants: 1}}
	r.d = d
	return r, func() (kinds []eventKind) {
		synctest.Wait()
		for list := d.inbox.Take(); ; {
			m, ok := list.Next()
			if !ok {
				synctest.Wait()
				return kinds
			}
			kinds = append(kinds, m.kind)
			d.handle(m)
		}
	}
}

// useByHand acquires and releases, and returns the key's keeper.
func useByHand(r *rig, handleAll func() []eventKind) *keeper {
	r.t.Helper()
	c := r.submit(key(1))
	handleAll()
	if c.wait() != nil {
		r.t.Fatal(c.Err)
	}
	r.mustRelease(c)
	return r.d.keys[1]
}

// unused lets so much time pass that who was not used since is looked at.
func unused(d *Directory) {
	for range 2 {
		d.nextEpoch()
		for d.retireSome() {
		}
	}
}

// askedToRetire has the directory come by while the keeper is at work, and the keeper then say that it is idle.
func askedToRetire(d *Directory, k *keeper) {
	k.turn.Take()
	unused(d)
	k.turn.Give()
	k.post(rare(evTold)) // anything, to have it look
	synctest.Wait()
}

// A keeper that sleeps and has nothing is let go of on the spot; any other is asked, and says so once it is idle.
func TestWhoIsLetGoOfAtOnce(t *testing.T) {
	for name, test := range map[string]struct {
		change func(k *keeper)
		gone   bool
	}{
		"idle":                    {change: func(*keeper) {}, gone: true},
		"at work":                 {change: func(k *keeper) { k.turn.Take() }},
		"a message waits for it":  {change: func(k *keeper) { k.inbox.Post(rare(evTold)) }},
		"a claim is on its way":   {change: func(k *keeper) { k.door.enter() }},
		"its session is its own":  {change: func(k *keeper) { k.ledger.reserved = resHave }},
		"an operation is pending": {change: func(k *keeper) { k.ledger.busy = true }},
		"it has the lock":         {change: func(k *keeper) { k.ledger.held = true }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, handleAll := byHand(t)
				k := useByHand(r, handleAll)
				test.change(k)
				unused(r.d)
				if gone := r.d.keys[1] == nil; gone != test.gone || gone != k.gone || gone != (r.d.running == 0) {
					t.Fatalf("let go of: %v, gone: %v, running: %d", gone, k.gone, r.d.running)
				}
				// It has been asked: the question lies there, it remembers it, or it has answered already.
				if asked := !k.inbox.Empty() || k.retiring || !r.d.inbox.Empty(); asked == test.gone {
					t.Errorf("asked: %v", asked)
				}
			})
		})
	}
}

// A claim that is on its way to a keeper keeps it from retiring. The directory is driven by hand here, so that the claim
// comes when the keeper has said that it is idle, and the directory has not heard.
func TestRetirementMeetsAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, handleAll := byHand(t)
		d := r.d
		first := useByHand(r, handleAll)
		askedToRetire(d, first)
		c := r.prepare(key(1))
		d.forward(&c.Claim)
		if kinds := handleAll(); len(kinds) != 1 || kinds[0] != evRetirable || d.keys[1] == nil {
			t.Fatalf("the directory got %v, and forgot a keeper that has a claim: %v", kinds, d.keys[1] == nil)
		}
		if c.Wait() != nil {
			t.Fatal(c.Err)
		}
		r.mustRelease(c)
		askedToRetire(d, first)
		if handleAll(); d.keys[1] != nil {
			t.Fatal("an idle keeper was not let go")
		}
		useByHand(r, handleAll)
		second := useByHand(r, handleAll)
		// What the first says now is old, though it has had as many claims as the second.
		if n := second.door.entered.Load(); n != first.seen.Load() {
			t.Fatalf("the second has had %d claims, the first %d", n, first.seen.Load())
		}
		d.retirable(first)
		if d.keys[1] != second {
			t.Fatal("the second keeper was forgotten on the first one's word")
		}
		d.stop()
		for d.running > 0 {
			handleAll()
		}
		for _, wrong := range r.store.leftovers(4) {
			t.Error(wrong)
		}
	})
}

// A keeper that is asked to end after the directory has let it go, and before it has heard of that, ends.
func TestRetirementMeetsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, handleAll := byHand(t)
		k := useByHand(r, handleAll)
		askedToRetire(r.d, k)
		k.turn.Take()
		r.d.stop()
		if kinds := handleAll(); len(kinds) != 1 || kinds[0] != evRetirable || len(r.d.keys) != 0 {
			t.Fatalf("the directory got %v, and has %d keys", kinds, len(r.d.keys))
		}
		k.turn.Give()
		k.post(rare(evTold)) // anything, to have it look
		if kinds := handleAll(); len(kinds) != 1 || kinds[0] != evExited || r.d.running != 0 {
			t.Fatalf("the directory got %v, and %d keepers are left", kinds, r.d.running)
		}
	})
}

// A directory whose keys are unused has its clock stand still, and starts it again.
func TestTheClockStandsStill(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		for round := range 3 {
			sleep(3 * r.d.linger)
			r.d.turn.Take()
			unused, epoch := r.d.unused(), r.d.epoch
			r.d.turn.Give()
			sleep(10 * r.d.linger)
			r.d.turn.Take()
			if !unused || r.d.epoch != epoch {
				t.Errorf("round %d: unused %v, %d epochs have passed", round, unused, r.d.epoch-epoch)
			}
			r.d.turn.Give()
			if n := r.keys(); n != 0 {
				t.Fatalf("round %d: %d keys, and none is in use", round, n)
			}
			r.mustRelease(r.acquire(key(1)))
		}
	})
}
