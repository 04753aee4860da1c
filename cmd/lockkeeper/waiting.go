package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/lockkeeper/lockkeeper/manager"
)

// waitingAfter is how long a wait lasts before a person is told of it.
const waitingAfter = 2 * time.Second

// forPerson reports whether somebody may look on, who is told what this command waits for.
func (p *runPlan) forPerson() bool { return p.verbose || term.IsTerminal(int(os.Stderr.Fd())) }

// tellOfWaiting tells a person at a terminal, or with --verbose, that the lock is waited for and who holds it, so that a silent command is not
// taken for one that hangs. The caller calls stop when the wait is over; nothing is written after that.
func (h *holding) tellOfWaiting(ctx context.Context) (stop func()) {
	if h.try || !h.forPerson() {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{}) // closed by the goroutine at its end; received by stop; nothing is sent
	go func() {                  // Joined by stop.
		defer close(ended)
		timer := time.NewTimer(waitingAfter)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		asking, done := context.WithTimeout(ctx, askBound)
		defer done()
		holders := h.holders(asking)
		if ctx.Err() == nil {
			h.tell("waiting for %s%s", printable(h.names()), holders)
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// holders says who holds the keys, as far as the server tells. Locks behind slots have other ids; their holders are not named.
func (h *holding) holders(ctx context.Context) (text string) {
	locks, err := h.m.Locks(ctx)
	if err != nil {
		return ""
	}
	for _, key := range h.keys {
		id := h.m.Key(key).ID()
		for _, lock := range locks {
			if lock.ID != id {
				continue
			}
			for _, s := range lock.Holders {
				text += "; " + heldBy(s)
			}
		}
	}
	return text
}

// heldBy says whose session holds a lock.
func heldBy(s manager.LockSession) string {
	return fmt.Sprintf("held by server pid %d, application %q, client %s, whose session began at %s", s.PID, s.ApplicationName,
		clientOf(s), sinceOf(s))
}
