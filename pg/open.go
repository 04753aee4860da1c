package pg

import (
	"fmt"
	"slices"
	"time"

	"github.com/jackc/puddle/v2"
)

// The part of the pool's owner that opens sessions and gives them out. All of it runs on the pool's goroutine.

// growNow opens another shared session, if the limits allow.
func (p *Pool) growNow() {
	another, _ := p.mayShare()
	if !p.closing && another && p.opening[UseShared] == 0 && time.Now().After(p.noGrowth) && p.roomFor(UseShared) {
		p.open(UseShared)
	}
}

// total counts the sessions that are in use, or about to be. Idle ones do not count: they make room.
func (p *Pool) total() int {
	n := len(p.sharedAll)
	for use := range p.opening {
		n += p.opening[use]
	}
	return n + p.inUse[UseWaiting] + p.inUse[UseDedicated]
}

// roomFor reports whether another session fits. The last place is a shared session's: without one no lock can be tried.
func (p *Pool) roomFor(use Use) bool {
	kept := 0
	if use != UseShared && len(p.sharedAll)+p.opening[UseShared] == 0 {
		kept = 1
	}
	return p.total()+kept < p.config.MaxSessions
}

// open starts an opening goroutine, unless a shared session is being opened already. Joined by run, through openers.
func (p *Pool) open(use Use) {
	if use == UseShared && p.opening[use] > 0 {
		return
	}
	if use == UseShared && p.total()+p.idle() >= p.config.MaxSessions {
		p.destroyIdle()
	}
	_, lone := p.mayShare()
	p.opening[use]++
	p.openers.Go(func() { p.opened <- p.openOne(use, lone) })
}

// openOne runs on a goroutine of its own.
func (p *Pool) openOne(use Use, lone bool) opened {
	if use == UseShared {
		c, err := p.connector.open(p.life)
		if err != nil {
			return opened{use: use, err: err}
		}
		return opened{use: use, shared: startShared(p, c, lone)}
	}
	for {
		resource, err := p.puddle.Acquire(p.life)
		if err != nil {
			return opened{use: use, err: p.openError(err)}
		}
		if resource.Value().Lost() == nil {
			return opened{use: use, solo: resource}
		}
		resource.Destroy() // it ended, or is ending, while it lay idle
	}
}

// openError is the reason why no session could be opened: ErrClosed, where the pool has closed meanwhile.
func (p *Pool) openError(err error) error {
	if p.life.Err() != nil {
		return ErrClosed
	}
	return err
}

func (p *Pool) openedNow(o opened) {
	p.opening[o.use]--
	switch {
	case o.err != nil:
		p.openFailed(o.use, o.err)
	case o.shared != nil && o.shared.endTold:
		p.answerWaiting() // they ask again, and another is opened
	case o.shared != nil:
		p.tellOpened(&o.shared.session, UseShared)
		p.addShared(o.shared)
		p.answerWaiting()
	case o.solo.Value().endTold:
		o.solo.Destroy() // dispatch opens another for whoever queues
	default:
		p.soloOpened(o.solo, o.use)
	}
	p.dispatch()
}

// soloOpened gives out a session, new or out of the puddle.
func (p *Pool) soloOpened(resource *puddle.Resource[*Solo], use Use) {
	s := resource.Value()
	if p.solos[s] == nil {
		p.solos[s] = &soloPlace{}
		p.tellOpened(&s.session, use)
	}
	place := p.solos[s]
	place.resource, place.idle = resource, false
	if p.connector.replaced(s.timeline) { // another opener has met the new server meanwhile
		place.use = use
		p.inUse[use]++ // it counts until it has ended
		s.end()
		return
	}
	p.assign(s, use)
	if p.closing {
		s.end()
	}
}

func (p *Pool) tellOpened(s *session, use Use) {
	p.config.Event(Event{Kind: EventOpened, PID: s.pid, Use: use, Timeline: s.timeline.number})
}

// addShared publishes a session for locks to be asked for on.
func (p *Pool) addShared(s *Shared) {
	p.sharedAll[s] = true
	if p.closing || p.connector.replaced(s.timeline) { // another opener has met the new server meanwhile
		s.end()
		return
	}
	all := append(slices.Clone(*p.shared.Load()), s)
	p.shared.Store(&all)
}

