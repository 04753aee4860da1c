package sim_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lockkeeper/lockkeeper/internal/pgfake"
)

// wire is one connection: the client's net.Conn, and the backend at its other end. What the client does while a session
// is set up is answered at once; what a session with locks asks waits until the history has it done. Under the stack's mu
// but for the stream, which is the client's reader's.
type wire struct {
	*pgfake.Stream // what has reached the client

	w       *stack
	p       *program
	backend *backend

	started bool         // the start-up message has come
	raw     []byte       // from the client, not a whole message yet
	pending []*statement // arrived, or on their way, and not executed; they are in their order
	replies []reply      // executed, and not delivered

	cut       bool          // nothing gets through any more
	cutSoon   bool          // from the next question on
	lastAsked map[int64]int // when each lock was asked for on it the last time, in the order of all that the stack was asked
	doubtful  bool          // the client has reason to give it up
	slow      bool          // health questions are not answered at once either
	closed    bool          // by the client
	goodbye   bool          // the client has said so before
	hungUp    bool          // by the server: an end of file comes after the replies
	hangUpOut bool          // it has come,
	hungUpAt  time.Time
	heard     time.Time // when the last statement was sent whose answer has come,
	heardLate bool      // one of them took long
}

// reply is the answer to a statement, or the server's last word.
type reply struct {
	raw  []byte
	sent time.Time // when the statement was; zero for a last word
	now  bool      // it comes as soon as those before have come
}

// Write implements net.Conn.
func (c *wire) Write(p []byte) (int, error) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	if c.hangUpOut {
		return 0, io.ErrClosedPipe
	}
	c.raw = append(c.raw, p...)
	c.receive()
	return len(p), nil
}

// Close implements net.Conn.
func (c *wire) Close() error {
	c.w.mu.Lock()
	if !c.closed {
		c.leaves()
		c.closed = true
		c.w.say("          %v closes %v", c.p, c)
	}
	c.w.mu.Unlock()
	c.End(net.ErrClosed)
	return nil
}

// leaves: the client hangs up, which frees what the server has for it. Whoever holds by the session has heard by now.
func (c *wire) leaves() {
	if c.closed || c.goodbye || c.backend.over || c.hangUpOut {
		return
	}
	if c.backend.holds() && !c.heardLate && !c.unanswered() && !c.doubtful && !c.p.closing {
		c.w.violate("a session that answers is kept", "%v hangs up %v, which has locks", c.p, c)
	}
	for _, k := range c.w.calls {
		if k.wire == c && (k.watches() || k.works() && k.work.ctx.Err() == nil) {
			c.w.violate("no silent loss", "%v was not told before its program hung up %v", k, c)
		}
	}
}

// told reports whether whoever holds a lock on the connection must have heard that it is gone.
func (c *wire) told() bool { return c.hangUpOut && time.Now().After(c.hungUpAt.Add(stackSlack)) }

func (c *wire) String() string { return fmt.Sprintf("connection %d", c.backend.PID) }

// receive takes the whole messages that have come.
func (c *wire) receive() {
	for {
		head := 5
		if !c.started {
			head = 4
		}
		if len(c.raw) < head {
			return
		}
		size := int(binary.BigEndian.Uint32(c.raw[head-4:])) + head - 4
		if len(c.raw) < size {
			return
		}
		kind, body := c.raw[0], c.raw[head:size]
		if !c.started {
			c.started = true
			c.startUp()
		} else {
			c.message(kind, body)
		}
		c.raw = c.raw[size:]
	}
}

func (c *wire) startUp() {
	if c.cut && !c.w.logsIn {
		return
	}
	if code := c.w.turnAway; code != "" {
		c.deliver(pgfake.Encode(pgfake.LastWord(code)))
		c.backend.end(true)
		c.hangUp()
		return
	}
	c.deliver(pgfake.Encode(c.backend.Welcome(true)...))
}

