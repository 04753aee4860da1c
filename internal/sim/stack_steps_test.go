package sim_test

import (
	"context"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgfake"
)

// stackActions, the dullest first.
var stackActions = []action[*stack]{
	{2, func(w *stack) {
		w.sleep([]time.Duration{time.Millisecond, 11 * time.Millisecond, 30 * time.Millisecond})
	}},
	{10, (*stack).serveSome},
	{10, (*stack).acquire},
	{4, (*stack).readersAndWriter},
	{5, (*stack).releaseSome},
	{4, (*stack).cancelSome},
	{5, (*stack).executeSome},
	{6, (*stack).deliverSome},
	{3, (*stack).failAfter},
	{1, (*stack).loseConnection},
	{1, (*stack).killBackend},
	{2, (*stack).cutSome},
	{1, (*stack).slowDown},
	{2, (*stack).lateThenSilent},
	{3, (*stack).hear},
	{1, (*stack).noMoreConnections},
	{2, (*stack).connectionsAgain},
	{1, (*stack).restartServer},
	{1, (*stack).outsiderTakes},
	{2, (*stack).outsidersLeave},
	{2, func(w *stack) { w.sleep([]time.Duration{110 * time.Millisecond, 260 * time.Millisecond}) }},
	{1, func(w *stack) { w.sleep([]time.Duration{600 * time.Millisecond, time.Second, 2 * time.Second}) }},
	{1, (*stack).closeProgram},
	{3, (*stack).finishSome},
	{2, (*stack).failKeeper},
}

func (w *stack) step() { choose(w.src, w, stackActions) }

func (w *stack) sleep(spans []time.Duration) {
	d := spans[w.src.Pick(len(spans))]
	w.say("time: %v", d)
	w.pass(d)
}

// anyWire chooses a connection that fits. With mu.
func (w *stack) anyWire(fits func(c *wire) bool) *wire {
	var found []*wire
	for _, c := range w.wires {
		if fits(c) {
			found = append(found, c)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found[w.src.Pick(min(len(found), 200))]
}

// next is the statement whose turn it is, nil if there is none.
func (c *wire) next() *statement {
	if len(c.pending) == 0 {
		return nil
	}
	return c.pending[0]
}

// canExecute: something has come that the server has yet to do, or a wait is over. That ends without the client.
func (c *wire) canExecute() bool {
	s := c.next()
	if s == nil || c.backend.over {
		return false
	}
	if s.queued {
		return !time.Now().Before(s.sliceEnd)
	}
	return !c.cut
}

func (c *wire) execute() {
	s := c.next()
	if s.queued {
		c.w.say("the server lets the slice of %v end", s)
		s.interrupt("55P03")
		return
	}
	c.w.say("the server does %v", s)
	if c.backend.execute(s); !s.queued {
		s.done()
	}
}

// interrupt ends a wait in the queue. Inside of its block that is no error.
func (s *statement) interrupt(code string) {
	s.leaveQueue()
	if s.Kind == pgfake.Wait && (code == "55P03" || code == "57014") {
		s.Waited(false)
		s.done()
		return
	}
	s.fail(code)
}

func (c *wire) canDeliver() bool { return len(c.replies) > 0 && !c.cut && !c.hangUpOut }

func (c *wire) deliverNext() {
	c.w.say("an answer comes on %v of %v", c, c.p)
	c.slow = false
	c.deliverReply()
	c.deliverAtOnce()
	c.answerQuestions()
}

func (w *stack) executeSome() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.anyWire((*wire).canExecute); c != nil {
		c.execute()
	}
}

func (w *stack) deliverSome() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.anyWire((*wire).canDeliver); c != nil {
		c.deliverNext()
	}
}

// serveSome does a statement and answers it.
func (w *stack) serveSome() {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.anyWire(func(c *wire) bool { return c.canExecute() || c.canDeliver() })
	if c == nil {
		return
	}
	if c.canExecute() {
		c.execute()
	}
	if c.canDeliver() {
		c.deliverNext()
	}
}

// failAfter lets a statement fail when it has done its work: the locks that it took it keeps.
func (w *stack) failAfter() {
	code := []string{"57014", "53200", "55P03", "XX000"}[w.src.Pick(4)]
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.anyWire(func(c *wire) bool {
		s := c.next()
		return s != nil && s.touchesLocks() && !c.cut && !c.backend.over
	})
	if c == nil {
		return
	}
	s := c.next()
	w.seen.add("statement failed")
	if code == "57014" {
		w.seen.add("backend cancelled")
	}
	w.say("the server fails with %s after %v", code, s)
	if !s.queued && (s.Kind != pgfake.Unlock || w.src.Chance(2)) {
		c.backend.execute(s)
	}
	if s.queued {
		s.interrupt(code)
		return
	}
	s.fail(code)
}

// loseConnection breaks a connection both ways at once; what was done is done.
func (w *stack) loseConnection() {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.anyWire(func(c *wire) bool { return !c.hangUpOut && !c.closed })
	if c == nil {
		return
	}
	if c.canExecute() && !c.next().queued && w.src.Chance(2) {
		c.execute()
	}
	w.say("%v of %v breaks", c, c.p)
	c.hangUp()
}

