package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/locker"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/oracle"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/wire"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
)

// load is the work of one process: goroutines that take locks and, while they hold one, do what only a holder may do.
type load struct {
	job   wire.Job
	locks locker.Locker
	book  *oracle.Book
	slots *oracle.Slots
	tally *tally
	marks atomic.Uint64
	names []string
}

// releaseBound is far beyond what a release needs.
const releaseBound = 30 * time.Second

// lossBound is how long a holder that has met another one may take to hear that its lock is lost. Where the server
// ends a session it says so on the session's socket, so this is a matter of scheduling.
const lossBound = time.Second

// afterFailure keeps a failing load from spinning.
const afterFailure = 50 * time.Millisecond

// run works until draining ends, and returns when every goroutine has finished: those that waited have withdrawn, and
// those that held have written and released.
func (l *load) run(draining context.Context) {
	l.names = make([]string, l.job.Keys)
	for key := range l.names {
		l.names[key] = keyName(key)
	}
	var all sync.WaitGroup
	for range l.job.Workers {
		all.Go(func() {
			pick := newPicker(l.job.Skew, l.job.Keys)
			for draining.Err() == nil {
				if err := l.once(draining, pick()); err != nil {
					l.tally.fail(err)
					_ = interrupt.Sleep(draining, afterFailure)
				}
			}
		})
	}
	all.Wait()
}

// once is one acquisition, from the request to the end of the lock. The error it returns is a failure that nobody
// planned.
func (l *load) once(draining context.Context, key int) error {
	planned := l.job.Cancel > 0 && rand.Float64() < l.job.Cancel
	var after time.Duration
	if planned {
		after = l.tally.cancelAfter()
	}
	g := newGuard(draining, after, planned)
	defer g.cancel()

	began := time.Now()
	lock, err := l.locks.Acquire(g.ctx, l.names[key])
	wait := time.Since(began)
	alive := g.disarm()
	switch {
	case err == nil && alive:
		l.tally.waited(wait)
		return l.hold(key, lock, g.cancel, planned)
	case err == nil:
		// Granted and cancelled at the same moment: the lock ends, or has ended, by itself.
		l.tally.gaveUp(g)
		return release(lock)
	case g.ctx.Err() != nil && errors.Is(err, context.Canceled):
		l.tally.gaveUp(g)
		return nil
	default:
		return err
	}
}

// gaveUp counts an acquisition that was cancelled while it waited.
func (t *tally) gaveUp(g *guard) {
	if g.asked.Load() {
		t.cancelled.Add(1)
	} else {
		t.withdrawn.Add(1)
	}
}

// hold is the time under the lock: the mark goes into the shared table, the counter is read, time passes, the counter
// is written, the mark comes out.
func (l *load) hold(key int, lock locker.Lock, cancel context.CancelFunc, byCancel bool) error {
	mark := uint64(l.job.Process)<<48 | l.marks.Add(1)&(1<<48-1)
	pushedOut := l.slots.Enter(key, mark)
	wrote, err := l.readModifyWrite(key, lock)
	alone := l.slots.Leave(key, mark)

	lost := lock.Err() != nil
	if !alone {
		// The next holder may come between the server's end of a session and its client's hearing of it. That is not for
		// the lock manager to prevent, but it has to be told at once, and two locks that are not lost have no such excuse.
		var excused bool
		if !lost {
			lost, excused = l.explain(key, mark, lock)
		}
		if lost || excused {
			l.tally.afterLoss.Add(1)
		} else {
			l.tally.keys[key].overlaps.Add(1)
		}
	}
	// An acquisition that was to be cancelled and was granted before that ends its hold by its context: this way out
	// must free the lock as surely as Release does. Release then only tells what became of it.
	if byCancel && !lost {
		cancel()
		l.tally.cutShort.Add(1)
	}
	releaseErr := release(lock)
	if lost {
		l.tally.lost.Add(1)
	} else {
		err = errors.Join(err, releaseErr)
	}
	if lost || releaseErr != nil {
		l.slots.Excuse(key, pushedOut)
		if wrote {
			l.tally.keys[key].exposed.Add(1)
		}
	}
	return err
}

// explain gives a holder that has met another one the time to hear that its lock is lost, or that the other's is.
func (l *load) explain(key int, mark uint64, lock locker.Lock) (lost, excused bool) {
	if lock.Done() == nil {
		return false, false // a lock that cannot be lost
	}
	began := time.Now()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for time.Since(began) < lossBound {
		select {
		case <-lock.Done():
			l.tally.heardAfter(time.Since(began))
			return true, false
		case <-ticker.C:
			if l.slots.Excused(key, mark) {
				return false, true
			}
		}
	}
	return lock.Err() != nil, false
}

// readModifyWrite adds one to the key's counter with nothing but the lock to guard it. A holder whose lock has ended
// does not write.
func (l *load) readModifyWrite(key int, lock locker.Lock) (wrote bool, _ error) {
	n, err := l.book.Read(key)
	if err != nil {
		return false, err
	}
	if l.job.Hold > 0 {
		timer := time.NewTimer(l.job.Hold)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-lock.Done():
		}
	}
	wrote, err = l.book.Write(key, n+1, func() bool { return lock.Err() == nil })
	if wrote || err != nil {
		l.tally.wrote(key, err)
	}
	return wrote, nil
}

func release(lock locker.Lock) error {
	ctx, cancel := context.WithTimeout(context.Background(), releaseBound)
	defer cancel()
	return lock.Release(ctx)
}
