package manager

import (
	"context"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/pg"
)

// drawer draws the tokens of all acquisitions that have one. Those that come while a transaction is under way are drawn together by the next. It
// is an owner: run.
type drawer struct {
	// Sent by the caller of Acquire, who holds the lock; received by run; never closed; unbuffered: run always receives, or has closed done.
	draws chan *draw
	// Sent by the same caller, who was not told the token, and will not be; received by run; never closed; unbuffered: likewise.
	withdrawals chan *draw
	// Sent by whoever ends a hold cleanly, with [WithTakeoverDelay]; received by run; never closed; unbuffered: likewise.
	ended chan *fence
	// Sent by a round as its last act; received by run; never closed; capacity 1: one is under way.
	rounds chan *drawing
	// Closed by refuse; received by callers, who wait for no token any more; nothing is sent.
	closing chan struct{}
	// Closed by stop; received by run; nothing is sent.
	quit chan struct{}
	// Closed by run at its end; received by senders and stop; nothing is sent.
	done chan struct{}

	// run's.
	questions *pg.Questions      // the rounds'
	pending   []*draw            // in the order in which they came
	marks     []*tokenMark       // to be written, likewise
	cancel    context.CancelFunc // ends the round under way; nil if none is
	marking   bool               // it writes marks
	timer     *time.Timer        // of the next round
	finished  time.Time          // when the last round ended
	marksAt   time.Time          // when marks are written at the soonest, since some could not be
	markPause time.Duration      // before that
	markUntil time.Time          // at the end, no later
	connected bool               // questions has a connection
}

// draw is one acquisition's wish for a token. Its fields are run's, but for those of the request.
type draw struct {
	ids   []int64       // the locks that it holds: the token is new for each of them; sorted
	delay time.Duration // of takeover
	// Sent by run: what the token waits for, and the token; received by the caller; never closed; capacity drawnRoom.
	reply chan drawn

	after   time.Time // when it is asked for again; zero: as soon as may be
	pause   time.Duration
	blocked error // what the caller knows to be in the way
	token   int64
	befores []before  // what was found when the token was drawn
	begun   time.Time // when it had been drawn: from then on it waits for the holds before
	due     time.Time
}

// drawn is what came of a draw.
type drawn struct {
	token   int64
	blocked error // what the token waits for: it comes later
	err     error
}

// drawnRoom is the capacity of a draw's channel, so that run never waits for the caller: a guarded transaction is in the way; then the hold
// before; and the token.
const drawnRoom = 3

const (
	// maxDrawn bounds the locks of a round, unless one set has more.
	maxDrawn = 500
	// A draw that is blocked, and one whose takeover is delayed, is looked at again after pauses that double.
	drawSoon = 2 * time.Millisecond
	drawLate = 100 * time.Millisecond
	// markLate is the longest pause before marks are tried again which could not be written.
	markLate = time.Second
	// markLast is for how long marks are tried at the end, where another writes their rows.
	markLast = 5 * time.Second
	// drawIdle is how long the connection stays open when nobody draws.
	drawIdle = 5 * time.Second
)

func newDrawer(p *pg.Pool) *drawer {
	d := &drawer{draws: make(chan *draw), withdrawals: make(chan *draw), ended: make(chan *fence), rounds: make(chan *drawing, 1),
		closing: make(chan struct{}), quit: make(chan struct{}), done: make(chan struct{}), questions: p.Questions(), timer: time.NewTimer(drawIdle)}
	d.timer.Stop()
	return d
}

// start starts the goroutine. Joined by stop, through done.
func (d *drawer) start() { go d.run() }

// refuse has callers wait for no token any more.
func (d *drawer) refuse() { close(d.closing) }

// stop ends the goroutine, once the marks that it has are written, as far as they can be.
func (d *drawer) stop() {
	close(d.quit)
	<-d.done
}

// run is the drawer's goroutine: it waits here and nowhere else.
func (d *drawer) run() {
	defer close(d.done)
	for quit := d.quit; quit != nil || d.unfinished(); {
		select {
		case w := <-d.draws:
			d.pending = append(d.pending, w)
		case w := <-d.withdrawals:
			d.withdraw(w)
		case f := <-d.ended:
			d.marks = append(d.marks, f.marks()...)
		case r := <-d.rounds:
			d.cancel()
			d.cancel = nil
			d.finish(r)
			if r.last && r.marked == nil { // the server does not answer
				d.markUntil = time.Time{}
			}
		case <-d.timer.C:
		case <-quit:
			quit = nil
			d.marksAt, d.markUntil = time.Time{}, time.Now().Add(markLast)
			if d.cancel != nil && !d.marking {
				d.cancel()
			}
		}
		if quit != nil {
			d.next(time.Now())
		} else {
			d.nextMarks(time.Now())
		}
	}
	d.questions.Close()
}

// unfinished reports, after quit, that a round is under way, or that there is time for another and work for it.
func (d *drawer) unfinished() bool {
	return d.cancel != nil || len(d.marks) > 0 && time.Now().Before(d.markUntil)
}

// nextMarks is next after quit: only marks are left to be written.
func (d *drawer) nextMarks(now time.Time) {
	switch {
	case d.cancel != nil || len(d.marks) == 0:
	case d.marksAt.After(now):
		d.timer.Reset(d.marksAt.Sub(now))
	default:
		r := &drawing{questions: d.questions, last: true}
		r.addMarks(d)
		d.startRound(r)
	}
}

