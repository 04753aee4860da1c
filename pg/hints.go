package pg

import (
	"math/rand/v2"
	"slices"
	"time"
)

// How the pool tells other managers of locks, and hears of them. All of it runs on the pool's goroutine but passOn, and Hints and Tell,
// which callers and keepers call.

const (
	// maxHintBatches bounds the statements of hints under way. What queues meanwhile goes together.
	maxHintBatches = 2
	// maxQueuedHints bounds the hints that wait for a session. Those beyond it are dropped.
	maxQueuedHints = 100_000
	// listenAgain is the pause after a LISTEN that failed for a reason that may pass.
	listenAgain = time.Second
)

// hints is what the pool has to tell. The pool's goroutine owns it.
type hints struct {
	hear      func(*Hint) // nil: this manager tells nothing, and hears nothing
	queued    []*Hint
	fresh     []*poll // to be told of, and asked for after that
	under     []*hintBatch
	listener  *Shared // which listens, or has been asked to
	listened  bool    // one did, or failed to: what came between that one and the next was missed
	listening bool    // listener has answered that it listens
	paused    bool    // no session is asked to listen until pause fires
	pause     *time.Timer
}

// hintBatch is hints that go as one statement, or the statement that listens.
type hintBatch struct {
	request Request
	text    string // empty: it listens
	on      *Shared
	pool    *Pool
}

// Done implements [Client]: the batch goes back to the pool, which has room for all that are under way.
func (b *hintBatch) Done(*Request) { b.pool.hinted <- b }

// Lost implements [Client]. No lock is asked for.
func (b *hintBatch) Lost(Session, int64) {}

type (
	startHints struct{ hear func(*Hint) }
	tell       struct{ hint *Hint }
)

func (m startHints) do(p *Pool) { p.hints.hear = m.hear }
func (m tell) do(p *Pool)       { p.hints.queue(m.hint, &p.stats) }

func (startHints) refuse() {}
func (tell) refuse()       {}

// Hints has one of the shared sessions listen, and hints be sent. Each hint of another manager's is passed to hear, on a goroutine that does
// nothing else: it may wait for keepers. It is called once, before anything is told.
func (p *Pool) Hints(hear func(*Hint)) {
	p.self = 1 + rand.Uint32N(1<<32-1)
	p.send(startHints{hear})
}

// Tell sends a hint to the other managers. It does not wait for the server. A hint may be lost.
func (p *Pool) Tell(n *Hint) { p.send(tell{n}) }

func (n *hints) queue(hint *Hint, s *stats) {
	if len(n.queued) >= maxQueuedHints {
		s.hintsLost.Add(1)
		return
	}
	n.queued = append(n.queued, hint)
}

// announce has the other managers told that a poll waits, and the poll asked for after that: whoever holds the lock then knows of it.
func (n *hints) announce(each *poll) {
	if !each.fresh {
		each.fresh = true
		n.fresh = append(n.fresh, each)
	}
}

// tellAgain announces all that wait: hints were missed, or those told may have been.
func (p *Pool) tellAgain() {
	for _, each := range slices.Concat(p.poller.often.list, p.poller.rarely.list) {
		p.hints.announce(each)
	}
}

// sendHints sends what there is to tell, as far as statements may be under way, and has a session listen.
func (p *Pool) sendHints() {
	n := &p.hints
	if n.hear == nil || p.closing {
		return
	}
	if n.listener == nil && !n.paused {
		p.startListening()
	}
	for len(n.under) < maxHintBatches && len(n.queued)+len(n.fresh) > 0 {
		s := p.choose()
		mayTake := s != nil && len(p.poller.under) < maxPollBatches
		if s == nil {
			s = p.forQuestions()
		}
		if s == nil { // when one has come; meanwhile those that end do not gather
			if living := len(p.poller.often.list) + len(p.poller.rarely.list); len(n.fresh) > 2*living+maxBatch {
				n.fresh = slices.DeleteFunc(n.fresh, func(each *poll) bool { return each.in == nil })
			}
			return
		}
		b := &hintBatch{on: s, pool: p}
		var polls []*poll
		if b.text, polls = n.text(p.self, mayTake); b.text == "" {
			return // when what is under way has been answered
		}
		if !p.sendHint(b, opHint) {
			n.again(polls)
			return
		}
		if len(polls) > 0 && !p.sendPoll(s, &pollBatch{polls: polls}) {
			n.again(polls)
			return
		}
	}
}

