package sim_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// wire is one connection: the client's net.Conn, and the backend at its other end. What the client does while a session
// is set up is answered at once; what a session with locks asks waits until the history has it done. Under the stack's mu
// but for in, which is the client's reader's.
type wire struct {
	w       *stack
	p       *program
	backend *backend

	started bool   // the start-up message has come
	raw     []byte // from the client, not a whole message yet
	sql     map[string]string
	bound   []*statement // since the last Sync
	pending []*statement // arrived, or on their way, and not executed; they are in their order
	replies []reply      // executed, and not delivered

	cut       bool // nothing gets through any more
	cutSoon   bool // from the next question on
	doubtful  bool // the client has reason to give it up
	slow      bool // health questions are not answered at once either
	closed    bool // by the client
	goodbye   bool // the client has said so before
	hungUp    bool // by the server: an end of file comes after the replies
	hangUpOut bool // it has come,
	hungUpAt  time.Time
	heard     time.Time // when the last statement was sent whose answer has come,
	heardLate bool      // one of them took long

	in inbox
}

// reply is the answer to a statement, or the server's last word.
type reply struct {
	raw  []byte
	sent time.Time // when the statement was; zero for a last word
	now  bool      // it comes as soon as those before have come
}

// inbox is what has reached the client.
type inbox struct {
	mu       sync.Mutex
	bytes    []byte
	err      error
	deadline time.Time
	changed  chan struct{} // capacity 1
}

func (b *inbox) change(f func()) {
	b.mu.Lock()
	f()
	b.mu.Unlock()
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// Read implements net.Conn.
func (c *wire) Read(p []byte) (int, error) {
	b := &c.in
	for {
		b.mu.Lock()
		n, err, deadline := copy(p, b.bytes), b.err, b.deadline
		b.bytes = b.bytes[n:]
		b.mu.Unlock()
		switch {
		case n > 0:
			return n, nil
		case err != nil:
			return 0, err
		case deadline.IsZero():
			<-b.changed
		case !time.Now().Before(deadline):
			return 0, os.ErrDeadlineExceeded
		default:
			timer := time.NewTimer(time.Until(deadline))
			select {
			case <-b.changed:
			case <-timer.C:
			}
			timer.Stop()
		}
	}
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
	c.in.change(func() {
		if c.in.err == nil {
			c.in.err = net.ErrClosed
		}
	})
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

// SetDeadline implements net.Conn, as do the methods below.
func (c *wire) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *wire) SetReadDeadline(t time.Time) error {
	c.in.change(func() { c.in.deadline = t })
	return nil
}

func (c *wire) SetWriteDeadline(time.Time) error { return nil }
func (c *wire) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *wire) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// told reports whether whoever holds a lock on the connection must have heard that it is gone.
func (c *wire) told() bool { return c.hangUpOut && time.Now().After(c.hungUpAt.Add(stackSlack)) }

func (c *wire) String() string { return fmt.Sprintf("connection %d", c.backend.pid) }

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
		c.deliver(encode(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code, Message: "not now"}))
		c.backend.end(true)
		c.hangUp()
		return
	}
	c.deliver(encode(&pgproto3.AuthenticationOk{}, &pgproto3.ParameterStatus{Name: "server_version", Value: "16.0"},
		&pgproto3.BackendKeyData{ProcessID: c.backend.pid, SecretKey: make([]byte, 4)}, &pgproto3.ReadyForQuery{TxStatus: 'I'}))
}

func (c *wire) message(kind byte, body []byte) {
	switch kind {
	case 'P':
		var m pgproto3.Parse
		if m.Decode(body) == nil {
			c.sql[m.Name] = m.Query
			c.bound = append(c.bound, &statement{c: c, prepared: true})
		}
	case 'B':
		var m pgproto3.Bind
		if m.Decode(body) == nil {
			c.bound = append(c.bound, newStatement(c, &m))
		}
	case 'D':
		c.bound = append(c.bound, &statement{c: c, described: body[0]})
	case 'S':
		c.sync()
	case 'Q':
		var m pgproto3.Query
		if m.Decode(body) == nil {
			c.bound = append(c.bound, newQuery(c, m.String))
			c.sync()
		}
	case 'X':
		c.leaves()
		c.goodbye = true
	case 'E':
	}
}

// sync is the end of a question: it is answered here and now where it is part of a set-up, or about health.
func (c *wire) sync() {
	bound := c.bound
	c.bound = nil
	var last *statement
	for _, s := range bound {
		if !s.prepared && s.described == 0 {
			last = s
		}
	}
	if last != nil {
		last.sent = time.Now()
		last.settles = slices.ContainsFunc(last.unlocks(), func(id int64) bool { return c.backend.doubt[id] })
	}
	if last == nil || !strings.HasPrefix(last.name, "lockkeeper_") {
		if !c.cut && !c.hungUp {
			c.heard = time.Now()
			c.deliver(c.answerAll(bound))
		}
		return
	}
	if last.kind == kindAsk {
		c.w.seen.add("health question")
		if !c.backend.holds() && len(c.pending)+len(c.replies) == 0 {
			c.w.violate("an unused session asks nothing", "%v of %v asks who answers", c, c.p)
		}
	}
	if c.pending = append(c.pending, last); len(c.pending) == 2 {
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
	if c.cut || c.slow || c.backend.over || len(c.pending) == 0 || c.pending[0].kind != kindAsk {
		return
	}
	s := c.pending[0]
	c.backend.execute(s)
	s.done()
	c.deliverAtOnce()
}

// reply sends an answer on its way, on which the history lets it come. That to a health question comes with the one before.
func (c *wire) reply(s *statement, messages ...pgproto3.BackendMessage) {
	c.replies = append(c.replies, reply{raw: encode(messages...), sent: s.sent, now: s.kind == kindAsk && !c.slow})
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

// answerAll does statements that touch no lock of ours.
func (c *wire) answerAll(bound []*statement) []byte {
	var out []pgproto3.BackendMessage
	for i, s := range bound {
		switch {
		case s.prepared:
			out = append(out, &pgproto3.ParseComplete{})
		case s.described == 'S':
			out = append(out, &pgproto3.ParameterDescription{}, &pgproto3.NoData{})
		case s.described == 'P':
			continue // its rows are described with them
		default:
			c.backend.execute(s)
			out = append(out, s.messages(i+1 < len(bound) && bound[i+1].described == 'P')...)
		}
	}
	return encode(append(out, &pgproto3.ReadyForQuery{TxStatus: c.backend.status()})...)
}

func encode(messages ...pgproto3.BackendMessage) (raw []byte) {
	for _, m := range messages {
		raw, _ = m.Encode(raw) // into memory, of messages that we made
	}
	return raw
}

// deliver lets bytes reach the client.
func (c *wire) deliver(raw []byte) {
	c.in.change(func() { c.in.bytes = append(c.in.bytes, raw...) })
}

// hangUp lets an end of file reach the client.
func (c *wire) hangUp() {
	if !c.hangUpOut {
		c.hungUpAt = time.Now()
	}
	c.hungUp, c.hangUpOut = true, true
	c.in.change(func() {
		if c.in.err == nil {
			c.in.err = io.EOF
		}
	})
}
