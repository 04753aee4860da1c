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
	// Sent by the same caller, who does not wait for the token any more; received by run; never closed; unbuffered: likewise.
	withdrawals chan *draw
	// Sent by a round as its last act; received by run; never closed; capacity 1: one is under way.
	rounds chan *drawing
	// Closed by stop; received by run; nothing is sent.
	quit chan struct{}
	// Closed by run at its end; received by senders and stop; nothing is sent.
	done chan struct{}

	// run's.
	questions *pg.Questions      // the rounds'
	pending   []*draw            // in the order in which they came
	cancel    context.CancelFunc // ends the round under way; nil if none is
	timer     *time.Timer        // of the next round
	finished  time.Time          // when the last round ended
	connected bool               // questions has a connection
}

// draw is one acquisition's wish for a token. Its fields are run's, but for those of the request.
type draw struct {
	ids []int64 // the locks that it holds: the token is new for each of them; sorted
	// Sent by run: that it is blocked, once, and the token; received by the caller; never closed; capacity drawnRoom.
	reply chan drawn

	after   time.Time // when it is asked for again; zero: as soon as may be
	pause   time.Duration
	blocked bool // the caller knows that a guarded transaction is in the way
}

// drawn is what came of a draw.
type drawn struct {
	token   int64
	blocked bool // a guarded transaction of an earlier holder is open: the token comes when that has ended
	err     error
}

// drawnRoom is the capacity of a draw's channel, so that run never waits for the caller: that it is blocked, and the token.
const drawnRoom = 2

const (
	// maxDrawn bounds the locks of a round, unless one set has more.
	maxDrawn = 500
	// A draw that a guarded transaction blocks is tried again after pauses that double.
	drawSoon = 2 * time.Millisecond
	drawLate = 100 * time.Millisecond
	// drawIdle is how long the connection stays open when nobody draws.
	drawIdle = 5 * time.Second
)

func newDrawer(p *pg.Pool) *drawer {
	d := &drawer{draws: make(chan *draw), withdrawals: make(chan *draw), rounds: make(chan *drawing, 1),
		quit: make(chan struct{}), done: make(chan struct{}), questions: p.Questions(), timer: time.NewTimer(drawIdle)}
	d.timer.Stop()
	return d
}

// start starts the goroutine. Joined by stop, through done.
func (d *drawer) start() { go d.run() }

// stop ends the goroutine. Draws that are pending are answered by the close of done.
func (d *drawer) stop() {
	close(d.quit)
	<-d.done
}

// run is the drawer's goroutine: it waits here and nowhere else.
func (d *drawer) run() {
	defer close(d.done)
	for quit := d.quit; quit != nil || d.cancel != nil; d.next(quit == nil) {
		select {
		case w := <-d.draws:
			d.pending = append(d.pending, w)
		case w := <-d.withdrawals:
			d.pending = slices.DeleteFunc(d.pending, func(p *draw) bool { return p == w })
		case r := <-d.rounds:
			d.cancel()
			d.cancel = nil
			d.finish(r)
		case <-d.timer.C:
		case <-quit:
			quit = nil
			if d.cancel != nil {
				d.cancel()
			}
		}
	}
	d.questions.Close()
}

// next starts the next round, if it is time for it, or sets the timer. Where nobody draws any more, a round closes the connection.
func (d *drawer) next(closing bool) {
	if d.cancel != nil || closing {
		return
	}
	now := time.Now()
	r := &drawing{questions: d.questions}
	var soonest time.Time
	for _, w := range d.pending {
		if wait := w.after.After(now); wait || !r.add(w) {
			if wait && (soonest.IsZero() || w.after.Before(soonest)) {
				soonest = w.after
			}
		}
	}
	switch {
	case len(r.draws) > 0:
		d.startRound(r)
	case !soonest.IsZero():
		d.timer.Reset(time.Until(soonest))
	case d.connected && !now.Before(d.finished.Add(drawIdle)):
		d.startRound(r)
	case d.connected:
		d.timer.Reset(time.Until(d.finished.Add(drawIdle)))
	}
}

// startRound starts a round. Joined by run, through rounds.
func (d *drawer) startRound(r *drawing) {
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // run ends it
	d.cancel = cancel
	go func() {
		r.run(ctx)
		d.rounds <- r
	}()
}

// finish answers the draws of a round. Those that are blocked stay, and their callers are told so once.
func (d *drawer) finish(r *drawing) {
	d.finished, d.connected = time.Now(), r.connected
	if r.canceled {
		return // the manager closes, and answers all by the close of done
	}
	for i, w := range r.draws {
		if !slices.Contains(d.pending, w) {
			continue // withdrawn meanwhile
		}
		if r.err == nil && r.tokens[i] == 0 {
			w.pause = min(max(drawSoon, 2*w.pause), drawLate)
			w.after = d.finished.Add(w.pause)
			if !w.blocked {
				w.blocked = true
				w.reply <- drawn{blocked: true}
			}
			continue
		}
		d.pending = slices.DeleteFunc(d.pending, func(p *draw) bool { return p == w })
		w.reply <- drawn{token: r.tokens[i], err: r.err}
	}
}

// submit has a token drawn for the locks. Whoever does not wait for it withdraws it. It reports false where the manager has closed.
func (d *drawer) submit(w *draw) bool {
	select {
	case d.draws <- w:
		return true
	case <-d.done:
		return false
	}
}

// withdraw gives a draw up. No token comes any more, unless it has come already.
func (d *drawer) withdraw(w *draw) {
	select {
	case d.withdrawals <- w:
	case <-d.done:
	}
}
