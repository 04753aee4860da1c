package actor

import (
	"errors"
	"sync"
	"testing"
)

// However many wait for the outcome of a hold, and whenever they come, each hears the one outcome.
func TestOutcomeForMany(t *testing.T) {
	for round := range 300 {
		r := newRig(t, nil)
		want := error(nil)
		if round%3 == 0 {
			want = ErrReleaseUnknown
			r.store.script = func(c call) verdict {
				if c.kind == fxUnlock {
					return verdict{err: errBroken}
				}
				return verdict{}
			}
		}
		c := r.acquire(key(1))
		var wg sync.WaitGroup
		for n := range 20 {
			wg.Go(func() {
				var err error
				switch n % 4 {
				case 0:
					if c.Await(nil) {
						err = c.Outcome()
					}
				case 1:
					c.cancel()
					c.Await(nil)
					err = c.Outcome()
				default:
					err = c.release()
				}
				if !errors.Is(err, want) {
					t.Errorf("outcome %v, should be %v", err, want)
				}
			})
		}
		wg.Wait()
		if n := len(r.store.callsOf(1, fxUnlock)); n != 1 {
			t.Errorf("%d unlocks, should be one", n)
		}
		r.close()
		if err := c.release(); !errors.Is(err, want) || !c.Await(nil) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// Who waits no longer than until its channel is closed does not get an outcome that is not known, and gets one that is.
func TestAwaitIsBounded(t *testing.T) {
	r := newRig(t, nil)
	r.store.script = func(c call) verdict { return verdict{hang: c.kind == fxUnlock} }
	c := r.acquire(key(1))
	closed := make(chan struct{})
	close(closed)
	if c.Await(closed) {
		t.Error("it is held, and its outcome known")
	}
	c.releasing.Store(true)
	if c.Release(closed) {
		t.Error("the unlock hangs, and its outcome is known")
	}
	if c.Await(closed) {
		t.Error("the unlock hangs, and its outcome is known")
	}
	for hangs := false; !hangs; { // the answer can be given once it was asked
		r.store.mu.Lock()
		hangs = r.store.hung[1] != nil
		r.store.mu.Unlock()
	}
	r.store.wakeUp(1, nil)
	if !c.Await(nil) || !c.Await(closed) || c.Outcome() != nil {
		t.Errorf("outcome %v", c.Outcome())
	}
	// The channel of the release whose answer came late is nobody else's.
	r.store.script = nil
	for range 100 {
		r.mustRelease(r.acquire(key(1)))
	}
}
