package pg

import (
	"slices"
	"time"
)

// A claim that waits and has no session to wait on is polled for. The pool asks for all of them together, so that ten thousand
// that wait cost some statements and wake nobody: a client hears of a grant, a failure, or the end that it asked for.

const (
	// pollTick is how often some of the polls are sent.
	pollTick = 10 * time.Millisecond
	// Each poll is sent once in pollShare times their number: it bounds the part of the server's time that goes there,
	// however many they are. pollSoonest and pollLatest bound what comes of it.
	pollShare   = 10 * time.Microsecond
	pollSoonest = 20 * time.Millisecond
	pollLatest  = time.Second
	// maxPollBatches bounds the statements of polls under way: a slow server is asked less often.
	maxPollBatches = 2
)

// poll is one request that is asked again until it is granted, fails, or is stopped. The pool owns it.
type poll struct {
	request *Request
	id      int64
	shared  bool
	client  Client
	asking  bool // in a batch under way
	stopped bool
	at      int // in the poller's list; -1 where it is not
}

// pollBatch is the polls of one statement. The session that has it may write ok; then it is the pool's again.
type pollBatch struct {
	request Request
	polls   []*poll
	ok      []bool
	on      *Shared
	pool    *Pool
}

// copyAnswers copies the answers of a statement.
func (b *pollBatch) copyAnswers(f *sending) {
	for i := range f.entries {
		b.ok[i] = f.entries[i].ok
	}
}

// Done implements [Client]: the batch goes back to the pool, which has room for all that are under way.
func (b *pollBatch) Done(*Request) { b.pool.polled <- b }

// Lost implements [Client]. The locks are their clients', who are told themselves.
func (b *pollBatch) Lost(Session, int64) {}

// poller has the polls. The pool's goroutine owns it.
type poller struct {
	list  []*poll
	next  int           // whose turn it is
	owed  time.Duration // the part of a poll's turn that has yet to come, in intervals times their number
	tick  *time.Timer   // runs while there are any
	under []*pollBatch  // under way
}

func newPoller() poller { return poller{tick: newStoppedTimer()} }

func newStoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// interval is the time in which each is asked for once.
func (l *poller) interval() time.Duration {
	return min(max(time.Duration(len(l.list))*pollShare, pollSoonest), pollLatest)
}

func (l *poller) add(p *poll) {
	if len(l.list) == 0 {
		l.tick.Reset(pollTick)
	}
	p.at = len(l.list)
	l.list = append(l.list, p)
}

// remove forgets a poll. The last one takes its place.
func (l *poller) remove(old *poll) {
	last := len(l.list) - 1
	l.list[old.at] = l.list[last]
	l.list[old.at].at = old.at
	l.list[last] = nil
	l.list = l.list[:last]
	old.at = -1
}

// portion is how many have their turn at this tick. What the server cannot keep up with is not made up for.
func (l *poller) portion() int {
	interval := l.interval()
	l.owed += time.Duration(len(l.list)) * pollTick
	n := int(l.owed / interval)
	l.owed %= interval
	return min(n, len(l.list), (maxPollBatches-len(l.under))*maxBatch)
}

// batch is the next polls whose turn it is, at most n.
func (l *poller) batch(n int) *pollBatch {
	b := &pollBatch{}
	for range n {
		if l.next >= len(l.list) {
			l.next = 0
		}
		p := l.list[l.next]
		l.next++
		if !p.asking {
			p.asking = true
			b.polls = append(b.polls, p)
		}
	}
	b.ok = make([]bool, len(b.polls))
	return b
}

// sendPolls sends those whose turn it is.
func (p *Pool) sendPolls() {
	l := &p.poller
	if len(l.list) == 0 {
		return
	}
	l.tick.Reset(pollTick)
	for rest := l.portion(); rest > 0; rest -= maxBatch {
		s := p.choose()
		if s == nil {
			if p.mayOpen() && !time.Now().Before(p.noGrowth) {
				p.open(UseShared)
			}
			return // where all sessions are full they wait for room
		}
		room := p.config.MaxLocksPerSession - int(s.locks.Load())
		b := l.batch(min(rest, maxBatch, max(room, 1)))
		if len(b.polls) == 0 {
			return
		}
		b.pool, b.on = p, s
		b.request = Request{Op: opPoll, Client: b, polls: b}
		l.under = append(l.under, b)
		select {
		case s.requests <- &b.request: // one that has ended meanwhile is seen when its end is told
		default:
			p.batchBack(b) // it is busy: another time
			return
		}
	}
}

// batchBack takes the answers of a batch.
func (p *Pool) batchBack(b *pollBatch) {
	l := &p.poller
	l.under = slices.DeleteFunc(l.under, func(other *pollBatch) bool { return other == b })
	for i, each := range b.polls {
		each.asking = false
		switch {
		case b.ok[i]:
			p.endPoll(each, b.on, true, nil)
		case b.request.Err != nil:
			p.endPoll(each, b.on, false, b.request.Err)
		case p.closing:
			p.endPoll(each, nil, false, ErrClosed)
		case each.stopped:
			p.endPoll(each, nil, false, nil)
		}
	}
}

func (p *Pool) endPoll(each *poll, s *Shared, ok bool, err error) {
	p.poller.remove(each)
	if s == nil {
		each.request.answer(nil, ok, err)
		return
	}
	each.request.answer(s, ok, err)
}

// stopPoll ends a poll; one that is being asked for ends with its answer. One that has ended is left alone.
func (p *Pool) stopPoll(r *Request) {
	each := r.poll
	if each == nil || each.at < 0 {
		return
	}
	each.stopped = true
	if !each.asking {
		p.endPoll(each, nil, false, nil)
	}
}

// failPolls ends those that are not being asked for: there is no session to ask on.
func (p *Pool) failPolls(err error) {
	for _, each := range slices.Clone(p.poller.list) {
		if !each.asking {
			p.endPoll(each, nil, false, err)
		}
	}
}
