package pg

import (
	"fmt"
	"slices"
)

// A key that needs a session of its own reserves one, and queues for it, first come, first served.

// Reserver is who asks for a session of its own. Reserved is called on the pool's goroutine, or on the sender's where the pool has ended, and
// must not block.
type Reserver interface {
	Reserved(r *Reservation, s *Solo, err error)
}

// Reservation is a place in the queue for a solo session. It is answered exactly once: with a session, which goes back by
// [Pool.Return], or with an error, ErrWithdrawn among them.
type Reservation struct {
	Client   Reserver
	Use      Use
	Now      bool // it does not queue: ErrTooManySessions where no session is to be had
	answered bool // the pool's
}

// refuse answers a reservation that is in no queue.
func (r *Reservation) refuse(err error) {
	r.answered = true
	r.Client.Reserved(r, nil, err)
}

// reservations is one queue. The pool owns it.
type reservations struct {
	list []*Reservation
	n    int // those that are not answered
}

func (q *reservations) push(r *Reservation) {
	q.list = append(q.list, r)
	q.n++
}

// next takes the first out of the queue; nil where it is empty.
func (q *reservations) next() *Reservation {
	for len(q.list) > 0 {
		r := q.list[0]
		q.list[0] = nil
		q.list = q.list[1:]
		if !r.answered {
			q.answered(r)
			return r
		}
	}
	return nil
}

// answered takes a reservation out that stays in the list, and is passed over, until most of the list is such.
func (q *reservations) answered(r *Reservation) {
	r.answered = true
	q.n--
	if len(q.list) > 2*q.n+16 {
		q.list = slices.DeleteFunc(q.list, func(r *Reservation) bool { return r.answered })
	}
}

// Reserve asks for a session.
func (p *Pool) Reserve(r *Reservation) { p.send(reserve{r}) }

// Withdraw takes a reservation back, unless it has been answered.
func (p *Pool) Withdraw(r *Reservation) { p.send(withdraw{r}) }

// Return gives a solo session back on which nothing is held and nothing under way. One that has ended may be given back as well.
func (p *Pool) Return(s *Solo) { p.send(returnSolo{s}) }

func (p *Pool) reserve(r *Reservation) {
	if p.closing {
		r.refuse(ErrClosed)
		return
	}
	q := &p.queues[r.Use]
	q.push(r)
	p.dispatch()
	if r.Now && !r.answered && q.n > p.opening[r.Use] {
		q.answered(r)
		r.Client.Reserved(r, nil, fmt.Errorf("%w: all %d", ErrTooManySessions, p.config.MaxSessions))
	}
}

func (p *Pool) withdraw(r *Reservation) {
	if r.answered {
		return
	}
	p.queues[r.Use].answered(r)
	r.Client.Reserved(r, nil, ErrWithdrawn)
}

// dispatch opens sessions for those who queue, as far as the limits go.
func (p *Pool) dispatch() {
	if p.closing {
		return
	}
	for _, use := range [...]Use{UseDedicated, UseWaiting} {
		limit := p.config.MaxSessions
		if use == UseWaiting {
			limit = p.config.WaitingSessions
		}
		for p.queues[use].n > p.opening[use] && p.inUse[use]+p.opening[use] < limit && p.roomFor(use) {
			p.open(use)
		}
	}
}

// assign hands a session to the next in the queue, or lays it into the puddle.
func (p *Pool) assign(s *Solo, use Use) {
	place := p.solos[s]
	r := p.queues[use].next()
	if r == nil {
		place.use, place.idle = UseShared, true // no use of its own
		place.resource.Release()
		return
	}
	place.use = use
	s.use.Store(int32(use))
	p.inUse[use]++
	r.Client.Reserved(r, s, nil)
}

// returned takes a session back. One that has ended is dealt with when that is told.
func (p *Pool) returned(s *Solo) {
	place := p.solos[s]
	if place == nil || place.idle || p.closing || s.Lost() != nil {
		return
	}
	if s.lent.Load() {
		s.end() // another is opened when that is told
		return
	}
	use := place.use
	p.inUse[use]--
	if p.queues[use].n == 0 && p.queues[UseWaiting].n > 0 && p.inUse[UseWaiting] < p.config.WaitingSessions {
		use = UseWaiting
	}
	p.assign(s, use)
	p.dispatch()
}
