package actor

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A message that comes while somebody else deals with the last one must not be left lying: not when a sender has the
// turn, and not when the keeper's own goroutine has it, which a failure makes it take. Nothing else comes that would have
// it found by chance.
func TestNoMessageIsLeftLying(t *testing.T) {
	for _, row := range []struct {
		name   string
		fails  bool
		rounds int64
	}{
		{"a sender has the turn", false, 10_000},
		{"the keeper's goroutine has the turn", true, 4_000},
	} {
		t.Run(row.name, func(t *testing.T) {
			if stressed() {
				row.rounds *= 50
			}
			r := newRig(t, func(c *rigConfig) {
				c.Linger = time.Hour                                 // nor does the directory come by
				c.Intensity = IntensityLimit{Restarts: 1, Window: 1} // as many as there may be
				c.Hook = func(_ int64, step string) {
					if row.fails && step == "message told" {
						panic("injected")
					}
				}
			})
			r.store.script = func(c call) verdict { return verdict{hang: c.kind == fxTry} }
			first := r.submit(key(1)) // its try has no answer, so that the keeper has nothing to do
			for r.store.latestOf(1) == nil {
				runtime.Gosched()
			}
			meetings(t, r, row.rounds)
			first.End(errGaveUp)
			r.store.wakeUp(1, nil)
		})
	}
}

// meetings sends a keeper two messages at a time from two goroutines, one of which must have an answer.
func meetings(t *testing.T, r *rig, rounds int64) {
	t.Helper()
	var arrived, missed atomic.Int64
	var ending atomic.Pointer[Claim]
	var enough atomic.Bool
	meet := func(n int64) {
		for arrived.Add(1); arrived.Load() < 2*n && !enough.Load(); {
			runtime.Gosched()
		}
	}
	var other sync.WaitGroup
	other.Go(func() {
		for n := int64(1); n <= rounds && !enough.Load(); n++ {
			meet(n)
			for range n % 1000 { // to come at every moment of the other's turn
				arrived.Load()
			}
			ending.Load().End(errGaveUp)
		}
	})
	o := r.store.latestOf(1)
	search := time.AfterFunc(time.Hour, func() { missed.Add(1); o.Told(nil) })
	defer search.Stop()
	for n := int64(1); n <= rounds; n++ {
		c := new(Claim)
		c.Terms = key(1)
		c.Init(r.d)
		r.d.Submit(c)
		ending.Store(c)
		search.Reset(20 * time.Second)
		meet(n)
		o.Told(nil)
		if c.Wait() == nil {
			t.Error("granted, and the server has not answered")
		}
		if missed.Load() > 0 {
			t.Errorf("round %d: a message lay there until another came", n)
			break
		}
	}
	enough.Store(true)
	other.Wait()
}

// latestOf is who hears of a key.
func (s *fakeStore) latestOf(id int64) Observer {
	s.mu.Lock()
	defer s.unlock()
	if l := s.latest[id]; l != nil {
		return l.observer
	}
	return nil
}

// More messages than a sender deals with are the keeper's own goroutine's.
func TestManyMessagesInOneTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var line []*caller
		r := newRig(t, func(c *rigConfig) {
			c.Hook = func(_ int64, step string) {
				if step == "message told" {
					for _, c := range line {
						c.End(errGaveUp) // each finds the turn taken
					}
				}
			}
		})
		holder := r.acquire(key(1))
		for range 5 * inlineMost {
			line = append(line, r.submit(key(1)))
		}
		synctest.Wait()
		start := time.Now()
		r.store.latestOf(1).Told(nil)
		for _, c := range line {
			c.expect(errGaveUp)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("some lay for %v, until something else came", took)
		}
		r.mustRelease(holder)
	})
}

// A claim that comes while the directory is at work is dealt with when it is done.
func TestClaimsDuringTheDirectorysTurn(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		var others []*caller
		r.store.attach = func(id int64) {
			if id < 5 { // the directory is making a keeper
				others = append(others, r.submit(key(id+1)), r.submit(key(id+1, try)))
			}
		}
		r.mustRelease(r.acquire(key(1)))
		synctest.Wait()
		for _, c := range others {
			if c.wait() == nil {
				r.mustRelease(c)
			}
		}
		if len(others) != 8 {
			t.Errorf("%d claims were made, should be 8", len(others))
		}
	})
}
