package manager

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockkeeper/lockkeeper/actor"
)

// parent is the acquiring context as package context sees it, which registers with it. For a context of the standard library it
// stands aside: that finds its own context behind it. For a context of somebody else's it sees to it that nothing touches the
// context once the registration was taken back: such a context may be used for something else then.
type parent struct {
	context.Context //nolint:containedctx // of an acquisition, and only touched during it
}

// Err is never nil, as package context requires of a context that is done: a recycled one may have forgotten.
func (p *parent) Err() error {
	if err := p.Context.Err(); err != nil {
		return err
	}
	return context.Canceled
}

// AfterFunc is what package context calls to register with a context that is not its own. f touches the context. stop returns when
// f has not begun, and will not, or has returned.
func (p *parent) AfterFunc(f func()) (stop func() bool) {
	// Closed when f has returned, or will not be called; received by stop.
	finished := make(chan struct{})
	if own, ok := p.Context.(interface {
		AfterFunc(f func()) (stop func() bool)
	}); ok {
		stopOwn := own.AfterFunc(func() {
			defer close(finished)
			f()
		})
		return func() bool {
			if stopOwn() {
				return true
			}
			<-finished
			return false
		}
	}
	quit := make(chan struct{}) // closed by stop
	done := p.Done()
	// Joined by stop, through finished.
	go func() {
		defer close(finished)
		select {
		case <-done:
			f()
		case <-quit:
		}
	}()
	return func() bool {
		close(quit)
		<-finished
		return true
	}
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
	reason := contextReason(&l.parent)
	l.touching.Done()
	if l.claim.Hold == actor.HoldForWork && !l.detached {
		l.holdContext().cancel(reason) // its work is to end; the hold goes on until it has
	}
	l.claim.ContextEnded(reason)
}

// unregister takes the registration back. When it returns, nothing touches the acquiring context any more. Any goroutine may call
// it, any number of times.
func (l *Lock) unregister() {
	if l.stop == nil {
		return
	}
	if l.stop() { // true once, and then contextEnded is not called
		l.touching.Done()
	}
	l.touching.Wait()
}

// unregisterSoon takes the registration of a hold back that ended without a release, on a goroutine of its own: it may run code
// of the context's. Joined by close, through background.
func (m *Manager) unregisterSoon(l *Lock) {
	if l.stop != nil {
		m.background.Go(l.unregister)
	}
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
