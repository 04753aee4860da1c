package pg

import "slices"

// How the shared session for a new lock is chosen.

const (
	// locksPerRequest: a statement on a session takes the server longer the more locks the session holds, about as much
	// for this many as for one more request in the batch.
	locksPerRequest = 20
	// secondAt and moreAt are how much must queue on the least loaded session before another is opened. Two are twice
	// as fast as one from a handful of goroutines on; more only pay where batches are large or sessions full.
	secondAt = 2
	moreAt   = 1024
	// fullAt is how many locks the least loaded session may hold before another is opened.
	fullAt = 1000
	// Where all sessions hold that many there is one more, the light one, for locks that are asked for one at a time, while
	// the others are at rest: each would cost the server a millisecond or two on a session with tens of thousands.
	// What comes in crowds, which is how a session fills, never goes there: at most lightWaiting at a time, until there are
	// lightLocks.
	lightWaiting = 16
	lightLocks   = fullAt
)

// roomForSolo reports whether another solo session fits. The last place is a shared session's: without one no lock can
// be tried and no wait cancelled.
func (p *Pool) roomForSolo() bool {
	kept := 0
	if p.inUse[UseShared]+p.opening[UseShared] == 0 {
		kept = 1
	}
	return p.total()+kept < p.config.MaxSessions
}

// total counts the seats that are taken or about to be; idle ones do not count, as they can be given to anybody.
func (p *Pool) total() int {
	n := 0
	for use := range p.inUse {
		n += p.inUse[use] + p.opening[use]
	}
	return n
}

// share and unshare change the snapshot; the pool's owner and an ending session may do so at the same time.
func (p *Pool) share(s *Session) {
	p.updateShared(func(old []*Session) []*Session { return append(old, s) })
	select {
	case <-s.ending: // it may have taken itself out before it was in
		p.unshare(s)
	default:
	}
}

func (p *Pool) unshare(s *Session) {
	p.updateShared(func(old []*Session) []*Session {
		return slices.DeleteFunc(old, func(other *Session) bool { return other == s })
	})
}

func (p *Pool) updateShared(change func([]*Session) []*Session) {
	for {
		old := p.shared.Load()
		fresh := change(slices.Clone(*old))
		if p.shared.CompareAndSwap(old, &fresh) {
			return
		}
	}
}

func (s *Session) load() int64 { return s.waiting.Load() + s.locks.Load()/locksPerRequest }

// Try submits an OpTry to a shared session. Without one, the request waits until one has been opened, or could not be.
// It never blocks.
func (p *Pool) Try(r *Request) {
	r.Op = OpTry
	if s := p.choose(); s != nil {
		s.Submit(r)
		return
	}
	p.pend(r)
}

// pend has a try wait for a shared session.
func (p *Pool) pend(r *Request) {
	p.post(poolMessage{kind: poolPending, request: r})
	p.afterEnd()
}

// Who submits an OpWho where that can be done at once; otherwise it answers without a holder.
func (p *Pool) Who(r *Request) {
	r.Op, r.Holder = OpWho, nil
	if s := p.any(); s != nil {
		s.Submit(r)
		return
	}
	r.answer(nil, false, nil)
}

func (p *Pool) submitCancel(r *Request) bool {
	s := p.any()
	if s != nil {
		s.Submit(r)
	}
	return s != nil
}

// any is a shared session for what takes no lock.
func (p *Pool) any() *Session {
	if s := p.choose(); s != nil {
		return s
	}
	for _, s := range *p.shared.Load() { // full ones are as good
		return s
	}
	return nil
}

// choose is the session for a new lock, nil where there is none with room.
func (p *Pool) choose() *Session {
	var best, light *Session
	var least int64
	busy, n := false, 0
	for _, s := range *p.shared.Load() {
		if s.light {
			light = s
			continue
		}
		n++
		load := s.load()
		busy = busy || s.waiting.Load() > 0
		if (best == nil || load < least) && !s.full() {
			best, least = s, load
		}
	}
	switch {
	case best == nil: // the light one is not there to go beyond a limit
		return nil
	case n < p.config.SharedSessions:
		at := int64(secondAt)
		if n > 1 {
			at = moreAt
		}
		if best.waiting.Load() >= at || best.locks.Load() >= fullAt {
			p.askToGrow()
		}
	case busy || best.locks.Load() < fullAt:
	case light == nil:
		p.askToGrow()
	case light.locks.Load() < lightLocks && light.waiting.Load() < lightWaiting:
		return light
	}
	return best
}

func (p *Pool) askToGrow() {
	if p.growing.CompareAndSwap(false, true) {
		p.post(poolMessage{kind: poolGrow})
	}
}

// mayShare reports whether another shared session is to be opened, and whether that would be the light one. The pool's
// owner calls it.
func (p *Pool) mayShare() (another, light bool) {
	heavy, n, haveLight := true, 0, false
	for _, s := range *p.shared.Load() {
		if s.light {
			haveLight = true
			continue
		}
		n++
		heavy = heavy && s.locks.Load() >= fullAt
	}
	if n < p.config.SharedSessions {
		return true, false
	}
	return heavy && !haveLight, true
}