// killBackend ends a session at the server. The client hears when that is delivered.
func (w *stack) killBackend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.anyWire(func(c *wire) bool { return !c.backend.over }); c != nil {
		w.seen.add("session killed")
		w.say("the server ends the session of %v of %v", c, c.p)
		c.kill()
	}
}

func (c *wire) kill() {
	c.backend.end(true)
	c.replies = append(c.replies, reply{raw: pgfake.Encode(pgfake.LastWord("57P01"))})
}

func (w *stack) cutSome() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.anyWire(func(c *wire) bool { return !c.cut && !c.hangUpOut }); c != nil {
		w.say("%v of %v is cut off", c, c.p)
		c.cut = true
	}
}

// lateThenSilent lets an answer come late, and cuts the connection off at the next question.
func (w *stack) lateThenSilent() {
	w.mu.Lock()
	c := w.anyWire(func(c *wire) bool { return c.canExecute() && !c.next().queued })
	if c != nil {
		c.execute()
	}
	w.mu.Unlock()
	if c == nil {
		return
	}
	w.pass([]time.Duration{110 * time.Millisecond, 20 * time.Millisecond, 180 * time.Millisecond}[w.src.Pick(3)])
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.canDeliver() {
		c.deliverNext()
		w.say("%v of %v will be cut off at the next question", c, c.p)
		c.cutSoon = true
	}
}

// slowDown lets the next health question of a session wait for the history.
func (w *stack) slowDown() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.anyWire(func(c *wire) bool { return !c.slow && !c.hangUpOut }); c != nil {
		w.say("health questions on %v of %v take time", c, c.p)
		c.slow = true
	}
}

// hear lets the server hear that a client has gone, or a client that the server has hung up.
func (w *stack) hear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.anyWire((*wire).canHear); c != nil {
		c.hear()
	}
}

func (c *wire) canHear() bool {
	if c.cut {
		return false
	}
	return (c.closed || c.goodbye || c.hangUpOut) && !c.backend.over || c.hungUp && !c.hangUpOut && len(c.replies) == 0
}

func (c *wire) hear() {
	if !c.backend.over {
		c.w.say("the server hears that %v of %v is closed", c, c.p)
		c.backend.end(!c.closed && !c.goodbye)
	}
	if !c.hangUpOut {
		c.w.say("the end of %v of %v comes", c, c.p)
		c.hangUp()
	}
}

func (w *stack) noMoreConnections() {
	kind := w.src.Pick(4)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.say("new connections %s", [...]string{"are refused", "hang", "are turned away with 53300", "hang after the log-in"}[kind])
	switch kind {
	case 0:
		w.dial = errRefused
	case 1, 3:
		w.hangs, w.logsIn = true, kind == 3
	default:
		w.turnAway = "53300"
	}
}

func (w *stack) connectionsAgain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dial, w.hangs, w.logsIn, w.turnAway = nil, false, false, ""
}

func (w *stack) restartServer() {
	if !w.src.Chance(3) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.add("server restarted")
	if w.src.Chance(2) {
		w.timeline++
	}
	w.say("the server restarts, on timeline %d", w.timeline)
	w.serverStart++
	for _, c := range slices.Clone(w.wires) {
		if !c.backend.over {
			c.kill()
		}
	}
}

func (w *stack) outsiderTakes() {
	key, shared := w.keys[w.src.Pick(len(w.keys))], w.src.Chance(3)
	id := w.programs[0].m.Key(key).ID()
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.lock(id); l.free(shared) && w.outsiders[id] == nil {
		w.say("another program locks %s, %s", key, modeName(shared))
		w.lastPID++
		w.outsiders[id] = &backend{Session: pgfake.Session{PID: w.lastPID}, w: w}
		l.grant(w.outsiders[id], shared)
	}
}

func (w *stack) outsidersLeave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range w.lockIDs() {
		if b := w.outsiders[id]; b != nil {
			w.say("another program unlocks")
			delete(w.outsiders, id)
			b.end(false)
			return
		}
	}
}

func (w *stack) closeProgram() {
	i := w.src.Pick(len(w.programs))
	p := w.programs[i]
	switch {
	case p.isClosed():
		w.restart(i)
	case !p.closing && w.src.Chance(3): // rarely: what comes after is dull
		w.say("%v closes", p)
		p.close()
	}
}

// restart puts a new program in the place of one that is closed.
func (w *stack) restart(i int) {
	old := w.programs[i]
	w.programs[i] = w.newProgram()
	w.say("%v starts in the place of %v", w.programs[i], old)
}

func (p *program) isClosed() bool {
	select {
	case <-p.closed:
		return true
	default:
		return false
	}
}

func (p *program) close() {
	p.closing, p.closingAt = true, time.Now()
	go func() {
		_ = p.m.Close(context.Background())
		close(p.closed)
	}()
}