// failOver ends the sessions of a server that another has replaced, which has been met. Those that are reported later are ended by then.
func (p *Pool) failOver() {
	latest := p.connector.latest()
	tell := func(s *session) {
		if s.timeline.replacedBy(latest) {
			select {
			case s.orders <- order{failedOver: &latest}:
			default: // it is ending already
			}
		}
	}
	for s := range p.sharedAll {
		tell(&s.session)
	}
	for s := range p.solos {
		tell(&s.session)
	}
}

func (p *Pool) openFailed(use Use, err error) {
	if p.closing {
		return
	}
	p.config.Event(Event{Kind: EventFailed, Use: use, Err: err})
	if use != UseShared {
		if r := p.queues[use].next(); r != nil {
			r.Client.Reserved(r, nil, err)
		}
		return
	}
	p.noGrowth = time.Now().Add(time.Second)
	p.refuseWaiting(err)
	if p.choose() == nil {
		p.failPolls(err)
	}
}

// endedNow forgets a session. What it was given and never received is answered here.
func (p *Pool) endedNow(ended Session) {
	switch s := ended.(type) {
	case *Shared:
		s.endTold = true // perhaps before its opener has told of it
		delete(p.sharedAll, s)
		p.listenerEnded(s)
		rest := slices.DeleteFunc(slices.Clone(*p.shared.Load()), func(other *Shared) bool { return other == s })
		p.shared.Store(&rest)
		p.unsentTo(s)
		if p.opening[UseShared] == 0 {
			p.answerWaiting()
		}
	case *Solo:
		p.soloEnded(s)
	}
	p.openForWaiting()
	p.dispatch()
}

func (p *Pool) soloEnded(s *Solo) {
	place := p.solos[s]
	s.endTold = true
	if place == nil {
		return // it ended before its opener told of it: whoever has it destroys it
	}
	delete(p.solos, s)
	switch {
	case place.idle:
		p.destroyIdleEnded()
	case place.use != UseShared:
		p.inUse[place.use]--
		place.resource.Destroy()
	}
}

// destroyIdleEnded takes the sessions that have ended out of the puddle.
func (p *Pool) destroyIdleEnded() {
	for _, resource := range p.puddle.AcquireAllIdle() {
		if resource.Value().Lost() != nil {
			resource.Destroy()
			continue
		}
		resource.ReleaseUnused()
	}
}

func (p *Pool) idle() (n int) {
	for _, place := range p.solos {
		if place.idle {
			n++
		}
	}
	return n
}

// answerWaiting has those ask again who found no shared session.
func (p *Pool) answerWaiting() {
	for _, r := range p.waiting {
		r.Again = true
		r.answer(nil, false, nil)
	}
	p.waiting = nil
}

// await keeps a try until there is a shared session with room for it.
func (p *Pool) await(r *Request) {
	switch {
	case p.closing:
		r.answer(nil, false, ErrClosed)
	case p.choose() != nil: // one has come since
		r.Again = true
		r.answer(nil, false, nil)
	default:
		p.waiting = append(p.waiting, r)
		p.openForWaiting()
	}
}

// openForWaiting opens a shared session for the tries that wait for one, or says why there may be none.
func (p *Pool) openForWaiting() {
	switch {
	case len(p.waiting) == 0:
	case p.choose() != nil:
		p.answerWaiting()
	default:
		if err := p.openShared(); err != nil {
			p.refuseWaiting(err)
		}
	}
}

func (p *Pool) refuseWaiting(err error) {
	for _, r := range p.waiting {
		r.answer(nil, false, err)
	}
	p.waiting = nil
}

// openShared opens a session for locks that there is no session for, unless one is being opened, or one is about to end: then that
// is waited for. The error says why there may be none.
func (p *Pool) openShared() error {
	shared := len(*p.shared.Load())
	if shared > 0 && p.opening[UseShared] == 0 && !p.ending() && !p.mayOpen() {
		return fmt.Errorf("%w: %d on each of %d sessions", ErrTooManyLocks, p.config.MaxLocksPerSession, shared)
	}
	if p.mayOpen() {
		p.open(UseShared)
	}
	return nil
}

// ending reports whether a shared session is lost and has yet to end.
func (p *Pool) ending() bool {
	return slices.ContainsFunc(*p.shared.Load(), func(s *Shared) bool { return s.lost.Load() != nil })
}
