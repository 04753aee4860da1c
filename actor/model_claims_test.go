package actor

import (
	"errors"
	"slices"
)

// The part of the model that checks what claims are told.

func (w *model) grant(c *Claim) {
	_, byServer := w.message.(Answered)
	byServer = byServer && !w.granted
	joins := len(w.holders) > 0
	switch {
	case joins && !c.Shared:
		w.fail("granted twice")
	case c.Shared != w.shared:
		w.fail("granted in another mode than the server's")
	case c.Local && w.draining:
		w.fail("granted past one who waits elsewhere")
	case w.kept != nil:
		w.fail("granted during a minimum hold")
	case !w.held || w.busy:
		w.fail("granted without the server's word")
	case w.closed:
		w.fail("granted after close")
	case !w.now.Before(w.trust):
		w.fail("granted on a session that is trusted no longer")
	case c.Dedicated && !w.onOwn:
		w.fail("granted on a session with other locks to one who wants none")
	case w.first() != c:
		w.fail("granted out of turn")
	case c.Local == byServer:
		w.fail("Local is %v", c.Local)
	case w.unsettled != nil && !c.Local:
		w.fail("granted by the server before the last hold was settled")
	}
	limits := w.m.limits
	if !joins {
		w.grants++
	}
	if c.Local && !joins && (w.grants > limits.HandOffGrants || w.now.Sub(w.tenure) >= limits.HandOffTime) {
		w.fail("grant %d, %v after the server's, is beyond the hand-off limits", w.grants, w.now.Sub(w.tenure))
	}
	w.queue = w.queue[1:]
	w.holders, w.granted, w.joined, c.Session = append(w.holders, c), true, w.joined || joins, w.session
	w.decide(c, nil)
}

func (w *model) decide(c *Claim, err error) {
	for range len(c.reply) {
		if <-c.reply == Decided {
			w.fail("a claim was decided twice")
		}
	}
	c.decide(err)
}

func (w *model) refuse(c *Claim, err error) {
	i := slices.Index(w.queue, c)
	if i < 0 {
		w.fail("refused and not in the queue")
	}
	var right bool
	switch e := w.message.(type) {
	case acquire:
		right = c == e.claim && (errors.Is(err, ErrNotAcquired) && c.Try && !w.mightShare || errors.Is(err, ErrClosed) && w.closed ||
			errors.Is(err, ErrTooManyWaiters) && len(w.waitingOld) >= w.m.limits.MaxWaiters)
	case contextEnded:
		right = c == e.claim && errors.Is(err, e.cause)
	case withdraw:
		right = c == e.claim && errors.Is(err, e.cause)
	case closing:
		right = errors.Is(err, ErrClosed)
	case Told:
		right = errors.Is(err, ErrNotAcquired) && c.Try && !c.Shared && w.busy && w.op == opWait && e.Holder != nil && !e.Asked.Before(w.came[c])
	default:
		right = errors.Is(err, ErrNotAcquired) && c.Try && c.Attempts > 0 && (w.shared || !c.Shared) ||
			errors.Is(err, ErrAttempts) && w.failures > 0 && w.mustFail(c, w.failed[c]+1) && len(c.Failures) > 0
	}
	if !right {
		w.fail("refused after %T for a reason that is none: %v", w.message, err)
	}
	w.queue = slices.Delete(slices.Clone(w.queue), i, i+1)
	w.decide(c, err)
}

func (w *model) mustFail(c *Claim, failures int) bool {
	return w.permanent || c.Try || failures >= c.MaxAttempts
}

func (w *model) over(c *Claim, cause error) {
	i := slices.Index(w.holders, c)
	if i < 0 || w.unsettled != nil {
		w.fail("the hold that ended was not the holder's")
	}
	var right bool
	switch e := w.message.(type) {
	case release:
		right = c == e.claim && errors.Is(cause, ErrReleased)
	case contextEnded:
		right = c == e.claim && c.Hold == HoldWithContext && errors.Is(cause, e.cause)
	case Lost:
		right = errors.Is(cause, ErrLost) && errors.Is(cause, errBroken)
	case closing:
		right = c.Hold != HoldForWork && errors.Is(cause, ErrClosed)
	}
	if !right {
		w.fail("a hold ended by %T for %v", w.message, cause)
	}
	w.holders, w.unsettled = slices.Delete(w.holders, i, i+1), c
	if _, lost := w.message.(Lost); !lost && !w.closed && w.now.Before(c.Granted.Add(c.MinHold)) {
		w.keeps = c
	}
	c.end(cause, w.now)
}

func (w *model) settle(c *Claim, err error) {
	if c != w.unsettled {
		w.fail("settled a hold that is not over, or twice")
	}
	w.unsettled = nil
	if err == nil {
		if c == w.keeps {
			w.kept = c
		}
		if !w.confirmed && len(w.holders) == 0 && w.kept == nil {
			w.fail("a release was called a success, and neither the server nor another holder has the lock")
		}
	} else if !errors.Is(err, ErrLost) && !errors.Is(err, ErrReleaseUnknown) {
		w.fail("settled with %v", err)
	}
	c.settle(err)
}
