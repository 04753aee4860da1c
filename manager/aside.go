package manager

import (
	"sync/atomic"
	"time"
)

// aside runs what nobody waits for and what may be slow, since it is code of the user's: a log handler, an observer. It does so on a goroutine
// of its own, one after the other. Owners hand over to it without waiting.
type aside struct {
	// Sent by anybody; received by run; never closed; capacity as start is told: a burst. What does not fit is dropped.
	work chan func()
	// Closed by stop; received by run, which does what is there and ends; nothing is sent.
	quit chan struct{}
	// Closed by run at its end; received by stop; nothing is sent.
	done    chan struct{}
	dropped atomic.Uint64 // written by whoever hands over, and by run
}

// asidePatience is how long stop waits for a function that blocks.
const asidePatience = time.Second

// start starts the goroutine. Joined by stop, through done, unless the user's code blocks.
func (a *aside) start(room int) {
	a.work, a.quit, a.done = make(chan func(), room), make(chan struct{}), make(chan struct{})
	go a.run()
}

// run works until stop is called. A function that panics, or ends the goroutine by runtime.Goexit, is counted as dropped.
func (a *aside) run() {
	over := false
	defer func() {
		if over {
			close(a.done)
			return
		}
		_ = recover() // the user's
		a.dropped.Add(1)
		// Joined by stop, as before.
		go a.run()
	}()
	for !over {
		select {
		case f := <-a.work:
			f()
		case <-a.quit:
			over = !a.doOne()
		}
	}
}

// doOne does what was handed over first, if there is anything.
func (a *aside) doOne() bool {
	select {
	case f := <-a.work:
		f()
		return true
	default:
		return false
	}
}

// do hands a function over. It never waits. Before start it does nothing.
func (a *aside) do(f func()) {
	if a.work == nil {
		return
	}
	select {
	case a.work <- f:
	default:
		a.dropped.Add(1)
	}
}

// stop ends the goroutine, once what was handed over is done. A function that blocks is left to its own.
func (a *aside) stop() {
	if a.work == nil {
		return
	}
	close(a.quit)
	patience := time.NewTimer(asidePatience)
	defer patience.Stop()
	select {
	case <-a.done:
	case <-patience.C:
	}
}
