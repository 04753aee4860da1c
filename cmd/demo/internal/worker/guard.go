package worker

import (
	"context"
	"sync/atomic"
	"time"
)

// guard cancels one acquisition while it waits, and only then. An acquisition's context bounds the hold as well, so a
// cancellation that came late would end a lock in the middle of its holder's read-modify-write, and the demo would
// find a violation of its own making.
type guard struct {
	ctx    context.Context //nolint:containedctx // of one acquisition, as short-lived as this
	cancel context.CancelFunc
	timer  *time.Timer // nil where this acquisition is not to be cancelled
	leave  func() bool // unregisters from the end of the run
	asked  atomic.Bool // the timer fired: the cancellation is one that --cancel asked for
}

// newGuard makes a context that ends after the given time (none: never), and when draining ends.
func newGuard(draining context.Context, after time.Duration, planned bool) *guard {
	g := &guard{}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.leave = context.AfterFunc(draining, g.cancel)
	if planned {
		g.timer = time.AfterFunc(after, func() {
			g.asked.Store(true)
			g.cancel()
		})
	}
	return g
}

// disarm ends the guard's power over the context. It reports whether the context is still alive: from then on nobody
// but the holder ends it.
func (g *guard) disarm() bool {
	alive := g.leave()
	if g.timer != nil && !g.timer.Stop() {
		g.asked.Store(true) // it has fired, and may not have come to say so yet
		alive = false
	}
	return alive && g.ctx.Err() == nil
}
