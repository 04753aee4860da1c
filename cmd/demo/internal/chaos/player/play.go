package player

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/event"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
	"github.com/lockkeeper/lockkeeper/manager"
)

const (
	// lookEvery is how often a holder looks whether it still holds.
	lookEvery = 5 * time.Millisecond
	// recordLooks is how often of these looks one is recorded, in nanoseconds.
	recordLooks = int64(20 * time.Millisecond)
	// afterFailure keeps a failing load from spinning.
	afterFailure = 20 * time.Millisecond
	// releaseBound is far beyond what a release needs.
	releaseBound = 30 * time.Second
	// longHold is what one holder in so many holds for at most, so that every fault meets holders.
	longHold, longOnes = 1500 * time.Millisecond, 25
)

// play is the load of one process.
type play struct {
	job      *Job
	locks    *manager.Manager
	table    *table
	recorder *recorder

	mu       sync.Mutex
	waiting  map[*wait]struct{} // who can be cancelled
	failures map[string]int
}

// wait is one acquisition that can be cancelled as long as it waits.
type wait struct {
	ctx    context.Context //nolint:containedctx // of one acquisition, as short-lived as this
	cancel context.CancelFunc
	hit    atomic.Bool
}

func (p *play) arm() *wait {
	w := &wait{}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting[w] = struct{}{}
	return w
}

// disarm reports whether the wait was not cancelled; from now on it cannot be.
func (p *play) disarm(w *wait) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, w)
	return !w.hit.Load()
}

// storm cancels all waits.
func (p *play) storm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.waiting {
		w.hit.Store(true)
		w.cancel()
	}
}

// run works until stopping ends, and returns when all goroutines have.
func (p *play) run(stopping context.Context) {
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

// once is one acquisition, from the request to the end of the hold.
func (p *play) once(stopping context.Context) {
	key := rand.IntN(p.job.Keys)
	try := rand.IntN(8) == 0
	var flags uint8
	var opts []manager.AcquireOption
	if try {
		flags |= event.Try
	} else if rand.IntN(10) == 0 {
		opts = append(opts, manager.WithWaitTimeout(time.Duration(1+rand.IntN(50))*time.Millisecond))
	}
	if rand.IntN(20) == 0 {
		flags |= event.Dedicated
		opts = append(opts, manager.WithDedicatedSession())
	}
	w := p.arm()
	defer w.cancel()
	e := p.recorder.begin(key, flags)
	call := p.locks.Acquire
	if try {
		call = p.locks.TryAcquire
	}
	lock, err := call(w.ctx, KeyName(key), opts...)
	at := event.Now()
	alive := p.disarm(w)
	switch {
	case err == nil && alive:
		e.granted(at, 0)
		p.hold(&e, lock, w.cancel)
	case err == nil:
		// Granted and cancelled at the same moment. The hold has ended, or is ending, by itself, and nobody believed in it.
		e.refused(event.Cancelled)
		_ = p.release(lock)
	default:
		p.failed(stopping, &e, err, alive)
	}
}

func (p *play) failed(stopping context.Context, e *entry, err error, alive bool) {
	switch {
	case errors.Is(err, manager.ErrNotAcquired):
		if p.job.Lie && rand.IntN(3) == 0 {
			e.granted(event.Now(), event.Lie)
			p.pretend(e)
			return
		}
		e.refused(event.Busy)
	case !alive && errors.Is(err, context.Canceled), errors.Is(err, manager.ErrWaitTimeout):
		e.refused(event.Cancelled)
	default:
		e.refused(event.Failed)
		p.count("acquire", err)
		_ = interrupt.Sleep(stopping, afterFailure)
	}
}

// pretend does what a holder does, without a lock.
func (p *play) pretend(e *entry) {
	if n, err := p.table.get(context.Background(), int(e.key)); err == nil {
		looked := event.Now()
		_, stale, outcome := p.table.put(int(e.key), n+1, func() bool { looked = event.Now(); return true })
		p.wrote(e, looked, stale, outcome)
	}
	e.add(event.Record{Kind: event.Letting, Call: event.Now()})
	e.add(event.Record{Kind: event.Let, Return: event.Now()})
}

func (p *play) wrote(e *entry, looked int64, stale bool, outcome event.Outcome) {
	r := event.Record{Kind: event.Wrote, Outcome: outcome, Call: looked, Return: event.Now()}
	if stale {
		r.Flags = event.Torn
	}
	e.looked = looked
	e.add(r)
}

// hold is the time under the lock: read, hold on and look, write, release.
func (p *play) hold(e *entry, lock *manager.Lock, cancel context.CancelFunc) {
	defer e.listen(lock.Context())()
	n, err := p.table.get(lock.Context(), int(e.key))
	if !p.keep(e, lock) {
		return
	}
	if err == nil && rand.IntN(2) == 0 { // half of the writes come at the hold's end, half at its beginning
		if !p.write(e, lock, n) {
			return
		}
		err = errDone
	}
	if !p.look(e, lock) {
		return
	}
	if err == nil && !p.write(e, lock, n) {
		return
	}
	byCancel := rand.IntN(10) == 0
	e.add(event.Record{Kind: event.Letting, Call: event.Now()})
	if byCancel { // this way out must free the lock as surely; Release then tells what became of it
		cancel()
	}
	err = p.release(lock)
	outcome, cause := released(err)
	if outcome == event.Gone && cause == event.ByOther {
		cause = causeOf(lock.Err())
	}
	if outcome == event.Unknown {
		p.count("release", err)
	}
	e.add(event.Record{Kind: event.Let, Outcome: outcome, Cause: cause, Return: event.Now()})
}

var errDone = errors.New("written already")

// keep looks once whether the lock is still held, and records the loss where it is not.
func (p *play) keep(e *entry, lock *manager.Lock) bool {
	at := event.Now()
	err := lock.Err()
	if err == nil {
		e.seen(at)
		return true
	}
	e.lost(causeOf(err))
	_ = p.release(lock) // nothing to be told any more
	return false
}

// look holds on, looking all the time, as long as the hold is meant to last.
func (p *play) look(e *entry, lock *manager.Lock) bool {
	last := p.job.Hold/2 + time.Duration(rand.Int64N(int64(p.job.Hold)+1))
	if rand.IntN(longOnes) == 0 {
		last = time.Duration(rand.Int64N(int64(longHold)))
	}
	until := time.NewTimer(last)
	defer until.Stop()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-lock.Done():
			return p.keep(e, lock)
		case <-ticker.C:
			if !p.keep(e, lock) {
				return false
			}
		case <-until.C:
			return p.keep(e, lock)
		}
	}
}

// write writes where the lock is still held, and looks again afterwards.
func (p *play) write(e *entry, lock *manager.Lock, n int64) (held bool) {
	held = true
	var looked int64
	wrote, stale, outcome := p.table.put(int(e.key), n+1, func() bool {
		looked = event.Now()
		held = lock.Err() == nil
		return held
	})
	if wrote {
		p.wrote(e, looked, stale, outcome)
	}
	return p.keep(e, lock)
}

func (p *play) release(lock *manager.Lock) error {
	ctx, cancel := context.WithTimeout(context.Background(), releaseBound)
	defer cancel()
	return lock.Release(ctx)
}
