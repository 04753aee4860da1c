package sim_test

import (
	"context"
	"errors"
	"runtime"

	"github.com/lockkeeper/lockkeeper/manager"
)

// work is what a call of Do runs under the lock. With the stack's mu, but for finish.
type work struct {
	stubborn bool // it does not listen to its context
	ending   workEnding
	finish   chan struct{} // closed when the history lets it return
	finished bool          // that was done

	begun, running bool
	seen           bool // by the history's goroutine, which has checked that it may run
	lost           bool // its session was known to be gone while it ran
	ctx            context.Context
	heard          bool // its context has ended, which was checked
}

type workEnding int

const (
	workReturns workEnding = iota
	workFails
	workPanics
	workExits // by runtime.Goexit
)

var errWork = errors.New("the work failed")

// do is the goroutine of a call of Do.
func (k *call) do(opts []manager.AcquireOption) {
	defer func() {
		if v := recover(); v != nil && v != errWork { //nolint:errorlint // that very value
			panic(v)
		}
	}()
	do := k.p.m.Do
	if k.shared {
		do = k.p.m.DoShared
	}
	k.err = do(k.ctx, k.key, k.work.run(k), opts...)
}

func (f *work) run(k *call) func(context.Context) error {
	w := k.w
	return func(ctx context.Context) error {
		w.mu.Lock()
		f.begun, f.running, f.ctx = true, true, ctx
		k.locate()
		w.mu.Unlock()
		if f.stubborn {
			<-f.finish
		} else {
			select {
			case <-f.finish:
			case <-ctx.Done():
			}
		}
		w.mu.Lock()
		f.running = false
		w.mu.Unlock()
		switch f.ending {
		case workFails:
			return errWork
		case workPanics:
			panic(errWork)
		case workExits:
			runtime.Goexit()
		case workReturns:
		}
		return nil
	}
}

// finishSome lets the work of a call of Do return.
func (w *stack) finishSome() {
	w.mu.Lock()
	defer w.mu.Unlock()
	var running []*call
	for _, k := range w.calls {
		if f := k.work; f != nil && f.running && !f.finished {
			running = append(running, k)
		}
	}
	if len(running) > 0 {
		k := running[w.src.Pick(min(len(running), 200))]
		w.say("the work of %v returns", k)
		k.work.end()
	}
}

func (f *work) end() {
	if f != nil && !f.finished {
		f.finished = true
		close(f.finish)
	}
}

// finishAll lets all work return, also that which has yet to begin.
func (w *stack) finishAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range w.calls {
		k.work.end()
	}
}

// works reports whether a call of Do is under its lock.
func (k *call) works() bool { return k.work != nil && k.work.running }

// worksRightly: what runs under the lock of Do has it until it returns, unless the session was lost, and hears what it must.
func (k *call) worksRightly() {
	w, f := k.w, k.work
	if f == nil || !f.begun {
		return
	}
	if !f.seen {
		f.seen = true
		w.seen.add("worked")
		w.say("          %v is granted", k)
		k.grantedRightly()
	}
	if !f.heard && f.ctx.Err() != nil {
		f.heard = true
		k.workHeardRightly()
	}
	if !f.running {
		return
	}
	gone := k.sessionGone()
	if k.wire != nil && k.wire.told() {
		f.lost = true
	}
	switch {
	case !f.heard && k.ctx.Err() != nil && !k.detach: // a detached hold leaves the context of its work alone
		w.violate("a holder hears", "%v works on and was not told that its context has ended", k)
	case !f.heard && k.p.closing:
		w.violate("a holder hears", "%v works on and was not told that its manager is closed", k)
	case !f.heard && f.lost:
		w.violate("a holder hears", "%v works on and was not told that %v is gone", k, k.wire)
	case !gone && k.p.isClosed():
		w.violate("Close waits for what runs under a lock", "%v", k)
	case !gone && (k.wire == nil || !w.lock(k.id).has(k.wire.backend) || w.lock(k.id).shared != k.shared):
		w.violate("Do holds until its function has returned", "%v works, and the server does not have its lock", k)
	}
	if k.ctx.Err() != nil {
		w.seen.add("worked on after the end of its context")
	}
	if k.p.closing {
		w.seen.add("worked on after Close")
	}
}

// sessionGone reports whether the session that a lock was granted on, or its keeper, is lost.
func (k *call) sessionGone() bool {
	return k.keeperFailed() || k.wire != nil && (k.wire.backend.over || k.wire.closed || k.wire.goodbye || k.wire.silent() || k.wire.doubtful)
}

// workHeardRightly looks at why the context of what runs under a lock has ended.
func (k *call) workHeardRightly() {
	w, cause := k.w, context.Cause(k.work.ctx)
	w.seen.add("told: " + outcome(cause))
	right := false
	switch {
	case errors.Is(cause, manager.ErrLost):
		right = true // whether it was is seen when Do returns
	case errors.Is(cause, manager.ErrClosed):
		right = k.p.closing
	case errors.Is(cause, manager.ErrReleased):
		right = !k.work.running
	case errors.Is(cause, context.Canceled):
		right = k.ctx.Err() != nil && !k.detach
	}
	if !right {
		w.violate("errors tell the truth", "the context of the work of %v has ended for %v", k, cause)
	}
}

// workedRightly looks at what Do has returned after its function has.
func (k *call) workedRightly() {
	w, f := k.w, k.work
	k.outcomes = append(k.outcomes, k.err)
	w.say("          %v has worked: %v", k, k.err)
	lost := errors.Is(k.err, manager.ErrLost)
	returned := f.ending == workReturns || f.ending == workFails
	switch {
	case f.ending == workFails && !errors.Is(k.err, errWork):
		w.violate("errors tell the truth", "%v: the error of its function is not in %v", k, k.err)
	case errors.Is(k.err, context.DeadlineExceeded), errors.Is(k.err, context.Canceled):
		w.violate("errors tell the truth", "%v: its context has no deadline, and the release has none of it: %v", k, k.err)
	case lost && !k.sessionGone() && !k.wire.heardLate:
		w.violate("errors tell the truth", "%v has lost nothing: %v", k, k.err)
	case returned && f.lost && !lost:
		w.violate("errors tell the truth", "%v has lost its lock while it worked, and says %v", k, k.err)
	}
	if returned && !lost && !errors.Is(k.err, manager.ErrReleaseUnknown) {
		k.freeRightly()
	}
}