// next starts the next round, if it is time for it, or sets the timer. Where nobody draws any more, a round closes the connection.
func (d *drawer) next(now time.Time) {
	if d.cancel != nil {
		return
	}
	r := &drawing{questions: d.questions}
	var soonest time.Time
	wake := func(at time.Time) {
		if soonest.IsZero() || at.Before(soonest) {
			soonest = at
		}
	}
	for _, w := range slices.Clone(d.pending) {
		switch {
		case w.token != 0 && !now.Before(w.due):
			d.answer(w, drawn{token: w.token})
		case w.after.After(now):
			wake(w.after)
		default:
			r.add(w) // else it waits for the next
		}
	}
	if len(d.marks) > 0 && d.marksAt.After(now) {
		wake(d.marksAt)
	} else {
		r.addMarks(d)
	}
	idle := d.finished.Add(drawIdle)
	switch {
	case len(r.draws)+len(r.checks)+len(r.marks) > 0:
		d.startRound(r)
	case !soonest.IsZero():
		d.timer.Reset(time.Until(soonest))
	case d.connected && !now.Before(idle):
		d.startRound(r)
	case d.connected:
		d.timer.Reset(time.Until(idle))
	}
}

// startRound starts a round. Joined by run, through rounds.
func (d *drawer) startRound(r *drawing) {
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // run ends it
	d.cancel, d.marking = cancel, len(r.marks) > 0
	go func() {
		r.run(ctx)
		d.rounds <- r
	}()
}

// finish answers the draws of a round. Those that are blocked or delayed stay, and their callers are told why.
func (d *drawer) finish(r *drawing) {
	d.finished, d.connected = time.Now(), r.connected
	for i, w := range r.draws {
		if w.token, w.befores = r.tokens[i], r.befores[i]; w.token != 0 {
			w.begun = d.finished
		}
		switch {
		case !slices.Contains(d.pending, w):
			d.void(w) // withdrawn meanwhile
		case r.err != nil:
			d.answer(w, drawn{err: r.err})
		case w.token == 0:
			d.tell(w, errGuarded)
		default:
			d.delay(w)
		}
	}
	for _, w := range r.checks {
		if !slices.Contains(d.pending, w) {
			continue
		}
		for i, b := range w.befores {
			if seen, ok := r.seen[b.id]; ok {
				w.befores[i] = b.again(seen)
			}
		}
		d.delay(w)
	}
	d.finishMarks(r)
}

// delay answers a draw that has its token, or has it wait for the holds before.
func (d *drawer) delay(w *draw) {
	ended, waited := clean(w.befores)
	w.due = w.begun.Add(w.delay - waited)
	if ended || !d.finished.Before(w.due) {
		d.answer(w, drawn{token: w.token})
		return
	}
	d.tell(w, errUnclean)
	if w.after.After(w.due) {
		w.after = w.due
	}
}

// tell tells the caller what is in the way, once, and has the draw looked at again later.
func (d *drawer) tell(w *draw, blocked error) {
	w.pause = min(max(drawSoon, 2*w.pause), drawLate)
	w.after = d.finished.Add(w.pause)
	if w.blocked != blocked { //nolint:errorlint // one of two values
		w.blocked = blocked
		w.reply <- drawn{blocked: blocked}
	}
}

// answer ends a draw.
func (d *drawer) answer(w *draw, a drawn) {
	d.pending = slices.DeleteFunc(d.pending, func(p *draw) bool { return p == w })
	w.reply <- a
}

// withdraw ends a draw whose caller will not be told. Where the round under way draws for it, finish sees that.
func (d *drawer) withdraw(w *draw) {
	d.pending = slices.DeleteFunc(d.pending, func(p *draw) bool { return p == w })
	d.void(w)
}

// void has it written that nobody was told the token of a draw: so its hold needs no end, and the holds before it have been waited for. That
// counts only if it is written before the next draw: this one may notice late that its session has ended, when the next has waited for some time
// already, which must not count twice. So a wait is counted from its draw on, and up to an instant before that of the next.
func (d *drawer) void(w *draw) {
	if w.token == 0 || w.delay == 0 {
		return
	}
	for _, b := range w.befores {
		m := &tokenMark{id: b.id, token: w.token, void: true, told: b.told, waited: b.waited, late: b.waited}
		if !b.over() {
			m.waited += time.Since(w.begun)
		}
		d.marks = append(d.marks, m)
	}
	w.token = 0
}

// finishMarks removes the marks that are written. The others are tried again, unless that is in vain.
func (d *drawer) finishMarks(r *drawing) {
	d.marks = slices.DeleteFunc(d.marks, func(m *tokenMark) bool { return (r.marked[m.id] || r.unmarkable) && slices.Contains(r.marks, m) })
	if len(r.marked) < len(r.marks) {
		d.markPause = min(max(drawSoon, 2*d.markPause), markLate)
		d.marksAt = d.finished.Add(d.markPause)
	} else if len(r.marks) > 0 {
		d.markPause = 0
	}
}

// submit has a token drawn for the locks. Whoever is not told it withdraws it. It reports false where the manager has closed.
func (d *drawer) submit(w *draw) bool {
	select {
	case d.draws <- w:
		return true
	case <-d.done:
		return false
	}
}

// retract withdraws a draw, whose token the caller does not use.
func (d *drawer) retract(w *draw) {
	select {
	case d.withdrawals <- w:
	case <-d.done:
	}
}
