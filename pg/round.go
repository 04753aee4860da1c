package pg

import (
	"slices"
	"time"
)

const (
	// Each poll is sent once in pollShare times their number: it bounds the part of the server's time that goes there, however many they are.
	// pollSoonest and pollLatest bound what comes of it.
	pollShare   = 10 * time.Microsecond
	pollSoonest = 20 * time.Millisecond
	pollLatest  = time.Second
	// The same for polls for which a hint is expected, since that may be lost.
	seldomShare   = 100 * time.Microsecond
	seldomSoonest = 250 * time.Millisecond
	// fewPolls may be sent all at once.
	fewPolls = 50
)

// round is polls that take turns. The pool's goroutine owns it.
type round struct {
	share, soonest time.Duration
	list           []*poll
	next           int           // whose turn it is
	owed           time.Duration // the part of a poll's turn that has yet to come, in intervals times their number
}

// tick is how often some of them are sent: few at a time, since what is asked for meanwhile waits for them; 0 where there are none.
func (r *round) tick() time.Duration {
	switch n := len(r.list); {
	case n == 0:
		return 0
	case n > fewPolls || r.soonest == pollSoonest:
		return pollTick
	}
	return 5 * pollTick
}

// interval is the time in which each is asked for once.
func (r *round) interval() time.Duration {
	return min(max(time.Duration(len(r.list))*r.share, r.soonest), pollLatest)
}

func (r *round) add(p *poll) {
	p.in, p.at = r, len(r.list)
	r.list = append(r.list, p)
}

// remove forgets a poll. The last one takes its place.
func (r *round) remove(old *poll) {
	last := len(r.list) - 1
	r.list[old.at] = r.list[last]
	r.list[old.at].at = old.at
	r.list[last] = nil
	r.list = r.list[:last]
	old.in, old.at = nil, -1
}

// waits reports whether one of them is not being asked for.
func (r *round) waits() bool {
	return slices.ContainsFunc(r.list, func(p *poll) bool { return !p.asking })
}

// portion is how many have their turn after a tick. What the server cannot keep up with is not made up for.
func (r *round) portion(tick time.Duration, most int) int {
	interval := r.interval()
	r.owed += time.Duration(len(r.list)) * tick
	n := int(r.owed / interval)
	r.owed %= interval
	return min(n, len(r.list), most)
}

// nextPolls is the next polls whose turn it is, at most n.
func (r *round) nextPolls(n int) (polls []*poll) {
	for range n {
		if r.next >= len(r.list) {
			r.next = 0
		}
		p := r.list[r.next]
		r.next++
		if !p.asking {
			polls = append(polls, p)
		}
	}
	return polls
}
