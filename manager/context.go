package manager

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/lockkeeper/lockkeeper/actor"
)

// parent is the acquiring context as package context sees it, which registers with it. For a context of the standard library it
// stands aside: that finds its own context behind it. For a context of somebody else's it sees to it that nothing touches the
// context once the registration was taken back: such a context may be used for something else then.
type parent struct {
	context.Context //nolint:containedctx // of an acquisition, and only touched during it

	// The context's own, asked for once, by the caller, before the claim is submitted. Closed by whoever ends the context; received by
	// package context and by AfterFunc's goroutine; nothing is sent.
	done <-chan struct{}
}

// Done is asked for by package context, and on goroutines of ours: the context's own method may panic.
func (p *parent) Done() <-chan struct{} { return p.done }

// Err is never nil, as package context requires of a context that is done: a recycled one may have forgotten. It is called on goroutines
// whose panic would end the program.
func (p *parent) Err() (err error) {
	defer func() {
		if err == nil {
			_ = recover()
			err = context.Canceled
		}
	}()
	return p.Context.Err()
}

// Value is called where Err is.
func (p *parent) Value(key any) (value any) {
	defer func() { _ = recover() }()
	return p.Context.Value(key)
}

// AfterFunc is what package context calls to register with a context that is not its own. f touches the context. stop is as that of
// context.AfterFunc, and waits: it returns when f has not begun, and will not, or has returned.
func (p *parent) AfterFunc(f func()) (stop func() bool) {
	r := &registration{f: f, finished: make(chan struct{})}
	if own, ok := p.Context.(interface {
		AfterFunc(f func()) (stop func() bool)
	}); ok {
		stopOwn := own.AfterFunc(r.call)
		return func() bool { return r.stop(func() { stopOwn() }) }
	}
	quit := make(chan struct{}) // closed by stop; received by the goroutine; nothing is sent
	gone := make(chan struct{}) // closed by the goroutine at its end; received by stop; nothing is sent
	done := p.Done()
	// Joined by stop, through finished or gone.
	go func() {
		defer close(gone)
		select {
		case <-done:
			r.call()
		case <-quit:
		}
	}()
	return func() bool {
		return r.stop(func() {
			close(quit)
			<-gone
		})
	}
}

// registration is of one function with a context that is not package context's.
type registration struct {
	f       func()
	decided atomic.Bool // written by whoever is first: the call of f, or stop
	// Closed by the call of f when f has returned, or by stop, which was first; received by stop; nothing is sent.
	finished chan struct{}
}

// call is f, unless stop came first.
func (r *registration) call() {
	if r.decided.Swap(true) { //arch:publishes that f is called, or will not be: of f's call and stop the first decides
		return
	}
	defer close(r.finished)
	r.f()
}

// stop reports whether it keeps f from being called. own takes the registration back, and is called once: it may be the user's.
func (r *registration) stop(own func()) bool {
	if r.decided.Swap(true) { //arch:publishes as in call
		<-r.finished
		return false
	}
	defer close(r.finished)
	own()
	return true
}

// register has contextEnded called when the acquiring context ends.
func (l *Lock) register() {
	if l.parent.Done() == nil {
		return
	}
	l.touching.Add(1)
	l.stop = context.AfterFunc(&l.parent, l.contextEnded)
}

// contextEnded is registered with the acquiring context. It runs on a goroutine of its own.
func (l *Lock) contextEnded() {
	reason := context.Canceled
	defer func() { // also where a method of the context's, or of its cause, panics or ends the goroutine
		_ = recover()
		l.touching.Done()
		if l.claim.Hold == actor.HoldForWork && !l.detached {
			l.holdContext().cancel(reason) // its work is to end; the hold goes on until it has
		}
		l.claim.ContextEnded(reason)
	}()
	reason = contextReason(&l.parent)
}

// unregister takes the registration back. When it returns, nothing touches the acquiring context any more. Any goroutine may call
// it, any number of times.
func (l *Lock) unregister() {
	if l.stop == nil {
		return
	}
	l.stopOnce()
	l.touching.Wait()
}

// stopOnce takes the registration back, if it is there. Only then does package context call the user's context, which may panic, or end the
// goroutine: contextEnded is not called any more even so, and nobody waits for it.
func (l *Lock) stopOnce() {
	stopped := true
	defer func() {
		if stopped {
			l.touching.Done()
		}
	}()
	stopped = l.stop() // true once
}

// unregisterSoon takes the registration of a hold back that ended without a release, on a goroutine of its own: it may run code
// of the context's, which may panic. Joined by close, through background.
func (m *Manager) unregisterSoon(l *Lock) {
	if l.stop != nil {
		m.background.Go(func() {
			defer func() { _ = recover() }()
			l.unregister()
		})
	}
}

// abandon gives up a claim, or releases what it was granted, where a method of the context panicked, or ended the caller's goroutine:
// nobody would do so later.
func (l *Lock) abandon() {
	l.claim.Abandon(context.Canceled)
	l.unregister()
}

// contextReason keeps both findable: what the context says, and the cause that its owner gave.
func contextReason(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	switch {
	case err == nil && cause == nil:
		return context.Canceled
	case err == nil:
		return cause
	case cause == nil || errors.Is(err, cause):
		return err
	case errors.Is(cause, err):
		return cause
	default:
		return fmt.Errorf("%w: %w", err, cause)
	}
}
