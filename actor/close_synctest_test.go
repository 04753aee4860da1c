package actor

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Close ends holds and refuses waiters wherever they are, releases every lock, and can be called by many and again.
func TestCloseWithHoldersAndWaiters(t *testing.T) {
	bubble(t, func(c *rigConfig) { c.free = 2 }, func(t *testing.T, r *rig) {
		r.store.lockOutside(2)
		r.store.lockOutside(3)
		r.store.lockOutside(4)
		r.store.script = func(c call) verdict { return verdict{after: ms} }
		held := []*caller{r.acquire(key(1)), r.acquire(key(5, dedicated))}
		waiting := []*caller{
			r.submit(key(1)),                   // behind a holder
			r.submit(key(2)), r.submit(key(2)), // in the server's queue
			r.submit(key(3)),               // queued for a session
			r.submit(key(4, pollFirst(9))), // between two polls
			r.submit(key(5, dedicated)),
		}
		sleep(110 * ms)
		waiting = append(waiting, r.submit(key(6))) // during a try
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := r.s.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		for _, c := range held {
			if !c.Await(nil) || !errors.Is(c.Over(), ErrClosed) || c.Outcome() != nil {
				t.Errorf("%s: over by %v, settled with %v", c.Name, c.Over(), c.Outcome())
			}
			if err := c.release(); err != nil {
				t.Errorf("released after Close: %v", err)
			}
		}
		for _, c := range waiting {
			c.expect(ErrClosed)
		}
		wg.Wait()
		late := r.submit(key(1))
		late.expect(ErrClosed)
		r.submit(key(7, try)).expect(ErrClosed)
		if n := len(r.store.callsOf(1, fxUnlock)) + len(r.store.callsOf(5, fxUnlock)); n != 2 {
			t.Errorf("%d unlocks, should be two", n)
		}
	})
}

func TestCloseOfNothing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		if err := r.s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A server that does not answer holds Close up no longer than its context; and all that is left ends when the answer
// comes.
func TestCloseWhileTheServerHangs(t *testing.T) {
	for _, kind := range []effectKind{fxTry, fxUnlock, fxWait, fxTryOwn} {
		t.Run(kind.String(), func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, r *rig) {
				r.store.script = func(c call) verdict { return verdict{hang: c.kind == kind} }
				switch kind {
				case fxUnlock:
					r.acquire(key(1))
				case fxWait:
					r.store.lockOutside(1)
					r.submit(key(1))
				case fxTryOwn:
					r.submit(key(1, dedicated))
				default:
					r.submit(key(1))
				}
				synctest.Wait()
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errGaveUp)
				defer cancel()
				start := time.Now()
				err := r.s.Close(ctx)
				if !errors.Is(err, errGaveUp) || !strings.Contains(err.Error(), `1 keys are in use: "key 1"`) || time.Since(start) != time.Second {
					t.Errorf("Close returned %v after %v", err, time.Since(start))
				}
				r.store.unlockOutside(1)
				r.store.wakeUp(1, nil) // and a try is granted after all
			})
		})
	}
}

// A reservation that is answered when the manager is closing goes back.
func TestCloseMeetsAReservation(t *testing.T) {
	for _, err := range []error{nil, errBroken} {
		bubble(t, nil, func(t *testing.T, r *rig) {
			r.store.script = func(c call) verdict {
				if c.kind == fxReserve {
					return verdict{after: time.Second, err: err}
				}
				return verdict{}
			}
			r.store.lockOutside(1)
			c := r.submit(key(1))
			sleep(time.Second - 1)
			closed := make(chan error)
			go func() { closed <- r.s.Close(t.Context()) }()
			sleep(1)
			if err := <-closed; err != nil {
				t.Error(err)
			}
			c.expect(ErrClosed)
		})
	}
}

