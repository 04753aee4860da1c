package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/oracle"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
	"github.com/lockkeeper/lockkeeper/manager"
)

// lock is one that is held: the manager's, or noLock.
type lock interface {
	Done() <-chan struct{}
	Err() error
	Release(ctx context.Context) error
}

// noLock is what --no-locks grants to everybody, whoever else has it. It shows that the oracle does find a violation when
// there is one: a proof that cannot fail proves nothing.
type noLock struct{}

func (noLock) Done() <-chan struct{}         { return nil }
func (noLock) Err() error                    { return nil }
func (noLock) Release(context.Context) error { return nil }

// load is the work of one process: goroutines that take locks and, while they hold one, do what only a holder may do.
type load struct {
	job     Job
	manager *manager.Manager // nil where everybody is granted everything
	acquire func(ctx context.Context, name string, shared bool) (lock, error)
	book    *oracle.Book
	slots   *oracle.Slots
	record  *recorder
	marks   atomic.Uint64
	holding atomic.Int64
}

// releaseBound is far beyond what a release needs.
const releaseBound = 30 * time.Second

// lossBound is how long a holder that has met another one may take to hear that its lock is lost. Where the server
// ends a session it says so on the session's socket, so this is a matter of scheduling.
const lossBound = 5 * time.Second

// afterFailure keeps a failing load from spinning.
const afterFailure = 50 * time.Millisecond

