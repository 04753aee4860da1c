package pg

import (
	"context"
	"fmt"
	"time"
)

// sessionEnded is called by a session's owner as its last act.
func (p *Pool) sessionEnded(s *Session) { p.post(poolMessage{kind: poolEnded, session: s}) }

func (p *Pool) ended(s *Session) {
	seat, known := p.sessions[s]
	if !known {
		return
	}
	delete(p.sessions, s)
	if seat.resource == nil {
		p.tidy(p.config.IdleTime) // it died in the puddle, which has to be told
		p.dispatch()
		return
	}
	if seat.use == UseShared {
		p.unshare(s) // it may have been shared as it died, after it had taken itself out
	}
	p.inUse[seat.use]--
	seat.resource.Destroy()
	p.dispatch()
}

// tidy closes what has been idle for long, and throws away what died while idle.
func (p *Pool) tidy(idle time.Duration) {
	for _, resource := range p.puddle.AcquireAllIdle() {
		s := resource.Value()
		select {
		case <-s.ended:
			resource.Destroy()
			continue
		default:
		}
		if p.closing || resource.IdleDuration() >= idle {
			s.stop()
			resource.Destroy()
			continue
		}
		resource.ReleaseUnused()
	}
}

func (p *Pool) refuseQueues(err error) {
	for _, use := range [...]Use{UseWaiting, UseDedicated} {
		for {
			r := p.next(use)
			if r == nil {
				break
			}
			r.Client.Reserved(r, nil, err)
		}
	}
	for _, r := range p.pending {
		r.answer(nil, false, err)
	}
	p.pending = nil
}

// Wane says that from here on locks are only let go of: the load of that is no reason to open another session. It may be
// called at any time, and never blocks.
func (p *Pool) Wane() { p.waning.Store(true) }

func (p *Pool) startClose(done chan struct{}) {
	p.closeDone = append(p.closeDone, done)
	if p.closing {
		return
	}
	p.closing = true
	p.endLife()
	p.refuseQueues(ErrClosed)
	p.polls.close()
	for s := range p.sessions {
		s.stop()
	}
	p.tidy(0)
}

// afterEnd answers what came too late: the owner is gone, and nobody else will.
func (p *Pool) afterEnd() {
	select {
	case <-p.done:
	default:
		return
	}
	for list := p.inbox.Take(); ; {
		m, ok := list.Next()
		if !ok {
			return
		}
		switch m.kind {
		case poolPending:
			m.request.answer(nil, false, ErrClosed)
		case poolPoll:
			m.poll.halt(pollClosed)
		case poolReserve:
			m.reservation.Client.Reserved(m.reservation, nil, ErrClosed)
		case poolStats:
			m.stats <- p.counters()
		case poolClose:
			close(m.done)
		case poolGrow, poolWithdraw, poolReturn, poolBorn, poolOpened, poolEnded, poolPolled: // nobody waits for these
		}
	}
}

// Close ends every session, in good order where the server answers, and waits until nothing is left: no goroutine, no
// connection. It is idempotent. When ctx ends first it returns, and what is left ends by itself within the connect
// and close timeouts.
func (p *Pool) Close(ctx context.Context) error {
	done := make(chan struct{})
	p.post(poolMessage{kind: poolClose, done: done})
	p.afterEnd()
	gone := make(chan struct{})
	go func() {
		<-done
		p.openers.Wait()
		p.puddle.Close()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("closing the sessions is still under way: %w", context.Cause(ctx))
	}
}

func (p *Pool) snapshot() Stats {
	out := p.counters()
	out.Shared, out.Waiting, out.Dedicated = p.inUse[UseShared], p.inUse[UseWaiting], p.inUse[UseDedicated]
	out.Opening = p.opening[UseShared] + p.opening[UseWaiting] + p.opening[UseDedicated]
	out.Idle = max(0, len(p.sessions)-out.Shared-out.Waiting-out.Dedicated)
	out.Queued = p.queued[UseWaiting] + p.queued[UseDedicated]
	return out
}
