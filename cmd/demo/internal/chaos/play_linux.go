package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
	"github.com/lockkeeper/lockkeeper/manager"
)

const (
	// lookEvery is how often a holder looks whether it still holds.
	lookEvery = 5 * time.Millisecond
	// recordLooks is how often one of these looks is recorded, in nanoseconds.
	recordLooks = int64(20 * time.Millisecond)
	// afterFailure keeps a failing load from spinning.
	afterFailure = 20 * time.Millisecond
	// releaseBound is far more than a release needs.
	releaseBound = 30 * time.Second
	// longHold is the longest hold of one holder in longOnes, so that every fault meets holders.
	longHold, longOnes = 1500 * time.Millisecond, 25
)

// wait is one acquisition that can be cancelled while it waits.
type wait struct {
	cancel context.CancelFunc
	hit    atomic.Bool
}

// arm returns the context of an acquisition that storm can cancel.
func (p *player) arm() (context.Context, *wait) {
	ctx, cancel := context.WithCancel(context.Background())
	w := &wait{cancel: cancel}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting[w] = struct{}{}
	return ctx, w
}

// disarm reports whether the wait was not cancelled. From now on storm does not cancel it.
func (p *player) disarm(w *wait) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, w)
	return !w.hit.Load()
}

// storm cancels all waits.
func (p *player) storm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.waiting {
		w.hit.Store(true)
		w.cancel()
	}
}

// play takes locks until stopping ends, and returns when all goroutines have.
func (p *player) play(stopping context.Context) {
	var all sync.WaitGroup
	for range p.job.Workers {
		all.Go(func() {
			for stopping.Err() == nil {
				p.once(stopping)
			}
		})
	}
	all.Wait()
}

// once makes one acquisition, from the request to the end of the hold.
func (p *player) once(stopping context.Context) {
	key := rand.IntN(p.job.Keys)
	var flags uint8
	var opts []manager.AcquireOption
	call := p.locks.Acquire
	if rand.IntN(8) == 0 {
		flags = history.Try
		call = p.locks.TryAcquire
	} else if rand.IntN(10) == 0 {
		opts = append(opts, manager.WithWaitTimeout(time.Duration(1+rand.IntN(50))*time.Millisecond))
	}
	if rand.IntN(20) == 0 {
		opts = append(opts, manager.WithDedicatedSession())
	}
	ctx, w := p.arm()
	defer w.cancel()
	e := p.history.begin(key, flags)
	lock, err := call(ctx, keyName(key), opts...)
	at := now()
	alive := p.disarm(w)
	switch {
	case err == nil && alive:
		e.granted(at)
		p.hold(e, lock, w.cancel)
	case err == nil: // granted and cancelled at the same moment: the hold ends by itself, and nobody believed in it
		e.refused(history.Cancelled)
		_ = p.release(lock)
	case errors.Is(err, manager.ErrNotAcquired) && p.job.Lie && rand.IntN(3) == 0:
		e.granted(now())
		p.pretend(e)
	case errors.Is(err, manager.ErrNotAcquired):
		e.refused(history.Busy)
	case !alive && errors.Is(err, context.Canceled), errors.Is(err, manager.ErrWaitTimeout):
		e.refused(history.Cancelled)
	default:
		e.refused(history.Failed)
		p.count("acquire", err)
		_ = interrupt.Sleep(stopping, afterFailure)
	}
}

// pretend does what a holder does, without a lock.
func (p *player) pretend(e *entry) {
	if n, err := p.table.get(context.Background(), e.key); err == nil {
		looked := now()
		_, stale, outcome := p.table.put(e.key, n+1, func() bool { looked = now(); return true })
		e.wrote(looked, stale, outcome)
	}
	e.letting()
	e.let(history.OK, history.NoCause)
}

// hold reads, holds on and looks, writes, and releases. Half of the writes come before the time of holding.
func (p *player) hold(e *entry, lock *manager.Lock, cancel context.CancelFunc) {
	defer e.listen(lock.Context())()
	n, err := p.table.get(lock.Context(), e.key)
	early := rand.IntN(2) == 0
	if !e.look(lock) ||
		err == nil && early && !p.write(e, lock, n) ||
		!p.holdOn(e, lock) ||
		err == nil && !early && !p.write(e, lock, n) {
		_ = p.release(lock) // the loss is recorded already
		return
	}
	byCancel := rand.IntN(10) == 0
	e.letting()
	if byCancel { // this must free the lock too; Release then says what became of it
		cancel()
	}
	err = p.release(lock)
	outcome, cause := history.OK, history.NoCause
	switch {
	case err == nil:
	case errors.Is(err, manager.ErrLost), errors.Is(err, manager.ErrKeeperFailed):
		outcome, cause = history.Gone, causeOf(err)
		if cause == history.ByOther {
			cause = causeOf(lock.Err())
		}
	default:
		outcome = history.Unknown
		p.count("release", err)
	}
	e.let(outcome, cause)
}

// holdOn looks all the time, for as long as the hold is meant to last. It reports whether the lock is still held.
func (p *player) holdOn(e *entry, lock *manager.Lock) bool {
	last := p.job.Hold/2 + time.Duration(rand.Int64N(int64(p.job.Hold)+1))
	if rand.IntN(longOnes) == 0 {
		last = time.Duration(rand.Int64N(int64(longHold)))
	}
	end := time.NewTimer(last)
	defer end.Stop()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if !e.look(lock) {
				return false
			}
		case <-lock.Done():
			return e.look(lock)
		case <-end.C:
			return e.look(lock)
		}
	}
}

// write writes if the lock is still held, and looks again afterwards.
func (p *player) write(e *entry, lock *manager.Lock, n int64) (held bool) {
	var looked int64
	wrote, stale, outcome := p.table.put(e.key, n+1, func() bool {
		looked = now()
		return lock.Err() == nil
	})
	if wrote {
		e.wrote(looked, stale, outcome)
	}
	return e.look(lock)
}

func (p *player) release(lock *manager.Lock) error {
	ctx, cancel := context.WithTimeout(context.Background(), releaseBound)
	defer cancel()
	return lock.Release(ctx)
}

// maxKinds bounds how many kinds of failures are told apart.
const maxKinds = 60

// count counts a failure by its text.
func (p *player) count(what string, err error) {
	kind := what + ": " + kindOf(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.failures[kind]; known || len(p.failures) < maxKinds {
		p.failures[kind]++
	}
}

var digits = regexp.MustCompile(`[0-9]+`)

// kindOf is an error's text without what differs from case to case.
func kindOf(err error) string {
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		return server.Code + " " + server.Message
	}
	text := err.Error()
	if acquire, ok := errors.AsType[*manager.AcquireError](err); ok {
		text = acquire.Reason.Error()
		if n := len(acquire.Failures); n > 0 {
			text += "; at last: " + acquire.Failures[n-1].Error()
		}
	}
	text = digits.ReplaceAllString(text, "N")
	return text[:min(len(text), 200)]
}
