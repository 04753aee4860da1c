package pg

import (
	"sync/atomic"
	"time"
)

// Polling: who waits for a lock and has no session to wait on asks for it again and again. The pool asks for all of them
// together, so that ten thousand that wait cost some statements and no wake-ups: a client hears of a grant or a failure.

const (
	// pollTick is how often some of those that poll are asked for.
	pollTick = 10 * time.Millisecond
	// pollShare is how much longer each that polls makes the time in which all are asked for once: it bounds how much of
	// the server's time goes there, however many they are. pollSoonest and pollLatest bound what comes of it.
	pollShare   = 10 * time.Microsecond
	pollSoonest = 20 * time.Millisecond
	pollLatest  = time.Second
	// pollsOut bounds how many are under way at a time, two statements' worth: a server that is slow is asked less often,
	// and what else has queued need not wait for long.
	pollsOut = 2 * maxBatch
)

// poll is one request that is asked for until it is granted, fails, or is stopped. Who brings its state to done answers it.
type poll struct {
	pool    *Pool
	request Request // what is sent, again and again; the poll is its client
	asked   *Request
	client  Client
	state   atomic.Uint32
	halted  atomic.Uint32
	at      int // in the list of the pool's owner; -1 where it is not
}

// The states of a poll.
const (
	pollResting uint32 = iota
	pollAsking         // with a session, or in line for one
	pollDone
)

// Why a poll is to end without an answer of the server's.
const (
	pollGoesOn uint32 = iota
	pollStopped
	pollClosed
)

// Poll asks for the lock until it is granted, the attempt fails, or [Pool.StopPolling] is called. It never blocks. A lock
// that is granted is like any other's.
func (p *Pool) Poll(r *Request) {
	r.Op, r.Attended = OpTry, false
	r.Session, r.OK, r.Err = nil, false, nil
	l := &poll{pool: p, asked: r, client: r.Client, at: -1}
	l.request.Op, l.request.ID, l.request.Client = OpTry, r.ID, l
	r.poll = l
	p.post(poolMessage{kind: poolPoll, poll: l})
	p.afterEnd()
}

// StopPolling asks that a poll end soon, and may be called by the request's client alone. Its answer, which may come at
// once, has neither OK nor an error, or is still a grant.
func (p *Pool) StopPolling(r *Request) { r.poll.halt(pollStopped) }

// halt ends a poll, unless it is being asked for just now: then Done does.
func (l *poll) halt(why uint32) {
	l.halted.Store(why)
	l.endHalted()
}

func (l *poll) endHalted() {
	if !l.state.CompareAndSwap(pollResting, pollDone) {
		return
	}
	var err error
	if l.halted.Load() == pollClosed {
		err = ErrClosed
	}
	l.end(nil, false, err)
}

// end answers the client, for whom has brought the state to done.
func (l *poll) end(s *Session, ok bool, err error) {
	l.pool.post(poolMessage{kind: poolPolled, poll: l})
	l.asked.answer(s, ok, err)
}

// Done implements [Client], as does Lost: of the request that is sent.
func (l *poll) Done(r *Request) {
	l.pool.polls.out.Add(-1)
	if r.OK || r.Err != nil {
		l.state.Store(pollDone)
		l.end(r.Session, r.OK, r.Err)
		return
	}
	l.state.Store(pollResting) // from here on the request may be sent again
	if l.halted.Load() != pollGoesOn {
		l.endHalted()
	}
}

func (l *poll) Lost(s *Session, id int64, cause error) { l.client.Lost(s, id, cause) }

// polls are those of a pool. All but out is its owner's.
type polls struct {
	list []*poll
	next int           // whose turn it is
	owed time.Duration // the part of a poll's turn that has yet to come, in intervals times their length
	tick *time.Timer   // runs while there are any
	out  atomic.Int64

	batch []*Request // reused
}

func (l *polls) init() {
	l.tick = time.NewTimer(pollTick)
	l.tick.Stop()
}

// interval is the time in which each is asked for once.
func (l *polls) interval() time.Duration {
	return min(max(time.Duration(len(l.list))*pollShare, pollSoonest), pollLatest)
}

func (p *Pool) addPoll(l *poll) {
	if p.closing {
		l.halt(pollClosed)
		return
	}
	if len(p.polls.list) == 0 {
		p.polls.tick.Reset(pollTick)
	}
	l.at = len(p.polls.list)
	p.polls.list = append(p.polls.list, l) // also where it has been stopped on its way here: that message comes after
}

// remove forgets a poll that has been answered. The last one takes its place.
func (l *polls) remove(old *poll) {
	if old.at < 0 {
		return
	}
	last := len(l.list) - 1
	l.list[old.at] = l.list[last]
	l.list[old.at].at = old.at
	l.list[last] = nil
	l.list = l.list[:last]
	old.at = -1
}

// close ends all of them. Those that are being asked for end when they are answered.
func (l *polls) close() {
	for _, each := range l.list {
		each.at = -1
		each.halt(pollClosed)
	}
	l.list = nil
}

// portion is how many have their turn at this tick.
func (l *polls) portion() int {
	most := min(len(l.list), pollsOut-int(l.out.Load()))
	interval := l.interval()
	l.owed += time.Duration(len(l.list)) * pollTick
	n := int(l.owed / interval)
	if n > most { // what the server cannot keep up with is not made up for
		l.owed = 0
		return max(most, 0)
	}
	l.owed %= interval
	return n
}

// askPolls asks for those whose turn it is.
func (p *Pool) askPolls() {
	l := &p.polls
	if len(l.list) == 0 {
		return
	}
	l.tick.Reset(pollTick)
	l.batch = l.batch[:0]
	for range l.portion() {
		if l.next >= len(l.list) {
			l.next = 0
		}
		each := l.list[l.next]
		l.next++
		if each.state.CompareAndSwap(pollResting, pollAsking) {
			l.batch = append(l.batch, &each.request)
		}
	}
	l.out.Add(int64(len(l.batch)))
	for rest := l.batch; len(rest) > 0; {
		part := rest[:min(len(rest), maxBatch)]
		rest = rest[len(part):]
		if s := p.choose(); s != nil {
			s.submitAll(part)
			continue
		}
		for _, r := range part {
			p.addPending(r)
		}
	}
}