// run works until draining ends, and returns when every goroutine has finished: those that waited have withdrawn, and
// those that held have written and released.
func (l *load) run(draining context.Context) {
	var all sync.WaitGroup
	for range l.job.Workers {
		all.Go(func() {
			pick := newPicker(l.job.Skew, l.job.Keys)
			for draining.Err() == nil {
				if err := l.once(draining, pick()); err != nil {
					l.record.note(func(t *Tally) { t.fail(err) })
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
	after := time.Duration(math.MaxInt64)
	if planned {
		after = l.record.cancelAfter()
	}
	g := newGuard(draining, after)
	defer g.cancel()
	var cut context.CancelFunc
	if planned {
		cut = g.cancel
	}

	shared := l.job.Readers > 0 && rand.Float64() < l.job.Readers
	began := time.Now()
	l.slots.Begin(key, oracle.Waits)
	lock, err := l.acquire(g.ctx, keyName(key), shared)
	l.slots.End(key, oracle.Waits)
	wait := time.Since(began)
	alive, asked := g.disarm()
	switch {
	case err == nil && alive:
		l.record.waited(wait, shared)
		if shared {
			l.slots.Begin(key, oracle.Reads)
			defer l.slots.End(key, oracle.Reads)
			return l.share(key, lock, cut)
		}
		l.slots.Begin(key, oracle.Writes)
		defer l.slots.End(key, oracle.Writes)
		return l.hold(key, lock, cut)
	case err == nil:
		// Granted and cancelled at the same moment: the lock ends, or has ended, by itself.
		l.gaveUp(asked)
		return release(lock)
	case !alive && errors.Is(err, context.Canceled):
		l.gaveUp(asked)
		return nil
	default:
		return err
	}
}

// gaveUp counts an acquisition that was cancelled while it waited.
func (l *load) gaveUp(asked bool) {
	l.record.note(func(t *Tally) {
		if asked {
			t.Cancelled++
		} else {
			t.Withdrawn++
		}
	})
}

// guard cancels one acquisition while it waits, and only then. An acquisition's context bounds the hold as well, so a
// cancellation that came late would end a lock in the middle of its holder's read-modify-write, and the demo would
// find a violation of its own making.
type guard struct {
	ctx    context.Context //nolint:containedctx // of one acquisition, as short-lived as this
	cancel context.CancelFunc
	timer  *time.Timer
	leave  func() bool // unregisters from the end of the run
}

// newGuard makes a context that ends after the given time, and when draining ends.
func newGuard(draining context.Context, after time.Duration) *guard {
	g := &guard{}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.leave = context.AfterFunc(draining, g.cancel)
	g.timer = time.AfterFunc(after, g.cancel)
	return g
}

// disarm ends the guard's power over the context. It reports whether the context is still alive: from then on nobody
// but the holder ends it. Where it is not, asked tells that its time had come.
func (g *guard) disarm() (alive, asked bool) {
	asked = !g.timer.Stop()
	return g.leave() && !asked, asked
}

// hold is the time under the lock: the mark goes into the shared table, the counter is read, time passes, the counter
// is written, the mark comes out. cut is nil, or ends the hold by its context.
func (l *load) hold(key int, lock lock, cut context.CancelFunc) error {
	l.holding.Add(1)
	defer l.holding.Add(-1)
	mark := uint64(l.job.Process)<<48 | l.marks.Add(1)&(1<<48-1)
	pushedOut := l.slots.Enter(key, mark)
	wrote, err := l.readModifyWrite(key, lock)
	alone := l.slots.Leave(key, mark)

	end := l.end(lock, !alone, func() bool { return l.slots.Excused(key, mark) }, cut)
	if end.exposed {
		l.slots.Excuse(key, pushedOut)
		l.slots.Lost(key, mark)
	}
	l.record.note(func(t *Tally) {
		count(&t.Keys[key].Overlaps, end.violated)
		count(&t.Met, end.violated)
		count(&t.Keys[key].Exposed, end.exposed && wrote)
	})
	return end.failure(err)
}

// ended is how a hold came to its end.
type ended struct {
	lost       bool
	exposed    bool // the lock was or may have been lost
	violated   bool // the holder has met another one, and neither lock was lost
	releaseErr error
}

// failure is the error of a hold with that of its work. After a loss the release's says the same again.
func (e ended) failure(work error) error {
	if e.lost {
		return work
	}
	return errors.Join(work, e.releaseErr)
}

// end releases a lock whose holder has finished. met says that the holder has met another one, and excused whether that one's
// lock was lost.
func (l *load) end(lock lock, met bool, excused func() bool, cut context.CancelFunc) ended {
	e := ended{lost: lock.Err() != nil}
	explained := e.lost
	if met && !e.lost {
		// The next holder may come between the server's end of a session and its client's hearing of it. That is not for
		// the lock manager to prevent, but it has to be told at once, and two locks that are not lost have no such excuse.
		e.lost, explained = l.explain(lock, excused)
	}
	e.violated = met && !explained
	// An acquisition that was to be cancelled and was granted before that ends its hold by its context: this way out
	// must free the lock as surely as Release does. Release then only tells what became of it.
	cutShort := cut != nil && !e.lost
	if cutShort {
		cut()
	}
	e.releaseErr = release(lock)
	e.exposed = e.lost || e.releaseErr != nil
	l.record.note(func(t *Tally) {
		count(&t.AfterLoss, met && explained)
		count(&t.CutShort, cutShort)
		count(&t.Lost, e.lost)
	})
	return e
}

func count(n *uint64, happened bool) {
	if happened {
		*n++
	}
}

// explain gives a holder that has met another one the time to hear that its lock is lost, or that the other's is.
func (l *load) explain(lock lock, excused func() bool) (lost, explained bool) {
	if lock.Done() == nil {
		return false, false // a lock that cannot be lost
	}
	began := time.Now()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for time.Since(began) < lossBound {
		select {
		case <-lock.Done():
			l.record.note(func(t *Tally) { t.SlowestNews = max(t.SlowestNews, time.Since(began)) })
			return true, true
		case <-ticker.C:
			if excused() {
				return false, true
			}
		}
	}
	lost = lock.Err() != nil
	return lost, lost || excused()
}

// readModifyWrite adds one to the key's counter with nothing but the lock to guard it. A holder whose lock has ended
// does not write.
func (l *load) readModifyWrite(key int, lock lock) (wrote bool, _ error) {
	n, err := l.book.Read(key)
	if err != nil {
		return false, err
	}
	l.pass(lock)
	wrote, err = l.book.Write(key, n+1, func() bool { return lock.Err() == nil })
	if wrote || err != nil {
		l.record.wrote(key, err)
	}
	return wrote, nil
}

// pass lets the time pass that a holder holds.
func (l *load) pass(lock lock) {
	if l.job.Hold > 0 {
		timer := time.NewTimer(l.job.Hold)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-lock.Done():
		}
	}
}

func release(lock lock) error {
	ctx, cancel := context.WithTimeout(context.Background(), releaseBound)
	defer cancel()
	return lock.Release(ctx)
}

// Skews are the ways to spread the load over the keys.
var Skews = []string{"uniform", "zipf"}

// zipfExponent makes the first of 50 keys take about a quarter of the load.
const zipfExponent = 1.1

// newPicker returns a function that draws the next key. It is for one goroutine.
func newPicker(skew string, keys int) func() int {
	source := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	if skew == "zipf" {
		zipf := rand.NewZipf(source, zipfExponent, 1, uint64(keys-1))
		return func() int { return int(zipf.Uint64()) }
	}
	return func() int { return source.IntN(keys) }
}

// keyName is the lock's name. The namespace keeps it apart from another run's.
func keyName(key int) string { return fmt.Sprintf("demo/key-%05d", key) }

// progress is what has been seen so far, with the waits since the last call.
func (l *load) progress() Tally { return l.stats(l.record.progress()) }

// result is what has been seen in all. No goroutine of the load may be at work any more.
func (l *load) result() Tally { return l.stats(l.record.Tally) }

// stats adds what the lock manager says of itself.
func (l *load) stats(t Tally) Tally {
	t.Held = int(l.holding.Load())
	if l.manager != nil {
		s := l.manager.Stats()
		t.Waiting, t.Sessions, t.GrantsLocal, t.GrantsServer = s.Waiting, s.Sessions.Total(), s.GrantsLocal, s.GrantsServer
		t.Pool, t.Losses = s.Sessions, s.Losses
	}
	return t
}