// Claims that come while the directory closes are answered, each once, also those that come when it has looked for the
// last time.
func TestSubmitMeetsClose(t *testing.T) {
	for range 200 {
		bubble(t, nil, func(t *testing.T, r *rig) {
			var wg sync.WaitGroup
			for id := range int64(4) {
				wg.Go(func() {
					for range 3 {
						c := r.submit(key(id % 2))
						if id == 3 && c.submitted {
							c.cancel()
						}
						if c.wait() == nil {
							c.release()
						}
					}
				})
			}
			wg.Go(func() {
				if err := r.s.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
		})
	}
}

// A lock whose release the server does not confirm is said to be so, also by Close.
func TestCloseWithoutConfirmation(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		c := r.acquire(key(1))
		r.store.script = func(c call) verdict {
			if c.kind == fxUnlock {
				return verdict{err: errBroken}
			}
			return verdict{}
		}
		if err := r.s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := c.release(); !errors.Is(err, ErrReleaseUnknown) || !errors.Is(err, errBroken) {
			t.Errorf("settled with %v", err)
		}
	})
}

// Close ends no hold for work: it tells the owner, once, and waits for the release. Until then its error names the key.
func TestCloseWaitsForWork(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		work, other := r.acquire(key(1, forWork)), r.acquire(key(2))
		waits := r.submit(key(1, forWork))
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errGaveUp)
		defer cancel()
		err := r.s.Close(ctx)
		if !errors.Is(err, errGaveUp) || !strings.HasSuffix(err.Error(), `1 keys are in use: "key 1"`) {
			t.Errorf("Close returned %v", err)
		}
		waits.expect(ErrClosed)
		if !errors.Is(other.Over(), ErrClosed) || work.Over() != nil {
			t.Errorf("over: the other's hold %v, the work's %v", other.Over(), work.Over())
		}
		if told := work.toldOf(); len(told) != 1 || !errors.Is(told[0], ErrClosed) {
			t.Errorf("the owner was told %v", told)
		}
		// Claims and the end of its context change nothing: the keeper stays to the release.
		r.submit(key(1)).expect(ErrClosed)
		r.submit(key(1, try)).expect(ErrClosed)
		r.submit(key(3)).expect(ErrClosed)
		work.cancel()
		sleep(time.Hour)
		if work.Over() != nil || r.keys() != 1 {
			t.Fatalf("over for %v, %d keys", work.Over(), r.keys())
		}
		closed := make(chan error)
		go func() { closed <- r.s.Close(t.Context()) }()
		r.mustRelease(work)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if told := work.toldOf(); len(told) != 2 || !errors.Is(told[1], ErrReleased) {
			t.Errorf("the owner was told %v", told)
		}
	})
}

// A keeper that fails while a hold for work keeps Close waiting ends it: nobody else would.
func TestCloseMeetsAFailureDuringWork(t *testing.T) {
	failing(t, nil, func(t *testing.T, r *rig) {
		work := r.acquire(key(1, forWork))
		closed := make(chan error, 1)
		go func() { closed <- r.s.Close(t.Context()) }()
		synctest.Wait()
		r.fail()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if !errors.Is(work.Over(), ErrKeeperFailed) || !work.Lost() {
			t.Errorf("over for %v", work.Over())
		}
		if err := work.release(); !errors.Is(err, ErrLost) {
			t.Errorf("settled with %v", err)
		}
	})
}

// Close's error names ten keys at most.
func TestInUseNamesSomeKeys(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		if text := r.s.InUse(); text != "0 keys are in use" {
			t.Error(text)
		}
		var held []*caller
		for id := range int64(12) {
			held = append(held, r.acquire(key(id)))
		}
		text := r.s.InUse()
		if !strings.HasPrefix(text, `12 keys are in use: "key 0", "key 1", "key 10"`) || !strings.HasSuffix(text, `, ...`) ||
			strings.Count(text, "key ") != maxNames {
			t.Error(text)
		}
		for _, c := range held {
			r.mustRelease(c)
		}
	})
}
