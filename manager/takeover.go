package manager

import (
	"errors"
	"fmt"
	"time"
)

// WithTakeoverDelay has an acquisition wait, where the hold before it did not end cleanly, until d after its own grant, or until the earlier holder
// says that its work has ended: Release was called, the function of Do or Elect has returned, its context has ended, or Close. So two holders do not overlap where the
// server ends a session, as long as each stops working when its hold is lost, within d. It is for those who cannot fence. It includes [WithFencing].
//
// d must be at least the time that a silent server is trusted ([WithHealth]: 7 s), of all managers that take the keys, and all of them need the option: a hold of one without it
// never ends cleanly. The wait counts as any other, but for tries: TryAcquire waits it out too. Each release writes to the key's row, without waiting for that. After
// the crash of a process the next holder waits for d, and so may the same one where the answer to a draw was lost: the token may be in the table.
func WithTakeoverDelay(d time.Duration) Option {
	return func(c *config) { c.takeover, c.fencing = d, c.fencing || d != 0 }
}

// checkTakeover refuses a delay in which the last holder may still trust its lock.
func (c *config) checkTakeover() error {
	if c.takeover == 0 {
		return nil
	}
	sessions, err := c.sessions.WithDefaults()
	if err == nil && c.takeover < sessions.Trust() {
		return fmt.Errorf("WithTakeoverDelay is %v: it must be at least the health interval and timeout together, %v", c.takeover, sessions.Trust())
	}
	return err
}

// errUnclean is what a caller waits for who holds the lock and has a token.
var errUnclean = errors.New("the lock was held, and the takeover delay was waited for, since the hold before it has not ended cleanly")

// before is what a draw finds of an id: the newest token that a holder was told, up to which token the holds have ended cleanly, and for how long that of told was
// waited for.
type before struct {
	id, told, ended int64
	waited          time.Duration
}

func (b before) over() bool { return b.ended >= b.told }

// again is b as the row says later. If somebody has drawn since, told is what was before that token: a later one than b's, which counts on.
func (b before) again(row before) before {
	if row.told > b.told {
		row.told, row.waited = b.told, b.waited
	}
	return row
}

// clean reports whether the holds before have all ended, and else for how long they have been waited for.
func clean(all []before) (ended bool, waited time.Duration) {
	ended = true
	for _, b := range all {
		if !b.over() && (ended || b.waited < waited) {
			ended, waited = false, b.waited
		}
	}
	return ended, waited
}

// tokenMark is what the drawer writes of an id later: that the hold with a token has ended, or that nobody was told the token.
type tokenMark struct {
	id, token int64
	void      bool
	told      int64         // of a void one: the token before it
	waited    time.Duration // likewise: for how long the hold of that was waited for
	late      time.Duration // likewise, where somebody has drawn since: for how long it had been when this token was drawn
}

// marks are those of a hold that has ended cleanly.
func (f *fence) marks() []*tokenMark {
	all := make([]*tokenMark, 0, len(f.ids))
	for _, id := range f.ids {
		all = append(all, &tokenMark{id: id, token: f.token})
	}
	return all
}

// markEnded has the drawer write that a hold has ended cleanly. It waits for the drawer to receive that.
func (l *Lock) markEnded() {
	if f := l.fenced(); f != nil && l.manager.config.takeover > 0 {
		select {
		case l.manager.drawer.ended <- f:
		case <-l.manager.drawer.done:
		}
	}
}

// markEndedSoon is markEnded for a keeper's goroutine, whose hold has ended by its context or by Close. Joined by close, through marking.
func (l *Lock) markEndedSoon() {
	if l.manager.config.takeover > 0 && l.endedCleanly() {
		l.manager.marking.Go(l.markEnded)
	}
}

// endedCleanly reports whether the hold has ended otherwise than by a loss.
func (l *Lock) endedCleanly() bool {
	return l.claim.Over() != nil && !l.claim.Lost()
}