func (c *wire) message(kind byte, body []byte) {
	var m pgproto3.FrontendMessage
	switch kind {
	case 'P':
		m = &pgproto3.Parse{}
	case 'B':
		m = &pgproto3.Bind{}
	case 'D':
		m = &pgproto3.Describe{}
	case 'E':
		m = &pgproto3.Execute{}
	case 'S':
		m = &pgproto3.Sync{}
	case 'Q':
		m = &pgproto3.Query{}
	case 'X':
		c.leaves()
		c.goodbye = true
		return
	default:
		return
	}
	if m.Decode(body) != nil {
		return
	}
	if r := c.backend.Receive(m); r != nil {
		c.asked(r)
	}
}

// asked takes a question: it is answered here and now where it is part of a set-up, or about health.
func (c *wire) asked(r *pgfake.Request) {
	last := r.Last()
	if last == nil || !strings.HasPrefix(last.Name, "lockkeeper_") {
		if !c.cut && !c.hungUp {
			c.heard = time.Now()
			for _, q := range r.Statements { // which touch no lock of ours
				c.backend.execute(&statement{Statement: q, c: c, request: r})
			}
			c.deliver(pgfake.Encode(append(r.Answer(), c.backend.Ready())...))
		}
		return
	}
	s := &statement{Statement: last, c: c, request: r, sent: time.Now()}
	s.settles = slices.ContainsFunc(s.Unlocks(), func(l pgfake.Lock) bool { return c.backend.doubt[l.ID] })
	for _, l := range s.Locks() {
		c.w.asked++
		c.lastAsked[l.ID] = c.w.asked
	}
	if s.Kind == pgfake.Ask {
		c.w.seen.add("health question")
		if !c.backend.holds() && len(c.pending)+len(c.replies) == 0 {
			c.w.violate("an unused session asks nothing", "%v of %v asks who answers", c, c.p)
		}
	}
	if c.pending = append(c.pending, s); len(c.pending) == 2 {
		c.w.seen.add("two in the air")
	}
	if c.cutSoon {
		c.w.say("          %v of %v is cut off", c, c.p)
		c.cut, c.cutSoon = true, false
	}
	c.answerQuestions()
}

// answerQuestions answers a health question whose turn it is.
func (c *wire) answerQuestions() {
	if c.cut || c.slow || c.backend.over || len(c.pending) == 0 || c.pending[0].Kind != pgfake.Ask {
		return
	}
	s := c.pending[0]
	c.backend.execute(s)
	s.done()
	c.deliverAtOnce()
}

// reply sends an answer on its way, on which the history lets it come. That to a health question comes with the one before.
func (c *wire) reply(s *statement, messages ...pgproto3.BackendMessage) {
	c.replies = append(c.replies, reply{raw: pgfake.Encode(messages...), sent: s.sent, now: s.Kind == pgfake.Ask && !c.slow})
}

// deliverAtOnce delivers what has to come as soon as it can.
func (c *wire) deliverAtOnce() {
	for len(c.replies) > 0 && c.replies[0].now && !c.cut && !c.hangUpOut {
		c.deliverReply()
	}
}

func (c *wire) deliverReply() {
	if r := c.replies[0]; !r.sent.IsZero() {
		c.heard, c.heardLate = r.sent, c.heardLate || time.Since(r.sent) >= stackTimeout
	}
	c.deliver(c.replies[0].raw)
	c.replies = c.replies[1:]
}

// trusted reports whether the client may still believe in the session: it has heard of it not long ago.
func (c *wire) trusted() bool { return time.Since(c.heard) < stackInterval+stackTimeout }

// silent reports whether the client believes in the session no longer, as far as is known here.
func (c *wire) silent() bool { return !c.trusted() || c.unanswered() }

// unanswered reports whether an answer is late.
func (c *wire) unanswered() bool {
	late := func(sent time.Time) bool { return !sent.IsZero() && time.Since(sent) >= stackTimeout }
	return slices.ContainsFunc(c.pending, func(s *statement) bool { return late(s.sent) }) ||
		slices.ContainsFunc(c.replies, func(r reply) bool { return late(r.sent) })
}

// deliver lets bytes reach the client.
func (c *wire) deliver(raw []byte) { _ = c.Append(raw) } // nobody reads what comes after the end

// hangUp lets an end of file reach the client.
func (c *wire) hangUp() {
	if !c.hangUpOut {
		c.hungUpAt = time.Now()
	}
	c.hungUp, c.hangUpOut = true, true
	c.End(io.EOF)
}