// text is the next statement's, and the polls that it tells of; empty where there is nothing to tell now.
func (n *hints) text(self uint32, mayTake bool) (string, []*poll) {
	text := hintText(self)
	empty := len(text)
	for fits := true; fits && len(n.queued) > 0; {
		if text, fits = n.queued[0].append(text, self); fits {
			n.queued = slices.Delete(n.queued, 0, 1)
		}
	}
	var polls []*poll
	var rest []*poll
	full := !mayTake || len(n.queued) > 0
	for i, each := range n.fresh {
		switch {
		case each.in == nil:
			each.fresh = false // it has ended
			continue
		case full || each.asking || len(polls) == maxBatch:
			rest = append(rest, each)
			continue
		}
		var fits bool
		wanted := Hint{Kind: HintWanted, ID: each.id, Peers: []uint32{0}}
		if text, fits = wanted.append(text, self); !fits {
			rest = append(rest, n.fresh[i:]...)
			break
		}
		each.fresh = false
		polls = append(polls, each)
	}
	n.fresh = rest
	if len(text) == empty {
		return "", nil
	}
	return string(text), polls
}

// again announces polls of which the hint was not sent.
func (n *hints) again(polls []*poll) {
	for _, each := range polls {
		n.announce(each)
	}
}

// sendHint sends a batch, and reports whether the session had room for it.
func (p *Pool) sendHint(b *hintBatch, op Op) bool {
	b.request = Request{Op: op, Client: b, hint: b}
	select {
	case b.on.requests <- &b.request: // one that has ended meanwhile is seen when its end is told
		p.hints.under = append(p.hints.under, b)
		return true
	default:
		return false
	}
}

// hintBack takes the answer to a batch. One whose session has ended goes again, on another.
func (p *Pool) hintBack(b *hintBatch) {
	n := &p.hints
	n.under = slices.DeleteFunc(n.under, func(other *hintBatch) bool { return other == b })
	err := b.request.Err
	switch {
	case b.text == "" && err == nil && b.on == n.listener:
		p.listensNow()
	case b.text == "" && err != nil && b.on.Lost() == nil && !Transient(err): // it may not
		n.hear = nil
	case b.text == "" && err != nil && b.on.Lost() == nil && b.on == n.listener:
		n.listener, n.listened, n.paused = nil, true, true
		n.pause.Reset(listenAgain)
	case b.text == "" && err != nil: // another is asked when the end of this one is told
	case err == nil:
		p.stats.hintsSent.Add(1)
	case Ended(err) && !p.closing:
		if s := p.forQuestions(); s != nil && s != b.on {
			b.on = s
			if p.sendHint(b, opHint) {
				return
			}
		}
		fallthrough
	default:
		p.stats.hintsLost.Add(1)
	}
}

// startListening asks a session to listen.
func (p *Pool) startListening() {
	for _, s := range *p.shared.Load() {
		if s.lost.Load() == nil && !s.lone && p.sendHint(&hintBatch{on: s, pool: p}, opListen) {
			p.hints.listener, p.hints.listening = s, false
			return
		}
	}
}

// listensNow: what was told from here on is heard. What was told before, while nobody listened, was missed.
func (p *Pool) listensNow() {
	n := &p.hints
	n.listening = true
	s, hear, self := n.listener, n.hear, p.self
	p.listeners.Go(func() { p.passOn(s, hear, self) }) // joined by Close
	if n.listened {
		p.tellAgain()
	}
	n.listened = true
}

// passOn gives what a session hears to keepers, until the session has ended. It is a goroutine of its own: it may wait for a keeper.
func (p *Pool) passOn(s *Shared, hear func(*Hint), self uint32) {
	for {
		select {
		case texts := <-s.heard:
			for _, text := range texts {
				parseHints(text, self, func(n *Hint) {
					p.stats.hintsHeard.Add(1)
					hear(n)
				})
			}
		case <-s.gone:
			return
		}
	}
}

// listenerEnded has another session listen, if the one that ended did.
func (p *Pool) listenerEnded(s *Shared) {
	if p.hints.listener == s {
		p.hints.listener, p.hints.listening = nil, false
	}
}
