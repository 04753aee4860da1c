package pg

import (
	"fmt"
	"slices"
)

// Who waits for a solo session stands in a line. All of this is the owner's.

// refuseLast refuses the last in line, who does not want to stand in it, where nobody is opening a session for him.
func (p *Pool) refuseLast(r *Reservation) {
	if !r.Now || r.answered || p.queued[r.Use] <= p.opening[r.Use] {
		return
	}
	r.answered = true
	p.queued[r.Use]--
	line := p.queues[r.Use]
	p.queues[r.Use] = line[:len(line)-1]
	r.Client.Reserved(r, nil, fmt.Errorf("%w: all %d", ErrTooManySessions, p.config.MaxSessions))
}

func (p *Pool) next(use Use) *Reservation {
	for len(p.queues[use]) > 0 {
		r := p.queues[use][0]
		p.queues[use][0] = nil
		p.queues[use] = p.queues[use][1:]
		if !r.answered {
			r.answered = true
			p.queued[use]--
			return r
		}
	}
	return nil
}

func (p *Pool) withdraw(r *Reservation) {
	if r.answered {
		return
	}
	r.answered = true // it stays in the line and is passed over, unless most of the line is such
	p.queued[r.Use]--
	if line := p.queues[r.Use]; len(line) > 2*p.queued[r.Use]+16 {
		p.queues[r.Use] = slices.DeleteFunc(line, func(r *Reservation) bool { return r.answered })
	}
	r.Client.Reserved(r, nil, ErrWithdrawn)
}
